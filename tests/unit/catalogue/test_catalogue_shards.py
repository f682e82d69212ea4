"""The catalogue's part in the index: each message's shard, fixed for good, and the change sequence shard by shard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.catalogue.store import Catalogue, Changed, Projected
from appliance.files import Files


def projected(number: int, shard: int, *, message: int | None = None) -> Projected:
    """A record of a message."""
    return Projected(
        record_id=number.to_bytes(16), volume="v", offset=number, length=1, mailbox=bytes(16), received_at=number,
        content=bytes(32), message=(number if message is None else message).to_bytes(16), size=1, report=False,
        unparsed=False, addresses=(), archives=frozenset(("anna",)), shard=shard,
    )  # fmt: skip


def add(catalogue: Catalogue, *records: Projected) -> list[Changed]:
    with catalogue.writing() as writer:
        return writer.add(records)


def test_a_message_stays_in_the_shard_of_its_first_record(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    assert [one.shard for one in add(catalogue, projected(1, 20201), projected(2, 20202))] == [20201, 20202]
    again = add(
        catalogue, projected(3, 20203, message=1), projected(4, 20204, message=9), projected(5, 20211, message=9)
    )
    assert [(one.message[-2:], one.shard, one.created) for one in again] == [("01", 20201, False), ("09", 20204, True)]
    with catalogue.writing() as writer:
        moved = writer.reassign([1], lambda *_: frozenset(("ben",)))
    assert [(one.shard, one.change) for one in moved] == [(20201, 5)]
    catalogue.close()


def test_the_change_sequence_is_followed_shard_by_shard(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path / "catalogue.db")
    assert catalogue.newest_changes() == {}
    add(catalogue, projected(1, 20201), projected(2, 20202), projected(3, 20201))
    add(catalogue, projected(4, 20202, message=1))
    assert catalogue.newest_changes() == {20201: 4, 20202: 2}
    assert [one.change for one in catalogue.changed_after(20201, 0, 10)] == [3, 4]
    assert [one.change for one in catalogue.changed_after(20201, 3, 10)] == [4]
    assert catalogue.changed_after(20202, 2, 10) == []
    catalogue.close()


def test_every_catalogue_has_an_identity_that_stays(tmp_path: Path) -> None:
    first, second = (Catalogue(tmp_path / name) for name in ("a", "b"))
    assert first.identity != second.identity
    assert len(first.identity) == 8
    first.close()
    again = Catalogue(tmp_path / "a")
    assert again.identity == first.identity
    for one in (again, second):
        one.close()


def test_messages_from_before_the_shards_get_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.catalogue.store.NEWEST_REVISION", "0001")
    old = Catalogue(tmp_path / "catalogue.db")
    with old._engine.begin() as connection:
        connection.execute(text("INSERT INTO volume VALUES (1, 'v', 0, 0)"))
        for n, milliseconds in ((1, 1_767_225_600_000), (2, 1_790_812_800_000), (3, 1_767_225_600_000)):
            message = min(n, 2)
            connection.execute(
                text("INSERT OR IGNORE INTO message (n, id, change) VALUES (:n, :id, :n)"),
                {"n": message, "id": message.to_bytes(16)},
            )
            connection.execute(
                text("INSERT INTO record VALUES (:n, :id, 1, 0, 1, :message, :id, 1, :id, 1, 0, 0)"),
                {"n": n, "id": milliseconds.to_bytes(6) + n.to_bytes(10), "message": message},
            )
    old.close()
    monkeypatch.undo()
    catalogue = Catalogue(tmp_path / "catalogue.db")
    assert catalogue.newest_changes() == {20261: 1, 20264: 2}
    assert len(catalogue.identity) == 8
    catalogue.close()


def test_syncing_covers_the_database_its_log_and_their_names(tmp_path: Path) -> None:
    synced: list[str] = []

    class Watched(Files):
        def sync_data(self, descriptor: int) -> None:
            synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)
            super().sync_data(descriptor)

        def sync_directory(self, path: Path) -> None:
            synced.append(path.name)
            super().sync_directory(path)

    catalogue = Catalogue(tmp_path / "catalogue.db", files=Watched())
    add(catalogue, projected(1, 20201))
    catalogue.sync()
    assert synced == ["catalogue.db", "catalogue.db-wal", tmp_path.name]
    catalogue.close()


def test_another_process_that_ends_takes_nothing_away_from_one_that_has_synced(tmp_path: Path) -> None:
    """As when the archiver is started anew while the projector goes on."""
    place = tmp_path / "catalogue.db"
    other = """
import sys
from pathlib import Path
from appliance.catalogue.store import Catalogue
catalogue = Catalogue(Path(sys.argv[1]))
print(catalogue.counts().records)
catalogue.close()
"""

    def seen_by_another() -> int:
        command = [sys.executable, "-c", other, str(place)]
        return int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)

    catalogue = Catalogue(place)
    add(catalogue, projected(1, 20201))
    catalogue.sync()
    assert seen_by_another() == 1
    add(catalogue, projected(2, 20201))
    assert seen_by_another() == 2
    catalogue.close()
