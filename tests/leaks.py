"""Looking for words where they must not be: as text, in UTF-16, in base64, and inside whatever can be unpacked."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"
_PACKED = re.compile(re.escape(_ZSTD) + b"|" + re.escape(_GZIP) + b"|\x78[\x01\x5e\x9c\xda]")
_UNPACKED_MOST = 64 * 2**20
_SHORTEST_BASE64 = 8  # characters: fewer are met by chance in random bytes


class Words:
    """A search for all of some words at once, without regard to case."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted({word.lower() for word in words})
        plain, exact = set(), set()
        for word in self._words:
            for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
                plain.add(word.encode(encoding))
            for spelling in (word, word.capitalize(), word.upper()):
                exact.update(_in_base64(spelling.encode()))
        self._plain = re.compile(b"|".join(re.escape(one) for one in sorted(plain)))
        self._exact = re.compile(b"|".join(re.escape(one) for one in sorted(exact)))

    def found_in(self, content: bytes) -> set[str]:
        """What of the words is in ``content``, each as it was found."""
        found = {match[0] for match in self._plain.finditer(content.lower())}
        found |= {match[0] for match in self._exact.finditer(content)}
        for unpacked in _unpacked(content):
            found |= {match[0] for match in self._plain.finditer(unpacked.lower())}
        return {one.decode("latin-1") for one in found}

    def found_below(self, *places: Path) -> dict[str, set[str]]:
        """The files below these folders, and these files, that hold one of the words, also in their names."""
        found: dict[str, set[str]] = {}
        for place in places:
            for path in [place, *place.rglob("*")]:
                here = self.found_in(str(path.relative_to(place)).encode())
                try:
                    here |= self.found_in(path.read_bytes()) if path.is_file() else set()
                except FileNotFoundError:  # it was replaced meanwhile
                    continue
                if here:
                    found[str(path)] = here
        return found


def _in_base64(word: bytes) -> Iterator[bytes]:
    """What of the word shows in base64, at each of the three places where it can begin."""
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + word).rstrip(b"=")
        whole = encoded[(shift * 8 + 5) // 6 : (shift + len(word)) * 8 // 6]
        if len(whole) >= _SHORTEST_BASE64:
            yield whole


def _unpacked(content: bytes) -> Iterator[bytes]:
    """Everything in ``content`` that is a zstd frame, gzip or zlib stream, as far as it goes."""
    for match in _PACKED.finditer(content):
        packed = content[match.start() : match.start() + _UNPACKED_MOST]
        try:
            if match[0] == _ZSTD:
                unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
            else:
                unpacked = zlib.decompressobj(47).decompress(packed, _UNPACKED_MOST)
        except (zlib.error, zstandard.ZstdError, MemoryError):
            continue
        if len(unpacked) > 5:
            yield unpacked
