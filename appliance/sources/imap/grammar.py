"""What a server says, taken apart (RFC 9051, section 9): values, responses, codes. Pure.

A response is given as its *parts*: text, literal, text, …: each literal stands behind the text that announced it.
Whatever the octets are, a value comes out of it, or a GrammarError.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Sequence
from typing import Final, TypeAlias, Union

import msgspec

Value: TypeAlias = Union[bytes, "list[Value]", None]
"""A string or an atom, NIL, or a parenthesised list."""


class Atom(bytes):
    """An atom, where that matters: it is as good as a string for a name, and is no string where content is expected."""


_DEEPEST: Final = 100
_LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\Z")
_TOKEN = re.compile(
    rb' *(?:(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<literal>~?\{\d+\+?\}\Z)|(?P<atom>[^ ()"]+))',
    re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_CODE = re.compile(rb"\[([^\s\]]+)(?: ((?:[^\]\"]|\"(?:[^\"\\]|\\.)*\")*))?\] ?", re.DOTALL)


_DATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_MONTHS: Final = b"janfebmaraprmayjunjulaugsepoctnovdec"


class GrammarError(ValueError):
    """Octets that no IMAP server sends."""


class Response(msgspec.Struct, frozen=True):
    """One response. ``tag`` is ``*`` for an untagged one, ``+`` for a request to go on.

    ``number`` is that of ``* 12 FETCH``; ``name`` is in capitals; ``rest`` are the parts behind it.
    """

    tag: bytes
    name: bytes
    rest: tuple[bytes, ...]
    number: int | None = None

    def values(self) -> list[Value]:
        """The rest as values. Raises GrammarError."""
        return values(self.rest)

    def code(self) -> tuple[bytes, bytes]:
        """Of OK, NO, BAD, BYE, PREAUTH: the response code in capitals and what stands behind it in the brackets."""
        found = _CODE.match(self.rest[0])
        return (found[1].upper(), found[2] or b"") if found else (b"", b"")

    def text(self) -> str:
        """Of OK, NO, BAD, BYE, PREAUTH: what is meant for people."""
        found = _CODE.match(self.rest[0])
        return self.rest[0][found.end() if found else 0 :].decode("utf-8", "replace").strip()


def literal(line: bytes) -> int | None:
    """How long the literal is that the line announces at its end; None if it announces none."""
    found = _LITERAL.search(line, max(len(line) - 24, 0)) if line.endswith(b"}") else None
    return int(found[1]) if found else None


def response(parts: Sequence[bytes]) -> Response:
    """A response by its parts. Raises GrammarError."""
    tag, _, rest = parts[0].partition(b" ")
    word, _, behind = rest.partition(b" ")
    if not tag or (not word and tag != b"+"):
        raise GrammarError
    if tag == b"+":
        return Response(tag, b"", (rest, *parts[1:]))
    if tag == b"*" and word.isdigit():
        name, _, behind = behind.partition(b" ")
        return Response(tag, name.upper(), (behind, *parts[1:]), number(word))
    return Response(tag, word.upper(), (behind, *parts[1:]))


def values(parts: Sequence[bytes]) -> list[Value]:
    """All values of a text with literals. Raises GrammarError."""
    top: list[Value] = []
    stack = [top]
    for at, part in enumerate(parts):
        if at % 2:
            stack[-1].append(part)
            continue
        if at and part[:1] not in (b"", b" ", b")"):  # the literal was of another length than announced
            raise GrammarError
        if _take(part, stack) != (at + 1 < len(parts)):
            raise GrammarError
    if len(stack) != 1:
        raise GrammarError
    return top


def pairs(value: Value) -> dict[bytes, Value]:
    """A list of names and values, such as that of FETCH and STATUS, the names in capitals. Raises GrammarError."""
    if not isinstance(value, list) or len(value) % 2:
        raise GrammarError
    return {string(name).upper(): one for name, one in zip(value[::2], value[1::2], strict=True)}


def string(value: Value) -> bytes:
    """A string or an atom. Raises GrammarError."""
    if not isinstance(value, bytes):
        raise GrammarError
    return value


def strings(value: Value) -> list[bytes]:
    """A list of strings. Raises GrammarError."""
    if not isinstance(value, list):
        raise GrammarError
    return [string(one) for one in value]


def number(value: Value) -> int:
    """A number up to 64 bits. Raises GrammarError."""
    if not isinstance(value, bytes) or not value.isdigit() or len(value) > 20:
        raise GrammarError
    return int(value)


def microseconds(value: Value) -> int | None:
    """A date-time such as that of INTERNALDATE, as microseconds since 1970; None where it is none."""
    found = _DATE.fullmatch(value) if isinstance(value, bytes) else None
    if found is None or (month := _MONTHS.find(found[2].lower())) % 3:
        return None
    day, year, hour, minute, second, zone_hours, zone_minutes = (int(found[at]) for at in (1, 3, 4, 5, 6, 8, 9))
    ahead = (zone_hours * 60 + zone_minutes) * (-60 if found[7] == b"-" else 60)
    try:
        return (timegm((year, month // 3 + 1, day, hour, minute, second)) - ahead) * 1_000_000
    except ValueError:
        return None


def quoted(octets: bytes) -> bytes:
    """As a quoted string, for a command."""
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _take(text: bytes, stack: list[list[Value]]) -> bool:
    """Add the values of a text to the innermost list; whether it announced a literal."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            if text[at:].strip(b" "):
                raise GrammarError
            break
        at = found.end()
        match found.lastgroup:
            case "open":
                if len(stack) > _DEEPEST:
                    raise GrammarError
                inner: list[Value] = []
                stack[-1].append(inner)
                stack.append(inner)
            case "close":
                if len(stack) == 1:
                    raise GrammarError
                stack.pop()
            case "quoted":
                stack[-1].append(_ESCAPED.sub(rb"\1", found["quoted"]))
            case "literal":
                return True
            case _:
                stack[-1].append(None if found["atom"].upper() == b"NIL" else Atom(found["atom"]))
    return False
