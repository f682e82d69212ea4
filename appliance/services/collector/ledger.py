"""The ledger: the collector's runs and their figures, and what it has dealt with so far (``stock``).

``DATA/collecting/ledger.db`` is written by the collector and read by the archiver, who shows the history. It is no part
of the archive: without it the history begins anew, everything is fetched once more, and what is archived already is
recognised, since the archiver tells a new ledger of it. Accounts, folders and reasons are encrypted columns.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance.errors import NotFoundError
from appliance.files import FILES
from appliance.services import api
from appliance.services.collector.told import CollectorKeys
from appliance.settings.columns import EncryptedText, bind_cipher
from appliance.sqlite import changing, make_tables, open_database, open_or_begin_anew

log = logging.getLogger(__name__)

KEPT: Final = 200
"""Runs of one profile that are remembered."""
MOST_FAILURES: Final = 1000
"""Failures of one run that are listed; all are counted."""

State = Literal["waiting", "running", "done", "failed", "stopped"]
AccountState = Literal["waiting", "running", "done", "failed", "stopped", "left-out"]

_COUNTS: Final = ("seen", "new", "already", "filtered", "failed", "deleted", "bytes")

metadata = MetaData()


def _counts() -> list[Column[int]]:
    return [Column(name, Integer, nullable=False, default=0) for name in _COUNTS]


_run = Table(
    "run", metadata,
    Column("id", Integer, primary_key=True),
    Column("profile", String, nullable=False, index=True),
    Column("asked", Integer, nullable=False),  # 1 where a person wants it
    Column("queued", Integer, nullable=False),  # microseconds, as all times here
    Column("begun", Integer),
    Column("ended", Integer),
    Column("state", String, nullable=False),
    Column("words", EncryptedText, nullable=False),
    *_counts(),
    Column("expected", Integer),
    Column("accounts_done", Integer, nullable=False, default=0),
    Column("accounts_all", Integer, nullable=False, default=0),
    sqlite_autoincrement=True,  # no number comes twice: somebody may still ask for a run that was forgotten
)  # fmt: skip
_account_run = Table(
    "account_run", metadata,
    Column("run", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("account", EncryptedText, nullable=False),
    Column("address", EncryptedText, nullable=False),
    Column("archive", String, nullable=False),
    Column("state", String, nullable=False),
    *_counts(),
    Column("expected", Integer),
    Column("folder", EncryptedText, nullable=False, default=""),
    Column("words", EncryptedText, nullable=False, default=""),
)  # fmt: skip
_failure = Table(
    "failure", metadata,
    Column("id", Integer, primary_key=True),
    Column("run", Integer, nullable=False, index=True),
    Column("account", EncryptedText, nullable=False),
    Column("folder", EncryptedText, nullable=False),
    Column("item", String, nullable=False),
    Column("why", EncryptedText, nullable=False),
)  # fmt: skip
_standing = Table(
    "standing", metadata,
    Column("profile", String, primary_key=True),
    Column("schedule", String, nullable=False, default=""),
    Column("next_at", Integer),
    Column("last_ended", Integer),
    Column("trouble", EncryptedText, nullable=False, default=""),
)  # fmt: skip
_memory = Table(
    "memory", metadata,
    Column("profile", String, nullable=False),
    Column("key", String, nullable=False),
    Column("value", EncryptedText, nullable=False),
    UniqueConstraint("profile", "key"),
)  # fmt: skip
_learned = Table("learned", metadata, Column("learned", Integer, primary_key=True))
account_table = Table(
    "account", metadata,
    Column("n", Integer, primary_key=True),
    Column("profile", String, nullable=False),
    Column("key", LargeBinary, nullable=False),  # keyed hash of the source's name for it, and of where the source is
    Column("name", EncryptedText, nullable=False),
    UniqueConstraint("profile", "key"),
)  # fmt: skip
folder_table = Table(
    "folder", metadata,
    Column("n", Integer, primary_key=True),
    Column("account", Integer, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("path", EncryptedText, nullable=False),
    Column("cursor", LargeBinary, nullable=False, default=b""),
    Column("filter", LargeBinary, nullable=False, default=b""),  # keyed hash of the rules that it was read by
    UniqueConstraint("account", "key"),
)  # fmt: skip
item_table = Table(
    "item", metadata,
    Column("folder", Integer, primary_key=True),
    Column("id", String, primary_key=True),
    Column("state", Integer, nullable=False),
    Column("record", LargeBinary),
    Column("size", Integer),
    Column("received", Integer),
    Column("seen", Integer, nullable=False, default=0),
    Column("run", Integer, nullable=False),  # that dealt with it last
    Column("labels", EncryptedText),  # JSON, of what is not archived; NULL for none
    sqlite_with_rowid=False,
)  # fmt: skip
Index("waiting", item_table.c.folder, sqlite_where=item_table.c.state != 1)  # what was not archived is looked at often
content_table = Table(
    "content", metadata,
    Column("content", LargeBinary, primary_key=True),
    Column("record", LargeBinary, nullable=False),
    Column("whole", Integer, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
proof_table = Table(
    "proof", metadata,
    Column("record", LargeBinary, primary_key=True),
    Column("account", Integer, primary_key=True),  # that asks
    Column("asked", Integer, nullable=False),
    Column("sound", Integer),  # 1 where the archived copy was read back, 0 where it could not be, NULL until then
    sqlite_with_rowid=False,
)  # fmt: skip
Index("content_record", content_table.c.record)
same_table = Table(
    "same", metadata,
    Column("key", LargeBinary, primary_key=True),  # keyed hash of what is equal for a message in several folders
    Column("record", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
place_table = Table(
    "place", metadata,
    Column("key", LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)  # fmt: skip


class Standing(msgspec.Struct, frozen=True):
    """How a profile is, beside its runs. Times are seconds; ``trouble`` is why the last run failed, if it did."""

    schedule: str = ""
    next_at: int | None = None
    last_ended: int | None = None
    trouble: str = ""


class AccountFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is with one account; the fields are those of ``api.ProfileAccountRun``."""

    state: AccountState
    counts: api.ProfileCounts = api.ProfileCounts()
    expected: int | None = None
    folder: str = ""
    words: str = ""


