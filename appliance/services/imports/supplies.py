"""What the archiver is to fetch by itself into imports: files on remotes, and what was put into the watched folder.

The tables lie in the collector's ledger, beside those of the imports; only the archiver uses them. Paths and passwords
are encrypted columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Connection, Integer, MetaData, Row, Table, delete, func, insert, select, update

from appliance import decoding
from appliance.cloud.remote import RemoteFile
from appliance.errors import ConflictError
from appliance.language import later
from appliance.services.collector.ledger import Ledger
from appliance.settings.columns import EncryptedText
from appliance.sqlite import make_tables

MOST_WANTED: Final = 1_000
"""Files that one import may wait for at a time."""

metadata = MetaData()

_supply = Table(
    "import_supply", metadata,
    Column("id", Integer, primary_key=True),
    Column("import", Integer, nullable=False, index=True),
    Column("wanted", EncryptedText),  # null: no more files come
    Column("known", EncryptedText),  # as the file was when it began to arrive
    Column("number", Integer),  # of the file in its import, once that has it
    sqlite_autoincrement=True,
)  # fmt: skip
_watched = Table(
    "import_watched", metadata,
    Column("import", Integer, primary_key=True),
    Column("path", EncryptedText, nullable=False),  # in the watched folder
)  # fmt: skip


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file that is to be fetched. ``remote`` is a remote's name and ``path`` counts from its top; with no remote it
    is a path of this machine, and with ``packed`` a folder whose files come as one archive. ``archive`` (an address)
    and ``folder`` are set where they are others than the import's."""

    remote: str = ""
    path: str
    packed: bool = False
    archive: str = ""
    folder: tuple[str, ...] = ()
    password: str = ""

    def __repr__(self) -> str:
        return f"Wanted({self.remote}:{self.path})"


class Supply(msgspec.Struct, frozen=True):
    """A place in the queue of an import: a file or, with ``wanted`` None, that no more come after those before.
    ``known`` is what the file was when it began to arrive, ``number`` which one of the import it is."""

    id: int
    run: int
    wanted: Wanted | None
    known: RemoteFile | None
    number: int | None


class Supplies:
    """What is to be fetched, in order. Threads may share it; every method is one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        """Raises StorageError, UnavailableError."""
        self._ledger = ledger
        make_tables(ledger.engine, metadata)

    def want(self, run: int, files: Sequence[Wanted], *, last: bool) -> None:
        """Files for an import, after those that it waits for already; with ``last`` no more come after them. One
        that it waits for counts once. Raises ConflictError where that is too many, or no more were to come."""
        with self._ledger.changing() as connection:
            rows = connection.execute(select(_supply).where(_supply.c["import"] == run)).all()
            if any(row.wanted is None for row in rows):
                raise ConflictError(later("This import takes no more files. Begin another one."))
            waiting = [one.wanted for one in map(_of, rows)]
            files = [one for one in dict.fromkeys(files) if one not in waiting]
            if len(rows) + len(files) > MOST_WANTED:
                text = later("An import waits for up to {count} files of remotes at a time. Begin another one.")
                raise ConflictError(text, count=MOST_WANTED)
            _put(connection, run, files, last=last)

    def runs(self) -> tuple[int, ...]:
        """The imports that wait for something."""
        wanted = select(_supply.c["import"]).distinct().order_by(_supply.c["import"])
        with self._ledger.engine.connect() as connection:
            return tuple(connection.execute(wanted).scalars())

    def next(self, run: int) -> Supply | None:
        """What an import is to get next."""
        wanted = select(_supply).where(_supply.c["import"] == run).order_by(_supply.c.id).limit(1)
        with self._ledger.engine.connect() as connection:
            row = connection.execute(wanted).first()
        return None if row is None else _of(row)

    def awaited(self, runs: Sequence[int]) -> dict[int, int]:
        """How many files each of these imports is to get by itself and does not have yet; those with none are left
        out."""
        mine = _supply.c["import"].in_(runs), _supply.c.number.is_(None), _supply.c.wanted.is_not(None)
        wanted = select(_supply.c["import"].label("run"), func.count().label("count")).where(*mine)
        with self._ledger.engine.connect() as connection:
            return {row.run: int(row[1]) for row in connection.execute(wanted.group_by(_supply.c["import"]))}

    def begun(self, id: int, number: int, known: RemoteFile) -> None:
        """A file arrives from now on, as it is ``known``, as that one of its import."""
        with self._ledger.changing() as connection:
            this = update(_supply).where(_supply.c.id == id)
            connection.execute(this.values(number=number, known=msgspec.json.encode(known).decode()))

    def over(self, id: int) -> None:
        """A place in the queue is dealt with."""
        with self._ledger.changing() as connection:
            connection.execute(delete(_supply).where(_supply.c.id == id))

    def forget(self, run: int) -> None:
        """Nothing more is fetched for an import."""
        with self._ledger.changing() as connection:
            connection.execute(delete(_supply).where(_supply.c["import"] == run))

    # -- the watched folder -----------------------------------------------------------------------------------

    def watch(self, run: int, path: str, files: Sequence[Wanted]) -> None:
        """An import is to take in what was put into the watched folder as ``path``: these files, and no others."""
        with self._ledger.changing() as connection:
            connection.execute(insert(_watched).values({"import": run, "path": path}))
            _put(connection, run, files, last=True)

    def watched(self) -> dict[int, str]:
        """What of the watched folder is being taken in, by its import."""
        with self._ledger.engine.connect() as connection:
            return {row._mapping["import"]: row.path for row in connection.execute(select(_watched))}

    def put_away(self, run: int) -> None:
        """What was taken in lies where it belongs."""
        with self._ledger.changing() as connection:
            connection.execute(delete(_watched).where(_watched.c["import"] == run))


def _put(connection: Connection, run: int, files: Sequence[Wanted], *, last: bool) -> None:
    rows: list[dict[str, object]] = [{"import": run, "wanted": msgspec.json.encode(one).decode()} for one in files]
    if last:
        rows.append({"import": run, "wanted": None})
    if rows:
        connection.execute(insert(_supply), rows)


def _of(row: Row[Any]) -> Supply:
    return Supply(
        row.id, row._mapping["import"],
        None if row.wanted is None else decoding.from_json(row.wanted, Wanted),
        None if row.known is None else decoding.from_json(row.known, RemoteFile), row.number,
    )  # fmt: skip
