"""mbox: messages one after the other, each behind a line that begins with “From ” (RFC 4155, and what came before it).

Four kinds are read without being told which it is (docs/decisions/0188). In mboxo and mboxrd a line of a message that
begins like a separator has a ``>`` put before it, which is taken off again. In mboxcl and mboxcl2 Content-Length says
where a message ends; it is believed where what follows is a separator or the end of the file, and then nothing is
taken off. Without it a separator is a line “From ” with a date behind a blank line, or one that looks less like it and
has a header after it.

The file is read once, from its beginning to its end, whatever its size; of a message no more than some pieces are held.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from appliance.imports import lines, marks
from appliance.imports.base import CHUNK, Entry, FileError, Message, Meta, Options
from appliance.mail.folders import Role

_LONGEST_HEAD = 256 * 1024
_LONGEST_LINE = 1024  # of a separator
_BEGUN = 10  # bytes in which a separator, and the empty line before it, may have begun
_AHEAD = 16 * 1024 * 1024  # how far a Content-Length is followed

_FIELD = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_DAY = re.compile(
    rb"[ \t](?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?[ \t]+(?:\d{1,2}[ \t]+)?"
    rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ \t]",
    re.IGNORECASE,
)
_TIME = re.compile(rb"\b\d{1,2}:\d\d")
_YEAR = re.compile(rb"\b\d{4}\b")
_BARE_SENDER = re.compile(rb"From [^ \t\r\n]+[ \t]*\r?\n")
_WHEN = re.compile(
    rb"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?[ \t]+([a-z]{3})[a-z]*[ \t]+(\d{1,2})[ \t]+"
    rb"(\d{1,2}):(\d\d)(?::(\d\d))?(?:[ \t]+([+-]\d{4})|[ \t]+[a-z]{1,5})?[ \t]+(\d{4})(?:[ \t]+([+-]\d{4}))?",
    re.IGNORECASE,
)
_MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_SURELY_QUOTED: Final = b"\n>>From "  # mboxo writes no such line
_BLANK_LINE = re.compile(rb"\n\r?\n")

_EXPUNGED = (
    "Thunderbird has it marked as deleted; it would have vanished when the folder was compacted. Import with what was"
    " deleted to have it."
)
_PARTIAL = "Thunderbird had fetched only the beginning of it from the server; the rest is not in the file."
_ALL_MAIL: Final = (("All Mail",), "all")


def read(file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
    """As ``imports.base.Reader``; ids are the separators' offsets."""
    text = _Text(file)
    text.pass_blanks()
    if not text.starts(b"From "):
        raise FileError(f"{name} is no mbox file: it does not begin with a line “From ”.")
    while text.look(1):
        stored = _Stored(text)
        yield stored.entry(options)
        stored.finish()


