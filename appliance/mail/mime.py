"""The structure of a message as places in its bytes: which parts there are, where each begins and ends.

RFC 2045, 2046 and 5322, read as mail is and not as it should be. Nothing is copied but header fields, so a
150 MB message costs no more than its own bytes, and every place is exact: what a journal report encloses is
found to the byte (docs/decisions/0030-own-mime-splitter.md says why the standard library's parser is not used).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import msgspec

from appliance.mail import headers

DEEPEST = 40  # levels of multipart; below that a part is shown as one attachment
MOST_PARTS = 5_000
_CHUNK = 1024 * 1024

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
_MBOX_LINE = re.compile(rb">?From [^\n]*\n")
_IDENTITY_ENCODINGS = frozenset({"", "7bit", "8bit", "binary"})


class Head(msgspec.Struct, frozen=True):
    """The header of a message or part: fields in order (name and value as written), and where the body begins."""

    fields: tuple[tuple[bytes, bytes], ...]
    body: int
    separated: bool  # a blank line follows, as it must

    def first(self, name: bytes) -> bytes | None:
        """The first value of a field; ``name`` in lower case."""
        for key, value in self.fields:
            if key.lower() == name:
                return value
        return None


class Part(msgspec.Struct, frozen=True):
    """One part. ``start``, ``body`` and ``end`` are offsets into the bytes it was read from; ``end`` is before
    the line end that belongs to the boundary after it (RFC 2046 section 5.1.1)."""

    head: Head
    content_type: str
    parameters: headers.Parameters
    encoding: str
    start: int
    end: int
    children: tuple[Part, ...] = ()
    defects: tuple[str, ...] = ()

    @property
    def body(self) -> int:
        """Where the body begins."""
        return self.head.body


class Delimiter(msgspec.Struct, frozen=True):
    """A boundary line: ``before`` is where the content before it ends, ``after`` where that after it begins."""

    before: int
    after: int
    closing: bool


def read_head(raw: bytes, start: int, end: int) -> Head:
    """Read header fields up to the blank line, or to the first line that cannot be one."""
    position = start
    fields = []
    match = _FIELD.match
    while (found := match(raw, position, end)) is not None:
        fields.append((found[1], found[2]))
        position = found.end()
    if raw.startswith(b"\n", position) and position < end:
        return Head(tuple(fields), position + 1, True)
    if raw.startswith(b"\r\n", position) and position < end:
        return Head(tuple(fields), min(position + 2, end), True)
    return Head(tuple(fields), position, position >= end)


def message_start(raw: bytes, start: int = 0) -> int:
    """Where the header begins: after the From line that an mbox file may have left before it."""
    line = _MBOX_LINE.match(raw, start)
    return line.end() if line else start


def split(raw: bytes, start: int = 0, end: int | None = None) -> Part:
    """The part tree of the message in ``raw[start:end]``. Enclosed messages (message/rfc822) are leaves."""
    stop = len(raw) if end is None else end
    return _part(raw, min(message_start(raw, start), stop), stop, "text/plain", 0, [MOST_PARTS])


def leaf(raw: bytes, start: int, end: int, default: str = "text/plain") -> Part:
    """The part at ``raw[start:end]`` as one piece, whatever its type; ``default`` where it names none."""
    head = read_head(raw, start, end)
    value = head.first(b"content-type")
    content_type, parameters = (default, headers.NO_PARAMETERS) if value is None else headers.media_type(value, default)
    defects = () if head.separated else ("no blank line after the header",)
    return Part(head, content_type, parameters, _encoding(head), start, end, (), defects)


def leaves(root: Part) -> Iterator[Part]:
    """The parts that have content, in document order; an attachment's number counts these from 0."""
    if not root.children:
        yield root
    for child in root.children:
        yield from leaves(child)


def delimiters(raw: bytes, start: int, end: int, boundary: bytes) -> list[Delimiter]:
    """All lines in ``raw[start:end]`` that are this boundary, also those after a closing one."""
    marker = b"--" + boundary
    found: list[Delimiter] = []
    position = start
    while len(found) < MOST_PARTS and (at := raw.find(marker, position, end)) >= 0:
        position = at + 1
        if at > start and raw[at - 1] != 0x0A:
            continue
        tail = at + len(marker)
        newline = raw.find(b"\n", tail, end)
        after = end if newline < 0 else newline + 1
        rest = raw[tail : min(after, tail + 80)].strip(b" \t\r\n")
        if rest not in (b"", b"--"):  # another boundary that begins like this one
            continue
        before = at
        if before > start:
            before -= 2 if before - 2 >= start and raw[before - 2] == 0x0D else 1
        found.append(Delimiter(before, after, rest == b"--"))
        position = after
    return found


