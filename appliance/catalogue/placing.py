"""Places in the catalogue: which records lay in which folders, written and read inside one transaction.

A record and its places lie in volumes that may be projected in any order. A place that comes first waits for its
record; what is known in the end does not depend on the order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Select, bindparam, func, insert, literal, select, update

from appliance.catalogue import tables as t
from appliance.catalogue.folders import Step
from appliance.mail.places import IMPORTS_MAILBOX

T = TypeVar("T")

_SLICE = 500  # values in one IN (...)


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """What the projection found out about one place."""

    record_id: bytes  # of the message
    archive: str
    steps: tuple[Step, ...]  # the folder, and before it those that it is in, from the top
    role: str
    at: int  # microseconds


class FolderRow(msgspec.Struct, frozen=True):
    """A folder as the catalogue knows it; ``messages`` lay in itself, not in those that are in it."""

    n: int
    id: bytes
    archive: str
    parent: int | None
    path: bytes  # sealed, see ``FolderNames``
    role: str
    messages: int = 0


# -- writing --------------------------------------------------------------------------------------------------------


def put(connection: Connection, placed: Sequence[Placed]) -> list[int]:
    """Add places; those that are there already are left. Returns the records (by ``n``) that are there and have new
    places.

    Only records of the mailbox that takes what is fetched have places: who can write to another mailbox's volumes must
    not be able to give away mail.
    """
    if not placed:
        return []
    folders = _put_folders(connection, placed)
    wanted = dict.fromkeys((one.record_id, folders[one.steps[-1].id]) for one in placed)
    present: set[tuple[bytes, int]] = set()
    records: dict[bytes, tuple[int, int]] = {}
    for part in slices(list({record for record, _ in wanted})):
        rows = connection.execute(select(t.place.c.record, t.place.c.folder).where(t.place.c.record.in_(part)))
        present.update((row.record, row.folder) for row in rows)
        known = connection.execute(
            select(t.record.c.id, t.record.c.n, t.record.c.message).where(
                t.record.c.id.in_(part), t.record.c.mailbox == IMPORTS_MAILBOX
            )
        )
        records.update({row.id: (row.n, row.message) for row in known})
    new = [one for one in wanted if one not in present]
    if new:
        connection.execute(
            insert(t.place),
            [
                {"record": record, "folder": folder, "message": records[record][1] if record in records else None}
                for record, folder in new
            ],
        )
    return sorted({records[record][0] for record, _ in new if record in records})


def _put_folders(connection: Connection, placed: Sequence[Placed]) -> dict[bytes, int]:
    """The numbers of all folders that these places name, by their ids."""
    wanted: dict[bytes, tuple[str, bytes | None, bytes]] = {}
    told: dict[bytes, tuple[int, str]] = {}
    for one in placed:
        parent: bytes | None = None
        for step in one.steps:
            wanted.setdefault(step.id, (one.archive, parent, step.path))
            parent = step.id
        if one.role:
            # A folder has the role that it was found to have last.
            told[one.steps[-1].id] = max(told.get(one.steps[-1].id, (0, "")), (one.at, one.role))
    known: dict[bytes, tuple[int, tuple[int, str]]] = {}
    for part in slices(list(wanted)):
        rows = connection.execute(
            select(t.folder.c.id, t.folder.c.n, t.folder.c.role_at, t.folder.c.role).where(t.folder.c.id.in_(part))
        )
        known.update({row.id: (row.n, (row.role_at, row.role)) for row in rows})
    numbers = {id: n for id, (n, _) in known.items()}
    new = [id for id in wanted if id not in known]
    first = int(connection.execute(select(func.max(t.folder.c.n))).scalar() or 0) + 1
    numbers.update({id: first + number for number, id in enumerate(new)})
    if new:
        connection.execute(
            insert(t.folder),
            [
                {
                    "n": numbers[id], "id": id, "archive": archive, "parent": None if above is None else numbers[above],
                    "path": path, "role": told.get(id, (0, ""))[1], "role_at": told.get(id, (0, ""))[0],
                }
                for id in new
                for archive, above, path in (wanted[id],)
            ],
        )  # fmt: skip
    later = [(id, told[id]) for id in told if id in known and told[id] > known[id][1]]
    if later:
        connection.execute(
            update(t.folder)
            .where(t.folder.c.n == bindparam("number"))
            .values(role=bindparam("now"), role_at=bindparam("since")),
            [{"number": numbers[id], "now": role, "since": at} for id, (at, role) in later],
        )
    return numbers


def link(connection: Connection, messages: Mapping[bytes, int]) -> None:
    """These records (by id), whose messages are given by ``n``, are there now."""
    if messages:
        connection.execute(
            update(t.place).where(t.place.c.record == bindparam("lain")).values(message=bindparam("known")),
            [{"lain": record, "known": message} for record, message in messages.items()],
        )


def archives_by_record_id(connection: Connection, records: Iterable[bytes]) -> dict[bytes, frozenset[str]]:
    """In whose folders these records lay, whether they are there yet or not."""
    found: dict[bytes, set[str]] = {}
    for part in slices(list(records)):
        for record, archive in connection.execute(
            select(t.place.c.record, t.folder.c.archive)
            .select_from(t.place.join(t.folder))
            .where(t.place.c.record.in_(part))
        ):
            found.setdefault(record, set()).add(archive)
    return {record: frozenset(archives) for record, archives in found.items()}


def archives_by_record(connection: Connection, records: Sequence[int]) -> dict[int, frozenset[str]]:
    """In whose folders these records (by ``n``) lay."""
    found: dict[int, set[str]] = {}
    for n, archive in connection.execute(
        select(t.record.c.n, t.folder.c.archive)
        .select_from(t.record.join(t.place, t.place.c.record == t.record.c.id).join(t.folder))
        .where(t.record.c.n.in_(records), t.place.c.message.is_not(None))
    ):
        found.setdefault(n, set()).add(archive)
    return {n: frozenset(archives) for n, archives in found.items()}


# -- reading --------------------------------------------------------------------------------------------------------


def of_messages(connection: Connection, messages: Sequence[int]) -> dict[int, list[tuple[str, bytes]]]:
    """Archive and id of each folder that each of these messages (by ``n``) lay in."""
    found: dict[int, list[tuple[str, bytes]]] = {}
    for part in slices(messages):
        for message, archive, id in connection.execute(
            select(t.place.c.message, t.folder.c.archive, t.folder.c.id)
            .distinct()
            .select_from(t.place.join(t.folder))
            .where(t.place.c.message.in_(part))
            .order_by(t.folder.c.n)
        ):
            found.setdefault(message, []).append((archive, id))
    return found


def of_records(connection: Connection, records: Sequence[bytes]) -> list[FolderRow]:
    """The folders that these records (by id) lay in."""
    found: dict[int, FolderRow] = {}
    for part in slices(records):
        lain = select(t.place.c.folder).where(t.place.c.record.in_(part), t.place.c.message.is_not(None))
        found.update({row.n: _row(row) for row in connection.execute(_folders().where(t.folder.c.n.in_(lain)))})
    return list(found.values())


def of_archives(connection: Connection, archives: Collection[str]) -> list[FolderRow]:
    """All folders of these archives, with how many messages lay in each; no folder comes before the one it is in."""
    counted = (
        select(t.place.c.folder, func.count(t.place.c.message.distinct()).label("messages"))
        .where(t.place.c.folder.in_(select(t.folder.c.n).where(t.folder.c.archive.in_(archives))))
        .group_by(t.place.c.folder)
        .subquery()
    )
    rows = connection.execute(
        _folders()
        .add_columns(func.coalesce(counted.c.messages, 0).label("messages"))
        .outerjoin(counted, counted.c.folder == t.folder.c.n)
        .where(t.folder.c.archive.in_(archives))
        .order_by(t.folder.c.n)
    )
    return [_row(row, row.messages) for row in rows]


def by_id(connection: Connection, id: bytes) -> FolderRow | None:
    """The folder with that id."""
    found = connection.execute(_folders().where(t.folder.c.id == id)).first()
    return None if found is None else _row(found)


def with_those_in(connection: Connection, n: int) -> tuple[bytes, ...]:
    """The ids of a folder (by ``n``) and of all that are in it."""
    inside = select(literal(n).label("n")).cte(recursive=True)
    inside = inside.union_all(select(t.folder.c.n).where(t.folder.c.parent == inside.c.n))
    rows = connection.execute(select(t.folder.c.id).join(inside, inside.c.n == t.folder.c.n).order_by(t.folder.c.n))
    return tuple(rows.scalars())


def slices(values: Sequence[T]) -> Iterator[list[T]]:
    """``values`` in parts that one statement takes."""
    for start in range(0, len(values), _SLICE):
        yield list(values[start : start + _SLICE])


def _folders() -> Select[Any]:
    return select(t.folder.c.n, t.folder.c.id, t.folder.c.archive, t.folder.c.parent, t.folder.c.path, t.folder.c.role)


def _row(row: Row[Any], messages: int = 0) -> FolderRow:
    return FolderRow(row.n, row.id, row.archive, row.parent, row.path, row.role, messages)
