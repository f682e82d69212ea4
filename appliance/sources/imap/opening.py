"""Opening folders, and asking the one that is open: what is in it, what its messages are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError
from appliance.language import later
from appliance.sources.base import CursorLostError, Item
from appliance.sources.imap.answers import RefusedError
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.cursor import Cursor, item_id
from appliance.sources.imap.grammar import GrammarError, Response, Value, microseconds, number, pairs, quoted, string
from appliance.sources.imap.names import from_wire, sayable, shown, to_wire
from appliance.sources.imap.uids import UidSet

_FLAGS: Final[Mapping[bytes, str]] = {
    rb"\SEEN": "seen", rb"\ANSWERED": "answered", rb"\FLAGGED": "flagged", rb"\DELETED": "deleted",
    rb"\DRAFT": "draft", b"$FORWARDED": "forwarded", b"FORWARDED": "forwarded",
}  # fmt: skip


class Opened(msgspec.Struct, frozen=True):
    """A folder as it was when it was opened. ``modseq`` is 0 where the server keeps none.

    ``vanished`` and ``changed`` are what came along of what has happened since a cursor; None where nothing came."""

    folder: str
    validity: int
    next: int
    messages: int
    modseq: int = 0
    read_only: bool = True
    vanished: UidSet | None = None
    changed: UidSet | None = None


class Folders:
    """The folder that is open, and the way to open others."""

    def __init__(self, conversation: Conversation, labels: Mapping[str, tuple[str, ...]]) -> None:
        """``labels`` are the paths of folders that Gmail's labels name, such as ``\\SENT``."""
        self.conversation = conversation
        self.labels = labels
        self._open: Opened | None = None
        self._details = b"UID FLAGS INTERNALDATE RFC822.SIZE"
        if conversation.can("X-GM-EXT-1"):
            self._details += b" X-GM-MSGID X-GM-LABELS"
        elif conversation.can("OBJECTID"):
            self._details += b" EMAILID"

    def open(self, folder: str, *, since: Cursor | None = None, writable: bool = False) -> Opened:
        """Open a folder (EXAMINE, so that nothing in it changes; SELECT where it has to). With QRESYNC what has
        happened ``since`` comes along. Raises UnavailableError, RemoteDeniedError."""
        self._open = None
        if not sayable(folder):
            text = later("The folder “{folder}” has a line end in its name and cannot be asked for.")
            raise RemoteDeniedError(text, folder=shown(folder))
        command = b"%b %b" % (
            b"SELECT" if writable else b"EXAMINE",
            quoted(to_wire(folder, utf8=self.conversation.utf8)),
        )
        asked = since is not None and since.modseq > 0 and since.next > 1 and "QRESYNC" in self.conversation.enabled
        if since is not None and asked:
            command += b" (QRESYNC (%d %d 1:%d))" % (since.validity, since.modseq, since.next - 1)
        elif self.conversation.can("CONDSTORE", "QRESYNC"):
            command += b" (CONDSTORE)"
        try:
            answers = self.conversation.ask(command)
        except RefusedError as error:
            raise _not_opened(self.conversation.wire.host, folder, error) from error
        try:
            self._open = _opened(folder, answers, with_changes=asked)
            if not self._open.next:  # a server that does not tell it
                last = self.last_uid() if self._open.messages else 0
                self._open = msgspec.structs.replace(self._open, next=last + 1)
        except GrammarError as error:
            raise self.conversation.wire.garbage() from error
        return self._open

    def opened(self, folder: str) -> Opened:
        """The folder, open: opened now if another one has been meanwhile."""
        if self._open is not None and self._open.folder == folder:
            return self._open
        return self.open(folder)

    def ensure(self, folder: str, validity: int) -> None:
        """Have the folder open. Raises CursorLostError where its UIDs are others now."""
        if self.opened(folder).validity != validity:
            raise renumbered(folder)

    def search(self, uids: UidSet, criteria: bytes = b"") -> UidSet:
        """Which of these the open folder has, that fit. Raises RefusedError."""
        return self.searches(uids, criteria)[0]

    def searches(self, uids: UidSet, *criteria: bytes) -> list[UidSet]:
        """Several searches; with ESEARCH (RFC 4731) in one go, since its responses name the command that they answer.
        Nothing is found but what was asked for, whatever the server says. Raises RefusedError."""
        asked = [b"UID " + uids.text() + (b" " + one if one else b"") for one in criteria]
        if not self.conversation.can("ESEARCH", "IMAP4REV2"):
            return [self._searched(self.conversation.ask(b"UID SEARCH " + one)) & uids for one in asked]
        tags, answers = self.conversation.ask_together([b"UID SEARCH RETURN (ALL) " + one for one in asked])
        found = dict.fromkeys(tags, UidSet())
        for answer in answers:
            if answer.tag in found:
                self.conversation.settle(answer)
            elif answer.name == b"ESEARCH":
                found |= [self._extended(answer)]
        return [found[tag] & uids for tag in tags]

    def last_uid(self) -> int:
        """The greatest UID of the open folder; 0 if it is empty."""
        for answer in self.conversation.ask(b"UID FETCH * (UID)"):
            if answer.name == b"FETCH":
                return _uid(pairs(answer.values()[0]))
        return 0

    def items(self, validity: int, uids: UidSet) -> list[Item]:
        """What the open folder's messages are, without their content, by UID; not of those that are gone.

        A message that the server lists but tells nothing of is there too, by its id alone: it must not get lost."""
        told = self._told(uids)
        missing = uids - UidSet.of(told)
        if missing:
            for uid in self.search(missing):  # asked for by itself, none stands in another's way
                told |= self._told(UidSet.of([uid])) or {uid: Item("")}
        return [msgspec.structs.replace(told[uid], id=item_id(validity, uid)) for uid in sorted(told)]

    def _told(self, uids: UidSet) -> dict[int, Item]:
        details: dict[int, dict[bytes, Value]] = {}
        [tag] = self.conversation.send(b"UID FETCH %b (%b)" % (uids.text(), self._details))
        try:
            for answer in self.conversation.hear(tag):
                if answer.name == b"FETCH" and (uid := _uid(told := pairs(answer.values()[0]))) in uids:
                    details.setdefault(uid, {}).update(told)
        except RefusedError:
            pass
        except (GrammarError, IndexError) as error:
            raise self.conversation.wire.garbage() from error
        return {uid: self._item(told) for uid, told in details.items() if b"RFC822.SIZE" in told}

    def _item(self, told: Mapping[bytes, Value]) -> Item:
        size = told[b"RFC822.SIZE"]
        known = (_FLAGS.get(flag.upper()) for flag in _strings(told.get(b"FLAGS")))
        return Item(
            id="",
            size=int(size) if isinstance(size, bytes) and size.isdigit() and len(size) < 19 else None,
            received=microseconds(told.get(b"INTERNALDATE")),
            flags=tuple(dict.fromkeys(flag for flag in known if flag)),
            labels=tuple(self._label(label) for label in _strings(told.get(b"X-GM-LABELS"))),
            same=_same(told),
        )

    def _label(self, label: bytes) -> tuple[str, ...]:
        if (name := label.decode("latin-1").upper()) in self.labels:
            return self.labels[name]
        text = shown(from_wire(label, utf8=self.conversation.utf8))
        return (text[1:],) if label.startswith(b"\\") else tuple(text.split("/"))

    def _searched(self, answers: Iterable[Response]) -> UidSet:
        try:
            values = [value for answer in answers if answer.name == b"SEARCH" for value in answer.values()]
            return UidSet.of(number(one) for one in values if isinstance(one, bytes))  # a list is that of MODSEQ
        except ValueError as error:
            raise self.conversation.wire.garbage() from error

    def _extended(self, answer: Response) -> tuple[bytes, UidSet]:
        """The tag of a search, and what it found: ``ESEARCH (TAG "k1") UID ALL 1:5,7``."""
        try:
            correlator, *rest = answer.values()
            words = [one.upper() if isinstance(one, bytes) else b"" for one in rest]
            found = UidSet.parse(string(rest[words.index(b"ALL") + 1])) if b"ALL" in words else UidSet()
            return string(pairs(correlator).get(b"TAG")), found
        except (ValueError, IndexError) as error:
            raise self.conversation.wire.garbage() from error


