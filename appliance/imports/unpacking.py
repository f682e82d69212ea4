"""What keeps archives in bounds: how much may come out of one, and how deep they may lie in each other.

Nothing is ever unpacked to a disk; a name in an archive is a word, and no path. What has to be read at any place and
lies compressed in an archive is unpacked into memory that no name leads to, and only up to a limit.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import BinaryIO, Final, Protocol

from appliance.imports.base import CHUNK, FileError, ItemError
from appliance.imports.positioned import Positioned

DEEPEST: Final = 3
"""Archives in each other."""
MOST_IN_MEMORY: Final = 256 * 1024 * 1024
"""Bytes of a file in an archive that is unpacked into memory."""
_RATIO: Final = 250
ALWAYS: Final = 384 * 1024 * 1024
"""Bytes that may come out of any file, however small."""


class Readable(Protocol):
    """A stream that somebody else unpacks."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class Budget:
    """How many bytes may come out of a file of ``size`` bytes: mail packs to a tenth, bombs to a millionth."""

    def __init__(self, size: int) -> None:
        self._left = max(ALWAYS, size * _RATIO)

    def take(self, count: int) -> None:
        """Count bytes that have come out. Raises FileError."""
        self._left -= count
        if self._left < 0:
            raise FileError(
                f"It unpacks to more than {_RATIO} times its size, as only files do that are made to fill disks. The"
                " rest of it is not read; unpack it yourself and import what is in it if you trust it."
            )


class Window(Positioned):
    """A part of a file that can be read at any place."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__(size)
        self._file = file
        self._start = start

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._size - self._position))
        if not wanted:
            return 0
        self._file.seek(self._start + self._position)
        piece = self._file.read(wanted)
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class Begun(io.RawIOBase):
    """A stream of which the beginning was read already: ``head``, and then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        piece = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


class Unpacked(io.RawIOBase):
    """What comes out of an archive, from its beginning to its end, within a budget. What goes wrong (``errors``)
    becomes ``failure``."""

    def __init__(
        self,
        stream: Readable,
        budget: Budget,
        errors: tuple[type[Exception], ...],
        failure: ItemError | FileError,
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._errors = errors
        self._failure = failure
        self._failed = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        if self._failed:  # what a library makes of its own leftovers is not to be trusted
            raise self._failure
        try:
            piece = self._stream.read(len(buffer))
        except self._errors as error:
            self._failed = True
            raise self._failure from error
        self._budget.take(len(piece))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """A raw file with a buffer."""
    return io.BufferedReader(raw, CHUNK)


def in_memory(pieces: Iterable[bytes]) -> BinaryIO:
    """A file that can be read at any place, of ``pieces``. Raises ItemError where they are too many."""
    descriptor = os.memfd_create("unpacked", os.MFD_CLOEXEC)
    file = os.fdopen(descriptor, "r+b", CHUNK)
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > MOST_IN_MEMORY:
                raise ItemError(
                    f"It is compressed and unpacks to more than {MOST_IN_MEMORY // 2**20} MiB, and can be read only as"
                    " a whole. Take it out of the archive and import it by itself."
                )
            file.write(piece)
        file.flush()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
