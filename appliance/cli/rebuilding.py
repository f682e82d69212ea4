"""``mailkeep rebuild``: everything that can be derived, made anew from volumes and keyring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from appliance.services.archive import Archive
from appliance.services.box import RunningBox
from appliance.services.paths import Paths
from appliance.services.projecting import rebuild
from appliance.services.unlock import Secret, unlock


def rebuild_all(paths: Paths, secret: Secret | None, progress: Callable[[int], None] | None) -> int:
    """Catalogue and index anew, and, where nothing runs that uses it, settings.db. Returns the records."""
    report = progress or (lambda _records: None)
    keyring = unlock(paths, secret)
    try:
        RunningBox(paths.local_socket).close()
    except (FileNotFoundError, ConnectionRefusedError):
        _renew_settings(paths, secret)
    return rebuild(paths, keyring, report)


def _renew_settings(paths: Paths, secret: Secret | None) -> None:
    """Put settings.db aside and replay the system log into a new one; back with the old one if that fails."""
    aside = [(file, file.with_name(file.name + ".before")) for file in _settings_files(paths) if file.exists()]
    for file, before in aside:
        file.rename(before)
    try:
        Archive(paths, unlock(paths, secret)).close()
    except BaseException:
        for file, before in aside:
            before.replace(file)
        raise
    for _, before in aside:
        before.unlink()


def _settings_files(paths: Paths) -> list[Path]:
    return [paths.settings.with_name(paths.settings.name + suffix) for suffix in ("", "-wal", "-shm")]