class _Text:
    """A file read from its beginning, of which what lies ahead can be looked at: ``held`` from ``at`` on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ended = False
        self._before = 0  # offset in the file of the first byte of ``held``
        self.held = b""
        self.at = 0

    @property
    def offset(self) -> int:
        """Of the next byte in the file."""
        return self._before + self.at

    def look(self, count: int) -> int:
        """Hold ``count`` bytes from here on, or all that are left; how many are held."""
        while len(self.held) - self.at < count and self.more():
            pass
        return len(self.held) - self.at

    def more(self) -> bool:
        """Hold more, and nothing of what was passed; False at the end."""
        if not self._ended:
            held = self.held[self.at :]
            piece = self._file.read(max(CHUNK, len(held)))  # doubling: what is held is copied each time
            self._ended = not piece
            self._before, self.at, self.held = self.offset, 0, held + piece
        return not self._ended

    def take(self, count: int) -> bytes:
        """Pass the next ``count`` bytes, which are held."""
        taken = self.held[self.at : self.at + count]
        self.at += len(taken)
        return taken

    def starts(self, with_: bytes | tuple[bytes, ...]) -> bool:
        """Whether the next bytes are these."""
        self.look(8)
        return self.held.startswith(with_, self.at)

    def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:
        """Where ``what`` is in what is held, from here; -1 where it is not."""
        found = self.held.find(what, self.at + start, len(self.held) if end is None else self.at + end)
        return found - self.at if found >= 0 else -1

    def pass_blanks(self) -> None:
        """Pass a byte order mark and empty lines."""
        if self.starts(b"\xef\xbb\xbf"):
            self.take(3)
        while self.starts((b"\n", b"\r")):
            self.take(1)


class _Stored:
    """The message behind a separator, which is where the text is."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._at = text.offset
        held = text.look(_LONGEST_LINE)
        self._separator = text.take(text.find(b"\n") + 1 or held)
        self._head = self._look_at_head()
        self._marks = marks.read(self._head)
        self._body = text.offset + len(self._head)
        self._end = self._end_by_length()
        self._over = False

    def entry(self, options: Options) -> Entry:
        (folder, role), *_ = self._folders()
        if self._marks.expunged and not options.recovered:
            return Entry(str(self._at), folder, role=role, left=_EXPUNGED)
        return Entry(str(self._at), folder, role=role, content=self._message)

    def finish(self) -> None:
        """Go to the next separator, or the end."""
        for _ in self._raw():
            pass

    def _folders(self) -> tuple[tuple[tuple[str, ...], Role], ...]:
        if self._marks.folders is None:
            return (((), ""),)
        return self._marks.folders or (_ALL_MAIL,)

    def _message(self) -> Message:
        flags = dict.fromkeys(self._marks.flags) | dict.fromkeys(["deleted"] if self._marks.expunged else [])
        quoted = self._end is None
        meta = Meta(
            received=_received(self._separator),
            flags=tuple(flags),
            labels=tuple(path for path, _ in self._folders()[1:]),
            exact=not (quoted and self._may_have_been_quoted_otherwise()),
            warnings=(_PARTIAL,) if self._marks.partial else (),
        )
        pieces = _unquoted(self._raw()) if quoted else self._raw()
        return Message(lines.as_received(pieces, bare=lines.ends_bare(self._head)), meta)

    def _may_have_been_quoted_otherwise(self) -> bool:
        """Whether “>From ” may have been there from the beginning, as far as the message is held."""
        text = self._text
        if text.find(b"\n>From ") < 0:
            return False
        end, _ = self._next_separator()
        return text.find(b"\n>From ", 0, end) >= 0 and text.find(_SURELY_QUOTED, 0, end) < 0

    def _look_at_head(self) -> bytes:
        """The header with its blank line; without one all that may be header."""
        text = self._text
        if text.starts((b"\n", b"\r\n")):
            return text.held[text.at : text.at + text.find(b"\n") + 1]
        while True:
            found = _BLANK_LINE.search(text.held, text.at, text.at + _LONGEST_HEAD)
            if found is not None:
                return text.held[text.at : found.end()]
            if len(text.held) - text.at >= _LONGEST_HEAD or not text.more():
                end = min(self._next_separator()[0], _LONGEST_HEAD)
                return text.held[text.at : text.at + end]

    def _end_by_length(self) -> int | None:
        """Where the message ends as Content-Length says, if that leads to a separator or the end of the file."""
        length = self._marks.length
        if length is None or length > _AHEAD:
            return None
        end = len(self._head) + length
        text = self._text
        if text.look(end + 2 * _LONGEST_LINE) < end:
            return None
        behind = text.at + end
        while text.held.startswith((b"\n", b"\r"), behind) and behind < text.at + end + 4:
            behind += 1
        if behind == len(text.held) or (text.held.startswith(b"From ", behind) and self._separates(behind, blank=True)):
            return text.offset + end
        return None

    def _raw(self) -> Iterator[bytes]:
        """The message's bytes as they are in the file, in pieces of whole lines; then the text is at the next
        separator. What was given once is not given again."""
        if self._end is not None:
            yield from self._counted()
            return
        text = self._text
        while not self._over:
            end, found = self._next_separator()
            if found or not text.more():
                self._over = True
                piece = text.take(end if found else len(text.held))
                yield piece[: len(piece) - self._blank_line(piece)]
            elif end >= CHUNK:
                yield text.take(end)

    def _counted(self) -> Iterator[bytes]:
        text = self._text
        while self._end is not None and (left := self._end - text.offset) > 0:
            yield text.take(min(left, CHUNK, text.look(1)))
        if not self._over:
            self._over = True
            text.pass_blanks()

    def _blank_line(self, last: bytes) -> int:
        """Bytes of the empty line between a message's last piece and the separator: not the one after its header."""
        for end in (b"\n\r\n", b"\n\n"):
            if last.endswith(end):
                blank = len(end) - 1
                return blank if self._text.offset - blank >= self._body else 0
        return 0

    def _next_separator(self) -> tuple[int, bool]:
        """How far it is to the next separator, and True; or how far there is surely none in what is held."""
        text = self._text
        at = -1
        while (at := text.find(b"\nFrom ", at + 1)) >= 0:
            if len(text.held) - text.at < at + 2 * _LONGEST_LINE:
                text.more()
            here = text.at + at
            if self._separates(here + 1, blank=text.held.endswith((b"\n", b"\n\r"), max(0, here - 2), here)):
                return at + 1, True
        held = len(text.held) - text.at
        line = text.held.rfind(b"\n", text.at, max(text.at, len(text.held) - _BEGUN)) + 1 - text.at
        return (line if line > held // 2 else max(0, held - _BEGUN)), False

    def _separates(self, at: int, *, blank: bool) -> bool:
        held = self._text.held
        end = held.find(b"\n", at, at + _LONGEST_LINE) + 1
        if not end:
            return blank and len(held) - at < _LONGEST_LINE and _dated(held[at:])
        header = _FIELD.match(held, end) is not None or held.startswith(b">From ", end)
        if _dated(held[at:end]):
            return blank or header
        return blank and header and _BARE_SENDER.match(held, at, end) is not None


def _dated(line: bytes) -> bool:
    """Whether a line has a day, and a time and a year behind it: one search each, since the line may be hostile."""
    day = _DAY.search(line)
    return day is not None and bool(_TIME.search(line, day.end()) and _YEAR.search(line, day.end()))


def _unquoted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces, of whole lines mostly, with one ``>`` off lines that begin with some and “From ”."""
    begins = True
    for piece in pieces:
        if b">From " in piece:
            held = b"" if begins else piece[: piece.find(b"\n") + 1] or piece
            yield held + _QUOTED.sub(rb"\1", piece[len(held) :])
        else:
            yield piece
        begins = piece.endswith(b"\n") if piece else begins


def _received(separator: bytes) -> int | None:
    """When a message was received, in microseconds, as its separator says (UTC, RFC 4155 appendix A).

    None where it says nothing of it: Thunderbird writes when it copied the message, with “-” for its sender; tools that
    know no time write the year 1970.
    """
    found = None if separator.startswith(b"From - ") else _WHEN.search(separator)
    if found is None:
        return None
    month, day, hour, minute, second, before, year, after = found.groups()
    if month.lower() not in _MONTHS or int(year) <= 1970:
        return None
    moment = (int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second or 0))
    zone = int(before or after or b"0")
    offset = (abs(zone) // 100 * 3600 + abs(zone) % 100 * 60) * (-1 if zone < 0 else 1)
    if not 1 <= moment[2] <= 31 or moment[3] > 23 or moment[4] > 59 or moment[5] > 60:
        return None
    return (calendar.timegm(moment) - offset) * 1_000_000
