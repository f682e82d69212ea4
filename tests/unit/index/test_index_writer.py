"""The writer: what is committed stays, what is put again is not doubled, and damage means starting anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.errors import ConflictError, StorageError, UnavailableError
from appliance.files import Files
from appliance.index import schema, state
from appliance.index.search import Index, Scope
from appliance.index.writer import IndexWriter
from appliance.mail.query import Everything
from tests.unit.index.conftest import EVERYTHING, Shelf, document

HEAP = 15_000_000


def ids(folder: Path) -> set[str]:
    return {hit.id for hit in Index(folder).search(Everything(), EVERYTHING, limit=10_000).hits}


def test_a_folder_without_an_index_holds_no_messages(tmp_path: Path) -> None:
    index = Index(tmp_path / "nothing")
    assert index.search(Everything(), EVERYTHING).total == 0
    assert index.documents(("a",), EVERYTHING) == ()
    assert index.thread("a", (), EVERYTHING) == ()
    assert index.size() == 0


def test_nothing_is_found_before_the_commit_and_all_after_it(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "index")
    shelf.writer.put(document("a"))
    assert shelf.ids("*") == []
    shelf.writer.commit(1)
    assert shelf.ids("*") == ["a"]
    assert shelf.writer.sequence == 1
    shelf.writer.close()


def test_putting_again_replaces_and_deleting_removes(shelf: Shelf) -> None:
    shelf.put(document("a", body="old"), document("b"))
    shelf.put(document("a", body="new", archives=("anna", "carl")))
    assert sorted(shelf.ids("*")) == ["a", "b"]
    assert shelf.ids("old") == []
    assert shelf.ids("new", Scope(("carl",))) == ["a"]
    shelf.writer.delete("a")
    shelf.writer.delete("never there")
    shelf.writer.commit(9)
    assert shelf.ids("*") == ["b"]


def test_put_twice_before_a_commit_is_one_document(shelf: Shelf) -> None:
    shelf.put(document("a", body="old"), document("a", body="new"))
    assert shelf.ids("*") == ["a"]
    assert shelf.ids("new") == ["a"]


def test_the_next_writer_goes_on_where_the_last_committed(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    first = IndexWriter(folder, heap=HEAP)
    first.put(document("a"))
    first.commit(5)
    first.put(document("lost"))
    first.close()
    second = IndexWriter(folder, heap=HEAP)
    assert second.sequence == 5
    second.put(document("b"))
    second.commit(6)
    second.close()
    assert ids(folder) == {"a", "b"}


def test_what_a_broken_off_writer_left_behind_goes_away(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    generation = _with_one_document(folder)
    writer = IndexWriter(folder, heap=HEAP)
    for number in range(2_000):
        writer.put(document(f"lost{number}", body="words " * 500))
    writer.close()
    IndexWriter(folder, heap=HEAP).close()
    assert len(list(generation.glob("*.store"))) == 1
    assert ids(folder) == {"a"}


def test_one_folder_has_one_writer(tmp_path: Path) -> None:
    first = IndexWriter(tmp_path / "index", heap=HEAP)
    with pytest.raises(ConflictError):
        IndexWriter(tmp_path / "index", heap=HEAP)
    first.close()
    IndexWriter(tmp_path / "index", heap=HEAP).close()


def _with_one_document(folder: Path) -> Path:
    writer = IndexWriter(folder, heap=HEAP)
    writer.put(document("a"))
    writer.commit(5)
    writer.close()
    current = state.read(folder)
    assert current is not None
    return folder / current.generation


def _truncate_a_segment(generation: Path) -> None:
    victim = next(generation.glob("*.store"))
    victim.write_bytes(victim.read_bytes()[:10])


@pytest.mark.parametrize(
    "damage",
    [
        lambda generation: (generation / "meta.json").unlink(),
        lambda generation: (generation / "meta.json").write_text("{}"),
        lambda generation: (generation / "meta.json").write_bytes(b"\xff\x00"),
        _truncate_a_segment,
        lambda generation: [path.unlink() for path in generation.glob("*.idx")],
        lambda generation: (generation.parent / "state.json").write_text("nonsense"),
        lambda generation: (generation.parent / "state.json").unlink(),
        lambda generation: [path.unlink() for path in generation.iterdir()],
    ],
    ids=[
        "no meta",
        "empty meta",
        "garbled meta",
        "cut segment",
        "lost segment",
        "garbled state",
        "no state",
        "nothing",
    ],
)
def test_a_damaged_index_is_begun_anew(tmp_path: Path, damage: object) -> None:
    folder = tmp_path / "index"
    damage(_with_one_document(folder))  # type: ignore[operator]
    writer = IndexWriter(folder, heap=HEAP)
    assert writer.sequence == 0
    writer.put(document("b"))
    writer.commit(1)
    writer.close()
    assert ids(folder) == {"b"}
    assert sum(path.is_dir() for path in folder.iterdir()) == 1


def test_an_index_of_another_version_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_one_document(tmp_path / "index")
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with pytest.raises(UnavailableError):
        Index(tmp_path / "index").count(EVERYTHING)
    writer = IndexWriter(tmp_path / "index", heap=HEAP)
    assert writer.sequence == 0
    writer.close()


def test_an_index_older_than_its_state_is_begun_anew(tmp_path: Path) -> None:
    """A copy of old index files under a newer state would lack documents for good."""
    folder = tmp_path / "index"
    generation = _with_one_document(folder)
    old = {path.name: path.read_bytes() for path in generation.iterdir()}
    writer = IndexWriter(folder, heap=HEAP)
    writer.put(document("b"))
    writer.commit(6)
    writer.close()
    for path in generation.iterdir():
        path.unlink()
    for name, content in old.items():
        (generation / name).write_bytes(content)
    writer = IndexWriter(folder, heap=HEAP)
    assert writer.sequence == 0
    writer.close()


def test_a_reader_that_meets_damage_says_that_the_mail_is_safe(tmp_path: Path) -> None:
    generation = _with_one_document(tmp_path / "index")
    (generation / "meta.json").unlink()
    with pytest.raises(UnavailableError, match="mail itself is safe"):
        Index(tmp_path / "index").count(EVERYTHING)


def test_a_rebuild_beside_is_searched_once_it_is_published(shelf: Shelf) -> None:
    shelf.put(document("old"))
    shelf.writer.close()
    rebuilt = IndexWriter(shelf.folder, heap=HEAP, fresh=True)
    assert rebuilt.sequence == 0
    rebuilt.put(document("new"))
    rebuilt.commit(7)
    assert shelf.ids("*") == ["old"]
    rebuilt.publish()
    assert shelf.ids("*") == ["new"]
    rebuilt.put(document("newer"))
    rebuilt.commit(8)
    assert sorted(shelf.ids("*")) == ["new", "newer"]
    rebuilt.close()
    again = IndexWriter(shelf.folder, heap=HEAP)
    assert again.sequence == 8
    again.close()
    assert sum(path.is_dir() for path in shelf.folder.iterdir()) == 1
    shelf.writer = IndexWriter(shelf.folder, heap=HEAP)


def test_a_rebuild_that_was_broken_off_leaves_the_index_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    _with_one_document(folder)
    rebuilt = IndexWriter(folder, heap=HEAP, fresh=True)
    rebuilt.put(document("new"))
    rebuilt.commit(7)
    rebuilt.close()
    writer = IndexWriter(folder, heap=HEAP)
    assert writer.sequence == 5
    writer.close()
    assert ids(folder) == {"a"}


class _FailingFiles(Files):
    """The system's calls, of which those that change something fail while ``broken``."""

    broken = False

    def create(self, path: Path, mode: int = 0o640) -> int:
        if self.broken:
            raise OSError(28, "No space left on device")
        return super().create(path, mode)

    def sync_directory(self, path: Path) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().sync_directory(path)


