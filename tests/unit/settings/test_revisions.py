"""settings.db of an earlier version is brought up to date, and its tables are those that the program declares."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from appliance.settings import store
from appliance.settings.store import Settings
from appliance.settings.tables import Base
from appliance.sqlite import migrate, open_database

KEY = bytes(32)
MIGRATIONS = Path(store.__file__).parent / "migrations"


def test_mailboxes_of_the_first_version_keep_their_addresses(tmp_path: Path) -> None:
    path = tmp_path / "settings.db"
    first = open_database(path)
    store.bind_cipher(first, KEY)
    migrate(first, MIGRATIONS, "0001")
    encrypted = store.tables.EncryptedText().process_bind_param("[]", first.dialect)
    with first.begin() as connection:
        for number, (address, deleted) in enumerate((("open@archive.test", None), ("gone@archive.test", 7))):
            connection.execute(
                text(
                    "INSERT INTO mailbox VALUES (:id, :empty, :address, :state, 'keep', '[]', 0, :empty, 5, :deleted)"
                ),
                {
                    "id": bytes([number]) * 16, "empty": encrypted, "address": address, "deleted": deleted,
                    "state": "deleted" if deleted else "active",
                },
            )  # fmt: skip
    first.dispose()
    settings = Settings(path, column_key=KEY, lookup_key=KEY)
    try:
        (put,) = settings.mailboxes()
        assert (put.address, put.aliases, put.sealed, put.description) == ("open@archive.test", (), False, "")
        assert settings.doors().addresses == {"open@archive.test", "gone@archive.test"}
        assert settings.open_doors() == {"open@archive.test"}
        assert settings.closed_doors(6) == {"gone@archive.test": 7}
    finally:
        settings.close()


def test_the_tables_are_those_that_are_declared(tmp_path: Path) -> None:
    Settings(tmp_path / "settings.db", column_key=KEY, lookup_key=KEY).close()
    engine = create_engine(f"sqlite:///{tmp_path / 'settings.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
