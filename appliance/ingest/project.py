"""The projection: from the log to the catalogue and the index, each record exactly once.

Catalogue rows and the cursor are one transaction. The index follows the catalogue's change sequence: every new or
changed message has the next number in it, each shard of the index remembers the number it reached, and whatever lies
beyond is made again. Putting a document replaces the one before it, so making it twice does no harm.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple

from appliance.catalogue.folders import FolderNames
from appliance.catalogue.placing import Placed
from appliance.catalogue.store import Catalogue, Changed, Projected, RecordRow
from appliance.errors import DamageError, NotFoundError, StorageError, UnavailableError
from appliance.extract.pool import ExtractPool
from appliance.extract.protocol import Described
from appliance.index.shard import shard_of
from appliance.index.writer import IndexWriter
from appliance.ingest.document import document
from appliance.ingest.owners import Owners
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.keys.access import Keys
from appliance.mail.audience import Participant, audience
from appliance.mail.facts import MessageFacts, Provenance
from appliance.mail.journal import owners_addresses
from appliance.mail.places import IMPORTS_MAILBOX, Place
from appliance.mail.places import decode as decode_places
from appliance.settings.store import Settings
from appliance.store.format import RecordType
from appliance.store.reader import Damage, LogReader, Record, RecordRef, Tombstone, VolumeInfo

log = logging.getLogger(__name__)

BATCH_RECORDS = 200
BATCH_BYTES = 16 * 1024 * 1024
"""What one catalogue transaction covers, and with it what is held in memory at a time."""

PLACE_BYTES = 1024
"""What a place takes of ``BATCH_BYTES``."""

COMMIT_SECONDS = 1.0
COMMIT_DOCUMENTS = 2000
"""The index is committed when either is reached: a search sees a message a second or two after its 250."""

REREAD = 50
"""Messages whose documents are made again from the log at a time."""


MOST_ENVELOPES = 500
"""Records of one message whose envelopes are read for its document, first received first; Exchange writes one for
each thousand recipients. Whose a message is comes from all of them."""

AGAIN_SECONDS = 30.0
"""How long a volume that the disk does not give is left alone; the others go on meanwhile."""


_NEVER = -1


class _Read(NamedTuple):
    """What the reading child found in a record; its bytes are not kept."""

    ref: RecordRef
    provenance: Provenance
    size: int
    described: Described

    @property
    def weight(self) -> int:
        """About the bytes that it takes in memory."""
        texts = sum(len(one.text) for one in self.described.facts.attachments)
        return len(self.described.reading.decoded_original) + len(self.described.facts.text) + texts


class _Lain(NamedTuple):
    """What stands in a record of type place."""

    ref: RecordRef
    places: tuple[Place, ...]

    @property
    def weight(self) -> int:
        """About the bytes that it takes in memory."""
        return PLACE_BYTES * len(self.places)


class Projector:
    """Follows the log with one catalogue and one index.

    ``create_user`` is asked to make a user for an unknown address where the mailbox's rule says so; it is None
    during a rebuild, when those users are in the log already. ``everything`` projects volumes that are on replicas
    only, too, as a rebuild has to; otherwise they are projected when they are here.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        keyring: Keys,
        settings: Settings,
        catalogue: Catalogue,
        index: IndexWriter,
        pool: ExtractPool,
        create_user: Callable[[str], None] | None = None,
        everything: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._keyring = keyring
        self._settings = settings
        self._catalogue = catalogue
        self._index = index
        self._pool = pool
        self._create_user = create_user
        self._everything = everything
        self._clock = clock
        self._lookup_key = keyring.key("settings-lookup")
        self._message_key = keyring.key("catalogue-lookup")
        self._folders = FolderNames(keyring)
        self._owners = Owners.load(self._settings, self._lookup_key)
        self._doors = self._settings.doors()
        self._cursors = {path: cursor for path, (cursor, finished) in catalogue.cursors().items() if not finished}
        self._finished = {path for path, (_, finished) in catalogue.cursors().items() if finished}
        self._fetched: dict[bytes, _Read] = {}
        """The last batch's fetched mail: its places follow it, and often begin the next batch."""
        self._batches: Iterator[list[_Read | _Lain]] | None = None
        self._ended: list[str] = []
        self._passed: dict[str, int] = {}
        self._left_alone: dict[str, float] = {}
        self._caught_up = _NEVER
        self._behind: dict[int, float] = {}
        self._uncommitted = 0
        self._committed_at = clock()
        self.damaged: list[str] = []
        """Places in the log that could not be read, in words."""

    # -- one round --------------------------------------------------------------------------------------------

    def step(self) -> int:
        """Project the next batch of what the log holds beyond the cursors. Returns the number of records.

        0 means that all of the log had been read when the round began, and that all of it is searchable now.
        """
        self._follow_settings()
        self._catch_up()
        if self._batches is None:
            self._batches = self._read_ahead()
        batch = next(self._batches, None)
        if batch is None:
            self._batches = None
            self._finish_volumes()
            self._commit_index(force=True)
            if not self._index.rest():
                self._caught_up = _NEVER
                self._catch_up()
                self._commit_index(force=True)
            return 0
        self._project(batch)
        self._commit_index()
        return len(batch)

    def finish(self) -> int:
        """Project until nothing is left. Returns the number of records."""
        total = 0
        while done := self.step():
            total += done
        return total

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Volumes that could not be read when they were tried last."""
        return tuple(self._left_alone)

    # -- settings ---------------------------------------------------------------------------------------------

    def _follow_settings(self) -> None:
        """Give mail to those who hold its addresses now: late users, late aliases."""
        if self._settings.directory_version() == self._catalogue.value("settings"):
            return
        self._keyring.refresh()
        self._left_alone.clear()  # the keys of a new mailbox may be among them now
        before, self._owners = self._owners, Owners.load(self._settings, self._lookup_key)
        self._doors = self._settings.doors()
        touched = self._settings.touched_addresses(self._catalogue.value("settings"))
        new_domains = self._owners.domains - before.domains
        with self._catalogue.writing() as writer:
            records = {record for address in touched for record in writer.records_with_address(address)}
            for one in new_domains:
                records.update(writer.records_with_domain(self._owners.hash("@" + one)))
            writer.reassign(sorted(records), self._owners.archives)
            writer.set_value("settings", self._owners.position)

    # -- the log to the catalogue -----------------------------------------------------------------------------

    def _read_ahead(self) -> Iterator[list[_Read | _Lain]]:
        """Batches of records beyond the cursors, each within the bounds.

        The children read what comes next while a batch is being written.
        """
        waiting: deque[_Coming] = deque()
        batch: list[_Read | _Lain] = []
        reading = ahead = weight = 0
        for found in self._records():
            waiting.append(self._coming(found))
            reading += waiting[-1].is_read
            ahead += waiting[-1].size
            del found  # so that a huge one is gone as soon as it has been read
            while waiting and (
                reading >= self._pool.depth
                or ahead >= BATCH_BYTES
                or len(waiting) >= BATCH_RECORDS
                or waiting[0].done()
            ):
                coming = waiting.popleft()
                reading -= coming.is_read
                ahead -= coming.size
                landed = coming.landed()
                weight += landed.weight
                batch.append(landed)
                if len(batch) >= BATCH_RECORDS or weight >= BATCH_BYTES:
                    yield batch
                    batch, weight = [], 0
        batch += [one.landed() for one in waiting]
        if batch:
            yield batch

    def _coming(self, found: Record | _Lain) -> _Coming:
        """A message is read by a child; of a place there is nothing more to find out."""
        if isinstance(found, _Lain):
            return _Coming(found, None)
        return _Coming(found, self._pool.describe(found.original))

    def _records(self) -> Iterator[Record | _Lain]:
        self._ended, self._passed = [], {}
        for volume in self._reader.volumes():
            if volume.path in self._finished or volume.mailbox == SYSTEM_MAILBOX or self._is_sealed(volume.mailbox):
                continue
            if volume.absent and not self._everything:
                continue
            if self._left_alone.get(volume.path, 0.0) > self._clock():
                continue
            try:
                yield from self._records_of(volume)
            except (StorageError, NotFoundError, UnavailableError) as error:
                if self._everything and isinstance(error, UnavailableError):
                    raise
                # A sector that cannot be read, or keys that this box does not have: no reason to keep the others.
                log.error("%s is left alone for a while: %s", volume.path, error.message)
                self._left_alone[volume.path] = self._clock() + AGAIN_SECONDS
                continue
            self._left_alone.pop(volume.path, None)
            if volume.closed or volume.sealed:
                self._ended.append(volume.path)

    def _is_sealed(self, mailbox: bytes) -> bool:
        try:
            return self._keyring.is_sealed(mailbox)
        except NotFoundError:
            return False  # reading tells that the keys are missing

    def _records_of(self, volume: VolumeInfo) -> Iterator[Record | _Lain]:
        for found in self._reader.scan(volume, self._cursors.get(volume.path, 0), sync=True):
            if isinstance(found, Tombstone):
                self._passed[volume.path] = found.end
            elif isinstance(found, Damage):
                self._note_damage(f"{volume.path} at {found.offset}: {found.what}")
                self._passed[volume.path] = found.end
            elif _is_projected(found):
                try:
                    record = self._reader.read(found)
                    yield record if found.type == RecordType.MESSAGE else _Lain(found, decode_places(record.original))
                except DamageError as error:
                    self._note_damage(f"{volume.path} at {found.offset}: {error.message}")
                    self._passed[volume.path] = found.end

    def _finish_volumes(self) -> None:
        """What was read to its end needs no further look: volumes that take no more records, and damage that no
        record follows."""
        passed = {path: end for path, end in self._passed.items() if end > self._cursors.get(path, 0)}
        self._cursors.update(passed)
        if not self._ended and not passed:
            return
        with self._catalogue.writing() as writer:
            for path in {*self._ended, *passed}:
                writer.move_cursor(path, self._cursors.get(path, 0), finished=path in self._ended)
        self._finished.update(self._ended)
        for path in self._ended:
            self._cursors.pop(path, None)
        self._ended, self._passed = [], {}

    def _note_damage(self, place: str) -> None:
        if place not in self.damaged:
            log.error("damaged record left out: %s", place)
            self.damaged.append(place)

    def _project(self, batch: Sequence[_Read | _Lain]) -> None:
        messages = [one for one in batch if isinstance(one, _Read)]
        lain = [one for one in batch if isinstance(one, _Lain)]
        self._create_users(messages)
        cursors = {one.ref.volume: one.ref.end for one in batch}
        passed = Counter(one.ref.volume for one in lain)
        fetched = {one.ref.record_id: one for one in messages if one.ref.mailbox == IMPORTS_MAILBOX}
        with self._catalogue.writing() as writer:
            changed = writer.place([self._placed(place) for one in lain for place in one.places], self._owners.archives)
            owned = writer.archives_by_places(fetched)
            changed += writer.add([self._projected(one, owned.get(one.ref.record_id, frozenset())) for one in messages])
            for path, offset in cursors.items():
                writer.move_cursor(path, offset, finished=False, places=passed[path])
        self._cursors.update(cursors)
        read = self._fetched | {one.ref.record_id: one for one in messages}
        self._index_messages(changed, read)
        self._fetched = fetched
        if changed and not self._behind:
            self._caught_up = changed[-1].change

    def _placed(self, place: Place) -> Placed:
        return Placed(
            record_id=place.record,
            archive=place.archive,
            steps=self._folders.steps(place.archive, place.folder),
            role=place.role,
            at=place.at,
        )

    def _projected(self, one: _Read, placed: frozenset[str]) -> Projected:
        ref, described = one.ref, one.described
        received_at = one.provenance.received_at or ref.time
        facts, reading = described.facts, described.reading
        addresses = self._addresses(one)
        people = tuple({self._owners.hash(address): self._owners.domain_hash(address) for address in addresses}.items())
        identity = facts.identity or described.original_sha256
        return Projected(
            record_id=ref.record_id,
            volume=ref.volume,
            offset=ref.offset,
            length=ref.length,
            mailbox=ref.mailbox,
            received_at=received_at,
            content=hmac.digest(self._keyring.content_key(ref.mailbox), described.original_sha256, "sha256"),
            message=hmac.digest(self._message_key, identity, "sha256")[:16],
            size=one.size,
            report=reading.report is not None,
            unparsed=reading.kind == "unparsed",
            addresses=people,
            archives=self._owners.archives(people, received_at, ref.mailbox, placed),
            shard=shard_of(ref.record_id),
        )

    def _addresses(self, one: _Read) -> list[str]:
        """The addresses that would make their holders owners; the mailboxes' own are nobody's.

        Those of a caught domain are kept: whoever is given one later gets the mail that came for it.
        """
        found = owners_addresses(one.described.reading, one.described.facts, one.provenance)
        return [address for address in found if address not in self._doors.addresses]

    def _create_users(self, batch: Sequence[_Read]) -> None:
        if self._create_user is None:
            return
        wanted = {
            address
            for one in batch
            for address in self._owners.to_create(
                self._addresses(one),
                one.provenance.received_at,
                one.ref.mailbox,
            )
        }
        for address in sorted(wanted):
            self._create_user(address)
        if wanted:
            self._follow_settings()
            self._catch_up()

    # -- the catalogue to the index ---------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Make the documents anew that the catalogue changed and the index does not hold yet, shard by shard."""
        change = self._catalogue.value("change")
        if change == self._caught_up:
            return
        for shard in self._catalogue.newest_changes():
            if self._behind.get(shard, 0.0) > self._clock():
                continue
            self._behind.pop(shard, None)
            while changed := self._catalogue.changed_after(shard, self._index.reached(shard), REREAD):
                self._index_messages(changed, {})
                self._commit_index()
                if shard in self._behind:
                    break
        self._caught_up = _NEVER if self._behind else change

    def _index_messages(self, changed: Sequence[Changed], read: dict[bytes, _Read]) -> None:
        """Put the documents of these messages, in the order of the change sequence.

        ``read`` holds records that are in memory anyway; the others are read from the log again. A shard with a message
        that no replica gives just now is left at the number before it, and caught up later; the others go on.
        """
        numbers = [one.n for one in changed]
        rows, folders = self._catalogue.records_of_many(numbers), self._catalogue.folders_of_messages(numbers)
        for one in changed:
            if one.shard in self._behind:
                continue
            try:
                facts, people = self._told(rows[one.n][:MOST_ENVELOPES], read)
            except UnavailableError as error:
                if self._everything:
                    raise
                log.error("mail of shard %s becomes searchable later: %s", one.shard, error.message)
                self._behind[one.shard] = self._clock() + AGAIN_SECONDS
                continue
            if facts is None:
                self._index.skip(shard=one.shard, change=one.change)
            else:
                made = document(one.message, facts, rows[one.n], people, self._doors, folders.get(one.n, ()))
                self._index.put(made, shard=one.shard, change=one.change)
            self._uncommitted += 1

    def _told(
        self, rows: Sequence[RecordRow], read: dict[bytes, _Read]
    ) -> tuple[MessageFacts | None, set[Participant]]:
        """What the records of one message say, and of whom. Raises UnavailableError where one cannot be fetched."""
        facts: MessageFacts | None = None
        people: set[Participant] = set()
        for row in rows:
            form = read.get(row.record_id) or self._read_again(row)
            if form is not None:
                facts = facts or form.described.facts
                people.update(self._people(row, form))
        return facts, people

    def _read_again(self, row: RecordRow) -> _Read | None:
        try:
            record = self._reader.read(row.volume, row.offset)
        except (DamageError, NotFoundError, StorageError) as error:
            self._note_damage(f"{row.volume} at {row.offset}: {error.message}")
            return None
        return _landed(record, self._pool.describe(record.original))

    def _people(self, row: RecordRow, form: _Read) -> tuple[Participant, ...]:
        return audience(
            form.described.reading,
            form.described.facts,
            form.provenance,
            partial(self._owners.archive_of, at=row.received_at),
            self._doors,
        )

    def _commit_index(self, *, force: bool = False) -> None:
        now = self._clock()
        due = self._uncommitted >= COMMIT_DOCUMENTS or now - self._committed_at >= COMMIT_SECONDS
        if self._uncommitted and (force or due):
            self._index.commit()
            self._uncommitted = 0
            self._committed_at = now


class _Coming(NamedTuple):
    """A record on its way into a batch; ``described`` is what a child finds out about a message."""

    found: Record | _Lain
    described: Future[Described] | None

    @property
    def is_read(self) -> bool:
        """Whether a child reads it."""
        return self.described is not None

    @property
    def size(self) -> int:
        """Bytes of the message that are held meanwhile."""
        return len(self.found.original) if isinstance(self.found, Record) else 0

    def done(self) -> bool:
        """Whether nothing has to be waited for."""
        return self.described is None or self.described.done()

    def landed(self) -> _Read | _Lain:
        """Wait for it."""
        if isinstance(self.found, _Lain):
            return self.found
        assert self.described is not None
        return _landed(self.found, self.described)


def _is_projected(found: RecordRef) -> bool:
    """Messages are; and places, where fetched mail lies: whoever writes other mailboxes' volumes gives no mail away."""
    return found.type == RecordType.MESSAGE or (found.type == RecordType.PLACE and found.mailbox == IMPORTS_MAILBOX)


def _landed(record: Record, described: Future[Described]) -> _Read:
    return _Read(record.ref, record.provenance, len(record.original), described.result())
