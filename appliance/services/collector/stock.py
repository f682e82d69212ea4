"""What the collector has dealt with: accounts, folders with their cursors, messages, and which bytes are archived.

A message is archived exactly once, whatever is killed in between: its content and the id of its record to be are on
disk here before the record is written (``intend``), and after a crash the log says which of the intended records there
are (``settle``). The rest of what is written here may be lost by a power cut: then a message is fetched once more and
found to be archived already.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
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

from appliance.services import api
from appliance.services.collector import ledger as t
from appliance.services.collector.ledger import Ledger
from appliance.settings.events import ProfilePut
from appliance.sources.base import Account, Folder, Item
from appliance.sqlite import durable

T = TypeVar("T")

STORED: Final = 1
FILTERED: Final = 2
"""Not wanted by what the source says of it, which may change."""
FAILED: Final = 3
REFUSED: Final = 4
"""Not wanted by what its bytes say, which stay the same: looked at again when the profile's rules are others."""

_WHERE: Final = ("host", "tenant", "url", "domain", "user", "address")
"""Options that say which place a source is: with others, nothing is known of what lies there."""
_SLICE: Final = 500
_AT_A_TIME: Final = 100


class Known(msgspec.Struct, frozen=True):
    """What became of a message of a folder."""

    state: int  # STORED, FILTERED, FAILED, REFUSED
    item: Item
    record: bytes | None = None


class Standing(msgspec.Struct, frozen=True):
    """How far a folder is: its number here, its cursor, whether some of its messages were not archived."""

    number: int
    cursor: bytes
    waiting: bool