class Ledger:
    """ledger.db. Threads may share it; every method is one transaction."""

    def __init__(self, path: Path, keys: CollectorKeys, *, clock: Callable[[], float] = time.time) -> None:
        """Raises StorageError, UnavailableError. A damaged file gives way to a new one."""
        self._clock = clock
        self.keys = keys
        self.engine = open_or_begin_anew(
            path,
            lambda: _open(path, keys),
            lambda: log.warning("%s was damaged; what it knew is found out anew", path.name),
        )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def changing(self) -> AbstractContextManager[Connection]:
        """A transaction that reads what it changes: others wait from its beginning."""
        return changing(self.engine)

    # -- runs -------------------------------------------------------------------------------------------------

    def add(self, profile: str, *, asked: bool) -> int:
        """A run that waits: the one that waits already, or a new one. Its number."""
        with self.changing() as connection:
            waiting = select(_run.c.id).where(_run.c.profile == profile, _run.c.state == "waiting").limit(1)
            if (found := connection.execute(waiting).scalar()) is not None:
                return int(found)
            values = {
                "profile": profile, "asked": int(asked), "queued": self._now(), "state": "waiting", "words": "",
            }  # fmt: skip
            (id,) = connection.execute(insert(_run).values(values)).inserted_primary_key or (0,)
        return int(id)

    def claim(self, id: int) -> str | None:
        """Begin a run; its profile, or None where it does not wait any more."""
        with self.changing() as connection:
            begun = update(_run).where(_run.c.id == id, _run.c.state == "waiting")
            if connection.execute(begun.values(state="running", begun=self._now())).rowcount != 1:
                return None
            return str(connection.execute(select(_run.c.profile).where(_run.c.id == id)).scalar_one())

    def accounts(self, id: int, accounts: Sequence[tuple[str, str, str]]) -> None:
        """Say with which accounts (the source's name, address, archive) a run deals; their numbers count from 0."""
        with self.engine.begin() as connection:
            connection.execute(update(_run).where(_run.c.id == id).values(accounts_all=len(accounts)))
            for number, (account, address, archive) in enumerate(accounts):
                connection.execute(
                    insert(_account_run).values(
                        run=id, number=number, account=account, address=address, archive=archive, state="waiting"
                    )
                )

    def figures(self, id: int, number: int, figures: AccountFigures, connection: Connection | None = None) -> None:
        """Say how far a run is with one of its accounts; within a transaction, where one is given."""
        if connection is None:
            with self.changing() as own:
                self.figures(id, number, figures, own)
            return
        values = msgspec.structs.asdict(figures)
        values |= msgspec.structs.asdict(values.pop("counts"))
        this = update(_account_run).where(_account_run.c.run == id, _account_run.c.number == number)
        connection.execute(this.values(values))
        sums = [func.coalesce(func.sum(_account_run.c[name]), 0) for name in (*_COUNTS, "expected")]
        over = func.count().filter(_account_run.c.state.not_in(("waiting", "running")))
        *counts, expected, done = connection.execute(select(*sums, over).where(_account_run.c.run == id)).one()
        known = dict(zip(_COUNTS, counts, strict=True))
        connection.execute(update(_run).where(_run.c.id == id).values(known | {
            "expected": expected or None, "accounts_done": done,
        }))  # fmt: skip

    def failed(self, id: int, account: str, failures: Iterable[tuple[str, str, str]], connection: Connection) -> None:
        """List messages (folder, item, why) that a run could not fetch; those beyond the most are only counted."""
        there = select(func.count()).select_from(_failure).where(_failure.c.run == id)
        room = MOST_FAILURES - int(connection.execute(there).scalar_one())
        rows = [
            {"run": id, "account": account, "folder": folder, "item": item, "why": why}
            for folder, item, why in list(failures)[: max(room, 0)]
        ]
        if rows:
            connection.execute(insert(_failure), rows)

    def end(self, id: int, state: State, words: str) -> None:
        """Say how a run ended, and so how its profile is."""
        now = self._now()
        with self.changing() as connection:
            connection.execute(update(_run).where(_run.c.id == id).values(state=state, words=words, ended=now))
            unfinished = _account_run.c.state.in_(("waiting", "running"))
            rest = update(_account_run).where(_account_run.c.run == id, unfinished)
            connection.execute(rest.values(state="stopped" if state == "stopped" else "failed"))
            profile = connection.execute(select(_run.c.profile).where(_run.c.id == id)).scalar_one()
            trouble = words if state == "failed" else ""
            _put_standing(connection, profile, last_ended=now, trouble=trouble)
            old = select(_run.c.id).where(_run.c.profile == profile).order_by(_run.c.id.desc()).offset(KEPT)
            gone = list(connection.execute(old).scalars())
            for table, column in ((_failure, _failure.c.run), (_account_run, _account_run.c.run), (_run, _run.c.id)):
                connection.execute(delete(table).where(column.in_(gone)))

    def unfinished(self) -> tuple[tuple[int, str, State], ...]:
        """Runs that wait or are under way, oldest first: number, profile, state."""
        wanted = select(_run.c.id, _run.c.profile, _run.c.state).where(_run.c.ended.is_(None)).order_by(_run.c.id)
        with self.engine.connect() as connection:
            return tuple((id, profile, state) for id, profile, state in connection.execute(wanted))

    def runs(self, profile: str | None = None, *, limit: int = 50) -> tuple[api.ProfileRun, ...]:
        """The runs of one profile, or of all, newest first; without their accounts and failures."""
        wanted = select(_run).order_by(_run.c.id.desc()).limit(limit)
        with self.engine.connect() as connection:
            rows = connection.execute(wanted if profile is None else wanted.where(_run.c.profile == profile)).all()
        return tuple(map(_as_run, rows))

    def run(self, id: int) -> api.ProfileRun:
        """One run with its accounts and failures. Raises NotFoundError."""
        with self.engine.connect() as connection:
            row = connection.execute(select(_run).where(_run.c.id == id)).first()
            accounts = connection.execute(
                select(_account_run).where(_account_run.c.run == id).order_by(_account_run.c.number)
            ).all()
            failures = connection.execute(select(_failure).where(_failure.c.run == id).order_by(_failure.c.id)).all()
        if row is None:
            raise NotFoundError("There is no such run any more.")
        run = _as_run(row)
        return msgspec.structs.replace(
            run,
            accounts=tuple(map(_as_account, accounts)),
            failures=tuple(api.ProfileFailure(one.account, one.folder, one.item, one.why) for one in failures),
            unlisted=max(run.counts.failed - len(failures), 0),
        )

    # -- profiles ---------------------------------------------------------------------------------------------

    def standing(self, profile: str) -> Standing:
        """How a profile is."""
        with self.engine.connect() as connection:
            row = connection.execute(select(_standing).where(_standing.c.profile == profile)).first()
        if row is None:
            return Standing()
        return Standing(row.schedule, _seconds(row.next_at), _seconds(row.last_ended), row.trouble)

    def plan(self, profile: str, schedule: str, next_at: float | None) -> None:
        """Say when a profile runs next by itself (seconds), and by which schedule that was worked out."""
        at = None if next_at is None else int(next_at * 1_000_000)
        with self.changing() as connection:
            _put_standing(connection, profile, schedule=schedule, next_at=at)

    def forget_others(self, profiles: Sequence[str]) -> None:
        """Take away how far profiles were that are no more. What was archived by them stays known."""
        with self.changing() as connection:
            accounts = select(account_table.c.n).where(account_table.c.profile.not_in(profiles))
            folders = select(folder_table.c.n).where(folder_table.c.account.in_(accounts))
            connection.execute(delete(item_table).where(item_table.c.folder.in_(folders)))
            connection.execute(delete(folder_table).where(folder_table.c.account.in_(accounts)))
            for table in (account_table, _standing, _memory):
                connection.execute(delete(table).where(table.c.profile.not_in(profiles)))

    def recall(self, profile: str, key: str) -> str:
        """What a profile's source has put under ``key``, "" for nothing."""
        with self.engine.connect() as connection:
            wanted = select(_memory.c.value).where(_memory.c.profile == profile, _memory.c.key == key)
            return connection.execute(wanted).scalar() or ""

    def remember(self, profile: str, key: str, value: str) -> None:
        """Keep something for a profile's source."""
        with self.changing() as connection:
            put = upsert(_memory).values(profile=profile, key=key, value=value)
            connection.execute(put.on_conflict_do_update(index_elements=["profile", "key"], set_={"value": value}))

    # -- what is archived already -----------------------------------------------------------------------------

    def has_learned(self) -> bool:
        """Whether all that is archived is known here: a new ledger knows nothing before it is told."""
        with self.engine.connect() as connection:
            return connection.execute(select(_learned.c.learned)).first() is not None

    def learn(self, archived: Iterable[tuple[bytes, bytes]]) -> None:
        """Say all of what is archived: keyed hashes of contents (as ``depositing.content_of``), and their records."""
        rows = [{"content": content, "record": record, "whole": 1} for content, record in archived]
        with self.changing() as connection:
            if rows:
                connection.execute(upsert(content_table).on_conflict_do_nothing(), rows)
            connection.execute(upsert(_learned).values(learned=1).on_conflict_do_nothing())

    # -- archived copies that are to be read back, before their originals are deleted -----------------------------

    def unproven(self, limit: int) -> tuple[tuple[bytes, bytes], ...]:
        """Records of which the collector waits for a word, longest first, each with its keyed content hash."""
        wanted = (
            select(proof_table.c.record, content_table.c.content).distinct()
            .join(content_table, content_table.c.record == proof_table.c.record)
            .where(proof_table.c.sound.is_(None)).order_by(proof_table.c.asked).limit(limit)
        )  # fmt: skip
        with self.engine.connect() as connection:
            return tuple((record, content) for record, content in connection.execute(wanted))

    def prove(self, found: Mapping[bytes, bool]) -> None:
        """Say of records whether their archived copies were read back and are what was fetched."""
        with self.changing() as connection:
            for record, sound in found.items():
                this = update(proof_table).where(proof_table.c.record == record)
                connection.execute(this.values(sound=int(sound)))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


