"""What is known of imports: which files, how much of each has arrived, what became of their items.

The tables lie in the collector's ledger. The archiver writes what people ask for and what arrives, the collector what
comes of it; either may be away. What became of some items, and the number up to which all are dealt with, are one
transaction, so a file goes on where it was. Names, folders, reasons, hashes and passwords are encrypted columns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, Row, case, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from appliance.errors import ConflictError, NotFoundError, ThrottledError
from appliance.imports.base import Options
from appliance.language import later, ngettext
from appliance.services import api
from appliance.services.collector import importing_tables as t
from appliance.services.collector.ledger import Ledger
from appliance.sqlite import make_tables

KEPT: Final = 200
"""Imports that are remembered."""
MOST_FILES: Final = 10_000
"""Files of one import."""
MOST_UNREAD: Final = 2
"""Files of one import that may lie on the disk before they have been read."""
MOST_LISTED: Final = 100_000
"""Problems of one import that are listed; all are counted."""
WAIT_SECONDS: Final = 2.0
"""How long who sends files is asked to wait while others are to be read first."""
_SLICE: Final = 500

Owners = Literal["archive", "addresses"]

_OVER: Final = ("done", "failed", "stopped")
_UNREAD: Final = ("arriving", "waiting", "running")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an import is to do. ``archive`` is a user's id; where it is empty each file has its own, or ``owners`` is
    "addresses"."""

    title: str
    owners: Owners = "archive"
    archive: str = ""
    folder: tuple[str, ...] = ()
    dry_run: bool = False
    recovered: bool = False
    others: bool = False
    code_page: str = ""


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to arrive: sealed as ``scratch``, a name in the scratch folder."""

    name: str
    size: int
    archive: str
    target: tuple[str, ...]
    password: str
    scratch: str


class Arriving(msgspec.Struct, frozen=True):
    """How far a file that is on its way is."""

    name: str
    size: int
    arrived: int
    scratch: str


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is to be read, and how. ``dealt`` items have been dealt with already."""

    id: int
    number: int
    plan: Plan
    name: str
    size: int
    archive: str
    target: tuple[str, ...]
    scratch: str
    options: Options
    counts: api.ImportCounts
    dealt: int


class Problem(msgspec.Struct, frozen=True):
    """As ``api.ImportProblem``, without its file."""

    folder: str
    item: str
    what: Literal["failed", "skipped", "warning"]
    why: str


class Ended(msgspec.Struct, frozen=True):
    """A file that is over and does not stand in the audit trail yet."""

    id: int
    file: api.ImportFile


