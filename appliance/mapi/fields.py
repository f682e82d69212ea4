"""Header fields as they are written: encoded, folded, each with its line end (RFC 5322, 2047, 2231).

Whatever the text is, what comes out are lines of at most 998 octets (RFC 5322 section 2.1.1) without NUL, CR or LF but
at their ends. ASCII stays as it is; everything else becomes encoded words in UTF-8. An address beyond ASCII has no
other form than UTF-8 (RFC 6532).
"""

from __future__ import annotations

import binascii
import email.utils
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote

from appliance.mail.facts import Mailbox

_WIDTH = 76  # octets of a line, where it can be folded
_LONGEST_WORD = 900
_ENCODED_BYTES = 45  # UTF-8 of one encoded word: with its frame it stays below 75 (RFC 2047 section 2)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_WORD = re.compile(r"\s*\S+")
_PLAIN_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LOCAL = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,\"]+")
_LABEL = r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BARE = re.compile(r"[A-Za-z0-9._+@-]+")
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


def unstructured(name: str, value: str) -> bytes:
    """A field of free text, such as Subject."""
    return _folded(name, _words(_line(value)))


def structured(name: str, value: str) -> bytes:
    """A field whose value is ASCII in a syntax of its own, folded at its blanks; other characters become "?"."""
    return _folded(name, _line(value).encode("ascii", "replace").decode().split())


def mailboxes(name: str, people: Iterable[Mailbox]) -> bytes:
    """A field of people, whose addresses are such that ``is_address``. Who has none is left out; b"" for nobody."""
    written = [mailbox(one) for one in people if one.address]
    if not written:
        return b""
    last = len(written) - 1
    pieces: list[str] = []
    for index, words in enumerate(written):
        pieces += words if index == last else [*words[:-1], words[-1] + ","]
    return _folded(name, pieces)


def mailbox(person: Mailbox) -> list[str]:
    """Name and address, in pieces between which a line may be folded."""
    shown = _line(person.name).strip()
    if shown and shown != person.address:
        return [*_phrase(shown), f"<{person.address}>"]
    return [person.address if _BARE.fullmatch(person.address) else f"<{person.address}>"]


def is_address(text: str) -> bool:
    """Whether it can stand as an address without quotes: a local part, and a domain. Dots where none may be are
    allowed, since providers have given out such addresses."""
    local, _, host = text.rpartition("@")
    return bool(_LOCAL.fullmatch(local) and _DOMAIN.fullmatch(host)) and len(text.encode()) <= _LONGEST_WORD


def date(name: str, moment: datetime) -> bytes:
    """A point in time."""
    return f"{name}: {email.utils.format_datetime(moment)}\r\n".encode()


def parameterised(name: str, value: str, parameters: Sequence[tuple[str, str]], *, words: bool = False) -> bytes:
    """A field with parameters, such as Content-Disposition. Values beyond ASCII are written after RFC 2231; with
    ``words`` as encoded words within quotes, which RFC 2047 forbids and old programs need."""
    pieces = [value]
    for key, written in parameters:
        pieces[-1] += ";"
        pieces += _parameter(key, _line(written), words)
    return _folded(name, pieces)


def raw(name: bytes, value: bytes) -> bytes:
    """A field as it was: its folding kept, line ends made CRLF, lines that are too long folded at their blanks."""
    lines = [line.replace(b"\r", b"") for line in value.replace(b"\0", b"").split(b"\n")]
    first, *others = [line for line in lines if line.strip()] or [b""]
    kept = [name + b":" + first, *others]
    return b"".join(_short(line) + b"\r\n" for line in kept)


def _short(line: bytes) -> bytes:
    if len(line) <= 998:
        return line
    head, *words = re.findall(rb"[ \t]*[^ \t]+", line)
    lines = [head]
    for word in words:
        if len(lines[-1]) + len(word) > 900:
            lines.append(word)
        else:
            lines[-1] += word
    return b"\r\n".join(lines)


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _folded(name: str, words: Iterable[str]) -> bytes:
    """Words after one another, each with the blanks before it or one blank, folded before those that do not fit."""
    lines = [f"{name}:".encode()]
    for word in words:
        written = (word if word[:1] in (" ", "\t") else " " + word).encode()
        if len(lines[-1]) + len(written) > _WIDTH and (len(lines) > 1 or len(lines[-1]) > len(name) + 1):
            lines.append(written)
        else:
            lines[-1] += written
    return b"\r\n".join(lines) + b"\r\n"


def _words(text: str) -> list[str]:
    if text.isascii() and "=?" not in text:
        found: list[str] = _WORD.findall(text.strip())
        if all(len(word) <= _LONGEST_WORD for word in found):
            return found
    return encoded_words(text.strip())


def _phrase(name: str) -> list[str]:
    """A display name (RFC 5322 section 3.2.5). Quotes do not keep every program from reading brackets as an address."""
    if len(name) <= _WIDTH and _PLAIN_PHRASE.fullmatch(name) and "=?" not in name:
        return [name]
    if len(name) <= _WIDTH and name.isascii() and not re.search(r"=\?|[<>]", name):
        return ['"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"']
    return encoded_words(name)


def encoded_words(text: str) -> list[str]:
    """The text as encoded words (RFC 2047 section 2), none of which splits a character."""
    whole = text.encode()
    mostly_ascii = sum(byte in _Q_SAFE for byte in whole) * 3 > len(whole) * 2
    return [_q_word(piece) if mostly_ascii else _b_word(piece) for piece in _pieces(text, 20 if mostly_ascii else 0)]


def _pieces(text: str, width: int) -> list[bytes]:
    """UTF-8 in pieces of at most ``width`` (or 45) bytes, cut between characters."""
    most = width or _ENCODED_BYTES
    pieces = [b""]
    for character in text:
        written = character.encode()
        if len(pieces[-1]) + len(written) > most:
            pieces.append(b"")
        pieces[-1] += written
    return pieces


def _b_word(data: bytes) -> str:
    return f"=?utf-8?B?{binascii.b2a_base64(data, newline=False).decode()}?="


def _q_word(data: bytes) -> str:
    """Every octet that a phrase must not have is encoded (RFC 2047 section 5, rule 3)."""
    return "=?utf-8?Q?" + "".join(chr(b) if b in _Q_SAFE else "_" if b == 0x20 else f"={b:02X}" for b in data) + "?="


def _parameter(name: str, value: str, words: bool) -> list[str]:
    if value.isascii() and len(value) < _LONGEST_WORD // 2 and "=?" not in value:
        return [f'{name}="' + value.replace("\\", "\\\\").replace('"', '\\"') + '"']
    if words:
        first, *others = encoded_words(value)
        quoted = [f'{name}="{first}', *others]
        quoted[-1] += '"'
        return quoted
    escaped = quote(value, safe="")
    pieces = re.findall(r"(?:%[0-9A-F]{2}|[^%]){1,18}", escaped)
    if len(pieces) == 1:
        return [f"{name}*=utf-8''{escaped}"]
    pieces[0] = f"utf-8''{pieces[0]}"
    last = len(pieces) - 1
    return [f"{name}*{index}*={piece}" + ("" if index == last else ";") for index, piece in enumerate(pieces)]
