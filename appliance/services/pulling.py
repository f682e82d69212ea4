"""Mail for programs that pull it: the pull API, and what the POP3 server asks of the archiver.

Who pulls is nobody in particular: a mailbox's password or token opens that mailbox's mail, sealed or not, and says
nothing else. So nothing here looks at people's rights. What a token opens is open for one call; the private key is in
the key agent, and gone when the call is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SignInError,
    StorageError,
    TooManyTriesError,
    UnavailableError,
    UsageError,
)
from appliance.files import FILES, Files, create_directory, read_file, replace_file
from appliance.keys.mailbox_keys import token_id, token_mailbox
from appliance.keys.management import OpenedMailbox
from appliance.pull import cursor as cursors
from appliance.pull.cursor import Cursor, WriterPosition
from appliance.pull.maildrop import Maildrops, VolumeMessages, read_erased
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.erasing import erase
from appliance.services.identity import Brake, client_key
from appliance.services.principal import Principal
from appliance.services.reading import Download
from appliance.settings import events
from appliance.store.names import volume_name
from appliance.store.reader import LogReader
from appliance.store.refs import RecordRef

MOST_LISTED = 1000
"""Messages on one page."""
NOTE_EVERY = 3600.0
"""Seconds between two audit lines that say that a token is in use."""
LARGEST_WHOLE = 1024 * 1024
"""Bytes of a message that is held in memory."""

_NO_TOKEN = "That token does not open a mailbox here. Nothing was changed."  # noqa: S105 - a sentence
_DISABLED = "This mailbox is disabled: nothing can be pulled from it until an administrator enables it."


class Pulling:
    """The services of one open archive."""

    def __init__(self, archive: Archive, files: Files = FILES) -> None:
        self._archive = archive
        self._files = files
        self._drops = Maildrops(archive.paths.data, archive.keyring, fetch=archive.fetch)
        self._brake = Brake(tries=archive.tries)
        self._noted: dict[str, float] = {}

    def for_programs(self) -> Mapping[str, Callable[..., Any]]:
        """What the web process may ask with a token, by name."""
        return {"pull_list": self.list, "pull_fetch": self.fetch, "pull_acknowledge": self.acknowledge}

    def for_pop3(self) -> Mapping[str, Callable[..., Any]]:
        """What the POP3 server may ask with the grant of a mailbox that is open there, by name."""
        return {"reading": self.reading, "may_erase": self.may_erase, "erase": self.erase}

    # -- the pull API -----------------------------------------------------------------------------------------

    def list(self, *, secret: str, client: str, cursor: str = "", limit: int = 100) -> api.PullPage:
        """Messages behind ``cursor``, or behind the position that this token's owner acknowledged last.

        What is on replicas only is fetched when its turn comes. Raises SignInError for a wrong token,
        TooManyTriesError, ForbiddenError for a disabled mailbox, UsageError, UnavailableError.
        """
        if not 1 <= limit <= MOST_LISTED:
            raise UsageError(f"A page has from 1 to {MOST_LISTED} messages.")
        with self._opened(secret, client) as opened:
            mailbox = opened.mailbox_id
        start = cursors.parse(cursor, mailbox) if cursor else self._kept(secret, mailbox)
        erased = read_erased(self._archive.paths.data, mailbox)
        listing = _Listing(start, limit)
        for volume in self._drops.volumes(mailbox):
            if volume.unknown and listing.wants(volume):
                try:
                    listing.take(self._drops.bring(mailbox, volume.path), erased)
                    continue
                except UnavailableError:
                    if not listing.found:
                        raise
                    listing.take(volume, erased)
                    break  # what was found so far is a page; the next one tells if it goes on
            listing.take(volume, erased)
        return api.PullPage(tuple(listing.found), str(listing.cursor()), listing.more)

    def fetch(self, *, secret: str, id: str, client: str) -> Download:
        """One message, bit for bit. Raises as ``list``; NotFoundError, DamageError."""
        with self._opened(secret, client) as opened:
            ref = self._find(opened.mailbox_id, _record_id(id))
            self._note(opened.mailbox_id, token_id(secret), client)
            # The reader has its volume's key from here on: programs that take their time hold no line to the agent.
            reader = LogReader(
                self._archive.paths.volumes, opened, seal_key=self._archive.keyring, fetch=self._archive.fetch
            )
            size, pieces = _read(reader, ref)
        head = StreamHead(name=f"{ref.record_id.hex()}.eml", content_type="message/rfc822", size=size)
        return Download(head, pieces)

    def acknowledge(
        self, *, secret: str, client: str, ids: Sequence[str] = (), cursor: str = ""
    ) -> api.PullAcknowledged:
        """Say what was pulled. Durable on return.

        ``ids`` are erased where the mailbox deletes what was pulled, and stay where it does not. ``cursor`` is kept
        for this token: ``list`` goes on behind it. Raises as ``list``; ConflictError where a legal hold keeps one of
        the messages, StorageError.
        """
        records = [_record_id(one) for one in ids]
        with self._opened(secret, client) as opened:
            mailbox = opened.mailbox_id
        put = self._mailbox(mailbox)
        position = cursors.parse(cursor, mailbox) if cursor else None
        if position is not None:
            self._keep(secret, mailbox, position)
        erased = held = 0
        if put.delete_after_pull and records:
            done = erase(self._archive, _reader_of(put, client), mailbox, records, "pulled")
            erased, held = len(done.erased), len(done.held)
        if held:
            raise ConflictError(_held(held))
        return api.PullAcknowledged(erased=erased, kept=cursor)

    # -- what the POP3 server asks ----------------------------------------------------------------------------

    def reading(self, *, grant: str, client: str) -> None:
        """Write down that the mailbox that is open under ``grant`` is being read. Raises ForbiddenError."""
        self._archive.note(_reader_of(self._granted(grant), client), "mailbox.pull", "POP3")

    def may_erase(self, *, grant: str) -> None:
        """Return if mail of the mailbox that is open under ``grant`` can be erased. Raises ForbiddenError."""
        put = self._granted(grant)
        erase(self._archive, _reader_of(put), put.mailbox, (), "pulled")

    def erase(self, *, grant: str, records: Sequence[bytes]) -> None:
        """Erase records (16-byte ids) of the mailbox that is open under ``grant``; durable on return.

        Raises ForbiddenError, ConflictError where a legal hold keeps one of them (the others are erased),
        StorageError.
        """
        put = self._granted(grant)
        done = erase(self._archive, _reader_of(put), put.mailbox, records, "pulled")
        if done.held:
            raise ConflictError(_held(len(done.held)))

    # -- helpers ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self, secret: str, client: str) -> Iterator[OpenedMailbox]:
        """The mailbox that a token opens.

        A right one always does: a token cannot be guessed, and behind one address there may be many programs.
        """
        try:
            opened = self._archive.keyring.open_mailbox(token_mailbox(secret), secret, client=client)
        except (SignInError, NotFoundError) as error:
            self._count_wrong(client_key(client))
            raise SignInError(_NO_TOKEN) from error
        with contextlib.closing(opened):
            self._pullable(opened.mailbox_id)
            yield opened

    def _granted(self, grant: str) -> events.MailboxPut:
        """The mailbox that is open under ``grant``, if it may be pulled from still. Raises ForbiddenError."""
        return self._pullable(self._archive.keyring.granted(grant))

    def _pullable(self, mailbox: bytes) -> events.MailboxPut:
        put = self._mailbox(mailbox)
        if put.state == "disabled":
            raise ForbiddenError(_DISABLED)
        return put

    def _count_wrong(self, key: str) -> None:
        """Raises TooManyTriesError while the client has to wait."""
        try:
            self._brake.check(key)
        except SignInError as error:
            raise TooManyTriesError(error.message) from error
        self._brake.failed(key)

    def _note(self, mailbox: bytes, token: str, client: str) -> None:
        """Write down that a token is used to read: once in a while, not for every message."""
        now = self._archive.clock()
        if self._noted.get(token, -NOTE_EVERY) <= now - NOTE_EVERY:
            self._archive.note(_reader_of(self._mailbox(mailbox), client), "mailbox.pull", f"API, token {token}")
            self._noted[token] = now

    def _mailbox(self, mailbox: bytes) -> events.MailboxPut:
        for put in self._archive.settings.mailboxes():
            if put.mailbox == mailbox:
                return put
        raise NotFoundError("There is no such mailbox any more.")

    def _find(self, mailbox: bytes, record_id: bytes) -> RecordRef:
        if record_id not in read_erased(self._archive.paths.data, mailbox):
            volumes = self._drops.volumes(mailbox)
            for volume in volumes:
                index = volume.find(record_id)
                if index is not None:
                    return volume.ref(index)
            if any(volume.unknown for volume in volumes):
                raise UnavailableError(
                    "There is no such message among those that are here, but others of this mailbox are on a replica "
                    "only. List the mailbox from where you were: that fetches them."
                )
        raise NotFoundError("There is no such message in this mailbox, or it was erased.")

    def _place(self, secret: str, mailbox: bytes) -> Path:
        return self._archive.paths.positions / f"{mailbox.hex()}-{token_id(secret)}"

    def _kept(self, secret: str, mailbox: bytes) -> Cursor:
        try:
            return cursors.parse(read_file(self._files, self._place(secret, mailbox)).decode("ascii").strip(), mailbox)
        except FileNotFoundError:
            return cursors.beginning(mailbox)
        except OSError as error:
            raise StorageError(
                f"The position of this token cannot be read ({error.strerror}). Give the cursor, or try again later."
            ) from error

    def _keep(self, secret: str, mailbox: bytes, position: Cursor) -> None:
        place = self._place(secret, mailbox)
        try:
            create_directory(self._files, place.parent)
            replace_file(self._files, place, f"{position}\n".encode("ascii"))
            self._forget_removed(mailbox)
        except OSError as error:
            raise StorageError(
                f"The position could not be kept ({error.strerror}). Nothing was lost; try again later."
            ) from error

    def _forget_removed(self, mailbox: bytes) -> None:
        """Positions of tokens that are no more."""
        tokens = {f"{mailbox.hex()}-{one.id}" for one in self._archive.keyring.mailbox_tokens(mailbox)}
        folder = self._archive.paths.positions
        for name in self._files.names(folder):
            if name.startswith(f"{mailbox.hex()}-") and name not in tokens:
                self._files.unlink(folder / name)


class _Listing:
    """A page being filled, volume by volume."""

    def __init__(self, start: Cursor, limit: int) -> None:
        self.found: list[api.PullMessage] = []
        self.more = False
        self._start = start
        self._left = limit
        self._listed: dict[str, dict[int, tuple[int, bool]]] = {}  # by writer and sequence: offset, and whether all

    def wants(self, volume: VolumeMessages) -> bool:
        """Whether there may be something in this volume for the page."""
        name = volume_name(volume.path)
        return self._left > 0 and self._start.position(name.writer, name.sequence) is not None

    def take(self, volume: VolumeMessages, erased: frozenset[bytes]) -> None:
        """What there is of this volume behind the start, as much as fits."""
        name = volume_name(volume.path)
        offset = self._start.position(name.writer, name.sequence)
        if offset is None:
            return
        if volume.unknown:
            self.more = True
        index, count = volume.first_behind(offset), len(volume)
        while index < count and self._left:
            record_id = volume.record_id(index)
            offset = volume.offset(index)
            if record_id not in erased:
                self.found.append(api.PullMessage(record_id.hex(), volume.time(index)))
                self._left -= 1
            index += 1
        self.more = self.more or index < count
        self._listed.setdefault(name.writer, {})[name.sequence] = offset, volume.finished and index == count

    def cursor(self) -> Cursor:
        """Behind the last message of the page."""
        writers = dict(self._start.writers)
        for writer, volumes in self._listed.items():
            before = writers.get(writer, WriterPosition())
            open_ = [sequence for sequence, (_, finished) in volumes.items() if not finished]
            done = min(open_) - 1 if open_ else max(volumes)
            listed = {sequence: offset for sequence, (offset, _) in volumes.items() if sequence > done and offset}
            writers[writer] = WriterPosition(max(done, before.done), listed)
        return Cursor(self._start.version, self._start.mailbox, writers)


def _read(reader: LogReader, ref: RecordRef) -> tuple[int, Iterator[bytes]]:
    """The original's size and its pieces; one that is large is opened twice, so that damage shows before it is sent."""
    size = 0
    pieces: list[bytes] = []
    for piece in reader.stream(ref):
        size += len(piece)
        if size <= LARGEST_WHOLE:
            pieces.append(piece)
        else:
            pieces.clear()
    return size, iter(pieces) if size <= LARGEST_WHOLE else iter(reader.stream(ref))


def _record_id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise NotFoundError("There is no such message in this mailbox: an id is 32 hex digits.")
    return found


def _reader_of(put: events.MailboxPut, client: str = "") -> Principal:
    """Who pulls, as the audit trail names him."""
    return Principal(id=f"mailbox:{put.address}", name=put.address, client=client)


def _held(count: int) -> str:
    messages = "message is" if count == 1 else "messages are"
    return f"{count} {messages} under a legal hold and not erased. What else was asked for is done."
