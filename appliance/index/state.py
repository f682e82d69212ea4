"""The index folder: generations of the index, and one small file that says which holds and what it covers.

``state.json`` is replaced after the index's own commit, never before. So whatever it names is on disk, and a
crash between the two leaves an index that knows a little more than the file says, which putting the same documents
again mends.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import msgspec

from appliance.files import FILES, Files, read_file, replace_file

STATE = "state.json"
_GENERATION = re.compile(r"[0-9a-f]{16}")


class State(msgspec.Struct, frozen=True):
    """What the last commit left. ``opstamp`` is Tantivy's own number of it, which only grows."""

    schema: int
    generation: str
    sequence: int
    opstamp: int


class _Meta(msgspec.Struct, frozen=True):
    """The one field of Tantivy's meta.json that is of interest here."""

    opstamp: int


def read(folder: Path, *, files: Files = FILES) -> State | None:
    """The state of the folder; None where there is none, or nothing sensible."""
    try:
        state = msgspec.json.decode(read_file(files, folder / STATE), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    return state if _GENERATION.fullmatch(state.generation) else None


def write(folder: Path, state: State, *, files: Files = FILES) -> None:
    """Make ``state`` durable, with the names of the index's own files before it."""
    files.sync_directory(folder / state.generation)
    replace_file(files, folder / STATE, msgspec.json.encode(state))


def reaches(folder: Path, state: State, *, files: Files = FILES) -> bool:
    """Whether the index's files are of the commit that ``state`` names, or of a later one."""
    try:
        meta = msgspec.json.decode(read_file(files, folder / state.generation / "meta.json"), type=_Meta)
    except (OSError, msgspec.DecodeError):
        return False
    return meta.opstamp >= state.opstamp


def new_generation() -> str:
    """A name for a folder that no index has had."""
    return os.urandom(8).hex()


def drop_others(folder: Path, keep: str) -> None:
    """Remove all generations but one. Whoever has one open goes on reading it until it is closed."""
    for path in folder.iterdir():
        if path.name != keep and _GENERATION.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
