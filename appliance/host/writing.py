"""Writing a system file so that it is whole whenever the power goes, with errors in words."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import StorageError
from appliance.files import FILES, Files, replace_file
from appliance.language import _

_FOR_EVERYBODY = 0o644
_FOLDER = 0o755


def write_system_file(path: Path, text: str, *, files: Files = FILES) -> None:
    """``path`` holds ``text``, readable to all. Raises StorageError."""
    try:
        path.parent.mkdir(_FOLDER, parents=True, exist_ok=True)
        replace_file(files, path, text.encode(), _FOR_EVERYBODY)
        path.chmod(_FOR_EVERYBODY)  # whatever umask this process has
    except OSError as error:
        message = _("{path} could not be written ({reason}). What was set before stays.")
        raise StorageError(message.format(path=path, reason=error.strerror)) from error
