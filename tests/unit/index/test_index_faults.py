"""The sealed copy of the index, when calls fail, processes die and files are tampered with: never a wrong answer.

``reached`` is the promise: what it says is in the index. The rest is put again from the log, as the projector does.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from appliance.errors import MailkeepError, UnavailableError
from appliance.files import FILES, Buffer, Files
from appliance.index import library, writer
from appliance.index.place import Place
from appliance.index.search import Index
from tests.unit.index.conftest import BUDGET, EVERYTHING, HEAP, Shelf, document, place_in

pytestmark = pytest.mark.timeout(3600)  # for every call

STEP = int(os.environ.get("MAILKEEP_FAULT_STEP", "41"))
"""One of so many calls is made to fail; ``make faults`` takes every one."""

SHARDS = (20201, 20202)
CHANGES = [(number, SHARDS[number % 2]) for number in range(1, 15)]
"""The change sequence that these tests follow: its numbers, and the shard of each."""

TRUTH = {f"{number % 10}": number for number, _ in CHANGES}
"""What a fresh index would hold: the last change of each document."""


class Dead(BaseException):
    """The process was killed."""


class Failing(Files):
    """The system's calls, of which one fails, or at which the process dies."""

    def __init__(self, fail_at: int, *, error: int = errno.EIO, dead: bool = False) -> None:
        self.fail_at = fail_at
        self.calls: list[str] = []
        self._error = error
        self._dead = dead

    def _step(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self.fail_at:
            if self._dead:
                raise Dead
            raise OSError(self._error, "injected")

    def create(self, path: Path, mode: int = 0o640) -> int:
        self._step(f"create {path.name}")
        return super().create(path, mode)

    def write(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        self._step("write")
        return super().write(descriptor, buffers, offset)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self._step("read")
        return super().read(descriptor, size, offset)

    def sync(self, descriptor: int) -> None:
        self._step("sync")
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._step("sync directory")
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step(f"rename {target.name}")
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step(f"unlink {path.name}")
        super().unlink(path)


def follow(place: Place, files: Files = FILES) -> None:
    """Follow the change sequence to its end, as a projector does, with a mirror of every other commit."""
    index_writer = IndexWriter(place, files)
    try:
        for number, shard in CHANGES:
            if number > index_writer.reached(shard):
                made = document(f"{number % 10}", body=f"change{number} common")
                index_writer.put(made, shard=shard, change=number)
                index_writer.commit()
        index_writer.rest()
        index_writer.close()
    except Dead:
        with contextlib.suppress(OSError):
            FILES.close(index_writer._lock)  # as the system does
        raise
    except BaseException:
        index_writer.close()
        raise


def IndexWriter(place: Place, files: Files = FILES) -> writer.IndexWriter:  # noqa: N802 - stands for the class
    ticks = itertools.count(step=writer.BUSY_SECONDS / 4)
    return writer.IndexWriter(place, newest=CHANGES[-1][0], heap=HEAP, files=files, clock=lambda: next(ticks))


def found(place: Place, files: Files = FILES, budget: int = BUDGET) -> dict[str, int]:
    """What the index says: the change that each document is of."""
    index = Index(place, budget=budget, files=files)
    try:
        shelf = Shelf.__new__(Shelf)
        shelf.index = index
        said = {
            hit.id: number for number, _ in CHANGES for hit in shelf.ask(f"change{number}", EVERYTHING, limit=50).hits
        }
        assert shelf.ask("common").total == len(said) == index.all_documents()
        return said
    finally:
        index.close()


def power_cut(place: Place) -> None:
    """What is in memory is gone."""
    shutil.rmtree(place.root, ignore_errors=True)


def rounds(tmp_path: Path, run: Callable[[Place, Files], None], **how: object) -> Iterator[tuple[Place, str]]:
    """One run for every call that can fail, or for one of ``STEP``."""
    for fail_at in itertools.count(1, STEP):
        place = place_in(tmp_path / f"{fail_at}")
        files = Failing(fail_at, **how)  # type: ignore[arg-type]
        run(place, files)
        if len(files.calls) < fail_at:
            assert fail_at > 30, "the run does far fewer calls than it should"
            return
        yield place, f"call {fail_at}: {files.calls[fail_at - 1]}"


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_a_writer_may_die_at_any_call(tmp_path: Path, power: bool) -> None:
    def run(place: Place, files: Files) -> None:
        with contextlib.suppress(Dead):
            follow(place, files)

    for place, what in rounds(tmp_path, run, dead=True):
        if power:
            power_cut(place)
        follow(place)
        power_cut(place)
        assert found(place) == TRUTH, what


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_any_single_call_of_a_writer_may_fail(tmp_path: Path, error: int) -> None:
    def run(place: Place, files: Files) -> None:
        with contextlib.suppress(MailkeepError, OSError):
            follow(place, files)

    for place, what in rounds(tmp_path, run, error=error):
        follow(place)
        assert found(place) == TRUTH, what


def test_any_single_call_of_a_reader_may_fail(tmp_path: Path) -> None:
    original = place_in(tmp_path / "original")
    follow(original)

    def run(place: Place, files: Files) -> None:
        shutil.copytree(original.sealed, place.sealed)
        with contextlib.suppress(UnavailableError, OSError):
            assert found(place, files) == TRUTH

    for place, what in rounds(tmp_path, run):
        assert found(place) == TRUTH, what


def test_a_reader_may_die_at_any_call(tmp_path: Path) -> None:
    original = place_in(tmp_path / "original")
    follow(original)

    def run(place: Place, files: Files) -> None:
        shutil.copytree(original.sealed, place.sealed)
        with contextlib.suppress(Dead):
            found(place, files)

    for place, what in rounds(tmp_path, run, dead=True):
        assert found(place) == TRUTH, what


# -- tampering --------------------------------------------------------------------------------------------------------


def _packs(shard: Path) -> list[Path]:
    return sorted((path for path in shard.iterdir() if path.name != "manifest"), key=lambda path: path.stat().st_size)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _exchange(first: Path, second: Path) -> None:
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def _rename_round(one: Path, other: Path) -> None:
    aside = one.rename(one.with_name("aside"))
    other.rename(one)
    aside.rename(other)


TAMPERING: dict[str, Callable[[Path, Path], None]] = {
    "altered pack": lambda one, _: _flip(_packs(one)[-1]),
    "cut pack": lambda one, _: _packs(one)[-1].write_bytes(_packs(one)[-1].read_bytes()[:-1]) and None,
    "emptied pack": lambda one, _: _packs(one)[-1].write_bytes(b"") and None,
    "lost pack": lambda one, _: _packs(one)[0].unlink(),
    "packs exchanged": lambda one, other: _exchange(_packs(one)[-1], _packs(other)[-1]),
    "altered manifest": lambda one, _: _flip(one / "manifest"),
    "cut manifest": lambda one, _: (one / "manifest").write_bytes((one / "manifest").read_bytes()[:40]) and None,
    "lost manifest": lambda one, _: (one / "manifest").unlink(),
    "manifests exchanged": lambda one, other: _exchange(one / "manifest", other / "manifest"),
    "shards exchanged": lambda one, other: _rename_round(one, other),
    "lost shard": lambda one, _: shutil.rmtree(one),
}  # fmt: skip


@pytest.mark.parametrize("tampering", TAMPERING.values(), ids=TAMPERING)
def test_what_was_tampered_with_while_nothing_ran_is_made_anew(
    tmp_path: Path, tampering: Callable[[Path, Path], None]
) -> None:
    place = place_in(tmp_path)
    follow(place)
    tampering(place.sealed / f"{SHARDS[0]}", place.sealed / f"{SHARDS[1]}")
    for _ in range(4):  # each try may find out about one shard
        try:
            follow(place)
            if found(place) == TRUTH:
                break
        except UnavailableError as error:
            assert "mail itself is safe" in error.message
    assert found(place) == TRUTH


@pytest.mark.parametrize("tampering", TAMPERING.values(), ids=TAMPERING)
def test_what_was_tampered_with_under_a_running_writer_is_made_anew(
    tmp_path: Path, tampering: Callable[[Path, Path], None]
) -> None:
    place = place_in(tmp_path)
    follow(place)
    running = IndexWriter(place)
    index = Index(place, budget=BUDGET)
    shelf = Shelf.__new__(Shelf)
    shelf.index = index
    try:
        assert index.all_documents() == len(TRUTH)
        tampering(place.sealed / f"{SHARDS[0]}", place.sealed / f"{SHARDS[1]}")
        for _ in range(5):
            try:
                total = shelf.ask("common").total
            except UnavailableError as error:
                assert "safe" in error.message
                total = -1
            if not running.rest():
                _put_again(running)
            elif total == len(TRUTH):
                break
        assert {hit.id for hit in shelf.ask("common", limit=50).hits} == set(TRUTH)
    finally:
        index.close()
        running.close()
    power_cut(place)
    assert found(place) == TRUTH


def _put_again(running: writer.IndexWriter) -> None:
    """As the projector does when it learns that a shard is lost."""
    for number, shard in CHANGES:
        if number > running.reached(shard):
            running.put(document(f"{number % 10}", body=f"change{number} common"), shard=shard, change=number)
    running.commit()


def test_an_older_copy_is_caught_up_from_where_it_was(tmp_path: Path) -> None:
    """A whole shard put back to an earlier state opens: it is old, and says how old."""
    place = place_in(tmp_path)
    short = IndexWriter(place)
    for number, shard in CHANGES[:6]:
        short.put(document(f"{number % 10}", body=f"change{number} common"), shard=shard, change=number)
    short.commit()
    short.close()
    shutil.copytree(place.sealed, tmp_path / "older")
    follow(place)
    for shard in SHARDS:
        shutil.rmtree(place.sealed / f"{shard}")
        shutil.copytree(tmp_path / "older" / f"{shard}", place.sealed / f"{shard}")
    again = IndexWriter(place)
    assert [0 < again.reached(shard) < CHANGES[-1][0] for shard in SHARDS] == [True, True]
    again.close()
    follow(place)
    assert found(place) == TRUTH


def test_the_index_of_another_catalogue_does_not_open(tmp_path: Path) -> None:
    """Its numbers stand for other changes."""
    place = place_in(tmp_path)
    follow(place)
    other = Place(root=place.root, live=place.live, sealed=place.sealed, key=place.key, identity=b"another1")
    assert found(other) == {}
    follow(other)
    assert found(other) == TRUTH


# -- a full memory ----------------------------------------------------------------------------------------------------


def test_a_shard_that_does_not_fit_says_so_and_the_others_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_in(tmp_path)
    running = writer.IndexWriter(place, newest=100, heap=HEAP)
    running.put(document("old", body="common", date=86_400), shard=20191, change=1)
    running.commit()
    running.close()
    running = writer.IndexWriter(place, newest=100, heap=HEAP)
    running.put(document("new", body="common", date=10**9), shard=20201, change=2)
    running.commit()
    shelf = Shelf.__new__(Shelf)
    shelf.index = Index(place, budget=BUDGET)
    monkeypatch.setattr(library.live, "room", lambda _place: (2**30, 2**10))
    with pytest.raises(UnavailableError, match="no room in memory"):
        shelf.ask("common")
    assert shelf.ids("common after:2001-01-01") == ["new"]
    monkeypatch.undo()
    assert shelf.ids("common") == ["new", "old"]
    shelf.index.close()
    running.close()