def renumbered(folder: str) -> CursorLostError:
    """The error for a folder whose UIDs are others than before."""
    text = later("The server has numbered the messages of “{folder}” anew, so the folder is read again.")
    return CursorLostError(text, folder=shown(folder))


def _not_opened(host: str, folder: str, refused: RefusedError) -> MailkeepError:
    code = refused.answer.code()[0]
    name = shown(folder)
    if code in (b"NONEXISTENT", b"TRYCREATE"):
        text = later("The folder “{folder}” is no longer at {host}. What was read of it is kept.")
        return UnavailableError(text, folder=name, host=host)
    if code == b"SERVERBUG":
        text = later("{host} cannot open the folder “{folder}” just now: “{words}”.")
        return UnavailableError(text, host=host, folder=name, words=refused.message)
    text = later("{host} does not open the folder “{folder}”: “{words}”.")
    return RemoteDeniedError(text, host=host, folder=name, words=refused.message)


def _opened(folder: str, answers: Iterable[Response], *, with_changes: bool) -> Opened:
    told: dict[bytes, int] = {b"UIDNEXT": 0, b"HIGHESTMODSEQ": 0}
    read_only = False
    vanished: list[UidSet] = []
    changed: list[int] = []
    for answer in answers:
        match answer.name:
            case b"OK":
                code, behind = answer.code()
                read_only = read_only or code == b"READ-ONLY"
                if code in (b"UIDVALIDITY", b"UIDNEXT", b"HIGHESTMODSEQ"):
                    told[code] = number(behind)
            case b"EXISTS" if answer.number is not None:
                told[b"EXISTS"] = answer.number
            case b"VANISHED":
                vanished.append(_uid_set(answer.values()[-1]))
            case b"FETCH":
                changed.append(_uid(pairs(answer.values()[0])))
            case _:
                pass
    if not told.get(b"UIDVALIDITY") or b"EXISTS" not in told:
        raise GrammarError
    return Opened(
        folder, told[b"UIDVALIDITY"], told[b"UIDNEXT"], told[b"EXISTS"], told[b"HIGHESTMODSEQ"], read_only,
        vanished=_union(vanished) if with_changes else None,
        changed=UidSet.of(changed) if with_changes else None,
    )  # fmt: skip


def _union(sets: Iterable[UidSet]) -> UidSet:
    whole = UidSet()
    for one in sets:
        whole |= one
    return whole


def _uid_set(value: Value) -> UidSet:
    try:
        return UidSet.parse(string(value))
    except ValueError as error:
        raise GrammarError from error


def _uid(told: Mapping[bytes, Value]) -> int:
    """The UID in a FETCH response; 0 for one that tells of a message what nobody asked for."""
    return number(told.get(b"UID", b"0"))


def _strings(value: Value) -> list[bytes]:
    """The strings of a list; none of anything else."""
    return [one for one in value if isinstance(one, bytes)] if isinstance(value, list) else []


def _same(told: Mapping[bytes, Value]) -> str:
    """X-GM-MSGID, or EMAILID (RFC 8474, section 4.1: in parentheses)."""
    value = told.get(b"X-GM-MSGID") or told.get(b"EMAILID")
    [name, *_] = _strings(value if isinstance(value, list) else [value]) or [b""]
    return name.decode("ascii", "replace")
