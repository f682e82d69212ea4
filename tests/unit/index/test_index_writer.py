"""The writer: what is committed is found, what was closed stays, what is put again is not doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.errors import ConflictError, UnavailableError
from appliance.index import live, schema, writer
from appliance.index.search import Index, Scope
from appliance.index.writer import IndexWriter
from appliance.mail.query import Everything
from tests.unit.index.conftest import BUDGET, EVERYTHING, HEAP, SHARD, Shelf, document, place_in


def ids(folder: Path) -> list[str]:
    """What an index finds that opens only now."""
    index = Index(place_in(folder), budget=BUDGET)
    found = index.search(Everything(), EVERYTHING, limit=100_000, facets=False)
    index.close()
    assert len(found.hits) == found.total
    return sorted(hit.id for hit in found.hits)


def reached(folder: Path, newest: int = 100, shard: int = SHARD) -> int:
    """Where the next writer goes on."""
    again = IndexWriter(place_in(folder), newest=newest, heap=HEAP)
    found = again.reached(shard)
    again.close()
    return found


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_place_without_an_index_holds_no_messages(tmp_path: Path) -> None:
    index = Index(place_in(tmp_path), budget=BUDGET)
    assert index.search(Everything(), EVERYTHING).total == 0
    assert index.documents(("a",), EVERYTHING) == ()
    assert index.thread("a", (), EVERYTHING) == ()
    assert (index.all_documents(), index.live_bytes(), index.sealed_bytes(), index.reached()) == (0, 0, 0, {})


def test_nothing_is_found_before_the_commit_and_all_after_it(shelf: Shelf) -> None:
    shelf.writer.put(document("a"), shard=SHARD, change=1)
    assert shelf.ids("*") == []
    shelf.writer.commit()
    assert shelf.ids("*") == ["a"]
    assert shelf.writer.reached(SHARD) == 1
    assert shelf.index.reached() == {SHARD: 1}


def test_putting_again_replaces(shelf: Shelf) -> None:
    shelf.put(document("a", body="old"), document("b"))
    shelf.put(document("a", body="new", archives=("anna", "carl")))
    assert sorted(shelf.ids("*")) == ["a", "b"]
    assert shelf.ids("old") == []
    assert shelf.ids("new", Scope(("carl",))) == ["a"]


def test_put_twice_before_a_commit_is_one_document(shelf: Shelf) -> None:
    shelf.put(document("a", body="old"), document("a", body="new"))
    assert shelf.ids("*") == ["a"]
    assert shelf.ids("new") == ["a"]


def test_the_next_writer_goes_on_where_the_last_committed(tmp_path: Path) -> None:
    first = Shelf(place_in(tmp_path))
    first.put(document("a"))
    first.writer.put(document("lost"), shard=SHARD, change=2)
    first.close()
    assert reached(tmp_path) == 1
    assert ids(tmp_path) == ["a"]


def test_a_change_without_a_document_counts_as_reached(tmp_path: Path) -> None:
    shelf = Shelf(place_in(tmp_path))
    shelf.writer.skip(shard=SHARD, change=7)
    shelf.writer.commit()
    shelf.close()
    assert reached(tmp_path) == 7


def test_documents_that_come_later_find_their_old_ones_in_a_cold_shard(tmp_path: Path) -> None:
    """More shards than are open at a time, each visited twice."""
    shelf = Shelf(place_in(tmp_path), shard_of=lambda number: 20201 + (number - 1) % 4)
    shelf.put(*(document(f"{number}", body="old") for number in range(8)))
    shelf.put(*(document(f"{number}", body="new") for number in range(8)))
    assert len(shelf.ids("new")) == len(shelf.ids("*")) == 8
    assert shelf.ids("old") == []
    shelf.close()
    assert len(ids(tmp_path)) == 8


def test_one_index_has_one_writer(tmp_path: Path) -> None:
    first = IndexWriter(place_in(tmp_path), newest=0, heap=HEAP)
    with pytest.raises(ConflictError):
        IndexWriter(place_in(tmp_path), newest=0, heap=HEAP)
    first.close()
    IndexWriter(place_in(tmp_path), newest=0, heap=HEAP).close()


def test_nothing_is_left_in_memory_when_all_is_closed(tmp_path: Path) -> None:
    shelf = Shelf(place_in(tmp_path))
    shelf.put(document("a"))
    shelf.close_writer()
    assert shelf.ids("*") == ["a"]
    assert files(tmp_path / "live")
    shelf.close()
    assert not (tmp_path / "live").exists()


def test_what_a_killed_process_left_in_memory_goes_away(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    for leftover in (place.written / "20264-0badcafe", place.restored / "20201-0badcafe"):
        leftover.mkdir(parents=True)
        (leftover / "meta.json").write_text("{}")
    (tmp_path / "live").chmod(0o700)
    Shelf(place).close()
    assert not files(tmp_path / "live")


def test_an_index_of_an_earlier_version_is_taken_off_the_disk(tmp_path: Path) -> None:
    """It lay there readable."""
    old = tmp_path / "disk" / "0001" / "index"
    (old / "0123456789abcdef").mkdir(parents=True)
    (old / "0123456789abcdef" / "abc.term").write_text("secret words")
    (old / "state.json").write_text("{}")
    Shelf(place_in(tmp_path)).close()
    assert not any(b"secret" in path.read_bytes() for path in files(tmp_path / "disk"))
    assert not (old / "state.json").exists()


def test_an_index_of_another_version_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(place_in(tmp_path))
    shelf.put(document("a"))
    shelf.close()
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    assert reached(tmp_path) == 0
    assert ids(tmp_path) == []


def test_an_index_beyond_its_catalogue_is_begun_anew(tmp_path: Path) -> None:
    """The catalogue was put back to an older copy: it gives the same numbers to other messages now."""
    shelf = Shelf(place_in(tmp_path))
    shelf.put(document("a"), document("b"), document("c"))
    shelf.close()
    assert reached(tmp_path, newest=3) == 3
    assert reached(tmp_path, newest=2) == 0
    assert ids(tmp_path) == []


def test_what_the_catalogue_has_is_made_durable_before_the_index_says_so(tmp_path: Path) -> None:
    told: list[int] = []
    manifest = tmp_path / "disk" / "0001" / "index" / f"{SHARD}" / "manifest"
    index_writer = IndexWriter(
        place_in(tmp_path), newest=0, heap=HEAP, before_save=lambda: told.append(manifest.exists())
    )
    index_writer.put(document("a"), shard=SHARD, change=1)
    index_writer.commit()
    index_writer.close()
    assert told == [False]
    assert manifest.exists()


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_disk_follows_after_a_while_at_rest_and_under_load(tmp_path: Path) -> None:
    clock = _Clock()
    index_writer = IndexWriter(place_in(tmp_path), newest=0, heap=HEAP, clock=clock)
    shard = tmp_path / "disk" / "0001" / "index" / f"{SHARD}"

    def put(change: int) -> None:
        index_writer.put(document(f"{change}"), shard=SHARD, change=change)
        index_writer.commit()

    put(1)
    index_writer.rest()
    assert not shard.exists()
    clock.now += writer.REST_SECONDS
    index_writer.rest()
    first = (shard / "manifest").read_bytes()
    index_writer.rest()
    clock.now += writer.REST_SECONDS
    index_writer.rest()
    assert (shard / "manifest").read_bytes() == first, "nothing new was to be written"
    put(2)
    assert (shard / "manifest").read_bytes() == first
    clock.now += writer.BUSY_SECONDS
    put(3)
    assert (shard / "manifest").read_bytes() != first
    index_writer.close()


def test_segments_that_were_merged_away_leave_the_disk(tmp_path: Path) -> None:
    clock = _Clock()
    index_writer = IndexWriter(place_in(tmp_path), newest=0, heap=HEAP, clock=clock)
    for change in range(1, 41):
        index_writer.put(document(f"{change}"), shard=SHARD, change=change)
        index_writer.commit()
        clock.now += writer.REST_SECONDS
        index_writer.rest()
    index_writer.close()
    shard = tmp_path / "disk" / "0001" / "index" / f"{SHARD}"
    assert len(list(shard.iterdir())) < 15
    assert len(ids(tmp_path)) == 40


def test_a_shard_that_is_not_used_leaves_the_memory_but_for_the_newest(tmp_path: Path) -> None:
    clock = _Clock()
    index_writer = IndexWriter(place_in(tmp_path), newest=0, heap=HEAP, clock=clock)
    index_writer.put(document("old"), shard=20201, change=1)
    index_writer.put(document("new"), shard=20202, change=2)
    index_writer.commit()
    clock.now += writer.UNUSED_SECONDS
    index_writer.rest()
    assert [folder.name[:5] for folder in place_in(tmp_path).written.iterdir()] == ["20202"]
    index_writer.close()
    assert ids(tmp_path) == ["new", "old"]


def test_nobody_else_can_look_into_the_memory(tmp_path: Path) -> None:
    shelf = Shelf(place_in(tmp_path))
    assert (tmp_path / "live").stat().st_mode & 0o777 == 0o700
    shelf.close()
    (tmp_path / "live").mkdir(mode=0o755)
    with pytest.raises(UnavailableError, match="this user alone"):
        Shelf(place_in(tmp_path))


def test_a_link_in_the_place_of_the_memory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "live").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError, match="this user alone"):
        Shelf(place_in(tmp_path))
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("wanted", "size"), [("1000", 1000), ("512M", 512 << 20), ("2g", 2 << 30), ("64KiB", 65536)])
def test_the_memory_can_be_set(tmp_path: Path, wanted: str, size: int) -> None:
    assert live.budget(tmp_path, wanted) == size


def test_by_default_the_memory_is_a_share_of_what_there_is(tmp_path: Path) -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < live.budget(tmp_path, "") <= total // 4


_VICTIM = """
import sys
from pathlib import Path
from appliance.index import writer
from tests.unit.index.conftest import document, place_in
writer.BUSY_SECONDS = 0.0
made = writer.IndexWriter(place_in(Path(sys.argv[1])), newest=10**6, heap=15_000_000)
number = made.reached(20264)
while True:
    number += 1
    made.put(document(f"{number:08}", body=f"word{number} " * 200), shard=20264, change=number)
    if number % 7 == 0:
        print(number, flush=True)
        made.commit()
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_an_index_that_goes_on_from_what_it_reached(tmp_path: Path) -> None:
    """Killed at odd moments, with a mirror of every commit: the index holds what ``reached`` says, each once."""
    last = 0
    for round_ in range(6):
        victim = subprocess.Popen([sys.executable, "-c", _VICTIM, str(tmp_path)], stdout=subprocess.PIPE, cwd=_ROOT)
        assert victim.stdout is not None
        for _ in range(2 + round_):
            victim.stdout.readline()
        time.sleep(0.003 * round_)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        victim.stdout.close()
        shutil.rmtree(tmp_path / "live", ignore_errors=True)  # as after a power cut
        now = reached(tmp_path, newest=10**6)
        assert now >= last
        assert ids(tmp_path) == [f"{number:08}" for number in range(1, now + 1)]
        last = now
    assert last > 0


_READER_RACE = """
import sys
from pathlib import Path
from appliance.index.search import Index, Scope
from tests.unit.index.conftest import place_in
index = Index(place_in(Path(sys.argv[1])), budget=2**30)
print("ready", flush=True)
seen = 0
while seen < int(sys.argv[2]):
    total = index.count(Scope(None))
    assert total >= seen, (total, seen)
    seen = total
print("all", flush=True)
"""


def test_a_reader_in_another_process_follows_every_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards open, grow cold and come back under it; it never sees less than before."""
    monkeypatch.setattr(writer, "BUSY_SECONDS", 0.0)
    shelf = Shelf(place_in(tmp_path), shard_of=lambda number: 20201 + number % 3)
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER_RACE, str(tmp_path), "30"], stdout=subprocess.PIPE, text=True, cwd=_ROOT
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for number in range(30):
        shelf.put(document(f"d{number}"))
    assert reader.stdout.readline() == "all\n"
    assert reader.wait() == 0
    reader.stdout.close()
    shelf.close()


_ROOT = Path(__file__).resolve().parents[3]
