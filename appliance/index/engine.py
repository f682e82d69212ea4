"""What is particular about Tantivy: how an index folder of it is made and opened, and its failures."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import tantivy

from appliance.errors import DamageError, UnavailableError
from appliance.index import live, schema
from appliance.index.place import Place

_FULL = os.strerror(errno.ENOSPC)
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 128 * 1024
_M_ARENA_MAX, _ARENAS = -8, 2


def keep_memory_flat() -> None:
    """Have this process give memory back that it has done with (mallopt(3)).

    Tantivy gathers documents in blocks of a megabyte, in threads that come and go with its writers. glibc gives each
    thread an arena of its own, and once it has seen such a block freed it keeps the next ones there: a projector that
    has gone through some quarters would hold three times of what it uses.
    """
    with contextlib.suppress(OSError, AttributeError):  # a C library that has no such thing
        adjust = ctypes.CDLL(None).mallopt
        adjust(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        adjust(_M_ARENA_MAX, _ARENAS)


def make_index(folder: Path) -> tantivy.Index:
    """An empty index in the new folder ``folder``."""
    folder.mkdir(mode=0o700)
    index = tantivy.Index(schema.build(), str(folder))
    index.config_reader("manual")
    return index


def open_index(folder: Path) -> tantivy.Index:
    """The index in ``folder``, whose searcher changes when it is told to reload. Raises DamageError."""
    try:
        index = tantivy.Index.open(str(folder))
        index.config_reader("manual")
    except BaseException as error:
        if not is_engine_failure(error) or is_full(error):
            raise
        raise DamageError("A part of the search index does not open. It is made anew from the log.") from error
    return index


def is_engine_failure(error: BaseException) -> bool:
    """Whether the engine failed: a ValueError, an OSError, or a panic of its own, which is no Exception."""
    return isinstance(error, ValueError | OSError) or type(error).__name__ == "PanicException"


def is_full(error: BaseException) -> bool:
    """Whether a failure comes from a file system without room; Tantivy only tells in words."""
    return getattr(error, "errno", None) == errno.ENOSPC or _FULL in str(error)


@contextlib.contextmanager
def engine_trouble(place: Place) -> Iterator[None]:
    """Turns failures of the engine, and of the file systems below it, into an UnavailableError for people."""
    try:
        yield
    except BaseException as error:
        if not is_engine_failure(error):
            raise
        if is_full(error):
            raise live.no_room(place.root) from error
        raise UnavailableError(
            "The search index was interrupted. The mail itself is safe; it becomes searchable once the index works "
            "again."
        ) from error