def _open(path: Path, keys: CollectorKeys) -> Engine:
    path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # for the group, before SQLite gives the files beside it the same mode
        FILES.close(FILES.create(path))
    engine = open_database(path, readers=40)
    bind_cipher(engine, keys.sealing)
    make_tables(engine, metadata)
    return engine


def _put_standing(connection: Connection, profile: str, **values: object) -> None:
    put = upsert(_standing).values(profile=profile, **values)
    connection.execute(put.on_conflict_do_update(index_elements=["profile"], set_=values))


def _seconds(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // 1_000_000


def _counted(row: Row[Any]) -> api.ProfileCounts:
    return api.ProfileCounts(*(getattr(row, name) for name in _COUNTS))


def _as_run(row: Row[Any]) -> api.ProfileRun:
    return api.ProfileRun(
        id=row.id, profile=row.profile, state=row.state, asked=bool(row.asked), queued=row.queued // 1_000_000,
        begun=_seconds(row.begun), ended=_seconds(row.ended), counts=_counted(row), words=row.words,
        expected=row.expected, accounts_done=row.accounts_done, accounts_all=row.accounts_all,
    )  # fmt: skip


def _as_account(row: Row[Any]) -> api.ProfileAccountRun:
    return api.ProfileAccountRun(
        account=row.account, address=row.address, archive=row.archive, state=row.state, counts=_counted(row),
        expected=row.expected, folder=row.folder, words=row.words,
    )  # fmt: skip