class Imports:
    """The imports of one ledger. Threads and processes may share it; every method is one transaction."""

    def __init__(self, ledger: Ledger, *, clock: Callable[[], float] = time.time) -> None:
        """Raises StorageError, UnavailableError."""
        self._ledger = ledger
        self._clock = clock
        make_tables(ledger.engine, t.metadata)

    def changing(self) -> AbstractContextManager[Connection]:
        """A transaction that reads what it changes: others wait from its beginning."""
        return self._ledger.changing()

    # -- what is asked for, and what arrives ------------------------------------------------------------------

    def begin(self, plan: Plan, by: str) -> int:
        """A new import, asked for by a caller (``Principal.id``); its number."""
        now = self._now()
        values = msgspec.structs.asdict(plan) | {"folder": _packed(plan.folder)}
        with self.changing() as connection:
            values |= {"asked_by": by, "queued": now, "touched": now}
            (id,) = connection.execute(insert(t.import_table).values(values)).inserted_primary_key or (0,)
            self._forget_old(connection)
        return int(id)

    def plan(self, id: int) -> Plan:
        """What an import was begun with. Raises NotFoundError."""
        with self._ledger.engine.connect() as connection:
            return _plan(_one(connection, id))

    def announce(self, id: int, file: Announced) -> int:
        """A further file; its number. Raises NotFoundError, ConflictError where the import takes no more, and
        ThrottledError while too many have not been read."""
        with self.changing() as connection:
            row = _one(connection, id)
            if row.complete or row.stopping or row.ended is not None:
                raise ConflictError(later("This import takes no more files. Begin another one."))
            mine = t.file_table.c["import"] == id
            count, unread = connection.execute(
                select(func.count(), func.count().filter(t.file_table.c.state.in_(_UNREAD))).where(mine)
            ).one()
            if count >= MOST_FILES:
                text = later("An import takes up to {count} files. Begin another one for the others.")
                raise ConflictError(text, count=MOST_FILES)
            if unread >= MOST_UNREAD:
                text = later("Files that arrived before have to be read first. Try again shortly.")
                raise ThrottledError(text, WAIT_SECONDS)
            connection.execute(
                insert(t.file_table).values(
                    {
                        "import": id, "number": count, "name": file.name, "size": file.size, "archive": file.archive,
                        "target": _packed(file.target), "password": file.password, "scratch": file.scratch,
                        "state": "arriving",
                    }
                )
            )  # fmt: skip
            self._touch(connection, id)
        return int(count)

    def arriving(self, id: int, number: int) -> Arriving:
        """How far a file is that is on its way. Raises NotFoundError, ConflictError where it is not."""
        with self._ledger.engine.connect() as connection:
            row = _one_file(connection, id, number)
        if row.state != "arriving":
            text = later("The file “{name}” takes no more bytes: it has arrived, or the import has ended.")
            raise ConflictError(text, name=row.name)
        return Arriving(row.name, row.size, row.arrived, row.scratch)

    def note_arrived(self, id: int, number: int, arrived: int) -> None:
        """So many bytes of a file are on the disk."""
        with self.changing() as connection:
            connection.execute(_of_file(id, number).where(t.file_table.c.state == "arriving").values(arrived=arrived))
            self._touch(connection, id)

    def whole(self, id: int, number: int, sha256: str) -> bool:
        """All of a file is on the disk, and may be read; False where it is not wanted any more."""
        with self.changing() as connection:
            there = _of_file(id, number).where(t.file_table.c.state == "arriving")
            done = connection.execute(there.values(state="waiting", sha256=sha256, arrived=t.file_table.c.size))
            self._touch(connection, id)
            return done.rowcount == 1

    def arrives_anew(self, id: int, number: int, scratch: str) -> None:
        """What arrived of a file is of no use: it begins anew, as ``scratch``."""
        with self.changing() as connection:
            there = _of_file(id, number).where(t.file_table.c.state == "arriving")
            connection.execute(there.values(arrived=0, scratch=scratch))

    def say(self, id: int, number: int, words: str) -> None:
        """Why a file does not arrive just now; empty where it does."""
        with self.changing() as connection:
            connection.execute(_of_file(id, number).where(t.file_table.c.state == "arriving").values(words=words))

    def give_up(self, id: int, number: int, words: str) -> None:
        """A file that is on its way cannot be had any more: it has failed."""
        with self.changing() as connection:
            there = _of_file(id, number).where(t.file_table.c.state == "arriving")
            connection.execute(there.values(state="failed", words=words, scratch="", password=""))
            self._end_if_over(connection, id)

    def complete(self, id: int) -> None:
        """No more files come. Raises NotFoundError."""
        with self.changing() as connection:
            _one(connection, id)
            connection.execute(update(t.import_table).where(t.import_table.c.id == id).values(complete=1))
            self._touch(connection, id)
            self._end_if_over(connection, id)

    def stop(self, id: int, words: str) -> None:
        """Ask an import to end: what has not begun does not begin, what is being read ends soon. Raises
        NotFoundError."""
        with self.changing() as connection:
            row = _one(connection, id)
            if row.ended is not None:
                return
            waiting = t.file_table.c.state.in_(("arriving", "waiting"))
            rest = update(t.file_table).where(t.file_table.c["import"] == id, waiting)
            connection.execute(rest.values(state="stopped", scratch="", password=""))
            connection.execute(update(t.import_table).where(t.import_table.c.id == id).values(stopping=1, words=words))
            self._end_if_over(connection, id)

    def forsaken(self, before: float) -> tuple[int, ...]:
        """Imports of which nothing has come since (seconds) and that wait for more."""
        arriving = select(t.file_table.c["import"]).where(t.file_table.c.state == "arriving")
        waits = (t.import_table.c.complete == 0) | t.import_table.c.id.in_(arriving)
        unread = select(t.file_table.c["import"]).where(t.file_table.c.state.in_(("waiting", "running")))
        wanted = select(t.import_table.c.id).where(
            t.import_table.c.ended.is_(None),
            t.import_table.c.touched < int(before * 1_000_000),
            waits,
            t.import_table.c.id.not_in(unread),
        )
        with self._ledger.engine.connect() as connection:
            return tuple(connection.execute(wanted).scalars())

    def scratches(self) -> frozenset[str]:
        """The names of sealed files that are needed."""
        with self._ledger.engine.connect() as connection:
            return frozenset(
                connection.execute(select(t.file_table.c.scratch).where(t.file_table.c.scratch != "")).scalars()
            )

    def room_wanted(self) -> int:
        """Bytes that files on their way are still to take."""
        rest = select(func.coalesce(func.sum(t.file_table.c.size - t.file_table.c.arrived), 0)).where(
            t.file_table.c.state == "arriving"
        )
        with self._ledger.engine.connect() as connection:
            return int(connection.execute(rest).scalar_one())

    # -- what comes of it -------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Files that a process was reading that is no more are to be read on, and those that were put off, tried."""
        with self.changing() as connection:
            unread = update(t.file_table).where(t.file_table.c.state.in_(("running", "waiting")))
            connection.execute(unread.values(state="waiting", folder="", again_at=0))
            stopping = select(t.import_table.c.id).where(
                t.import_table.c.stopping == 1, t.import_table.c.ended.is_(None)
            )
            for id in list(connection.execute(stopping).scalars()):
                rest = update(t.file_table).where(t.file_table.c["import"] == id, t.file_table.c.state == "waiting")
                connection.execute(rest.values(state="stopped", scratch="", password=""))
                self._end_if_over(connection, id)

    def take(self) -> Task | None:
        """The file that is to be read next, which is being read from now on: the first that waits of the oldest import
        of which none is."""
        with self.changing() as connection:
            busy = select(t.file_table.c["import"]).where(t.file_table.c.state == "running")
            wanted = (
                select(t.file_table).join(t.import_table, t.import_table.c.id == t.file_table.c["import"])
                .where(t.file_table.c.state == "waiting", t.file_table.c["import"].not_in(busy))
                .where(t.file_table.c.again_at <= self._now(), t.import_table.c.stopping == 0)
                .order_by(t.file_table.c["import"], t.file_table.c.number).limit(1)
            )  # fmt: skip
            row = connection.execute(wanted).first()
            if row is None:
                return None
            id, number = row._mapping["import"], row.number
            connection.execute(_of_file(id, number).values(state="running", words=""))
            begun = update(t.import_table).where(t.import_table.c.id == id, t.import_table.c.begun.is_(None))
            connection.execute(begun.values(begun=self._now()))
            plan = _plan(_one(connection, id))
        return Task(
            id=id, number=number, plan=plan, name=row.name, size=row.size, archive=row.archive,
            target=_unpacked(row.target), scratch=row.scratch,
            options=Options(
                recovered=plan.recovered, others=plan.others, password=row.password,
                addresses=plan.owners == "addresses", code_page=plan.code_page,
            ),
            counts=_counts(row), dealt=row.dealt,
        )  # fmt: skip

    def stopping(self, id: int) -> bool:
        """Whether somebody wants the import to end."""
        with self._ledger.engine.connect() as connection:
            return bool(connection.execute(select(t.import_table.c.stopping).where(t.import_table.c.id == id)).scalar())

    def note_reading(self, task: Task, *, format: str, expected: int | None, folder: str) -> None:
        """What is known of a file that is being read."""
        with self.changing() as connection:
            connection.execute(_of_file(task.id, task.number).values(format=format, expected=expected, folder=folder))

    def claim(self, task: Task, items: Mapping[bytes, int]) -> None:
        """These contents are about to be archived for a file, each as the item of that number."""
        rows = [
            {"import": task.id, "file": task.number, "content": content, "item": item}
            for content, item in items.items()
        ]
        if rows:
            put = upsert(t.claim_table)
            with self.changing() as connection:
                connection.execute(
                    put.on_conflict_do_update(
                        index_elements=["import", "file", "content"], set_={"item": put.excluded.item}
                    ),
                    rows,
                )

    def claimed(self, task: Task) -> dict[bytes, int]:
        """The contents that a batch of the file was about to archive of which it is not known what became."""
        wanted = select(t.claim_table.c.content, t.claim_table.c.item).where(*_claims_of(task))
        with self._ledger.engine.connect() as connection:
            return {row.content: row.item for row in connection.execute(wanted)}

    def seen(self, task: Task, contents: Collection[bytes]) -> frozenset[bytes]:
        """Those of the contents that a dry run has counted already."""
        found: set[bytes] = set()
        with self._ledger.engine.connect() as connection:
            for part in _slices(list(contents)):
                wanted = select(t.seen_table.c.content).where(
                    t.seen_table.c["import"] == task.id, t.seen_table.c.content.in_(part)
                )
                found.update(connection.execute(wanted).scalars())
        return frozenset(found)

    def deal(
        self,
        connection: Connection,
        task: Task,
        *,
        counts: api.ImportCounts,
        dealt: int,
        folder: str,
        problems: Sequence[Problem],
        seen: Collection[bytes] = (),
    ) -> bool:
        """Within a transaction: what became of all items of a file before the number ``dealt``, and what is to be told
        of those that were not dealt with before; which contents a dry run has counted. Returns whether to go on."""
        connection.execute(delete(t.claim_table).where(*_claims_of(task), t.claim_table.c.item < dealt))
        connection.execute(
            _of_file(task.id, task.number).values(msgspec.structs.asdict(counts) | {"dealt": dealt, "folder": folder})
        )
        self._list(connection, task.id, task.number, problems)
        if seen:
            rows = [{"import": task.id, "content": content} for content in seen]
            connection.execute(upsert(t.seen_table).on_conflict_do_nothing(), rows)
        return not connection.execute(select(t.import_table.c.stopping).where(t.import_table.c.id == task.id)).scalar()

    def put_off(self, task: Task, words: str, seconds: float) -> None:
        """A file that is being read waits again, and is tried after so many seconds."""
        with self.changing() as connection:
            there = _of_file(task.id, task.number).where(t.file_table.c.state == "running")
            at = self._now() + int(seconds * 1_000_000)
            connection.execute(there.values(state="waiting", words=words, again_at=at, folder=""))

    def end_file(self, task: Task, state: Literal["done", "failed", "stopped"], words: str) -> None:
        """A file that was being read is over, and what arrived of it is not needed any more."""
        with self.changing() as connection:
            there = _of_file(task.id, task.number).where(t.file_table.c.state == "running")
            connection.execute(there.values(state=state, words=words, folder="", scratch="", password=""))
            connection.execute(delete(t.claim_table).where(*_claims_of(task)))
            self._end_if_over(connection, task.id)

    # -- looking ----------------------------------------------------------------------------------------------

    def list(self, limit: int) -> tuple[api.ImportInfo, ...]:
        """The imports that are remembered, newest first, without their files; archives and callers by their ids."""
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(select(t.import_table).order_by(t.import_table.c.id.desc()).limit(limit)).all()
            sums = _sums(connection, [row.id for row in rows])
        return tuple(_info(row, sums.get(row.id)) for row in rows)

    def get(self, id: int, problems: int = 0) -> api.ImportInfo:
        """One import with its files and at most so many problems, the worst first; archives and callers by their ids.
        Raises NotFoundError."""
        with self._ledger.engine.connect() as connection:
            row = _one(connection, id)
            sums = _sums(connection, [id])
            files = connection.execute(
                select(t.file_table).where(t.file_table.c["import"] == id).order_by(t.file_table.c.number)
            ).all()
            listed = tuple(_problems(connection, id, problems))
        return msgspec.structs.replace(
            _info(row, sums.get(id)), files=tuple(map(_as_file, files)), problems=listed,
            unlisted=max(row.problems - len(listed), 0),
        )  # fmt: skip

    def file(self, id: int, number: int) -> api.ImportFile:
        """One file of an import; its archive by its user's id. Raises NotFoundError."""
        with self._ledger.engine.connect() as connection:
            return _as_file(_one_file(connection, id, number))

    def problems(self, id: int) -> Iterator[api.ImportProblem]:
        """All problems of an import that are listed, file by file, as they came."""
        last = 0
        while True:
            wanted = select(t.problem_table).where(t.problem_table.c["import"] == id, t.problem_table.c.id > last)
            with self._ledger.engine.connect() as connection:
                rows = connection.execute(wanted.order_by(t.problem_table.c.id).limit(_SLICE)).all()
            if not rows:
                return
            yield from map(_as_problem, rows)
            last = rows[-1].id

    # -- the audit trail --------------------------------------------------------------------------------------

    def unaudited(self) -> tuple[tuple[Ended, ...], tuple[int, ...]]:
        """Files that are over, and imports, that do not stand in the audit trail yet."""
        with self._ledger.engine.connect() as connection:
            files = connection.execute(
                select(t.file_table).where(t.file_table.c.audited == 0, t.file_table.c.state.in_(_OVER))
                .order_by(t.file_table.c["import"], t.file_table.c.number).limit(_SLICE)
            ).all()  # fmt: skip
            over = select(t.import_table.c.id).where(t.import_table.c.audited == 0, t.import_table.c.ended.is_not(None))
            waiting = {row._mapping["import"] for row in files}
            imports = tuple(id for id in connection.execute(over).scalars() if id not in waiting)
        return tuple(Ended(row._mapping["import"], _as_file(row)) for row in files), imports

    def note_audited(self, id: int, number: int | None = None) -> None:
        """A file, or with None the import, stands in the audit trail."""
        this = update(t.import_table).where(t.import_table.c.id == id) if number is None else _of_file(id, number)
        with self.changing() as connection:
            connection.execute(this.values(audited=1))

    # -- helpers ----------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _touch(self, connection: Connection, id: int) -> None:
        connection.execute(update(t.import_table).where(t.import_table.c.id == id).values(touched=self._now()))

    def _end_if_over(self, connection: Connection, id: int) -> None:
        row = _one(connection, id)
        unread = select(func.count()).where(t.file_table.c["import"] == id, t.file_table.c.state.in_(_UNREAD))
        if row.ended is None and (row.complete or row.stopping) and not connection.execute(unread).scalar_one():
            words = row.words if row.stopping else _ending(connection, id)
            values = {"ended": self._now(), "words": words}
            connection.execute(update(t.import_table).where(t.import_table.c.id == id).values(values))
            connection.execute(delete(t.seen_table).where(t.seen_table.c["import"] == id))

    def _list(self, connection: Connection, id: int, number: int, problems: Sequence[Problem]) -> None:
        if not problems:
            return
        this = t.import_table.c.id == id
        listed = min(int(connection.execute(select(t.import_table.c.problems).where(this)).scalar_one()), MOST_LISTED)
        rows = [
            {"import": id, "file": number, **msgspec.structs.asdict(one)} for one in problems[: MOST_LISTED - listed]
        ]
        if rows:
            connection.execute(insert(t.problem_table), rows)
        connection.execute(
            update(t.import_table).where(this).values(problems=t.import_table.c.problems + len(problems))
        )

    def _forget_old(self, connection: Connection) -> None:
        over = (t.import_table.c.ended.is_not(None), t.import_table.c.audited == 1)
        old = select(t.import_table.c.id).where(*over).order_by(t.import_table.c.id.desc()).offset(KEPT)
        gone = list(connection.execute(old).scalars())
        for table in (t.problem_table, t.claim_table, t.seen_table, t.file_table):
            connection.execute(delete(table).where(table.c["import"].in_(gone)))
        connection.execute(delete(t.import_table).where(t.import_table.c.id.in_(gone)))


