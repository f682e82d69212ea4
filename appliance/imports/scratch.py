"""Files that wait to be imported: sealed as they arrive, read at any place.

A scratch file is frames of ``nonce (12) ‖ AES-256-GCM(key, nonce, 65,536 bytes of the file)``, the last one shorter;
what is authenticated beside is the frame's number (8 bytes, big-endian). The key is the file's own. A nonce is random:
a frame that was cut off by a crash is written again, and no nonce may meet two contents.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import UsageError
from appliance.files import Buffer, Files, write_all
from appliance.imports.base import FileError
from appliance.imports.positioned import Positioned

FRAME: Final = 64 * 1024
"""Bytes of the file in a frame."""
KEY: Final = 32
"""Bytes of a key."""
_NONCE, _TAG = 12, 16
_SEALED = _NONCE + FRAME + _TAG
_NUMBER = struct.Struct(">Q")
_HELD = 256  # frames in memory: 16 MiB
_AT_ONCE = 16  # frames read in one go where reading is in order


class DamagedError(FileError):
    """A scratch file is not what was written there; the file has to arrive anew."""


def sealed_size(size: int) -> int:
    """Bytes on disk of a scratch file that holds ``size``."""
    return size + -(-size // FRAME) * (_NONCE + _TAG)


class ScratchWriter:
    """Takes a file of ``size`` bytes as it arrives. ``arrived`` bytes are there already, as somebody remembers durably;
    0 makes a new file and replaces what had its name.

    Raises OSError, and FileNotFoundError where something has arrived and is not there.
    """

    def __init__(self, files: Files, path: Path, key: bytes, *, size: int, arrived: int = 0) -> None:
        self._files = files
        self._cipher = AESGCM(key)
        self._size = size
        self.arrived = arrived
        if not arrived and files.exists(path):
            files.unlink(path)
        self._descriptor = files.reopen(path) if arrived else files.create(path, 0o640)
        if not arrived:
            files.sync_directory(path.parent)

    def write(self, offset: int, data: Buffer) -> int:
        """Take ``data``, the bytes from ``offset`` on; how many bytes from the beginning are on disk now.

        What arrived before is passed over. Only whole frames are taken, but at the end of the file: who sends goes on
        where the answer says. Raises UsageError for bytes that leave a gap or reach beyond the end, OSError.
        """
        end = offset + len(data)
        if offset > self.arrived or end > self._size:
            raise UsageError("These bytes do not follow those that have arrived.")
        if end < self._size:
            end -= end % FRAME
        if end <= self.arrived:
            return self.arrived
        held = memoryview(data)
        frames = [
            self._sealed(at // FRAME, held[at - offset : min(at + FRAME, end) - offset])
            for at in range(self.arrived, end, FRAME)
        ]
        write_all(self._files, self._descriptor, frames, self.arrived // FRAME * _SEALED)
        self._files.sync_data(self._descriptor)
        self.arrived = end
        return end

    def close(self) -> None:
        """Give the file back."""
        self._files.close(self._descriptor)

    def _sealed(self, number: int, plain: Buffer) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, _NUMBER.pack(number))


class PlainFile(Positioned):
    """A file as it is, open for reading as ``descriptor``, of ``size`` bytes, whoever else reads from it."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__(size)
        self._descriptor = descriptor

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """As ``io.RawIOBase``."""
        wanted = min(len(buffer), max(0, self._size - self._position))
        count = os.preadv(self._descriptor, [memoryview(buffer)[:wanted]], self._position) if wanted else 0
        self._position += count
        return count


class ScratchFile(Positioned):
    """A scratch file, open for reading as ``descriptor``; ``size`` is that of the file in it.

    Reading raises DamagedError for what is not what was written.
    """

    def __init__(self, descriptor: int, size: int, key: bytes) -> None:
        super().__init__(size)
        self._descriptor = descriptor
        self._cipher = AESGCM(key)
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._last = -1

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """As ``io.RawIOBase``; at most to the end of a frame."""
        if self._position >= self._size or not len(buffer):
            return 0
        number, within = divmod(self._position, FRAME)
        piece = memoryview(self._frame(number))[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _frame(self, number: int) -> bytes:
        frame = self._held.get(number)
        if frame is None:
            self._fetch(number, _AT_ONCE if number == self._last + 1 else 1)
            frame = self._held[number]
        else:
            self._held.move_to_end(number)
        self._last = number
        return frame

    def _fetch(self, first: int, count: int) -> None:
        count = min(count, -(-self._size // FRAME) - first)
        sealed = memoryview(os.pread(self._descriptor, count * _SEALED, first * _SEALED))
        for number in range(first, first + count):
            at = (number - first) * _SEALED
            expected = min(FRAME, self._size - number * FRAME)
            frame = sealed[at : at + _NONCE + expected + _TAG]
            try:
                plain = self._cipher.decrypt(bytes(frame[:_NONCE]), frame[_NONCE:], _NUMBER.pack(number))
            except (InvalidTag, ValueError) as error:
                if number > first:
                    return  # it is told when somebody asks for it
                raise DamagedError(
                    "A file that waits to be imported is damaged on this disk. Nothing of the archive is touched; let"
                    " the file arrive again."
                ) from error
            self._held[number] = plain
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
