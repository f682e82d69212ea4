"""What has changed in a folder since a cursor, by the cheapest way that its server offers.

With QRESYNC (RFC 7162) the server says it; with CONDSTORE it finds out what has other flags, and UIDs are compared
where the number of messages does not add up; without both, UIDs and flags are compared. However it was found: at the
end as many messages are known as the server has said there are, or the UIDs are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.sources.base import Item, Page
from appliance.sources.imap.cursor import FLAGS, Cursor, decode, item_id, uid_of, unreadable
from appliance.sources.imap.listing import Status
from appliance.sources.imap.opening import Folders, Opened, renumbered
from appliance.sources.imap.uids import GrowingUids, UidSet

PAGE: Final = 500
"""Messages of a page."""

_LATE: Final = 10_000
"""So many more may be found than there were when the folder was opened; more are none."""


def changes(folders: Folders, folder: str, data: bytes, status: Status | None) -> Iterator[Page]:
    """The pages of what has changed. ``status`` is what the listing said of the folder, if it did and if that is new
    enough: it may save opening it. Raises CursorLostError, UnavailableError, RemoteDeniedError."""
    if status is not None and (cursor := _told_by(status, data)) is not None:
        yield Page((), cursor)
        return
    before = decode(data) if data else None
    opened = folders.open(folder, since=before)
    if before is None:
        before = Cursor(opened.validity, 1, 0, ())
    elif opened.validity != before.validity or opened.next < before.next:
        raise renumbered(folder)
    try:
        reading = _Reading(folders, opened, before)
    except ValueError as error:
        raise unreadable() from error
    yield from reading.pages()


def _told_by(status: Status, data: bytes) -> bytes | None:
    """The cursor for a folder of which its status says already that there is nothing to tell."""
    if not data:
        flags = () if status.modseq else ((),) * len(FLAGS)
        return None if status.messages else Cursor(status.validity, status.next, 0, (), status.modseq, flags).encode()
    before = decode(data)
    if (before.validity, before.next, before.count) != (status.validity, status.next, status.messages):
        return None
    same_flags = before.modseq == status.modseq if status.modseq else not status.messages
    return data if same_flags else None


class _Reading:
    """One reading of a folder: from the state of a cursor to that of its opening. The state moves with what is told."""

    def __init__(self, folders: Folders, opened: Opened, before: Cursor) -> None:
        self._folders = folders
        self._opened = opened
        self._next = before.next
        self._known = GrowingUids(before.known)
        self._modseq = before.modseq
        self._flags = [GrowingUids(one) for one in before.flags]

    def pages(self) -> Iterator[Page]:
        """What has become of what is known, then what is new, then what the numbers say is still missing."""
        opened = self._opened
        changed, flags = self._changed(self._known.whole())
        yield from self._gone(self._vanished())
        for piece in (changed & self._known.whole()).pieces(uids=PAGE):
            yield Page((), self._cursor(), changed=tuple(self._items(piece)))
        self._modseq, self._flags = opened.modseq, [GrowingUids.of(one) for one in flags]
        if self._next < opened.next:
            yield from self._new(self._search(self._next, opened.next - 1))
            self._next = opened.next
        if len(self._known) != opened.messages:  # expunged meanwhile, or told wrong
            listed = self._all()
            yield from self._gone(self._known.whole() - listed)
            yield from self._new(listed - self._known.whole())
        for one in (self._known, *self._flags):
            one.whole()
        yield Page((), self._cursor())

    def _changed(self, known: UidSet) -> tuple[UidSet, list[UidSet]]:
        """The known messages whose flags may be others now; and of a server without MODSEQ, who has which flag."""
        opened, nobody = self._opened, [UidSet()] * len(FLAGS)
        if not known:
            return UidSet(), [] if opened.modseq else nobody
        if 0 < self._modseq <= opened.modseq:
            if opened.changed is not None:
                return opened.changed, []
            if self._modseq == opened.modseq:
                return UidSet(), []
            return self._search(1, self._next - 1, b"MODSEQ %d" % (self._modseq + 1)), []
        self._ensure()
        now = [found & known for found in self._folders.searches(UidSet([(1, self._next - 1)]), *FLAGS)]
        changed = UidSet() if self._flags else known  # it is not known which flags they had
        for had, has in zip(self._flags, now, strict=bool(self._flags)):
            changed |= had.whole() ^ has
        return changed, [] if opened.modseq else now

    def _vanished(self) -> UidSet:
        """The known messages that are there no more, where the server tells it or the numbers do."""
        opened = self._opened
        if opened.vanished is not None:
            return opened.vanished & self._known.whole()
        if not self._known or (opened.next == self._next and opened.messages == len(self._known)):
            return UidSet()
        return self._known.whole() - self._all()

    def _gone(self, gone: UidSet) -> Iterator[Page]:
        for piece in gone.pieces(uids=PAGE):
            for one in (self._known, *self._flags):
                one.remove(piece)
            yield Page((), self._cursor(), gone=tuple(item_id(self._opened.validity, uid) for uid in piece))

    def _new(self, new: UidSet) -> Iterator[Page]:
        for piece in new.pieces(uids=PAGE):
            items = self._items(piece)
            uids = {uid: item for item in items if (uid := uid_of(item.id, self._opened.validity)) is not None}
            self._known.add(UidSet.of(uids))
            for has, flag in zip(self._flags, FLAGS, strict=bool(self._flags)):
                has.add(UidSet.of(uid for uid, item in uids.items() if flag.decode().lower() in item.flags))
            self._next = max(self._next, max(piece) + 1)
            yield Page(tuple(items), self._cursor())

    def _cursor(self) -> bytes:
        flags = tuple(one.codes() for one in self._flags)
        count = len(self._known)
        return Cursor(self._opened.validity, self._next, count, self._known.codes(), self._modseq, flags).encode()

    def _items(self, uids: UidSet) -> list[Item]:
        self._ensure()
        return self._folders.items(self._opened.validity, uids)

    def _all(self) -> UidSet:
        return self._search(1, self._opened.next - 1)

    def _search(self, first: int, last: int, criteria: bytes = b"") -> UidSet:
        if first > last:
            return UidSet()
        self._ensure()
        found = self._folders.search(UidSet([(first, last)]), criteria)
        if len(found) > self._opened.messages + _LATE:
            raise self._folders.conversation.wire.garbage()
        return found

    def _ensure(self) -> None:
        """Whoever reads the pages may have opened another folder since the last one."""
        self._folders.ensure(self._opened.folder, self._opened.validity)
