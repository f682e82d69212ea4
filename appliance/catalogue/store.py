"""The open catalogue: one writer (the projection), any number of readers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    LargeBinary,
    Row,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance.catalogue import placing
from appliance.catalogue import tables as t
from appliance.catalogue.placing import FolderRow, Placed, slices
from appliance.files import FILES, Files
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.sqlite import migrate, open_database

NEWEST_REVISION = "0003"
UNASSIGNED = "unassigned"
"""The archive of mail that belongs to no known user."""

ArchivesOf: TypeAlias = Callable[[Sequence[tuple[bytes, bytes]], int, bytes, frozenset[str]], frozenset[str]]
"""Whose a record is: from its (address, domain) pairs of keyed hashes, its time of receipt, its mailbox, and the
archives in whose folders it lay."""


class Projected(msgspec.Struct, frozen=True):
    """What the projection found out about one record."""

    record_id: bytes
    volume: str
    offset: int
    length: int
    mailbox: bytes
    received_at: int
    content: bytes
    message: bytes  # id of the message that this record is a form of
    size: int
    report: bool
    unparsed: bool
    addresses: tuple[tuple[bytes, bytes], ...]  # keyed hashes of address and domain
    archives: frozenset[str]
    shard: int  # of the index, for a message that this record is the first of


class RecordRow(msgspec.Struct, frozen=True):
    """A record as the catalogue knows it."""

    n: int
    record_id: bytes
    volume: str
    offset: int
    length: int
    mailbox: bytes
    received_at: int
    size: int
    report: bool
    unparsed: bool
    archives: frozenset[str]


class Changed(msgspec.Struct, frozen=True):
    """A message whose document has to be made (again); ``change`` is its number in the change sequence."""

    n: int
    message: str
    change: int
    shard: int
    created: bool = False


class VolumeSums(msgspec.Struct, frozen=True):
    """What of a volume's records the catalogue has: messages, and places."""

    records: int = 0
    places: int = 0


class Counts(msgspec.Struct, frozen=True):
    """The catalogue's own sums."""

    records: int
    messages: int
    unassigned: int
    unparsed: int
    change: int