def test_a_commit_that_fails_leaves_the_writer_at_the_last_one(tmp_path: Path) -> None:
    files = _FailingFiles()
    writer = IndexWriter(tmp_path / "index", heap=HEAP, files=files)
    writer.put(document("a"))
    writer.commit(1)
    writer.put(document("b"))
    files.broken = True
    with pytest.raises((UnavailableError, StorageError)):
        writer.commit(2)
    assert writer.sequence == 1
    files.broken = False
    writer.put(document("b"))
    writer.commit(2)
    assert writer.sequence == 2
    writer.close()
    assert ids(tmp_path / "index") == {"a", "b"}


_VICTIM = """
import sys
from pathlib import Path
from appliance.index.schema import Document
from appliance.index.writer import IndexWriter
writer = IndexWriter(Path(sys.argv[1]), heap=15_000_000)
number = writer.sequence
while True:
    number += 1
    writer.put(Document(id=f"{number:08}", archives=("anna",), body=f"word{number} " * 200))
    if number % 7 == 0:
        print(number, flush=True)
        writer.commit(number)
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_an_index_that_goes_on_from_its_sequence(tmp_path: Path) -> None:
    """Killed at odd moments, the index holds at least what ``sequence`` says, each document once."""
    folder = tmp_path / "index"
    for round_ in range(6):
        victim = subprocess.Popen([sys.executable, "-c", _VICTIM, str(folder)], stdout=subprocess.PIPE, cwd=os.getcwd())
        assert victim.stdout is not None
        for _ in range(2 + round_):
            victim.stdout.readline()
        time.sleep(0.003 * round_)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        writer = IndexWriter(folder, heap=HEAP)
        reached = writer.sequence
        writer.close()
        found = Index(folder).search(Everything(), EVERYTHING, limit=100_000, facets=False)
        present = [hit.id for hit in found.hits]
        assert len(present) == len(set(present)) == found.total
        assert {f"{number:08}" for number in range(1, reached + 1)} <= set(present)
    assert reached > 0


_READER_RACE = """
import sys, time
from pathlib import Path
from appliance.index.search import Index, Scope
from appliance.mail.query import Everything
index = Index(Path(sys.argv[1]))
print("ready", flush=True)
seen = 0
while seen < int(sys.argv[2]):
    total = index.count(Scope(None))
    assert total >= seen, (total, seen)
    seen = total
print("all", flush=True)
"""


def test_a_reader_in_another_process_follows_every_commit(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "index", heap=HEAP)
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER_RACE, str(tmp_path / "index"), "30"], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for number in range(30):
        writer.put(document(f"d{number}"))
        writer.commit(number + 1)
    assert reader.stdout.readline() == "all\n"
    assert reader.wait() == 0
    reader.stdout.close()
    writer.close()
