"""Mail addresses: out of header fields as people and programs write them, and into one comparable form.

The comparable form (``normalise``) is lower case, NFC, without angle brackets, source route or trailing dot, its
domain in Unicode: docs/decisions/0031-addresses-in-unicode.md. RFC 5322 section 3.4, RFC 6531, RFC 5890.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from appliance.mail import headers
from appliance.mail.facts import Mailbox

LONGEST = 20 * 1024  # characters of an address that are kept
MOST = 20_000  # mailboxes of one field that are kept

_PLAIN = re.compile(r"^[a-z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-z0-9.-]*[a-z0-9]$")
_SCHEME = re.compile(r"^(?:mailto|smtp):", re.IGNORECASE)
_ROUTE = re.compile(r"^@[^:\s]*:")
_SPACE = re.compile(r"\s+")
_LONGEST_LABEL = 63  # RFC 1035 section 2.3.4


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """The comparable form of an address; never raises, and two writings of one address give one result."""
    address = text[: LONGEST + 2].strip().strip("<>").strip()
    if len(address) <= 254 and address.isascii():
        lower = address.lower()
        if "xn--" not in lower and _PLAIN.match(lower):
            return lower
    address = _ROUTE.sub("", _SCHEME.sub("", address))[:LONGEST]
    address = _SPACE.sub(" ", unicodedata.normalize("NFC", address.lower()).replace("\0", "")).strip()
    local, at, host = address.rpartition("@")
    if not at:
        return address
    return f"{_unquoted(local)}@{_host(host)}"


def domain(address: str) -> str:
    """The domain of a normalised address, "" where it has none."""
    return address.rpartition("@")[2] if "@" in address else ""


def local_part(address: str) -> str:
    """What is before the last @; the whole where there is none."""
    return address.rpartition("@")[0] if "@" in address else address


def parents(host: str) -> tuple[str, ...]:
    """The domains above ``host``, nearest first, down to two labels: a top-level domain alone says nothing."""
    labels = host.split(".")[:32]
    return tuple(".".join(labels[index:]) for index in range(1, len(labels) - 1))


def parse(value: bytes) -> tuple[Mailbox, ...]:
    """The mailboxes of a header field in order: groups opened (RFC 5322 section 3.4), names decoded, commas
    missing or too many. What is no address keeps its words as the name, so that it can still be found."""
    line = headers.unfold(value[: 4 * 1024 * 1024]).replace(b"\0", b"")
    found: list[Mailbox] = []
    for piece in _pieces(line):
        found.extend(_mailboxes(piece))
        if len(found) >= MOST:
            break
    return tuple(found[:MOST])


def _unquoted(local: str) -> str:
    """Quotes off where the local part does not need them (RFC 5321 section 4.1.2: same meaning)."""
    if len(local) > 2 and local[0] == local[-1] == '"':
        bare = local[1:-1]
        if not re.search(r'[\s"\\@<>(),:;\[\]]', bare) and not bare.startswith(".") and ".." not in bare:
            return bare
    return local


def _host(host: str) -> str:
    host = host.strip().rstrip(".")
    if "xn--" not in host:
        return host
    return ".".join(_label(label) for label in host.split("."))


def _label(label: str) -> str:
    """An A-label as Unicode, if it is a proper one: nothing hidden in it may change what the address is."""
    if not label.startswith("xn--") or len(label) > _LONGEST_LABEL or not label.isascii():
        return label
    try:
        shown = label[4:].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label
    proper = unicodedata.normalize("NFC", shown.lower()) == shown and not shown.isascii()
    if proper and all(
        character.isalnum() or character == "-" or unicodedata.combining(character) for character in shown
    ):
        return shown
    return label


_STOP = re.compile(rb'[",;:<>()]')
_PAIR = re.compile(rb"^\s*(.*?)\s*<\s*([^<>]*?)\s*>\s*$", re.DOTALL)


def _pieces(line: bytes) -> Iterator[bytes]:
    """Cut at commas and semicolons outside quotes, brackets and comments; group names are left out."""
    begin = position = 0
    comment = 0
    angle = False
    while (stop := _STOP.search(line, position)) is not None:
        sign = stop[0]
        position = stop.end()
        if sign == b'"' and not comment:
            position = _after_quotes(line, position)
        elif sign == b"(":
            comment += 1
        elif sign == b")":
            comment = max(0, comment - 1)
        elif comment:
            continue
        elif sign == b"<":
            angle = True
        elif sign == b">":
            angle = False
        elif sign == b":":
            if not angle and b"@" not in line[begin : position - 1]:
                begin = position
        elif not angle or sign == b";" or b"@" in line[begin : position - 1]:
            angle = False
            yield line[begin : position - 1]
            begin = position
    yield line[begin:]


def _after_quotes(line: bytes, position: int) -> int:
    """The place after the closing quote; a quote that never closes is taken as a letter."""
    closing = _CLOSING_QUOTE.match(line, position)
    return closing.end() if closing else position


_CLOSING_QUOTE = re.compile(rb'(?:[^"\\]|\\.){0,20000}"', re.DOTALL)


def _mailboxes(piece: bytes) -> Iterator[Mailbox]:
    piece = piece.strip()
    if not piece:
        return
    if piece.count(b"<") <= 1 and (pair := _PAIR.match(piece)) is not None:
        yield _named(pair[1], pair[2])
        return
    if b"<" in piece:
        yield from _several(piece)
        return
    if b"@" not in piece and b"=?" in piece:
        shown = headers.text(piece)
        if "@" in shown and "=?" not in shown:  # the whole field encoded, which RFC 2047 section 5 forbids
            yield from parse(shown.encode())
            return
    yield from _bare(piece)


def _several(piece: bytes) -> Iterator[Mailbox]:
    """Mailboxes that no comma parts: each closing bracket ends one."""
    for part in piece.split(b">"):
        name, bracket, address = part.rpartition(b"<")
        if bracket:
            yield _named(name, address)
        elif part.strip(b" \t\"'"):
            yield from _bare(part)


def _bare(piece: bytes) -> Iterator[Mailbox]:
    """An address without brackets, its name in a comment (RFC 5322 section 3.4, obsolete form)."""
    name = b""
    if b"(" in piece:
        head, _, rest = piece.partition(b"(")
        name, _, tail = rest.rpartition(b")") if b")" in rest else (rest, b"", b"")
        piece = head + b" " + tail
    if piece.strip().startswith(b'"') and piece.count(b'"') >= 2:
        quoted, _, after = piece.strip()[1:].partition(b'"')
        if after.startswith(b"@"):
            yield Mailbox(_name(name), normalise(f'"{headers.text(quoted)}"{headers.text(after)}'))
            return
    words = headers.text(piece).split()
    known = [word.strip("\"',") for word in words if "@" in word]
    if known:
        for word in known:
            yield Mailbox(_name(name), normalise(word))
    elif len(words) == 1 and not name:
        yield Mailbox("", normalise(words[0]))
    elif words or name:
        yield Mailbox(" ".join([*words, _name(name)]).strip(), "")


def _named(name: bytes, address: bytes) -> Mailbox:
    shown = headers.text(address) if b"=?" in address or not address.isascii() else address.decode("ascii")
    return Mailbox(_name(name), normalise(_SPACE.sub("", shown) if '"' not in shown else shown))


def _name(name: bytes) -> str:
    name = name.strip()
    if len(name) > 1 and name[:1] == b'"' and name[-1:] == b'"':
        name = name[1:-1]
    if b"\\" in name:
        name = re.sub(rb"\\(.)", rb"\1", name)
    shown = headers.text(name).strip()
    shown = shown.strip('"')  # also one that was never closed
    if len(shown) > 1 and shown[0] == shown[-1] == "'":
        shown = shown[1:-1].strip()
    return shown[:1000]
