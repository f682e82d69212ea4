"""Commands and replies as octets (RFC 1939 section 3, RFC 2449, RFC 4616)."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

LONGEST_LINE = 2048
"""Octets of a command line. RFC 2449 section 4 asks for 255; a SASL PLAIN response (RFC 4616) may be longer."""

_MOST_DIGITS = 10


class Command(NamedTuple):
    """A keyword in capitals and what stands behind the first space, spaces and all."""

    verb: str
    rest: str


class Credentials(NamedTuple):
    """Whom a reader says to be."""

    name: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.name!r}, …)"


class CommandSyntaxError(ValueError):
    """An argument is not what the command takes; the text is the reply's."""


def parse(line: bytes) -> Command:
    """One command line, without its CRLF. Raises CommandSyntaxError for octets that no command has."""
    if b"\0" in line or b"\r" in line:
        raise CommandSyntaxError("A command has no CR or NUL in it")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandSyntaxError("Only UTF-8 is understood here") from None
    verb, _, rest = text.partition(" ")
    return Command(verb.upper(), rest)


def numbers(rest: str, least: int, most: int) -> list[int]:
    """Between ``least`` and ``most`` arguments that are decimal numbers."""
    words = rest.split()
    if not least <= len(words) <= most:
        raise CommandSyntaxError("That command takes other arguments")
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS):
            raise CommandSyntaxError("A number was expected")
    return [int(word) for word in words]


def nothing(rest: str) -> None:
    """For commands without arguments."""
    if rest.strip():
        raise CommandSyntaxError("That command takes no argument")


def plain(response: str) -> Credentials:
    """A SASL PLAIN response: authorization identity (none, or the same), NUL, name, NUL, password (RFC 4616)."""
    try:
        parts = base64.b64decode(response, validate=True).decode("utf-8").split("\0")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        parts = []
    if len(parts) != 3 or not parts[1] or not parts[2] or parts[0] not in ("", parts[1]):
        raise CommandSyntaxError("That is no PLAIN response")
    return Credentials(parts[1], parts[2])