class Catalogue:
    """One open catalogue.db."""

    def __init__(self, path: Path, *, files: Files = FILES) -> None:
        self._path = path
        self._files = files
        self._held: dict[Path, int] = {}
        self._engine = open_database(path)
        migrate(self._engine, Path(__file__).parent / "migrations", NEWEST_REVISION)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        while self._held:
            self._files.close(self._held.popitem()[1])

    def sync(self) -> None:
        """Return when all that was committed is on disk, which a commit does not wait for. Raises OSError.

        What SQLite has not yet moved into the database is in its log (https://www.sqlite.org/wal.html).
        """
        for path in (self._path, self._path.with_name(self._path.name + "-wal")):
            # Held until the connections are closed: closing any descriptor of a file gives up the locks that this
            # process has on it, SQLite's too, and another process that ends would take the log away from under us
            # (https://www.sqlite.org/howtocorrupt.html, section 2.2).
            if path not in self._held:
                try:
                    self._held[path] = self._files.open(path)
                except FileNotFoundError:
                    continue
            self._files.sync_data(self._held[path])
        self._files.sync_directory(self._path.parent)

    @contextmanager
    def writing(self) -> Iterator[CatalogueWriter]:
        """One transaction of the projection."""
        with self._engine.begin() as connection:
            yield CatalogueWriter(connection)

    # -- reading ----------------------------------------------------------------------------------------------

    def cursors(self) -> dict[str, tuple[int, bool]]:
        """For each volume that was ever projected from: offset behind the last record, and whether it is done."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(t.volume.c.path, t.volume.c.cursor, t.volume.c.finished))
            return {path: (cursor, finished) for path, cursor, finished in rows}

    def value(self, key: str) -> int:
        """A number kept in ``meta``; 0 where there is none."""
        with self._engine.connect() as connection:
            return _value(connection, key)

    def counts(self) -> Counts:
        """Sums over the whole catalogue."""
        with self._engine.connect() as connection:

            def count(query) -> int:  # type: ignore[no-untyped-def]
                return int(connection.execute(query).scalar() or 0)

            distinct = func.count(func.distinct(t.record.c.message))
            return Counts(
                records=count(select(func.count()).select_from(t.record)),
                messages=count(select(func.count()).select_from(t.message)),
                unassigned=count(
                    select(distinct).select_from(t.record.join(t.ownership)).where(t.ownership.c.archive == UNASSIGNED)
                ),
                unparsed=count(select(distinct).where(t.record.c.unparsed)),
                change=_value(connection, "change"),
            )

    def records_of(self, id: bytes) -> tuple[str, list[RecordRow]]:
        """The message with this id, or of which the record with this id is a form: the message's id and its records,
        first received first. Both are empty where there is no such thing."""
        with self._engine.connect() as connection:
            rows = connection.execute(_RECORDS_OF, {"wanted": id}).all()
        archives: dict[int, set[str]] = {}
        for row in rows:
            archives.setdefault(row.n, set()).update(filter(None, (row.archive,)))
        records = {row.n: row for row in rows}
        return (
            rows[0].message_id.hex() if rows else "",
            [_record(row, frozenset(archives[n])) for n, row in records.items()],
        )

    def contents(self, mailbox: bytes) -> list[tuple[bytes, bytes]]:
        """The keyed hashes of what a mailbox's records hold, each with the id of such a record. Journal reports are
        left out: their hash is that of the message in them."""
        mine = (t.record.c.mailbox == mailbox) & ~t.record.c.report
        wanted = select(t.record.c.content, func.min(t.record.c.id)).where(mine)
        with self._engine.connect() as connection:
            return [(content, record) for content, record in connection.execute(wanted.group_by(t.record.c.content))]

    def archives_of_messages(self, ids: Sequence[bytes]) -> dict[bytes, frozenset[str]]:
        """Whose each of these messages (by id) is; those that are not there are left out."""
        found: dict[bytes, set[str]] = {}
        with self._engine.connect() as connection:
            for part in slices(ids):
                rows = connection.execute(
                    select(t.message.c.id, t.ownership.c.archive)
                    .select_from(t.message.join(t.record).join(t.ownership))
                    .where(t.message.c.id.in_(part))
                    .distinct()
                )
                for id, archive in rows:
                    found.setdefault(id, set()).add(archive)
        return {id: frozenset(archives) for id, archives in found.items()}

    def records_of_many(self, numbers: Sequence[int]) -> dict[int, list[RecordRow]]:
        """The records of each of these messages (by ``n``)."""
        with self._engine.connect() as connection:
            return _records(connection, numbers)

    @property
    def identity(self) -> bytes:
        """What tells this catalogue from any other, also from another one of this archive; 8 bytes."""
        return self.value("identity").to_bytes(8)

    def newest_changes(self) -> dict[int, int]:
        """For each shard of the index the number of its newest change."""
        with self._engine.connect() as connection:
            # One look-up in the index a shard, where GROUP BY would read all of it.
            rows = connection.exec_driver_sql(
                "WITH RECURSIVE one(shard) AS (SELECT min(shard) FROM message UNION ALL SELECT (SELECT min(shard) FROM "
                "message WHERE shard > one.shard) FROM one WHERE one.shard IS NOT NULL) SELECT shard, (SELECT "
                "max(change) FROM message WHERE message.shard = one.shard) FROM one WHERE shard IS NOT NULL"
            )
            return {row[0]: row[1] for row in rows}

    def changed_after(self, shard: int, change: int, limit: int) -> list[Changed]:
        """Messages of a shard changed after that number of the change sequence, in its order."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(t.message.c.n, t.message.c.id, t.message.c.change)
                .where(t.message.c.shard == shard, t.message.c.change > change)
                .order_by(t.message.c.change)
                .limit(limit)
            )
            return [Changed(n, id_.hex(), number, shard) for n, id_, number in rows]

    def message_of_record(self, record_id: bytes) -> str | None:
        """The id of the message that a record is a form of."""
        with self._engine.connect() as connection:
            found = connection.execute(
                select(t.message.c.id).select_from(t.record.join(t.message)).where(t.record.c.id == record_id)
            ).scalar()
            return found.hex() if found else None

    def per_minute(self, now: int, minutes: int) -> tuple[int, ...]:
        """Records received in each of the last ``minutes`` minutes, oldest first; ``now`` in seconds."""
        minute = t.record.c.received_at // 60_000_000
        first = now // 60 - minutes + 1
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(minute, func.count()).where(t.record.c.received_at >= first * 60_000_000).group_by(minute)
            )
            found: dict[int, int] = {row[0]: row[1] for row in rows}
        return tuple(found.get(first + number, 0) for number in range(minutes))

    def last_received(self) -> int | None:
        """When the newest record came in (microseconds)."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(t.record.c.received_at))).scalar()

    def volume_sums(self) -> dict[str, VolumeSums]:
        """How many records of each volume (by its path) there are."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(t.volume.c.path, func.count(t.record.c.n), t.volume.c.places)
                .select_from(t.volume.outerjoin(t.record))
                .group_by(t.volume.c.id)
            )
            return {path: VolumeSums(records, places) for path, records, places in rows}

    def cursors_and_sums(self) -> tuple[dict[str, tuple[int, bool]], dict[bytes, tuple[int, int, int, int]]]:
        """``cursors``, and for each mailbox: records, bytes as received, times of the oldest and the newest
        (microseconds). Both of one moment: what is beyond the cursors is not in the sums."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # the driver begins none of its own for reading
            cursors = connection.execute(select(t.volume.c.path, t.volume.c.cursor, t.volume.c.finished))
            sums = connection.execute(
                select(
                    t.record.c.mailbox, func.count(), func.sum(t.record.c.size), func.min(t.record.c.received_at),
                    func.max(t.record.c.received_at),
                ).group_by(t.record.c.mailbox)
            )  # fmt: skip
            return (
                {path: (cursor, finished) for path, cursor, finished in cursors},
                {mailbox: (count, size, first, last) for mailbox, count, size, first, last in sums},
            )

    def archive_sizes(self, archives: Sequence[str]) -> dict[str, int]:
        """How many messages each of these archives holds."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(t.ownership.c.archive, func.count(func.distinct(t.record.c.message)))
                .select_from(t.ownership.join(t.record))
                .where(t.ownership.c.archive.in_(archives))
                .group_by(t.ownership.c.archive)
            )
            return {row[0]: row[1] for row in rows}

    # -- folders ----------------------------------------------------------------------------------------------

    def folders_of_messages(self, numbers: Sequence[int]) -> dict[int, list[tuple[str, bytes]]]:
        """Archive and id of each folder that each of these messages (by ``n``) lay in; none for most."""
        with self._engine.connect() as connection:
            return placing.of_messages(connection, numbers)

    def folders_of_records(self, records: Sequence[bytes]) -> list[FolderRow]:
        """The folders that these records (by id) lay in, without numbers of messages."""
        with self._engine.connect() as connection:
            return placing.of_records(connection, records)

    def folders(self, archives: Collection[str]) -> list[FolderRow]:
        """All folders of these archives, with how many messages lay in each; none before the one that it is in."""
        with self._engine.connect() as connection:
            return placing.of_archives(connection, archives)

    def folder(self, id: bytes) -> FolderRow | None:
        """The folder with that id, without its number of messages."""
        with self._engine.connect() as connection:
            return placing.by_id(connection, id)

    def folder_with_those_in(self, folder: FolderRow) -> tuple[bytes, ...]:
        """The ids of a folder and of all that are in it."""
        with self._engine.connect() as connection:
            return placing.with_those_in(connection, folder.n)


