"""The recovery key as a person writes it down and types it in again.

176 random bits and a 24-bit checksum in Crockford's base 32, eight groups of five: no I, L, O or U; when it is
read, case, spaces and dashes do not matter, and O, I and L are taken for 0 and 1.
"""

from __future__ import annotations

import os
from hashlib import sha256

from appliance.errors import KeyringError

SECRET_SIZE = 22
_CHECK_SIZE = 3
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS = (SECRET_SIZE + _CHECK_SIZE) * 8 // 5
_GROUP = 5
_FORGIVEN = str.maketrans("OIL", "011", " -\t\r\n")


def new_secret() -> bytes:
    """What a recovery key stands for: ``SECRET_SIZE`` random bytes."""
    return os.urandom(SECRET_SIZE)


def to_text(secret: bytes) -> str:
    """The key in groups of five."""
    number = int.from_bytes(secret + _check(secret), "big")
    digits = "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_CHARACTERS)))
    return "-".join(digits[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP))


def from_text(text: str) -> bytes:
    """The secret that a typed key stands for. Raises KeyringError that says what is wrong with it."""
    digits = text.upper().translate(_FORGIVEN)
    number = 0
    for place, digit in enumerate(digits):
        value = _ALPHABET.find(digit)
        if value < 0:
            raise KeyringError(
                f"The recovery key has {digit!r} in its group {place // _GROUP + 1}, which no recovery key has. "
                "Compare it with the one written down."
            )
        number = number << 5 | value
    if len(digits) != _CHARACTERS:
        raise KeyringError(
            f"A recovery key has {_CHARACTERS} letters and digits; this one has {len(digits)}. Compare it with "
            "the one written down."
        )
    data = number.to_bytes(SECRET_SIZE + _CHECK_SIZE, "big")
    secret = data[:SECRET_SIZE]
    if _check(secret) != data[SECRET_SIZE:]:
        raise KeyringError("The recovery key has a slip in it. Compare it with the one written down.")
    return secret


def _check(secret: bytes) -> bytes:
    return sha256(b"mailkeep recovery key v1" + secret).digest()[:_CHECK_SIZE]
