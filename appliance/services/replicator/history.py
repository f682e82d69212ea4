"""What the replicator did, and how far each remote is: tables of their own in jobs.db, beside huey's queue.

Nothing here is needed to restore or to go on: without the file the history begins anew, and the next run finds on the
remote what is there. It holds no secret and nothing of the mail.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Row, String, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance import decoding
from appliance.cloud.clock import not_ahead
from appliance.errors import NotFoundError
from appliance.sqlite import changing, make_tables, open_database, open_or_begin_anew

log = logging.getLogger(__name__)

Kind = Literal["replicate", "sample", "check", "rehearse", "release", "fill"]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["waiting", "running", "done", "failed", "stopped"]

FIRST_PAUSE = 60
"""Seconds before replication that failed is tried again; twice as many each time, up to the remote's interval."""
KEPT = 200
"""Runs of one remote that are remembered."""
MOST_LINES = 100
"""Lines of one run's log."""

_metadata = MetaData()
_run = Table(
    "run", _metadata,
    Column("id", Integer, primary_key=True),
    Column("remote", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("asked", Integer, nullable=False),  # 1 where a person wants it
    Column("queued", Integer, nullable=False),  # microseconds, as all times here
    Column("begun", Integer),
    Column("ended", Integer),
    Column("state", String, nullable=False),
    Column("words", String, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("times", Integer, nullable=False),  # runs that failed alike, one after the other
    Column("lines", String, nullable=False),  # JSON list
    sqlite_autoincrement=True,  # no number comes twice: somebody may still ask for a run that was forgotten
)  # fmt: skip
_standing = Table(
    "standing", _metadata,
    Column("remote", String, primary_key=True),
    Column("standing", String, nullable=False),  # JSON
)  # fmt: skip
_note = Table(
    "note", _metadata,
    Column("id", Integer, primary_key=True),
    Column("action", String, nullable=False),
    Column("what", String, nullable=False),
    sqlite_autoincrement=True,
)  # fmt: skip


class Run(msgspec.Struct, frozen=True):
    """One run, waiting, under way or over. Times are microseconds; ``lines`` are its log for a person."""

    id: int
    remote: str  # empty for what concerns all remotes
    kind: Kind
    asked: bool
    queued: int
    begun: int | None = None
    ended: int | None = None
    state: State = "waiting"
    words: str = ""
    bytes: int = 0  # uploaded, or read back
    times: int = 1  # how often it went like this, one after the other
    lines: tuple[str, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """How far a remote is. Times are microseconds, 0 for never."""

    reached: int = 0  # everything acknowledged before is there
    first: int = 0  # when that was first said
    epoch: int = 0  # of the newest generation, and its number
    generation: int = 0
    records: int = 0  # in that generation
    objects: int = 0  # that it needs
    free: int | None = None  # bytes on the remote
    used: int | None = None
    failures: int = 0  # of replicating, one after the other
    trouble: str = ""  # the last of them in words
    superseded: str = ""  # somebody restored from this remote: nothing is written there any more
    unsound: str = ""  # what a check found last that is not as it should be
    interval: int = 300  # seconds, and whether it is paused: as the settings said last
    paused: bool = False
    begun: dict[str, int] = {}  # when a run of each kind last began by itself
    ended: dict[str, int] = {}  # when one last ended well

    def due(self, kind: Kind, seconds: int, now: int) -> int:
        """When a run of that kind is due that comes so long after the last; 0 where there was none until ``now``."""
        begun = not_ahead(self.begun.get(kind, 0), now)
        return begun + seconds * 1_000_000 if begun else 0

    def next_run(self, now: int) -> int:
        """When the remote is replicated to next by itself, in microseconds; 0 is at once."""
        if not self.failures:
            return self.due("replicate", self.interval, now)
        return self.due("replicate", min(FIRST_PAUSE * 2 ** min(self.failures - 1, 20), self.interval), now)


class Note(msgspec.Struct, frozen=True):
    """What the archiver is to write into the audit trail."""

    id: int
    action: str
    what: str


class History:
    """jobs.db. Threads may share it; every method is one transaction."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Raises StorageError, UnavailableError. A damaged file gives way to a new one."""
        self._clock = clock
        self._engine = open_or_begin_anew(
            path,
            lambda: _open(path),
            lambda: log.warning("%s was damaged; the history of replication begins anew", path.name),
        )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # -- runs -------------------------------------------------------------------------------------------------

    def add(self, remote: str, kind: Kind, *, asked: bool) -> Run:
        """A run that waits."""
        values = {
            "remote": remote, "kind": kind, "asked": int(asked), "queued": self._now(), "state": "waiting", "words": "",
            "bytes": 0, "times": 1, "lines": "[]",
        }  # fmt: skip
        with self._engine.begin() as connection:
            (id,) = connection.execute(insert(_run).values(values)).inserted_primary_key or (0,)
        return self.run(id)

    def claim(self, id: int) -> bool:
        """Begin a run; False where it does not wait any more."""
        begun = update(_run).where(_run.c.id == id, _run.c.state == "waiting")
        with self._engine.begin() as connection:
            return connection.execute(begun.values(state="running", begun=self._now())).rowcount == 1

    def tell(self, id: int, line: str) -> None:
        """Write a line into a run's log."""
        with changing(self._engine) as connection:
            text = connection.execute(select(_run.c.lines).where(_run.c.id == id)).scalar()
            lines = [*json.loads(text or "[]"), line][-MOST_LINES:]
            connection.execute(update(_run).where(_run.c.id == id).values(lines=json.dumps(lines)))

    def end(self, id: int, state: State, words: str, count: int = 0) -> None:
        """Say how a run ended."""
        with changing(self._engine) as connection:
            done = update(_run).where(_run.c.id == id)
            connection.execute(done.values(state=state, words=words, bytes=count, ended=self._now()))
            run = _as_run(connection.execute(select(_run).where(_run.c.id == id)).one())
            before = connection.execute(
                select(_run).where(
                    _run.c.remote == run.remote, _run.c.kind == run.kind, _run.c.id < id, _run.c.ended.is_not(None)
                ).order_by(_run.c.id.desc()).limit(1)
            ).first()  # fmt: skip
            # A remote that is away for a day is one line of the history, not three hundred.
            if before is not None and not run.asked and (state, words) == ("failed", before.words) and not before.asked:
                connection.execute(delete(_run).where(_run.c.id == before.id))
                connection.execute(done.values(times=before.times + 1, begun=before.begun))
            old = select(_run.c.id).where(_run.c.remote == run.remote).order_by(_run.c.id.desc()).offset(KEPT)
            connection.execute(delete(_run).where(_run.c.id.in_(old), _run.c.ended.is_not(None)))

    def forget(self, id: int) -> None:
        """Take a run away of which there is nothing to tell."""
        with self._engine.begin() as connection:
            connection.execute(delete(_run).where(_run.c.id == id))

    def run(self, id: int) -> Run:
        """One run. Raises NotFoundError."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_run).where(_run.c.id == id)).first()
        if row is None:
            raise NotFoundError("There is no such run any more.")
        return _as_run(row)

    def runs(self, remote: str | None = None, *, limit: int = KEPT) -> tuple[Run, ...]:
        """The runs of one remote, or of all, newest first."""
        wanted = select(_run).order_by(_run.c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted if remote is None else wanted.where(_run.c.remote == remote)).all()
        return tuple(_as_run(row) for row in rows)

    def unfinished(self, remote: str | None = None, kind: Kind | None = None) -> tuple[Run, ...]:
        """Runs that wait or are under way, oldest first."""
        wanted = select(_run).where(_run.c.ended.is_(None)).order_by(_run.c.id)
        if remote is not None:
            wanted = wanted.where(_run.c.remote == remote)
        if kind is not None:
            wanted = wanted.where(_run.c.kind == kind)
        with self._engine.connect() as connection:
            return tuple(_as_run(row) for row in connection.execute(wanted).all())

    def wait_again(self, id: int) -> None:
        """A run whose process died waits again."""
        with self._engine.begin() as connection:
            connection.execute(update(_run).where(_run.c.id == id).values(state="waiting", begun=None))

    # -- how far the remotes are ------------------------------------------------------------------------------

    def standing(self, remote: str) -> Standing:
        """How far a remote is."""
        with self._engine.connect() as connection:
            return _standing_in(connection, remote)

    def standings(self) -> dict[str, Standing]:
        """How far each remote is of which anything is known."""
        with self._engine.connect() as connection:
            names = connection.execute(select(_standing.c.remote).order_by(_standing.c.remote)).scalars().all()
        return {name: self.standing(name) for name in names if name}

    def stand(self, remote: str, standing: Standing) -> None:
        """Say how far a remote is, whatever was said before."""
        self.change(remote, lambda _before: standing)

    def change(self, remote: str, how: Callable[[Standing], Standing]) -> None:
        """Say how far a remote is by what was known of it; nobody says anything else in between."""
        with changing(self._engine) as connection:
            before = _standing_in(connection, remote)
            after = how(before)
            if after == before:
                return
            text = msgspec.json.encode(after).decode()
            connection.execute(
                upsert(_standing).values(remote=remote, standing=text).on_conflict_do_update(
                    index_elements=["remote"], set_={"standing": text}
                )
            )  # fmt: skip

    def forget_others(self, remotes: Sequence[str]) -> None:
        """Take away what is known of remotes that are no more; their runs stay, and so does what concerns all."""
        with self._engine.begin() as connection:
            connection.execute(delete(_standing).where(_standing.c.remote.not_in(("", *remotes))))

    def forget_standing(self, remote: str) -> None:
        """What was known of a remote does not hold any more: it is another place now, or none."""
        with self._engine.begin() as connection:
            connection.execute(delete(_standing).where(_standing.c.remote == remote))

    # -- for the audit trail ----------------------------------------------------------------------------------

    def note(self, action: str, what: str) -> None:
        """Keep an audit line until the archiver has written it."""
        with self._engine.begin() as connection:
            connection.execute(insert(_note).values(action=action, what=what))

    def notes(self) -> tuple[Note, ...]:
        """The lines that wait, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_note).order_by(_note.c.id).limit(1000)).all()
        return tuple(Note(row.id, row.action, row.what) for row in rows)

    def noted(self, upto: int) -> None:
        """The archiver has written all lines up to this one."""
        with self._engine.begin() as connection:
            connection.execute(delete(_note).where(_note.c.id <= upto))

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)


def _open(path: Path) -> Engine:
    engine = open_database(path)
    make_tables(engine, _metadata)
    path.chmod(0o640)
    return engine


def _standing_in(connection: Connection, remote: str) -> Standing:
    text = connection.execute(select(_standing.c.standing).where(_standing.c.remote == remote)).scalar()
    with suppress(msgspec.DecodeError):
        return decoding.from_json(text or "{}", Standing)
    return Standing()


def _as_run(row: Row[Any]) -> Run:
    return Run(
        id=row.id, remote=row.remote, kind=row.kind, asked=bool(row.asked), queued=row.queued, begun=row.begun,
        ended=row.ended, state=row.state, words=row.words, bytes=row.bytes, times=row.times,
        lines=tuple(json.loads(row.lines)),
    )  # fmt: skip
