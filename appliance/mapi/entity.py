"""MIME entities that are written as they are read: of their bodies only small ones are held (RFC 2045, 2046).

The same parts always give the same bytes. A boundary is a hash over everything within, so no entity within another has
the other's; and none of the encodings used here can have ``=_`` in a line, with which boundaries begin.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

CHUNK: Final = 256 * 1024
"""Bytes of a message that are handed over at a time, about."""

_LINE = 57  # bytes that make a base64 line of 76 letters
_BLOCK = _LINE * 512
_BLOCK_LINES = struct.Struct("76s" * 512)
_LONGEST = 990  # octets of a line that is left as it is


class Entity(NamedTuple):
    """A part or a message: fields that describe its content, each with its line end, and a body."""

    fields: bytes
    body: Callable[[], Iterable[bytes]]
    """Writes the body, without the line end before a boundary; called once."""
    digest: bytes
    """SHA-256 over all that makes this entity differ from others."""

    def described(self, *fields: bytes) -> Entity:
        """The entity with further fields."""
        added = b"".join(fields)
        return self._replace(fields=self.fields + added, digest=_digest(self.digest, added))

    def pieces(self, before: bytes = b"") -> Iterator[bytes]:
        """The entity with ``before`` at its head, in pieces of about ``CHUNK``."""
        yield from gathered((before, self.fields, b"\r\n"), self.body())


def text(content: str | bytes, subtype: str = "plain", charset: str = "utf-8", parameters: str = "") -> Entity:
    """A text. Bytes are in that charset, which must contain ASCII; line ends become CRLF (RFC 2046 section 4.1.1).
    ``parameters`` go into the Content-Type, each with a semicolon and blank before it."""
    data = content.encode() if isinstance(content, str) else content
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    encoding, write = _transfer_encoding(data)
    label = "us-ascii" if charset == "utf-8" and data.isascii() else charset
    kind = f'Content-Type: text/{subtype}; charset="{label}"{parameters}\r\n'
    fields = f"{kind}Content-Transfer-Encoding: {encoding}\r\n".encode()
    return Entity(fields, lambda: write(_blocks(data)), _digest(fields, data))


def encoded(kind: bytes, content: Callable[[], Iterable[bytes]], digest: bytes) -> Entity:
    """Any bytes in base64. ``kind`` are the fields that say what it is, ``digest`` tells it from others."""
    fields = kind + b"Content-Transfer-Encoding: base64\r\n"
    return Entity(fields, lambda: base64(content()), _digest(fields, digest))


def enclosed(kind: bytes, content: Callable[[], Iterable[bytes]], digest: bytes, *, ascii: bool) -> Entity:
    """Bytes as they are, such as an enclosed message, which may have no other encoding (RFC 2046 section 5.2.1);
    ``digest`` is over all of them."""
    fields = kind + (b"" if ascii else b"Content-Transfer-Encoding: 8bit\r\n")
    return Entity(fields, content, _digest(fields, digest))


def multipart(subtype: str, parts: Sequence[Entity], parameters: str = "") -> Entity:
    """Parts as one; ``parameters`` go into the Content-Type, each with a semicolon and blank before it."""
    digest = _digest(subtype.encode(), parameters.encode(), *(part.digest for part in parts))
    boundary = "=_" + digest.hex()[:40]
    fields = f'Content-Type: multipart/{subtype}{parameters};\r\n boundary="{boundary}"\r\n'.encode()
    return Entity(fields, lambda: _parts(parts, b"--" + boundary.encode()), digest)


def message(head: bytes, content: Entity) -> Entity:
    """A whole message as the part of another (message/rfc822)."""
    kind = b"Content-Type: message/rfc822\r\n"
    digest = _digest(head, content.digest)
    return enclosed(kind, lambda: content.pieces(head), digest, ascii=True)


def gathered(*sources: Iterable[bytes]) -> Iterator[bytes]:
    """All pieces of all sources, small ones joined."""
    held: list[bytes] = []
    size = 0
    for source in sources:
        for piece in source:
            held.append(piece)
            size += len(piece)
            if size >= CHUNK:
                yield b"".join(held)
                held.clear()
                size = 0
    if held:
        yield b"".join(held)


def base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as lines of base64 (RFC 2045 section 6.8), the last one without its line end."""
    left = b""
    first = True
    for piece in pieces:
        whole = left + piece
        blocks = max(0, len(whole) - 1) // _BLOCK
        for index in range(blocks):
            yield (b"" if first else b"\r\n") + _block(whole[index * _BLOCK : (index + 1) * _BLOCK])
            first = False
        left = whole[blocks * _BLOCK :]
    if left:
        yield (b"" if first else b"\r\n") + _lines(left)


def _block(data: bytes) -> bytes:
    """``_BLOCK`` bytes as lines, cut at once: more than twice as fast as one after the other."""
    return b"\r\n".join(_BLOCK_LINES.unpack(binascii.b2a_base64(data, newline=False)))


def _lines(data: bytes) -> bytes:
    letters = binascii.b2a_base64(data, newline=False)
    return b"\r\n".join([letters[at : at + 76] for at in range(0, len(letters), 76)])


def _parts(parts: Sequence[Entity], delimiter: bytes) -> Iterator[bytes]:
    for part in parts:
        yield delimiter + b"\r\n" + part.fields + b"\r\n"
        yield from part.body()
        yield b"\r\n"
    yield delimiter + b"--\r\n"


def _transfer_encoding(data: bytes) -> tuple[str, Callable[[Iterable[bytes]], Iterable[bytes]]]:
    """What keeps the text readable: as it is, quoted-printable, or base64 for other scripts; and what writes it so, out
    of blocks of whole lines that end with LF."""
    if data.isascii() and b"\0" not in data and b"=_" not in data and all(map(_has_short_lines, _blocks(data))):
        return "7bit", lambda blocks: (block.replace(b"\n", b"\r\n") for block in blocks)
    sample = data[:CHUNK]
    beyond = len(sample) - len(sample.translate(None, _BEYOND_ASCII))
    if beyond * 5 > len(sample):
        return "base64", lambda blocks: base64(block.replace(b"\n", b"\r\n") for block in blocks)
    return "quoted-printable", lambda blocks: (
        binascii.b2a_qp(block, istext=True).replace(b"\n", b"\r\n") for block in blocks
    )


def _blocks(data: bytes) -> Iterator[bytes]:
    """The data in pieces of about ``CHUNK``, each but the last one up to the end of a line."""
    position = 0
    while position < len(data):
        newline = data.find(b"\n", position + CHUNK)
        end = newline + 1 if newline >= 0 else len(data)
        yield data[position:end]
        position = end


def _has_short_lines(block: bytes) -> bool:
    return max(map(len, block.split(b"\n"))) <= _LONGEST


_BEYOND_ASCII = bytes(range(0x80, 0x100))


def _digest(*pieces: bytes) -> bytes:
    whole = hashlib.sha256()
    for piece in pieces:
        whole.update(len(piece).to_bytes(8, "big") + piece)
    return whole.digest()