def boundary_of(parameters: headers.Parameters, value: bytes) -> bytes:
    """The boundary parameter in its own bytes; ``value`` is the raw Content-Type."""
    boundary = parameters.get("boundary", "")
    if boundary.isascii():
        return boundary.rstrip().encode()
    raw = re.search(rb'boundary\s*=\s*"?([^";\r\n]+)', value, re.IGNORECASE)
    return raw[1].rstrip() if raw else b""


def decoded(raw: bytes, part: Part) -> bytes:
    """The content of a leaf with its transfer encoding undone."""
    return b"".join(decoded_chunks(raw, part))


def decoded_chunks(raw: bytes, part: Part) -> Iterator[bytes]:
    """The content of a leaf in pieces, so that hashing a large one takes little memory."""
    if part.encoding == "base64":
        return _base64_chunks(raw, part.body, part.end)
    if part.encoding == "quoted-printable":
        return _quoted_chunks(raw, part.body, part.end)
    return _plain_chunks(raw, part.body, part.end)


def _part(raw: bytes, start: int, end: int, default: str, depth: int, budget: list[int]) -> Part:
    budget[0] -= 1
    whole = leaf(raw, start, end, default)
    if not whole.content_type.startswith("multipart/"):
        return whole
    if depth >= DEEPEST:
        return _shown_as(whole, "application/octet-stream", "nested too deep")
    boundary = boundary_of(whole.parameters, whole.head.first(b"content-type") or b"")
    spans, closed = _sections(raw, whole.body, end, boundary) if boundary else ([], False)
    if not spans:
        return _shown_as(whole, "text/plain", "boundary not found" if boundary else "no boundary")
    defects = whole.defects if closed else (*whole.defects, "no closing boundary")
    inner = "message/rfc822" if whole.content_type == "multipart/digest" else "text/plain"
    children = []
    for child_start, child_end in spans:
        if budget[0] <= 0:
            defects = (*defects, "too many parts")
            break
        children.append(_part(raw, child_start, child_end, inner, depth + 1, budget))
    return msgspec.structs.replace(whole, children=tuple(children), defects=defects)


def _shown_as(part: Part, content_type: str, defect: str) -> Part:
    return msgspec.structs.replace(part, content_type=content_type, defects=(*part.defects, defect))


def _encoding(head: Head) -> str:
    value = head.first(b"content-transfer-encoding")
    if value is None:
        return ""
    encoding = headers.parameters(value)[0]
    return "" if encoding in _IDENTITY_ENCODINGS else encoding


def _sections(raw: bytes, start: int, end: int, boundary: bytes) -> tuple[list[tuple[int, int]], bool]:
    spans: list[tuple[int, int]] = []
    begin = -1
    for delimiter in delimiters(raw, start, end, boundary):
        if begin >= 0:
            spans.append((begin, max(begin, delimiter.before)))
        if delimiter.closing:
            return spans, True
        begin = delimiter.after
    if begin >= 0:
        spans.append((begin, end))
    return spans, False


def _plain_chunks(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _CHUNK):
        yield raw[at : min(at + _CHUNK, end)]


def _base64_chunks(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    if end - start <= _CHUNK:
        yield headers.base64(raw[start:end])
        return
    left = b""
    for at in range(start, end, _CHUNK):
        clean = left + headers.base64_letters(raw[at : min(at + _CHUNK, end)])
        if b"=" in clean:  # the end, but for what may follow it
            yield headers.base64(clean + raw[at + _CHUNK : end])
            return
        whole = len(clean) // 4 * 4
        left = clean[whole:]
        yield headers.base64(clean[:whole])
    yield headers.base64(left)


def _quoted_chunks(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    position = start
    while position < end:
        stop = min(position + _CHUNK, end)
        if stop < end:
            newline = raw.rfind(b"\n", position, stop)
            if newline < 0:
                newline = raw.find(b"\n", stop, end)
            stop = end if newline < 0 else newline + 1
        yield binascii.a2b_qp(raw[position:stop])
        position = stop
