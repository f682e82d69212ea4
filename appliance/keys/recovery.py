"""The recovery key as a person writes it down and types it in again.

176 random bits and a 24-bit checksum in Crockford's base 32, eight groups of five; or the same bits and the first 22 of
that checksum as eighteen words of BIP 39's English list, which are read out over a telephone with fewer slips.
"""

from __future__ import annotations

import os
from functools import cache
from hashlib import sha256

from mnemonic import Mnemonic

from appliance.errors import KeyringError
from appliance.keys import crockford
from appliance.language import later

SECRET_SIZE = 22
_CHECK_SIZE = 3
_CHARACTERS = (SECRET_SIZE + _CHECK_SIZE) * 8 // crockford.BITS
_GROUP = 5
_WORDS = 18
_WORD_BITS = 11
_WORD_CHECK_BITS = _WORDS * _WORD_BITS - SECRET_SIZE * 8
_TELLING_LETTERS = 4
"""Letters by which each word of the list differs from all others; more need not be typed."""


def new_secret() -> bytes:
    """What a recovery key stands for: ``SECRET_SIZE`` random bytes."""
    return os.urandom(SECRET_SIZE)


def to_text(secret: bytes) -> str:
    """The key in groups of five."""
    return crockford.encode(secret + _check(secret), _GROUP)


def to_words(text: str) -> tuple[str, ...]:
    """The eighteen words that stand for the same as ``text``. Raises KeyringError as ``from_text``."""
    secret = from_text(text)
    number = int.from_bytes(secret, "big") << _WORD_CHECK_BITS | _word_check(secret)
    words = Mnemonic("english").wordlist
    return tuple(words[number >> _WORD_BITS * place & 2**_WORD_BITS - 1] for place in reversed(range(_WORDS)))


def from_text(text: str) -> bytes:
    """The secret that a typed key, in groups or in words, stands for. Raises KeyringError that says what is wrong."""
    parts = text.replace("-", " ").split()
    return _from_words(parts) if len(parts) > _CHARACTERS // _GROUP and min(map(len, parts)) > 2 else _from_groups(text)


def _from_words(typed: list[str]) -> bytes:
    number = 0
    for place, word in enumerate(typed):
        value = _numbers().get(word.lower()[:_TELLING_LETTERS])
        if value is None:
            raise KeyringError(
                later("“{word}”, word {place}, is none of a recovery key's. Compare it with the one written down."),
                word=word,
                place=place + 1,
            )
        number = number << _WORD_BITS | value
    if len(typed) != _WORDS:
        raise KeyringError(
            later("A recovery key has {count} words; these are {typed}. Compare them with those written down."),
            count=_WORDS,
            typed=len(typed),
        )
    secret = (number >> _WORD_CHECK_BITS).to_bytes(SECRET_SIZE, "big")
    if _word_check(secret) != number & 2**_WORD_CHECK_BITS - 1:
        raise KeyringError(later("The recovery key has a slip in it. Compare it with the one written down."))
    return secret


@cache
def _numbers() -> dict[str, int]:
    return {word[:_TELLING_LETTERS]: number for number, word in enumerate(Mnemonic("english").wordlist)}


def _from_groups(text: str) -> bytes:
    digits = crockford.plain(text)
    number = 0
    for place, digit in enumerate(digits):
        value = crockford.ALPHABET.find(digit)
        if value < 0:
            raise KeyringError(
                later(
                    "The recovery key has “{letter}” in its group {group}, which no recovery key has. Compare it with "
                    "the one written down."
                ),
                letter=digit,
                group=place // _GROUP + 1,
            )
        number = number << crockford.BITS | value
    if len(digits) != _CHARACTERS:
        raise KeyringError(
            later(
                "A recovery key has {count} letters and digits, or {words} words; this one has {typed} letters and "
                "digits. Compare it with the one written down."
            ),
            count=_CHARACTERS,
            words=_WORDS,
            typed=len(digits),
        )
    data = number.to_bytes(SECRET_SIZE + _CHECK_SIZE, "big")
    secret = data[:SECRET_SIZE]
    if _check(secret) != data[SECRET_SIZE:]:
        raise KeyringError(later("The recovery key has a slip in it. Compare it with the one written down."))
    return secret


def _word_check(secret: bytes) -> int:
    return int.from_bytes(_check(secret), "big") >> _CHECK_SIZE * 8 - _WORD_CHECK_BITS


def _check(secret: bytes) -> bytes:
    return sha256(b"mailkeep recovery key v1" + secret).digest()[:_CHECK_SIZE]