def _of_file(id: int, number: int) -> Any:
    return update(t.file_table).where(t.file_table.c["import"] == id, t.file_table.c.number == number)


def _claims_of(task: Task) -> tuple[Any, Any]:
    return t.claim_table.c["import"] == task.id, t.claim_table.c.file == task.number


def _one(connection: Connection, id: int) -> Row[Any]:
    row = connection.execute(select(t.import_table).where(t.import_table.c.id == id)).first()
    if row is None:
        raise NotFoundError(later("There is no such import, or not any more."))
    return row


def _one_file(connection: Connection, id: int, number: int) -> Row[Any]:
    wanted = select(t.file_table).where(t.file_table.c["import"] == id, t.file_table.c.number == number)
    row = connection.execute(wanted).first()
    if row is None:
        raise NotFoundError(later("There is no such file in this import."))
    return row


def _sums(connection: Connection, ids: Collection[int]) -> dict[int, Row[Any]]:
    """Of each import with files: the sums of its files' figures, and how many are in which state."""
    key = t.file_table.c["import"]
    counted = [func.sum(t.file_table.c[name]).label(name) for name in (*t.COUNTS, "size")]
    states = [
        func.sum(case((t.file_table.c.state.in_(some), 1), else_=0)).label(name)
        for name, some in (("over", _OVER), ("wrong", ("failed",)), ("read", ("running",)), ("late", ("waiting",)))
    ]
    wanted = select(key.label("id"), func.count().label("all"), *counted, *states).where(key.in_(ids)).group_by(key)
    return {row.id: row for row in connection.execute(wanted)}


