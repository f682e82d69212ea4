"""The files in an archive, one after the other: messages, and files with many messages.

Archives give their members in their own order, which is the order of the entries. A member whose path says that it is
one message is not touched before it is wanted; of any other the beginning says what it is. What is no mail is left, and
said; what mail programs keep beside mail is passed over in silence.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from appliance.imports import apple, eml, emlx, formats, placing
from appliance.imports.base import Entry, FileError, ItemError, Message, Options
from appliance.imports.placing import Placed
from appliance.imports.unpacking import DEEPEST, Begun, Budget, buffered, in_memory

_ARCHIVES: Final = {"zip": "zipped", "tar": "tarred", "packed": "packed"}
_STREAMED: Final = frozenset({"mbox", "packed", "tar"})
"""Formats that can be read from their beginning to their end; the others are read at any place."""
_SINGLE: Final = frozenset({"msg", "tnef"})
_MAIL_FIELDS = re.compile(
    rb"^(from|to|cc|date|subject|message-id|received|mime-version|return-path|content-type|delivered-to|sender)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LONGEST_SEQUENCES: Final = 4 * 1024 * 1024
_MOST_SPANS: Final = 1000

_NAMELESS: Final = ("_",)  # it may be mail all the same

_NO_MAIL = "It is no mail."
_UNFINISHED = "It is in a Maildir's tmp folder: a delivery that never finished."
_TOO_DEEP = f"Archives lie in each other more than {DEEPEST} deep; take it out and import it by itself."


class Member(NamedTuple):
    """A file in an archive.

    ``open`` gives its bytes from the beginning, once. ``direct`` is a view of it that can be read at any place, where
    that takes no copy; ``later`` gives its bytes at any time as long as the archive is read. ``left`` and ``broken`` as
    in ``Entry``: there is nothing to open then.
    """

    path: str
    open: Callable[[], BinaryIO]
    direct: Callable[[], BinaryIO] | None = None
    later: Callable[[], BinaryIO] | None = None
    left: str = ""
    broken: str = ""


class Within(NamedTuple):
    """Where an archive lies: how many archives it is in, and what may still come out of them all."""

    budget: Budget
    depth: int = 1


class Tree:
    """What is in the archive ``name``."""

    def __init__(self, name: str, options: Options, within: Within) -> None:
        self._name = name
        self._options = options
        self._within = within
        self._attachments: dict[apple.Key, dict[str, apple.Opener]] = {}  # of Apple Mail's messages, by their parts
        self._sequences: dict[tuple[str, ...], dict[str, _Sequence]] = {}  # of MH folders

    def entries(self, members: Iterable[Member]) -> Iterator[Entry]:
        """All entries of all members; what one member's reader raises concerns that member alone, but for FileError
        from ``members`` itself."""
        for member in members:
            path = placing.names(member.path) or _NAMELESS
            place = placing.placed(path, self._name)
            if member.left or member.broken:
                if place.layout != "furniture":
                    yield Entry(member.path, place.folder, left=member.left, broken=member.broken)
            elif (attachment := apple.attachment(member.path)) is not None:
                self._keep(*attachment, member)
            elif place.layout == "sequences":
                self._sequences[place.folder] = _sequences(member)
            elif place.layout == "unfinished":
                yield Entry(member.path, place.folder, left=_UNFINISHED)
            elif place.layout in ("message", "emlx"):
                yield self._message(member, place)
            elif place.layout != "furniture":
                yield from self._unnamed(member, place)

    def _message(self, member: Member, place: Placed) -> Entry:
        def content() -> Message:
            stream = member.open()
            if place.layout == "emlx":
                key = apple.message(member.path)
                files = self._attachments.get(key, {}) if key is not None else {}
                return emlx.message(stream, partial=emlx.is_partial(place.name), files=files)
            return eml.message(eml.pieces_of(stream), flags=place.flags, received=place.received)

        return Entry(member.path, place.folder, role=place.role, content=content)

    def _keep(self, key: apple.Key, part: str, member: Member) -> None:
        if member.later is not None:
            self._attachments.setdefault(key, {})[part] = member.later

    def _is_mh(self, place: Placed) -> bool:
        return place.folder in self._sequences

    def _mh_flags(self, place: Placed) -> tuple[str, ...]:
        known = self._sequences.get(place.folder)
        if known is None or not place.name.isdecimal() or len(place.name) > 9:
            return ()
        number = int(place.name)
        flags = () if known.get("unseen", _NONE).has(number) else ("seen",)
        return flags + tuple(flag for name, flag in _MH_FLAGS if known.get(name, _NONE).has(number))

    def _unnamed(self, member: Member, place: Placed) -> Iterator[Entry]:
        """The entries of a member whose path does not say what it is."""
        try:
            stream = member.open()
            head = _head(stream)
        except ItemError as error:
            yield Entry(member.path, place.folder, broken=str(error))
            return
        try:
            format = formats.recognise(head, place.name)
        except formats.UnknownError:
            yield Entry(member.path, place.folder, left=_NO_MAIL)
            return
        except FileError as error:
            yield Entry(member.path, place.folder, left=str(error))
            return
        if format.name == "eml" or (format.name == "mbox" and place.name.isdecimal() and self._is_mh(place)):
            if place.name.isdecimal() or _is_mail(head):
                again = buffered(Begun(head, stream))
                flags = self._mh_flags(place)
                yield Entry(
                    member.path,
                    place.folder,
                    role=place.role,
                    content=lambda: eml.message(eml.pieces_of(again), flags=flags),
                )
            else:
                yield Entry(member.path, place.folder, left=_NO_MAIL)
        elif format.name == "emlx":
            again = buffered(Begun(head, stream))
            yield Entry(member.path, place.folder, role=place.role, content=lambda: emlx.message(again))
        elif format.name in _ARCHIVES and self._within.depth >= DEEPEST:
            yield Entry(member.path, place.folder, broken=_TOO_DEEP)
        else:
            yield from self._inner(member, place, format.name, head, stream)

    def _inner(self, member: Member, place: Placed, kind: str, head: bytes, stream: BinaryIO) -> Iterator[Entry]:
        """The entries of a file with many messages, or one that is made of properties."""
        folder = place.above if kind in _SINGLE else placing.container(place)
        try:
            file: BinaryIO
            if member.direct is not None:
                file = member.direct()
            else:
                again = buffered(Begun(head, stream))
                file = again if kind in _STREAMED else in_memory(eml.pieces_of(again))
            with file:
                for entry in self._read(kind, file, place.name):
                    yield self._lying(entry, member, folder)
        except FileError as error:
            self._within.budget.take(0)  # the file as a whole is over where nothing more may come out of it
            yield Entry(member.path, folder, broken=str(error))
        except ItemError as error:
            yield Entry(member.path, folder, broken=str(error))
        except MemoryError:
            raise
        except Exception as error:
            yield Entry(member.path, folder, broken=f"The rest of it cannot be read ({type(error).__name__}).")

    def _read(self, kind: str, file: BinaryIO, name: str) -> Iterator[Entry]:
        module = importlib.import_module(f"appliance.imports.{_ARCHIVES.get(kind, kind)}")
        entries: Iterator[Entry]
        if kind in _ARCHIVES:
            entries = module.read(file, name, self._options, self._within._replace(depth=self._within.depth + 1))
        else:
            entries = module.read(file, name, self._options)
        return entries

    def _lying(self, entry: Entry, member: Member, folder: tuple[str, ...]) -> Entry:
        id = f"{member.path}#{entry.id}" if entry.id else member.path
        whole = (*folder, *entry.folder)
        if "Takeout" in placing.names(member.path) and entry.folder:
            whole = entry.folder  # the labels say where a message of Gmail lies; the file is one for all of them
        return entry._replace(id=id, folder=whole, role=entry.role or placing.role(whole))


_MH_FLAGS: Final = (("replied", "answered"), ("flagged", "flagged"))


def _head(stream: BinaryIO) -> bytes:
    head = b""
    while len(head) < formats.HEAD and (piece := stream.read(formats.HEAD - len(head))):
        head += piece
    return head


def _is_mail(head: bytes) -> bool:
    """Whether a file that somebody gave any name to begins as mail does, and not as a note with a colon in it."""
    end = _BLANK_LINE.search(head)
    fields = _MAIL_FIELDS.findall(head, 0, end.start() + 1 if end else len(head))
    return len({name.lower() for name in fields}) >= 2


class _Sequence(NamedTuple):
    """Numbers of messages: some of them, and spans."""

    numbers: frozenset[int]
    spans: tuple[range, ...]

    def has(self, number: int) -> bool:
        return number in self.numbers or any(number in span for span in self.spans)


_NONE: Final = _Sequence(frozenset(), ())


def _sequences(member: Member) -> dict[str, _Sequence]:
    """MH's sequences (mh-sequence(5)): names, and the numbers and spans of messages in each; none where it is damaged,
    since nothing but flags is lost."""
    found: dict[str, _Sequence] = {}
    try:
        lines = member.open().read(_LONGEST_SEQUENCES).decode("ascii", "replace").splitlines()
    except ItemError:
        return found
    for line in lines:
        name, _, rest = line.partition(":")
        pairs = [(first, last) for first, dash, last in (word.partition("-") for word in rest.split()) if dash]
        numbers = frozenset(int(word) for word in rest.split() if word.isdecimal() and len(word) <= 9)
        spans = (
            range(int(first), int(last) + 1)
            for first, last in pairs[:_MOST_SPANS]
            if first.isdecimal() and last.isdecimal() and max(len(first), len(last)) <= 9
        )
        found[name.strip()] = _Sequence(numbers, tuple(spans))
    return found
