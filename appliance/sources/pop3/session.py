"""A mailbox over POP3, opened: what is in it by its unique ids (UIDL), messages, deleting."""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import Final, Self

import msgspec

from appliance.errors import RemoteDeniedError, UnavailableError
from appliance.language import _, later
from appliance.mail import headers, mime
from appliance.sources.base import CursorLostError, Failed, Fetched, Folder, Item, Page
from appliance.sources.pop3.wire import RefusedError, Wire

_PAGE: Final = 500
_LONGEST_HEAD: Final = 64 * 1024
_LARGEST_CURSOR: Final = 512 * 1024 * 1024


class _Listed(msgspec.Struct, frozen=True):
    """A message as this session knows it; its number means nothing in the next one."""

    number: int
    size: int | None


class Pop3Session:
    """A ``Session``. Who stops reading ``fetch`` before its end cannot use it any more."""

    def __init__(self, connect: Callable[[], Wire]) -> None:
        """``connect`` gives a connection that is signed in. A session has several where it deletes: what is to be
        deleted goes when a connection ends in order (RFC 1939, section 6)."""
        self._connect = connect
        self._wire: Wire | None = connect()
        self._messages: Mapping[str, _Listed] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is None:
            return
        with contextlib.suppress(RefusedError, UnavailableError):  # nothing hangs on it
            if error is None:
                self._wire.ask(b"QUIT")
        self._wire.close()

    def folders(self) -> Sequence[Folder]:
        """The inbox; POP3 shows nothing else."""
        return (Folder("INBOX", ("INBOX",), "inbox", messages=len(self._listed())),)

    def changes(self, folder: Folder, cursor: bytes) -> Iterator[Page]:  # noqa: ARG002 - there is one
        """What has come and gone. The cursor is the ids of all that was there: the server remembers nothing."""
        before = _unpacked(cursor)
        listed = self._listed()
        known, gone = before & listed.keys(), tuple(sorted(before - listed.keys()))
        new = [Item(id, size=one.size) for id, one in listed.items() if id not in before]
        for start in range(0, max(len(new), 1), _PAGE):
            items = tuple(new[start : start + _PAGE])
            known |= {one.id for one in items}
            yield Page(items, _packed(known), gone=gone if start == 0 else ())

    def fetch(self, folder: Folder, items: Sequence[Item]) -> Iterator[Fetched | Failed]:  # noqa: ARG002
        """The items' bytes, as the server sends them; and when it received them, which only they tell."""
        listed = self._listed()
        for item in items:
            found = listed.get(item.id)
            if found is None:
                yield Failed(item, _("The message is no longer there."), gone=True)
                continue
            try:
                octets = self._open().message(b"RETR %d" % found.number)
            except RefusedError as error:
                words = _("The server does not give the message: “{words}”.").format(words=error.message)
                yield Failed(item, words)
                continue
            head = b""
            while len(head) < _LONGEST_HEAD and b"\r\n\r\n" not in head and (piece := next(octets, b"")):
                head += piece
            yield Fetched(
                msgspec.structs.replace(item, received=_received(head)), chain([head] if head else [], octets)
            )
            for _rest in octets:
                pass

    def delete(self, folder: Folder, ids: Sequence[str]) -> frozenset[str]:  # noqa: ARG002
        """Delete these, and end the connection so that it happens; the next call makes a new one."""
        listed = self._listed()
        wire, marked = self._open(), set()
        for id in ids:
            found = listed.get(id)
            if found is None:
                continue
            try:
                wire.ask(b"DELE %d" % found.number)
            except RefusedError:
                continue  # it stays
            marked.add(id)
        if not marked:
            return frozenset()
        self._wire, self._messages = None, None
        try:
            wire.ask(b"QUIT")
        except RefusedError:  # "some deleted messages not removed": which, tells the next list
            wire.close()
            return frozenset(marked - self._listed().keys())
        finally:
            wire.close()
        return frozenset(marked)

    def smallest(self) -> Item | None:
        """The smallest message, to try fetching with; None where there is none."""
        listed = self._listed()
        id = min(listed, key=lambda one: listed[one].size or 0, default=None)
        return Item(id, size=listed[id].size) if id is not None else None

    def _open(self) -> Wire:
        if self._wire is None:
            self._wire = self._connect()
        return self._wire

    def _listed(self) -> Mapping[str, _Listed]:
        """All messages by their ids, oldest first as servers mostly have them."""
        if self._messages is None:
            wire = self._open()
            try:
                ids, sizes = wire.list(b"UIDL"), wire.list(b"LIST")
            except RefusedError as error:
                text = later(
                    "{host} does not list its messages by unique ids (UIDL: “{words}”), so it could not be known which "
                    "of them are archived. Nothing is fetched from it; use IMAP."
                )
                raise RemoteDeniedError(text, host=wire.host, words=error.message) from error
            self._messages = _messages(wire, ids, sizes)
        return self._messages


def _received(head: bytes) -> int:
    """When the server got a message (microseconds): its own line is the first in the header (RFC 5321, section 4.4).
    Where there is none, it got it before now."""
    now = time.time_ns() // 1000
    line = mime.read_head(head, 0, len(head)).first(b"received") or b""
    seconds = headers.date(line.rpartition(b";")[2])
    return min(seconds * 1_000_000, now) if seconds is not None and seconds > 0 else now


def _messages(wire: Wire, ids: Sequence[bytes], sizes: Sequence[bytes]) -> Mapping[str, _Listed]:
    """What the two lists say. Raises UnavailableError where they are none."""
    try:
        size_of = {int(number): int(size) for number, size in (line.split()[:2] for line in sizes)}
        named = [(int(number), id.decode("latin-1")) for number, id in (line.split(maxsplit=1) for line in ids)]
    except ValueError as error:
        text = later("{host} lists its messages in a way that is not POP3. Nothing was fetched.")
        raise UnavailableError(text, host=wire.host) from error
    found: dict[str, _Listed] = {}
    for number, id in named:
        # Copies of one message may have one id (RFC 1939, section 7); no id has a space in it.
        copies = 1
        while (unique := id if copies == 1 else f"{id} {copies}") in found:
            copies += 1
        found[unique] = _Listed(number, size_of.get(number))
    return found


def _packed(ids: set[str]) -> bytes:
    return zlib.compress("\n".join(sorted(ids)).encode("latin-1"), 1)


def _unpacked(cursor: bytes) -> set[str]:
    if not cursor:
        return set()
    try:
        text = zlib.decompressobj().decompress(cursor, _LARGEST_CURSOR).decode("latin-1")
    except zlib.error as error:
        raise CursorLostError(later("What was known of the mailbox cannot be read. It is read again.")) from error
    return set(text.split("\n")) if text else set()