class CatalogueWriter:
    """The writing side, inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._change = _value(connection, "change")
        self._volumes: dict[str, int] = {}

    def add(self, projected: Sequence[Projected]) -> list[Changed]:
        """Add records; those that are there already are left as they are. Returns the messages that changed.

        A handful of statements for the whole batch: one a row would be most of a projection's time.
        """
        present = self._present(one.record_id for one in projected)
        new = list({one.record_id: one for one in projected if one.record_id not in present}.values())
        messages = self._numbers_of({one.message for one in new})
        shards = self._shards_of(messages.values())
        fresh: dict[bytes, int] = {}
        for one in new:
            if one.message not in messages:
                fresh.setdefault(one.message, one.shard)
        first_message, first_record = self._next(t.message), self._next(t.record)
        messages.update({message: first_message + number for number, message in enumerate(fresh)})
        shards.update({messages[message]: shard for message, shard in fresh.items()})
        self._insert(
            t.message, [{"n": messages[one], "id": one, "change": 0, "shard": shard} for one, shard in fresh.items()]
        )
        self._insert(
            t.record,
            [
                {
                    "n": n, "id": one.record_id, "volume": self._volume(one.volume), "offset": one.offset,
                    "length": one.length, "message": messages[one.message], "mailbox": one.mailbox,
                    "received_at": one.received_at, "content": one.content, "size": one.size, "report": one.report,
                    "unparsed": one.unparsed,
                }
                for n, one in enumerate(new, first_record)
            ],
        )  # fmt: skip
        self._insert(
            t.ownership,
            [
                {"archive": archive, "record": n}
                for n, one in enumerate(new, first_record)
                for archive in sorted(one.archives)
            ],
        )
        self._insert(
            t.participation,
            [
                {"address": address, "record": n, "domain": where}
                for n, one in enumerate(new, first_record)
                for address, where in dict(one.addresses).items()
            ],
        )
        placing.link(
            self._connection, {one.record_id: messages[one.message] for one in new if one.mailbox == IMPORTS_MAILBOX}
        )
        created = set(fresh)
        return self._renumber(
            [
                Changed(messages[message], message.hex(), 0, shards[messages[message]], message in created)
                for message in dict.fromkeys(one.message for one in new)
            ]
        )

    def place(self, placed: Sequence[Placed], archives_of: ArchivesOf) -> list[Changed]:
        """Add places; those that are there already are left. Returns the messages that are in further folders now.

        Places of records that are not there yet wait for them; see ``archives_by_places``.
        """
        records = placing.put(self._connection, placed)
        self._own_anew(records, archives_of)
        messages: set[int] = set()
        for part in slices(records):
            messages.update(
                self._connection.execute(select(t.record.c.message).where(t.record.c.n.in_(part))).scalars()
            )
        return self._renumber(self._messages(messages))

    def archives_by_places(self, records: Iterable[bytes]) -> dict[bytes, frozenset[str]]:
        """In whose folders these records (by id) lay, as far as that is known before they are added."""
        return placing.archives_by_record_id(self._connection, records)

    def move_cursor(self, volume: str, offset: int, *, finished: bool, places: int = 0) -> None:
        """Remember how far a volume has been projected; it has passed ``places`` more records of type place."""
        self._connection.execute(
            update(t.volume)
            .where(t.volume.c.id == self._volume(volume))
            .values(cursor=offset, finished=finished, places=t.volume.c.places + places)
        )

    def set_value(self, key: str, value: int) -> None:
        """Keep a number in ``meta``."""
        self._connection.execute(
            upsert(t.meta)
            .values(key=key, value=value)
            .on_conflict_do_update(index_elements=["key"], set_={"value": value})
        )

    def records_with_address(self, address: bytes) -> list[int]:
        """Records (by ``n``) in which an address takes part."""
        return list(
            self._connection.execute(
                select(t.participation.c.record).where(t.participation.c.address == address)
            ).scalars()
        )

    def records_with_domain(self, domain: bytes) -> list[int]:
        """Records (by ``n``) in which an address of that domain takes part."""
        return list(
            self._connection.execute(
                select(t.participation.c.record).where(t.participation.c.domain == domain).distinct()
            ).scalars()
        )

    def reassign(self, records: Sequence[int], archives_of: ArchivesOf) -> list[Changed]:
        """Work out anew whose these records (by ``n``) are. Returns the messages whose owners changed."""
        return self._renumber(self._messages(self._own_anew(records, archives_of)))

    def _own_anew(self, records: Sequence[int], archives_of: ArchivesOf) -> set[int]:
        """The messages (by ``n``) whose owners changed."""
        touched: set[int] = set()
        for part in slices(records):
            people: dict[int, list[tuple[bytes, bytes]]] = {n: [] for n in part}
            for n, address, where in self._connection.execute(
                select(t.participation.c.record, t.participation.c.address, t.participation.c.domain).where(
                    t.participation.c.record.in_(part)
                )
            ):
                people[n].append((address, where))
            before = _archives(self._connection, part)
            placed = placing.archives_by_record(self._connection, part)
            for n, message, received_at, mailbox in self._connection.execute(
                select(t.record.c.n, t.record.c.message, t.record.c.received_at, t.record.c.mailbox).where(
                    t.record.c.n.in_(part)
                )
            ).all():
                archives = archives_of(people[n], received_at, mailbox, placed.get(n, frozenset()))
                if archives == before.get(n, frozenset()):
                    continue
                self._connection.execute(delete(t.ownership).where(t.ownership.c.record == n))
                self._own(n, archives)
                touched.add(message)
        return touched

    def _messages(self, numbers: Collection[int]) -> list[Changed]:
        changed = []
        for part in slices(sorted(numbers)):
            rows = self._connection.execute(
                select(t.message.c.n, t.message.c.id, t.message.c.shard).where(t.message.c.n.in_(part))
            )
            changed += [Changed(n, id_.hex(), 0, shard) for n, id_, shard in rows]
        return changed

    def _present(self, record_ids: Iterable[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        for part in slices(list(record_ids)):
            found.update(self._connection.execute(select(t.record.c.id).where(t.record.c.id.in_(part))).scalars())
        return found

    def _numbers_of(self, messages: Iterable[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        for part in slices(list(messages)):
            rows = self._connection.execute(select(t.message.c.id, t.message.c.n).where(t.message.c.id.in_(part)))
            found.update({row.id: row.n for row in rows})
        return found

    def _shards_of(self, messages: Iterable[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        for part in slices(list(messages)):
            rows = self._connection.execute(select(t.message.c.n, t.message.c.shard).where(t.message.c.n.in_(part)))
            found.update({row.n: row.shard for row in rows})
        return found

    def _next(self, table: Table) -> int:
        return int(self._connection.execute(select(func.max(table.c.n))).scalar() or 0) + 1

    def _insert(self, table: Table, rows: list[dict[str, object]]) -> None:
        if rows:
            self._connection.execute(insert(table), rows)

    def _own(self, record: int, archives: frozenset[str]) -> None:
        self._insert(t.ownership, [{"archive": archive, "record": record} for archive in sorted(archives)])

    def _volume(self, path: str) -> int:
        if path not in self._volumes:
            n = self._connection.execute(select(t.volume.c.id).where(t.volume.c.path == path)).scalar()
            if n is None:
                inserted = self._connection.execute(insert(t.volume).values(path=path, cursor=0, finished=False))
                n = _key(inserted.inserted_primary_key)
            self._volumes[path] = n
        return self._volumes[path]

    def _renumber(self, changed: Sequence[Changed]) -> list[Changed]:
        numbered = []
        for one in changed:
            self._change += 1
            numbered.append(msgspec.structs.replace(one, change=self._change))
        if numbered:
            self._connection.execute(
                update(t.message).where(t.message.c.n == bindparam("number")).values(change=bindparam("moved")),
                [{"number": one.n, "moved": one.change} for one in numbered],
            )
            self.set_value("change", self._change)
        return numbered


def _value(connection: Connection, key: str) -> int:
    return int(connection.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar() or 0)


def _key(primary_key: object) -> int:
    return int(primary_key[0])  # type: ignore[index]


def _archives(connection: Connection, records: Sequence[int]) -> dict[int, frozenset[str]]:
    found: dict[int, set[str]] = {}
    for part in slices(records):
        for n, archive in connection.execute(
            select(t.ownership.c.record, t.ownership.c.archive).where(t.ownership.c.record.in_(part))
        ):
            found.setdefault(n, set()).add(archive)
    return {n: frozenset(archives) for n, archives in found.items()}


def _records(connection: Connection, messages: Sequence[int]) -> dict[int, list[RecordRow]]:
    found: dict[int, list[RecordRow]] = {n: [] for n in messages}
    for part in slices(messages):
        rows = connection.execute(
            select(t.record, t.volume.c.path)
            .select_from(t.record.join(t.volume))
            .where(t.record.c.message.in_(part))
            .order_by(t.record.c.received_at, t.record.c.n)
        ).all()
        archives = _archives(connection, [row.n for row in rows])
        for row in rows:
            found[row.message].append(_record(row, archives.get(row.n, frozenset())))
    return found


def _record(row: Row[Any], archives: frozenset[str]) -> RecordRow:
    return RecordRow(
        n=row.n, record_id=row.id, volume=row.path, offset=row.offset, length=row.length, mailbox=row.mailbox,
        received_at=row.received_at, size=row.size, report=row.report, unparsed=row.unparsed, archives=archives,
    )  # fmt: skip


def _records_of() -> Select[Any]:
    """Made once: of opening a message, putting this together took as long as running it."""
    wanted: BindParameter[bytes] = bindparam("wanted", type_=LargeBinary)
    form, known = t.record.alias(), t.message.alias()
    return (
        select(t.record, t.volume.c.path, t.message.c.id.label("message_id"), t.ownership.c.archive)
        .select_from(t.message.join(t.record).join(t.volume).outerjoin(t.ownership))
        .where(
            t.message.c.n
            == func.coalesce(
                select(form.c.message).where(form.c.id == wanted).scalar_subquery(),
                select(known.c.n).where(known.c.id == wanted).scalar_subquery(),
            )
        )
        .order_by(t.record.c.received_at, t.record.c.n)
    )


_RECORDS_OF = _records_of()