class Stock:
    """What is known of all sources. Threads may share it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._key = ledger.keys.lookup

    # -- bytes ------------------------------------------------------------------------------------------------

    def records_of(self, contents: Collection[bytes]) -> dict[bytes, bytes]:
        """The records of those of the contents that are archived, or intended to be."""
        table = t.content_table
        return {row.content: row.record for row in self._rows(select(table), table.c.content, contents)}

    def intend(self, records: Mapping[bytes, bytes]) -> None:
        """On disk on return: these contents are about to be written under these record ids."""
        if not records:
            return
        rows = [{"content": content, "record": record, "whole": 0} for content, record in records.items()]
        with durable(self._ledger.engine) as connection:
            connection.execute(upsert(t.content_table).on_conflict_do_nothing(), rows)

    def give_up(self, contents: Collection[bytes]) -> None:
        """Of these it cannot be said that they were written."""
        with self._ledger.changing() as connection:
            for part in _slices(list(contents)):
                connection.execute(delete(t.content_table).where(t.content_table.c.content.in_(part)))

    def intended(self) -> frozenset[bytes]:
        """The ids of records of which it is not known whether they were written."""
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(select(t.content_table.c.record).where(t.content_table.c.whole == 0))
            return frozenset(rows.scalars())

    def settle(self, written: Collection[bytes]) -> None:
        """Of the intended records these are in the log; the others are not."""
        with self._ledger.changing() as connection:
            for part in _slices(list(written)):
                there = update(t.content_table).where(t.content_table.c.record.in_(part))
                connection.execute(there.values(whole=1))
            connection.execute(delete(t.content_table).where(t.content_table.c.whole == 0))

    # -- places -----------------------------------------------------------------------------------------------

    def place_key(self, record: bytes, archive: str, folder: Sequence[str]) -> bytes:
        """What stands here for a place."""
        text = json.dumps([archive, *folder]).encode()
        return hmac.digest(self._key, b"place" + record + text, sha256)[:16]

    def placed(self, keys: Collection[bytes]) -> frozenset[bytes]:
        """Those of the places that are in the log."""
        return frozenset(row.key for row in self._rows(select(t.place_table), t.place_table.c.key, keys))

    # -- accounts and folders ---------------------------------------------------------------------------------

    def account(self, profile: ProfilePut, account: Account) -> int:
        """The number of an account of a profile's source, where that is now."""
        place = [profile.kind, *(profile.options.get(name, "") for name in _WHERE)]
        key = self._hash(json.dumps([account.id, *place]))
        return self._number(t.account_table, {"profile": profile.name, "key": key}, name=account.id)

    def folders(self, account: int, folders: Sequence[Folder], rules: bytes) -> dict[str, Standing]:
        """How far an account's folders are, by the source's names for them; those that are new begin now.

        ``rules`` are the profile's: where they are others than before, what they refused is filtered out for now.
        """
        keys, key = {self._hash(folder.id): folder for folder in folders}, self._hash(rules)
        table, mine = t.folder_table, t.folder_table.c.account == account
        with self._ledger.changing() as connection:
            there = set(connection.execute(select(table.c.key).where(mine)).scalars())
            if new := [
                {"account": account, "key": one, "path": "/".join(folder.path)}
                for one, folder in keys.items()
                if one not in there
            ]:
                connection.execute(insert(table), new)
            others = select(table.c.n).where(mine, table.c.filter != key)
            refused = update(t.item_table).where(t.item_table.c.folder.in_(others), t.item_table.c.state == REFUSED)
            connection.execute(refused.values(state=FILTERED))
            connection.execute(update(table).where(mine, table.c.filter != key).values(filter=key))
            waiting = t.item_table.c.folder.in_(select(table.c.n).where(mine)) & (t.item_table.c.state != STORED)
            some = set(connection.execute(select(t.item_table.c.folder).distinct().where(waiting)).scalars())
            found = connection.execute(select(table.c.n, table.c.key, table.c.cursor).where(mine)).all()
        return {keys[row.key].id: Standing(row.n, row.cursor, row.n in some) for row in found if row.key in keys}

    def begin_anew(self, folder: int) -> None:
        """The source has numbered the folder's messages anew: what was known of them means nothing any more."""
        with self._ledger.changing() as connection:
            connection.execute(delete(t.item_table).where(t.item_table.c.folder == folder))
            connection.execute(update(t.folder_table).where(t.folder_table.c.n == folder).values(cursor=b""))

    # -- messages of a folder ---------------------------------------------------------------------------------

    def known(self, folder: int, ids: Collection[str]) -> dict[str, Known]:
        """What became of these messages; those of which nothing is known are left out."""
        mine = select(t.item_table).where(t.item_table.c.folder == folder)
        return {row.id: _known(row) for row in self._rows(mine, t.item_table.c.id, ids)}

    def same(self, account: int, items: Iterable[Item]) -> dict[str, bytes]:
        """The records of those messages, by their ids, that the account has in another folder, too, as the source says,
        and that are archived."""
        keys = {self._same_key(account, one): one.id for one in items if one.same}
        return {keys[row.key]: row.record for row in self._rows(select(t.same_table), t.same_table.c.key, keys)}

    def waiting(self, folder: int, run: int) -> Iterator[Sequence[Known]]:
        """The messages that were filtered out or failed before this run, some at a time; those that are dealt with
        meanwhile are not given again."""
        table, last = t.item_table, ""
        while True:
            wanted = select(table).where(
                table.c.folder == folder, table.c.state.in_((FILTERED, FAILED)), table.c.run < run, table.c.id > last
            )
            with self._ledger.engine.connect() as connection:
                found = tuple(map(_known, connection.execute(wanted.order_by(table.c.id).limit(_SLICE))))
            if not found:
                return
            yield found
            last = found[-1].item.id

    def deal(
        self,
        connection: Connection,
        folder: int,
        run: int,
        dealt: Sequence[Known],
        *,
        account: int,
        contents: Collection[bytes] = (),
        places: Collection[bytes] = (),
        gone: Collection[str] = (),
    ) -> None:
        """Within a transaction: what became of messages; which contents and places are in the log now; which messages
        were gone when they were asked for."""
        _forget(connection, folder, gone)
        rows = [
            {
                "folder": folder, "id": one.item.id, "state": one.state, "record": one.record, "size": one.item.size,
                "received": one.item.received, "seen": int("seen" in one.item.flags), "run": run,
                "labels": _packed(one.item.labels) if one.state != STORED else None,
            }
            for one in dealt
        ]  # fmt: skip
        if rows:
            put = upsert(t.item_table)
            changed = {
                name: put.excluded[name] for name in ("state", "record", "size", "received", "seen", "run", "labels")
            }
            connection.execute(put.on_conflict_do_update(index_elements=["folder", "id"], set_=changed), rows)
        alike = [
            {"key": self._same_key(account, one.item), "record": one.record}
            for one in dealt
            if one.item.same and one.state == STORED
        ]
        if alike:
            connection.execute(upsert(t.same_table).on_conflict_do_nothing(), alike)
        self.archived(connection, contents, places)

    def archived(self, connection: Connection, contents: Collection[bytes], places: Collection[bytes]) -> None:
        """Within a transaction: which contents and places are in the log now."""
        if contents:
            whole = update(t.content_table).where(t.content_table.c.content == bindparam("which")).values(whole=1)
            connection.execute(whole, [{"which": content} for content in contents])
        if places:
            connection.execute(upsert(t.place_table).on_conflict_do_nothing(), [{"key": key} for key in places])

    def forget(self, folder: int, ids: Collection[str]) -> None:
        """These are no longer there."""
        with self._ledger.changing() as connection:
            _forget(connection, folder, ids)

    def advance(self, folder: int, cursor: bytes, *, gone: Collection[str] = (), changed: Iterable[Item] = ()) -> None:
        """All before the cursor has been dealt with; these are no longer there, those have other flags or labels."""
        with self._ledger.changing() as connection:
            _forget(connection, folder, gone)
            rows = [
                {"which": one.id, "flag": int("seen" in one.flags), "named": _packed(one.labels)} for one in changed
            ]
            if rows:
                table = t.item_table
                this = update(table).where(table.c.folder == folder, table.c.id == bindparam("which"))
                connection.execute(this.values(seen=bindparam("flag")), rows)
                connection.execute(this.where(table.c.state != STORED).values(labels=bindparam("named")), rows)
            connection.execute(update(t.folder_table).where(t.folder_table.c.n == folder).values(cursor=cursor))

    # -- deleting at the source -----------------------------------------------------------------------------------

    def old(self, folder: int, before: int, last: str) -> tuple[Known, ...]:
        """Some of a folder's messages that are archived and were received before that moment (microseconds), by id,
        behind the id ``last``; none where there are no more."""
        table = t.item_table
        wanted = select(table).where(
            table.c.folder == folder, table.c.state == STORED, table.c.received < before, table.c.id > last
        )
        with self._ledger.engine.connect() as connection:
            return tuple(map(_known, connection.execute(wanted.order_by(table.c.id).limit(_AT_A_TIME))))

    def ask_for_proof(self, account: int, records: Collection[bytes], now: int) -> None:
        """Ask the archiver to read these back now, whatever it has said of them before."""
        rows = [{"record": record, "account": account, "asked": now, "sound": None} for record in records]
        with self._ledger.changing() as connection:
            connection.execute(delete(t.proof_table).where(t.proof_table.c.account == account))
            if rows:
                connection.execute(insert(t.proof_table), rows)

    def proofs(self, account: int) -> dict[bytes, bool]:
        """What the archiver has said of those that an account asked for; of others it has said nothing yet."""
        table = t.proof_table
        said = select(table.c.record, table.c.sound).where(table.c.account == account, table.c.sound.is_not(None))
        with self._ledger.engine.connect() as connection:
            return {record: bool(sound) for record, sound in connection.execute(said)}

    def deletable(self, profile: str, before: int, limit: int) -> api.ProfileDeletions:
        """All messages of a profile that are archived and were received before that moment."""
        item, folder, account = t.item_table, t.folder_table, t.account_table
        joined = item.join(folder, folder.c.n == item.c.folder).join(account, account.c.n == folder.c.account)
        fits = (account.c.profile == profile) & (item.c.state == STORED) & (item.c.received < before)
        with self._ledger.engine.connect() as connection:
            summed = select(func.count(), func.coalesce(func.sum(item.c.size), 0)).select_from(joined).where(fits)
            count, size = connection.execute(summed).one()
            rows = connection.execute(
                select(account.c.name, folder.c.path, item.c.id, item.c.received, item.c.size)
                .select_from(joined).where(fits).order_by(item.c.received).limit(limit)
            )  # fmt: skip
            found = tuple(
                api.ProfileDeletion(name, path, id, received // 1_000_000, octets or 0)
                for name, path, id, received, octets in rows
            )
        return api.ProfileDeletions(count, size, found)

    def _rows(self, wanted: Select[Any], column: ColumnElement[Any], values: Collection[Any]) -> Iterator[Row[Any]]:
        """The rows in which the column has one of these values; the database is not asked for none."""
        if not values:
            return
        with self._ledger.engine.connect() as connection:
            for part in _slices(list(values)):
                yield from connection.execute(wanted.where(column.in_(part)))

    def _number(self, table: Table, key: dict[str, object], **values: object) -> int:
        this = select(table.c.n).where(*(table.c[name] == value for name, value in key.items()))
        with self._ledger.changing() as connection:
            found = connection.execute(this).scalar()
            if found is None:
                (found,) = connection.execute(insert(table).values(key | values)).inserted_primary_key or (0,)
        return int(found)

    def _same_key(self, account: int, item: Item) -> bytes:
        return self._hash(f"same {account} {item.same}")

    def _hash(self, text: str | bytes) -> bytes:
        raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, raw, sha256)[:16]


def _forget(connection: Connection, folder: int, ids: Collection[str]) -> None:
    for part in _slices(list(ids)):
        connection.execute(delete(t.item_table).where(t.item_table.c.folder == folder, t.item_table.c.id.in_(part)))


def _known(row: Row[Any]) -> Known:
    flags = ("seen",) if row.seen else ()
    labels = tuple(map(tuple, json.loads(row.labels))) if row.labels else ()
    return Known(row.state, Item(row.id, size=row.size, received=row.received, flags=flags, labels=labels), row.record)


def _packed(labels: Collection[Sequence[str]]) -> str | None:
    """Labels as a column has them; None for none."""
    return json.dumps(list(labels)) if labels else None


def _slices(values: Sequence[T]) -> Iterable[Sequence[T]]:
    return (values[start : start + _SLICE] for start in range(0, len(values), _SLICE))
