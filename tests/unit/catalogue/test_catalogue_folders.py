"""Folders and places in the catalogue: their tables, their names, and what a folder is for."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from appliance.catalogue.folders import FolderNames
from appliance.catalogue.placing import Placed
from appliance.catalogue.store import Catalogue, Changed, Projected, VolumeSums
from appliance.catalogue.tables import Base
from appliance.errors import DamageError
from appliance.mail.places import IMPORTS_MAILBOX


class Keys:
    """Keys as an archive derives them, without an archive."""

    def __init__(self, salt: str = "") -> None:
        self._salt = salt

    def key(self, purpose: str) -> bytes:
        """32 bytes for a purpose."""
        return f"{self._salt}{purpose}".encode().ljust(32, b"\0")


NAMES = FolderNames(Keys())  # type: ignore[arg-type]


def placed(record: int, *folder: str, archive: str = "anna", role: str = "", at: int = 1) -> Placed:
    return Placed(
        record_id=record.to_bytes(16), archive=archive, steps=NAMES.steps(archive, folder), role=role, at=at
    )  # fmt: skip


def put(catalogue: Catalogue, *places: Placed) -> list[Changed]:
    with catalogue.writing() as writer:
        return writer.place(places, lambda _people, _at, _mailbox, archives: archives or frozenset(("unassigned",)))


def record(number: int, mailbox: bytes = IMPORTS_MAILBOX) -> Projected:
    return Projected(
        record_id=number.to_bytes(16), volume="v", offset=number, length=1, mailbox=mailbox, received_at=number,
        content=bytes(32), message=number.to_bytes(16), size=1, report=False, unparsed=False, addresses=(),
        archives=frozenset(("unassigned",)), shard=20264,
    )  # fmt: skip


def test_the_tables_are_those_that_are_declared(tmp_path: Path) -> None:
    Catalogue(tmp_path / "catalogue.db").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'catalogue.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()


def test_a_catalogue_from_before_the_folders_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.catalogue.store.NEWEST_REVISION", "0002")
    old = Catalogue(tmp_path / "catalogue.db")
    with old._engine.begin() as connection:
        connection.execute(text("INSERT INTO volume VALUES (1, 'v', 70, 1)"))
        connection.execute(
            text("INSERT INTO message (n, id, change, shard) VALUES (1, :id, 1, 20264)"), {"id": bytes(16)}
        )
        connection.execute(
            text("INSERT INTO record VALUES (1, :id, 1, 0, 1, 1, :id, 1, :id, 1, 0, 0)"), {"id": bytes(16)}
        )
    old.close()
    monkeypatch.undo()
    catalogue = Catalogue(tmp_path / "catalogue.db")
    assert catalogue.cursors() == {"v": (70, True)}
    assert catalogue.volume_sums() == {"v": VolumeSums(1, 0)}
    assert catalogue.folders({"anna"}) == []
    put(catalogue, placed(5, "INBOX"))
    assert [one.messages for one in catalogue.folders({"anna"})] == [0]
    catalogue.close()


def test_a_folder_has_the_role_that_it_was_found_to_have_last(tmp_path: Path) -> None:
    told = [("", 9), ("archive", 3), ("sent", 5), ("junk", 5), ("", 1)]
    for number, order in enumerate(permutations(told)):
        if number % 10 == 0:
            catalogue = Catalogue(tmp_path / f"{number}.db")
            for record_number, (role, at) in enumerate(order):
                put(catalogue, placed(record_number, "Outbox", role=role, at=at))
            assert [one.role for one in catalogue.folders({"anna"})] == ["sent"], order
            catalogue.close()


def test_places_count_for_records_of_fetched_mail_alone(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    with catalogue.writing() as writer:
        writer.add([record(1), record(2, b"j" * 16)])
    changed = put(catalogue, placed(1, "INBOX"), placed(2, "INBOX"), placed(3, "INBOX"))
    assert [one.message for one in changed] == [(1).to_bytes(16).hex()]
    with catalogue.writing() as writer:
        writer.add([record(3, b"j" * 16)])
    assert [one.messages for one in catalogue.folders({"anna"})] == [1]
    assert [one.archive for one in catalogue.folders_of_records([n.to_bytes(16) for n in (1, 2, 3)])] == ["anna"]
    assert catalogue.folders_of_records([(2).to_bytes(16), (3).to_bytes(16)]) == []
    assert list(catalogue.folders_of_messages([1, 2, 3])) == [1]
    catalogue.close()


def test_a_sealed_name_opens_for_its_folder_and_its_archive_alone() -> None:
    (step,) = NAMES.steps("anna", ("Geheim",))
    assert NAMES.open(step.id, step.path) == ("Geheim",)
    assert b"Geheim" not in step.path
    (other,) = NAMES.steps("ben", ("Geheim",))
    assert other.id != step.id
    for id, sealed, names in (
        (other.id, step.path, NAMES),
        (step.id, step.path[:-1], NAMES),
        (step.id, b"", NAMES),
        (step.id, step.path, FolderNames(Keys("another"))),  # type: ignore[arg-type]
    ):
        with pytest.raises(DamageError, match="mailkeep"):
            names.open(id, sealed)


def test_names_that_would_run_together_are_folders_apart() -> None:
    paths = [("a", "b"), ("a/b",), ("ab",), ("a", "b", ""), (), ("",), ("A", "b")]
    assert len({NAMES.id("anna", path) for path in paths}) == len(paths)
