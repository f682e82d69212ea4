"""Opening SQLite databases the way mailkeep wants them, and bringing their tables up to date with Alembic."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, MetaData, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from appliance.errors import DamageError, DiskFullError, MailkeepError, StorageError, UnavailableError

_PRIMARY = 0xFF
"""The bits of an SQLite result code that name the kind of error; those above it say more."""


def open_database(path: Path, *, readers: int = 8) -> Engine:
    """An engine on ``path`` (made where absent) in WAL mode.

    A commit does not wait for the disk (synchronous=NORMAL): a power cut may take the last ones, which suits what is
    made again from the log. ``durable`` waits.

    What the disk does to a database is raised, here and by every later use, as an error for people: DiskFullError,
    StorageError, DamageError, and UnavailableError where another process keeps it too long.
    """
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, pool_size=readers, max_overflow=readers,
        connect_args={"check_same_thread": False, "timeout": 30.0},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "handle_error")
    def _in_words(context: ExceptionContext) -> None:
        error = error_in_words(context.original_exception, path.name)
        if error is not None:
            raise error from context.original_exception

    return engine


@contextmanager
def durable(engine: Engine) -> Iterator[Connection]:
    """A transaction that is on the disk once it has been committed, with all that was committed before it."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA synchronous=FULL")
        connection.commit()  # SQLAlchemy's own beginning, which SQLite has not been told of
        try:
            with connection.begin():
                yield connection
        finally:
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads what it changes: other processes wait from its beginning."""
    with engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def make_tables(engine: Engine, tables: MetaData) -> None:
    """Make those that are missing, in a database that several processes may be the first to open: one looks what there
    is only when the other has made it. Closes the engine where that fails."""
    try:
        with changing(engine) as connection:
            tables.create_all(connection)
    except BaseException:
        engine.dispose()
        raise


def open_or_begin_anew(path: Path, opened: Callable[[], Engine], told: Callable[[], object]) -> Engine:
    """What ``opened`` opens; a database that is damaged, and no part of the archive, gives way to a new one, of which
    ``told`` is called. Raises StorageError, UnavailableError."""
    try:
        return opened()
    except DamageError:
        told()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return opened()


def error_in_words(error: BaseException | None, name: str) -> MailkeepError | None:
    """The error for people that SQLite's ``error`` about the database ``name`` is; None where it is a mistake of ours.

    https://www.sqlite.org/rescode.html
    """
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    match code & _PRIMARY:
        case sqlite3.SQLITE_FULL:
            return DiskFullError(
                f"There is no room to write {name}. Mail that was confirmed is safe in the log. Make room on the disk "
                "of the archive."
            )
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY:
            return StorageError(
                f"{name} cannot be read or written just now. Mail that was confirmed is safe in the log. Look whether "
                "the disk of the archive is full or failing."
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DamageError(
                f"{name} is damaged. Mail that was confirmed is safe in the log. Stop mailkeep and run "
                "`mailkeep rebuild` to make it anew."
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return UnavailableError(f"{name} is in use by another process. Nothing was changed; try again.")
        case _:
            return None


def migrate(engine: Engine, migrations: Path, newest: str) -> None:
    """Bring the tables to revision ``newest`` with the Alembic scripts in the folder ``migrations``."""
    if _revision(engine) == newest:
        return
    # Alembic is imported only when there is something to do: it would double the start-up of every command.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, newest)


def _revision(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except OperationalError:
        return None
