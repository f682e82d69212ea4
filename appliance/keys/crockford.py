"""Crockford's base 32: secrets as a person writes them down and types them in again.

No I, L, O or U; when it is read, case, spaces and dashes do not matter, and O, I and L are taken for 0 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BITS = 5

_FORGIVEN = str.maketrans("OIL", "011", " -\t\r\n")


def encode(data: bytes, group: int) -> str:
    """``data`` (a multiple of 5 bytes has no rest) in groups of ``group`` characters with dashes between them."""
    number = int.from_bytes(data, "big")
    characters = len(data) * 8 // BITS
    return grouped("".join(ALPHABET[number >> BITS * place & 31] for place in reversed(range(characters))), group)


def plain(text: str) -> str:
    """What was typed, as it would have been printed, but without dashes; foreign characters stay as they are."""
    return text.upper().translate(_FORGIVEN)


def grouped(characters: str, group: int) -> str:
    """Dashes after each ``group`` characters."""
    return "-".join(_pieces(characters, group))


def _pieces(characters: str, size: int) -> Iterator[str]:
    return (characters[start : start + size] for start in range(0, len(characters), size))