def _ending(connection: Connection, id: int) -> str:
    """What has to be told of an import all of whose files are over."""
    failed = select(func.count()).where(t.file_table.c["import"] == id, t.file_table.c.state == "failed")
    count = int(connection.execute(failed).scalar_one())
    if not count:
        return ""
    text = ngettext(
        "{count} file could not be read, or not to its end.", "{count} files could not be read, or not to their end.",
        count,
    )  # fmt: skip
    return text.format(count=count)


def _state(row: Row[Any], sums: Row[Any] | None) -> api.ImportState:
    """Of an import: what is true of it as a whole."""
    if row.ended is not None:
        if row.stopping:
            return "stopped"
        return "failed" if sums is not None and sums.wrong else "done"
    if sums is not None and sums.read:
        return "running"
    if sums is not None and sums.late:
        return "waiting"
    return "arriving"


def _info(row: Row[Any], sums: Row[Any] | None) -> api.ImportInfo:
    return api.ImportInfo(
        id=row.id, title=row.title, owners=row.owners, archive=row.archive, folder=_unpacked(row.folder),
        dry_run=bool(row.dry_run), recovered=bool(row.recovered), others=bool(row.others), state=_state(row, sums),
        by=row.asked_by, queued=row.queued // 1_000_000, begun=_seconds(row.begun), ended=_seconds(row.ended),
        counts=api.ImportCounts() if sums is None else _counts(sums), size=0 if sums is None else sums.size,
        files_done=0 if sums is None else sums.over, files_all=0 if sums is None else sums._mapping["all"],
        words=row.words,
    )  # fmt: skip


