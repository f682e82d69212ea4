"""The grammar of SMTP commands, as pure functions over bytes (RFC 5321 section 4.1).

Lenient where real senders are sloppy and nothing depends on it (a space after the colon, no angle brackets,
local parts over 64 octets, UTF-8 without SMTPUTF8), strict where leniency would let one command be read as
two.
"""

from __future__ import annotations

import re
from typing import NamedTuple

LONGEST_LINE = 4096
"""Octets of a command line with its CRLF. RFC 5321 section 4.5.3.1.4 says 512, each extension adds some, and
real addresses exceed their limits; this is room for all of it and still bounds what a client can make us
hold."""

_COMMON_PATH = re.compile(rb'[ \t]*<([^<>"\\\x00-\x20\x7f]*)>(?:[ \t]+(.*?))?[ \t]*', re.DOTALL)
_BARE_PATH = re.compile(rb'[ \t]*([^<>"\\\x00-\x20\x7f]+)(?:[ \t]+(.*?))?[ \t]*', re.DOTALL)
_QUOTED_PATH = re.compile(
    rb"[ \t]*<((?:@[^:<>]*:)?\"(?:[^\"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*\"@[^<>\"\\\x00-\x20\x7f]+)>"
    rb"(?:[ \t]+(.*?))?[ \t]*",
    re.DOTALL,
)
_ATOM = re.compile(r"[^\s\"(),:;<>@\[\\\]\x00-\x1f\x7f]+")


class CommandSyntaxError(Exception):
    """A command that cannot be understood; the text is the reply (501, RFC 5321 section 4.2.4)."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class Path(NamedTuple):
    """A reverse-path or forward-path and the ESMTP parameters after it (name in upper case, value or "")."""

    address: str
    parameters: dict[str, str]


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """Verb in upper case and the rest of a command line that has lost its CRLF."""
    verb, _, rest = line.partition(b" ")
    return verb.upper(), rest


def parse_path(rest: bytes, keyword: bytes) -> Path:
    """The path after ``MAIL`` (keyword ``FROM``) or ``RCPT`` (keyword ``TO``); "" is the null reverse-path.

    Source routes are dropped (RFC 5321 appendix C), needless quotes round a local part are taken off, so that
    ``"anna"@example.com`` is anna@example.com. Raises CommandSyntaxError.
    """
    name, colon, path = rest.lstrip().partition(b":")
    if not colon or name.strip().upper() != keyword:
        raise CommandSyntaxError(f"501 5.5.4 Syntax: {keyword.decode()}:<address>")
    match = _COMMON_PATH.fullmatch(path) or _QUOTED_PATH.fullmatch(path) or _BARE_PATH.fullmatch(path)
    if match is None:
        raise CommandSyntaxError(f"501 {'5.1.7' if keyword == b'FROM' else '5.1.3'} Bad address syntax")
    return Path(_plain_address(decode(match[1])), _parameters(match[2] or b""))


def parse_bdat(rest: bytes) -> tuple[int, bool]:
    """Size in octets and whether it is the last chunk (RFC 3030 section 2).

    Raises CommandSyntaxError with 521: the session cannot go on."""
    words = rest.split()
    good = 1 <= len(words) <= 2 and len(words[0]) <= 19 and words[0].isdigit()
    if not good or (len(words) == 2 and words[1].upper() != b"LAST"):
        raise CommandSyntaxError("521 5.5.4 Syntax: BDAT size [LAST]")
    return int(words[0]), len(words) == 2


def decode(octets: bytes) -> str:
    """Text of what a client sent: UTF-8 (RFC 6531), else octet by octet: no address is unspeakable."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _plain_address(address: str) -> str:
    if address.startswith("@"):
        _, _, address = address.partition(":")
    if address.startswith('"'):
        local, _, domain = address.rpartition("@")
        unquoted = re.sub(r"\\(.)", r"\1", local[1:-1])
        if _ATOM.fullmatch(unquoted):
            return f"{unquoted}@{domain}"
    return address


def _parameters(octets: bytes) -> dict[str, str]:
    parameters = {}
    for word in octets.split():
        name, _, value = word.partition(b"=")
        parameters[decode(name).upper()] = decode(value)
    return parameters
