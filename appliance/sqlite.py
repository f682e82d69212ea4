"""Opening SQLite databases the way mailkeep wants them, and bringing their tables up to date with Alembic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool


def open_database(path: Path, *, durable: bool, readers: int = 8) -> Engine:
    """An engine on ``path`` (made where absent) in WAL mode.

    ``durable`` commits reach the disk before they return (synchronous=FULL); otherwise a power cut may take the
    last commits, which suits what can be made again from the log.
    """
    engine = create_engine(
        f"sqlite:///{path}", poolclass=QueuePool, pool_size=readers, max_overflow=readers,
        connect_args={"check_same_thread": False, "timeout": 30.0},
    )  # fmt: skip

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    return engine


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