def _as_file(row: Row[Any]) -> api.ImportFile:
    return api.ImportFile(
        number=row.number, name=row.name, size=row.size, arrived=row.arrived, state=row.state, counts=_counts(row),
        archive=row.archive, target=_unpacked(row.target), sha256=row.sha256, format=row.format,
        expected=row.expected, folder=row.folder, words=row.words,
    )  # fmt: skip


def _problems(connection: Connection, id: int, most: int) -> Iterable[api.ImportProblem]:
    worst = case({"failed": 0, "warning": 1}, value=t.problem_table.c.what, else_=2)
    wanted = (
        select(t.problem_table)
        .where(t.problem_table.c["import"] == id)
        .order_by(worst, t.problem_table.c.id)
        .limit(most)
    )
    return map(_as_problem, connection.execute(wanted))


def _as_problem(row: Row[Any]) -> api.ImportProblem:
    return api.ImportProblem(row.file, row.folder, row.item, row.what, row.why)


def _plan(row: Row[Any]) -> Plan:
    return Plan(
        title=row.title, owners=row.owners, archive=row.archive, folder=_unpacked(row.folder),
        dry_run=bool(row.dry_run), recovered=bool(row.recovered), others=bool(row.others), code_page=row.code_page,
    )  # fmt: skip


def _counts(row: Row[Any]) -> api.ImportCounts:
    return api.ImportCounts(*(getattr(row, name) for name in t.COUNTS))


def _seconds(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // 1_000_000


def _packed(folder: Sequence[str]) -> str:
    return json.dumps(folder)


def _unpacked(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _slices(values: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (values[start : start + _SLICE] for start in range(0, len(values), _SLICE))
