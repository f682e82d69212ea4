"""The disk's refusals as errors for people."""

from __future__ import annotations

import errno
from pathlib import Path

from appliance.errors import DiskFullError, StorageError
from appliance.files import Files

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def storage_error(error: OSError) -> StorageError:
    """DiskFullError where there is no room, else StorageError."""
    if is_full(error):
        return no_room()
    return StorageError(
        f"The disk did not take the mail ({error.strerror or error}). What was confirmed before is safe, and the "
        "sender will try again. Look at the disk's health."
    )


def is_full(error: OSError) -> bool:
    """Whether there is no room, or no quota left."""
    return error.errno in _FULL


def no_room() -> DiskFullError:
    """There is no room for more mail."""
    return DiskFullError(
        "There is no room for more mail. What was confirmed before is safe, and the sender will try again. Make "
        "room on the disk of the archive."
    )


def check_room(files: Files, path: Path, wanted: int, reserve: int) -> None:
    """Raise DiskFullError where ``wanted`` more bytes would leave less than ``reserve`` free. Raises OSError."""
    if reserve and files.free(path) - wanted < reserve:
        raise no_room()
