"""Closing every volume that is being written, so that all mail acknowledged so far lies in volumes that are complete.

Nobody has to be running: a volume whose writer died is complete as it is, and large messages that are still on their
way lie in files that are no volumes yet.
"""

from __future__ import annotations

import time
from pathlib import Path

from appliance.errors import UnavailableError
from appliance.files import FILES, Files
from appliance.mail.published import roll_path
from appliance.store.failures import storage_error
from appliance.store.names import is_mailbox_folder, parse_volume, seal_path
from appliance.store.rolling import ask_to_roll

_PAUSE = 0.05


def roll_and_wait(data: Path, *, now: int, seconds: float = 20, files: Files = FILES) -> None:
    """Have all volumes closed that are being written at the call; returns when they are. ``now`` is microseconds.

    Raises UnavailableError, naming a volume whose writer did not close it within ``seconds``; StorageError.
    """
    volumes = data / "volumes"
    try:
        # Listed before the writers are asked: what they begin afterwards is not waited for, and would never be closed.
        waiting = growing(volumes, files=files)
        if not waiting:
            return
        ask_to_roll(roll_path(data), now, files=files)
        deadline = time.monotonic() + seconds
        while waiting := [path for path in waiting if _is_growing(files, volumes / path)]:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{waiting[0]} is still being written: its writer was asked to close it {seconds:g} seconds ago "
                    "and has not. Nothing is lost; it is tried again. If this goes on, restart mailkeep."
                )
            time.sleep(_PAUSE)
    except OSError as error:
        raise storage_error(error) from error


def growing(volumes: Path, *, files: Files = FILES) -> list[str]:
    """The volumes that a writer may still append to. Raises OSError."""
    found: list[str] = []
    for folder in filter(is_mailbox_folder, files.names(volumes)):
        names = files.names(volumes / folder)
        there = frozenset(names)
        unsealed = [f"{folder}/{name}" for name in names if seal_path(name) not in there]
        found += [path for path in unsealed if parse_volume(path) is not None and _is_growing(files, volumes / path)]
    return found


def _is_growing(files: Files, path: Path) -> bool:
    try:
        descriptor = files.open(path)
    except FileNotFoundError:
        return False  # replaced meanwhile, so it was closed
    try:
        return files.is_locked(descriptor)
    finally:
        files.close(descriptor)
