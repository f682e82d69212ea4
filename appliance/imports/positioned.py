"""Files that are read at a position of their own."""

from __future__ import annotations

import io
import os


class Positioned(io.RawIOBase):
    """``size`` bytes from somewhere, read in order or at any place; who makes one of it adds ``readinto``."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of a file")
        self._position = base + offset
        return self._position
