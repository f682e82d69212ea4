"""The replicator's runs: what is due is begun, what fails is said and tried again, nothing is told that is not so."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from appliance.cloud.manifests import files_of, newest, put_named, raise_epoch
from appliance.cloud.objects import generation_name
from appliance.cloud.probe import RemoteTest
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.cloud.remotes import Remotes, read_remotes, write_remotes
from appliance.cloud.restore_state import RestoreFolder, RestoreStatus, Restoring, Stage
from appliance.cloud.state import set_own_epoch
from appliance.errors import DamageError, ForbiddenError, NotFoundError, RemoteFullError, UnavailableError, UsageError
from appliance.services.between import Door
from appliance.services.replica_states import troubles
from appliance.services.replicator.asking import ask
from appliance.services.replicator.door import Desk
from appliance.services.replicator.history import KEPT, History, Run
from appliance.services.replicator.progress import how_far, progress_place
from appliance.services.replicator.replication import Replication
from appliance.services.replicator.work import DAY, WORKS, Outcome, Work
from appliance.services.service_key import keys_of
from appliance.store.absent import AbsentFile, AbsentFiles
from tests.cloud_double import FolderRemote
from tests.scratch import ScratchArchive, mail

SECONDS = 30.0


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Folders:
    """Opens remotes that are folders; ``fail`` makes all calls to one of them fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[str, FolderRemote] = {}
        self.hooks: dict[str, Callable[[str, str], None]] = {}
        self.changed: dict[str, dict[str, str]] = {}

    def remote(self, config: RemoteConfig) -> Remote:
        found = self.opened[config.name] = FolderRemote(self.folder / config.name, config)
        found.before = self.hooks.get(config.name, found.before)
        return found

    def fail(self, name: str, error: Exception | None) -> None:
        def before(_call: str, _name: str) -> None:
            if error is not None:
                raise error

        self.hooks[name] = before
        if name in self.opened:
            self.opened[name].before = before

    def tokens(self) -> Mapping[str, Mapping[str, str]]:
        return self.changed

    def close(self) -> None:
        """Nothing is held."""


class Bench:
    """An archive, remotes that are folders, and the replication between them."""

    def __init__(self, box: ScratchArchive, folder: Path, *names: str) -> None:
        self.box = box
        self.clock = Clock()
        self.folders = Folders(folder)
        self.configs = [RemoteConfig(name, "local", path=f"/{name}") for name in names]
        self.keys = keys_of(box.archive.keyring)
        self.tell()
        self.replication = self.new()
        self.roll()

    def new(self, *, alone: bool = True) -> Replication:
        return Replication(self.box.paths, self.keys, alone=alone, opener=self.folders, clock=self.clock)

    def tell(self, *configs: RemoteConfig) -> None:
        self.configs = list(configs) or self.configs
        write_remotes(self.box.paths.data, self.keys, Remotes(tuple(self.configs)))

    def receive(self, *subjects: str) -> None:
        self.box.receive(*map(mail, subjects))

    def roll(self) -> None:
        """What gateway and archiver do when they are asked to, before: nobody looks for requests here."""
        self.box.writer.roll()
        self.box.archive.writer.roll()

    def run(self, *names: str) -> list[Run]:
        """Replicate now; how it ended, by the remotes' names in order."""
        self.roll()
        begun = [run for name in names or ("",) for run in self.replication.begin("replicate", name)]
        return [self.await_end(run.id) for run in begun]

    def await_end(self, id: int) -> Run:
        deadline = time.monotonic() + SECONDS
        while (run := self.replication.history.run(id)).ended is None:
            assert time.monotonic() < deadline, run
            time.sleep(0.01)
        return run

    def await_idle(self) -> None:
        deadline = time.monotonic() + SECONDS
        while self.replication.history.unfinished():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def tick(self, seconds: float = 0.0) -> None:
        """So much later, begin what is due and wait until it is over."""
        self.clock.now += seconds
        self.roll()
        self.replication.tick()
        self.await_idle()

    def records_at(self, name: str) -> int:
        return newest(FolderRemote(self.folders.folder / name), self.keys).records


@pytest.fixture
def bench(box: ScratchArchive, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(box, tmp_path / "remotes", "cellar", "cloud")
    yield made
    made.replication.close()


def test_what_is_asked_for_goes_to_every_remote_and_the_manifest_names_all_of_it(bench: Bench) -> None:
    bench.receive("One", "Two")
    cellar, cloud = bench.run()
    assert (cellar.remote, cellar.state, cloud.remote, cloud.state) == ("cellar", "done", "cloud", "done")
    assert "Generation" in cellar.words and cellar.lines and cellar.bytes > 0
    for name in ("cellar", "cloud"):
        remote = FolderRemote(bench.folders.folder / name)
        manifest = newest(remote, bench.keys)
        held = files_of(manifest, remote, bench.keys)
        here = {path.relative_to(bench.box.paths.data).as_posix() for path in bench.box.paths.volumes.rglob("*.mkv")}
        assert here <= held.keys()
        standing = bench.replication.history.standing(name)
        assert standing.reached >= (cellar.begun or 0) and standing.generation
        assert standing.records >= 2 and standing.used
        needed = {one.object for one in held.values()} | {manifest.keyring, manifest.inventory}
        assert len(needed) < standing.objects <= len(needed) + 4, "those of files; manifest, settings, box, snapshot"


def test_one_remote_only_and_none_and_unknown_ones(bench: Bench) -> None:
    bench.receive("One")
    (run,) = bench.run("cloud")
    assert run.remote == "cloud" and not bench.folders.folder.joinpath("cellar").exists()
    with pytest.raises(NotFoundError, match="attic"):
        bench.replication.begin("replicate", "attic")
    bench.tell(*(msgspec.structs.replace(one, paused=True) for one in bench.configs))
    with pytest.raises(UsageError, match="paused"):
        bench.replication.begin("replicate")
    (paused,) = bench.run("cloud")  # by name it is meant
    assert paused.state == "done"


def test_each_remote_has_its_turn_at_its_own_interval(bench: Bench) -> None:
    bench.tell(
        msgspec.structs.replace(bench.configs[0], interval=300), msgspec.structs.replace(bench.configs[1], interval=900)
    )
    for minute in range(0, 31, 5):
        bench.receive(f"Minute {minute}")
        bench.tick(0 if minute == 0 else 300)
    runs = bench.replication.history.runs()
    assert [sum(run.remote == name for run in runs) for name in ("cellar", "cloud")] == [7, 3]
    assert bench.records_at("cellar") == bench.records_at("cloud")


def test_a_run_with_nothing_new_leaves_no_line_in_the_history_but_counts(bench: Bench) -> None:
    bench.receive("One")
    bench.tick()
    before = bench.replication.history.standing("cellar")
    bench.tick(300)
    after = bench.replication.history.standing("cellar")
    assert after.reached - before.reached == pytest.approx(300e6, abs=1e6)
    assert after.generation == before.generation
    assert len(bench.replication.history.runs("cellar")) == 1
    (asked,) = bench.run("cellar")
    assert asked.state == "done" and "Nothing was new" in asked.words


def test_one_remote_down_for_a_day_keeps_the_other_going_and_catches_up(bench: Bench) -> None:
    bench.receive("Before")
    bench.tick()
    bench.folders.fail("cloud", UnavailableError("cloud does not answer."))
    for hour in range(24):
        bench.receive(f"Hour {hour}")
        bench.tick(3600)
    history = bench.replication.history
    assert history.standing("cellar").failures == 0
    down = history.standing("cloud")
    assert (down.failures, down.trouble) == (24, "cloud does not answer.")
    assert [(run.state, run.times) for run in history.runs("cloud")] == [("failed", 24), ("done", 1)]
    assert bench.records_at("cellar") > bench.records_at("cloud")
    bench.folders.fail("cloud", None)
    bench.tick(3600)
    assert bench.records_at("cellar") == bench.records_at("cloud")
    assert history.standing("cloud").failures == 0 and not history.standing("cloud").trouble
    assert [(one.action, one.what) for one in history.notes()] == [
        ("remote.failed", "cloud: cloud does not answer."), ("remote.recovered", "cloud"),
    ]  # fmt: skip


def test_tries_are_further_and_further_apart_but_never_rarer_than_the_interval(bench: Bench) -> None:
    bench.tell(msgspec.structs.replace(bench.configs[0], interval=600))
    bench.folders.fail("cellar", RemoteFullError("cellar is full."))
    tried = []
    for second in range(0, 3600, 30):
        before = bench.replication.history.standing("cellar").failures
        bench.tick(30)
        if bench.replication.history.standing("cellar").failures > before:
            tried.append(second)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert gaps[:4] == [60, 120, 240, 480] and set(gaps[4:]) == {600}


def test_a_box_that_another_was_restored_from_says_so_and_writes_no_more(bench: Bench) -> None:
    bench.receive("One")
    bench.tick()
    set_own_epoch(bench.box.paths.data, 2)  # the restored box, for a moment
    bench.receive("Two")
    bench.tick(300)
    assert bench.replication.history.standing("cellar").epoch == 2
    remote = FolderRemote(bench.folders.folder / "cellar")
    raise_epoch(remote, bench.keys, bench.box.paths.data / "replicas" / "cellar", now=1)
    held = remote.names("objects")
    bench.receive("Three")
    bench.tick(300)
    standing = bench.replication.history.standing("cellar")
    assert "restored" in standing.superseded and remote.names("objects") == held
    assert bench.replication.history.standing("cloud").superseded == ""


def test_what_fails_in_an_unforeseen_way_fails_and_nothing_else(bench: Bench) -> None:
    bench.folders.fail("cellar", RuntimeError("s3cret"))
    cellar, cloud = bench.run()
    assert cellar.state == "failed" and "s3cret" not in cellar.words and cloud.state == "done"
    (again,) = bench.run("cellar")
    assert again.state == "failed"
    bench.folders.fail("cellar", None)
    assert bench.run("cellar")[0].state == "done"


def test_progress_can_be_read_while_it_runs_and_is_gone_afterwards(bench: Bench) -> None:
    bench.receive(*(f"{n}" for n in range(20)))
    bench.roll()
    reached, go_on = threading.Event(), threading.Event()

    def before(call: str, name: str) -> None:
        if call == "put" and name.startswith("generations/"):
            reached.set()
            assert go_on.wait(SECONDS)

    bench.folders.hooks["cellar"] = before
    (run,) = bench.replication.begin("replicate", "cellar")
    assert reached.wait(SECONDS)
    place = progress_place(bench.box.paths, "cellar")
    now = how_far(place)
    assert now is not None and now.run == run.id and 0 < now.done <= now.total
    (same,) = bench.replication.begin("replicate", "cellar")
    assert same.id != run.id, "what came in since this one began needs another run"
    go_on.set()
    assert bench.await_end(run.id).bytes > 0
    assert how_far(place) is None or how_far(place) != now


def test_a_run_can_be_stopped_and_the_next_one_goes_on(bench: Bench) -> None:
    bench.receive("One")
    bench.roll()
    reached, go_on = threading.Event(), threading.Event()

    def before(call: str, name: str) -> None:
        if call == "put":
            reached.set()
            assert go_on.wait(SECONDS)

    bench.folders.hooks["cellar"] = before
    (run,) = bench.replication.begin("replicate", "cellar")
    assert reached.wait(SECONDS)
    bench.replication.stop(run.id)
    go_on.set()
    assert bench.await_end(run.id).state == "stopped"
    assert bench.replication.history.standing("cellar").failures == 0
    assert bench.replication.history.notes() == ()


def test_runs_of_a_process_that_died_are_over_or_wait_again(bench: Bench) -> None:
    history = bench.replication.history
    asked, by_itself, queued = (
        history.add("cellar", "replicate", asked=True), history.add("cloud", "replicate", asked=False),
        history.add("cloud", "sample", asked=False),
    )  # fmt: skip
    assert history.claim(asked.id) and history.claim(by_itself.id)
    bench.replication.close()
    bench.receive("One")
    bench.roll()
    bench.replication = bench.new(alone=False)
    bench.replication.start()
    ended = bench.await_end(asked.id)
    assert ended.state == "done"
    assert bench.replication.history.run(by_itself.id).state == "failed"
    with pytest.raises(NotFoundError):
        bench.replication.history.run(queued.id)


def test_the_process_does_what_is_due_by_itself(bench: Bench) -> None:
    bench.replication.close()
    bench.receive("One")
    bench.roll()
    bench.replication = bench.new(alone=False)
    bench.replication.start()
    deadline = time.monotonic() + SECONDS
    while not all(bench.replication.history.standing(one).generation for one in ("cellar", "cloud")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_options_that_a_provider_changed_are_kept_until_somebody_sets_others(bench: Bench) -> None:
    bench.folders.changed = {"cellar": {"token": "refreshed"}, "gone": {"token": "x"}}
    bench.run("cellar")
    data = bench.box.paths.data
    found = read_remotes(data, bench.keys).find("cellar")
    assert found is not None and found.options == {"token": "refreshed"}
    opened = bench.folders.opened["cellar"]
    bench.run("cellar")
    assert bench.folders.opened["cellar"] is opened, "the connection that did it is kept"
    bench.tell(msgspec.structs.replace(bench.configs[0], options={"token": "given anew"}))
    found = read_remotes(data, bench.keys).find("cellar")
    assert found is not None and found.options == {"token": "given anew"}
    for file in (data / "replicas").rglob("*"):
        assert not file.is_file() or not any(word in file.read_bytes() for word in (b"refreshed", b"given anew"))


def test_the_history_is_short_and_begins_anew_where_it_was_damaged(tmp_path: Path) -> None:
    history = History(tmp_path / "jobs.db")
    for n in range(KEPT + 20):
        run = history.add("cellar", "replicate", asked=False)
        history.claim(run.id)
        history.end(run.id, "failed" if n % 2 else "done", f"{n}")
    assert len(history.runs("cellar", limit=1000)) == KEPT
    history.close()
    (tmp_path / "jobs.db").write_bytes(b"no database at all" * 1000)
    for left in ("jobs.db-wal", "jobs.db-shm"):
        (tmp_path / left).unlink(missing_ok=True)
    again = History(tmp_path / "jobs.db")
    assert again.runs() == ()
    again.close()


def test_who_alters_the_list_of_remotes_sends_nothing_elsewhere(bench: Bench) -> None:
    place = bench.box.paths.replicas / "remotes"
    raw = bytearray(place.read_bytes())
    raw[-1] ^= 1
    place.write_bytes(raw)
    bench.replication.tick()
    assert bench.replication.history.runs() == () and not bench.folders.opened


def test_a_remote_that_is_locked_or_refuses_is_told_in_its_own_words(bench: Bench) -> None:
    bench.folders.fail("cellar", ForbiddenError("cellar keeps its objects locked."))
    (run,) = bench.run("cellar")
    assert (run.state, run.words) == ("failed", "cellar keeps its objects locked.")


def test_old_volumes_go_once_two_replicas_were_checked_and_come_back_when_they_are_asked_for(bench: Bench) -> None:
    for subject in ("One", "Two", "Three"):
        bench.receive(subject)
        bench.box.sign()
    bench.run()
    volumes = bench.box.paths.volumes
    absent = AbsentFiles(volumes)

    def let_go() -> Run:
        (run,) = bench.replication.begin("release")
        return bench.await_end(run.id)

    assert "set so" in let_go().words and not absent.all()
    write_remotes(bench.box.paths.data, bench.keys, Remotes(tuple(bench.configs), keep_local_days=2))
    bench.clock.now += 3 * 86_400
    assert let_go().state == "done" and not absent.all(), "no replica was checked"
    for run in bench.replication.begin("check"):
        assert bench.await_end(run.id).state == "done"
    cellar, cloud = bench.configs
    for change in ({"paused": True}, {"path": "/elsewhere"}, {"path": cellar.path}):
        unfit = msgspec.structs.replace(cloud, **change)
        write_remotes(bench.box.paths.data, bench.keys, Remotes((cellar, unfit), keep_local_days=2))
        assert let_go().state == "done" and not absent.all(), "two that stand where they were checked are needed"
    write_remotes(bench.box.paths.data, bench.keys, Remotes((cellar, cloud), keep_local_days=2))
    assert let_go().state == "done"
    gone = dict(absent.all())
    assert gone and not any((volumes / path).exists() for path in gone)
    assert any(one.action == "replica.release" for one in bench.replication.history.notes())
    desk = Desk(bench.replication)
    bench.folders.fail("cellar", UnavailableError("cellar does not answer."))
    first, *others = gone
    desk.fetch(path=first)
    assert (volumes / first).stat().st_size == gone[first].size and first not in absent.all()
    desk.fetch(path=first)
    bench.folders.fail("cloud", UnavailableError("cloud does not answer."))
    with pytest.raises(UnavailableError, match=r"cellar does not answer\. cloud does not answer\."):
        desk.fetch(path=others[0])
    for unknown in ("../x", "volumes/none", first.replace("t0", "t9")):
        with pytest.raises(NotFoundError):
            desk.fetch(path=unknown)


def lone_object(bench: Bench, name: str, path: str) -> Path:
    """The file of the object that a volume is in at a remote."""
    remote = FolderRemote(bench.folders.folder / name)
    return remote.folder / files_of(newest(remote, bench.keys), remote, bench.keys)[f"volumes/{path}"].object


def sealed_volume(bench: Bench) -> str:
    """The path of a volume with mail that both remotes have."""
    bench.receive("One", "Two")
    bench.box.sign()
    bench.receive("Three")
    bench.box.sign()
    bench.run()
    folder = bench.box.paths.volumes / bench.box.mailbox.id
    return f"{folder.name}/{min(path.name for path in folder.glob('t0-*.mkv'))}"


def let_go_of(bench: Bench, path: str) -> bytes:
    """Make a volume absent; its content."""
    file = bench.box.paths.volumes / path
    content = file.read_bytes()
    AbsentFiles(file.parents[1]).add([AbsentFile(path, len(content), sha256(content).digest())])
    file.unlink()
    return content


@pytest.mark.parametrize("let_go", [True, False], ids=["let go of", "lost"])
def test_what_is_lost_here_and_at_one_remote_comes_from_another_by_itself(bench: Bench, let_go: bool) -> None:
    path = sealed_volume(bench)
    file = bench.box.paths.volumes / path
    content = let_go_of(bench, path) if let_go else file.read_bytes()
    file.unlink(missing_ok=True)
    lone_object(bench, "cellar", path).unlink()
    (check,) = bench.replication.begin("check", "cellar")
    ended = bench.await_end(check.id)
    assert ended.state == "failed" and path in " ".join(ended.lines), "what was found is told"
    assert file.read_bytes() == content
    notes = [one for one in bench.replication.history.notes() if path in one.what]
    assert {one.action for one in notes} == {"replica.damaged", "replica.repaired"}
    assert lone_object(bench, "cellar", path).exists(), "it went up again in the same run"
    (check,) = bench.replication.begin("check", "cellar")
    assert bench.await_end(check.id).state == "done"


def test_what_no_remote_has_is_told_until_one_has_it(bench: Bench) -> None:
    path = sealed_volume(bench)
    let_go_of(bench, path)
    objects = [lone_object(bench, name, path) for name in ("cellar", "cloud")]
    kept = objects[1].read_bytes()
    for one in objects:
        one.unlink()
    (check,) = bench.replication.begin("check", "cellar")
    assert bench.await_end(check.id).state == "failed"
    (run,) = bench.run("cellar")
    assert run.state == "failed" and "damaged or not at all" in run.words
    objects[1].write_bytes(kept)
    (run,) = bench.run("cellar")
    assert run.state == "done" and (bench.box.paths.volumes / path).exists()


def test_a_volume_is_found_in_whichever_generation_has_it(bench: Bench) -> None:
    """Restored from an earlier generation, whose volumes later ones have no more."""
    path = sealed_volume(bench)
    remote = FolderRemote(bench.folders.folder / "cellar")
    content = let_go_of(bench, path)
    later = newest(remote, bench.keys)
    for number in range(later.number + 1, later.number + 7):
        other = msgspec.structs.replace(later, number=number, removed=(*later.removed, f"volumes/{path}"))
        put_named(remote, bench.keys, generation_name(1, number), other, bench.box.paths.replicas)
    (remote.folder / generation_name(9, 9)).write_bytes(b"forged")
    bench.tell(bench.configs[0])
    Desk(bench.replication).fetch(path=path)
    assert (bench.box.paths.volumes / path).read_bytes() == content


def test_a_volume_that_lies_at_two_places_is_taken_from_where_it_is_whole(bench: Bench) -> None:
    path = sealed_volume(bench)
    remote = FolderRemote(bench.folders.folder / "cellar")
    content = let_go_of(bench, path)
    later = newest(remote, bench.keys)
    (remote.folder / "objects/ab").mkdir(parents=True, exist_ok=True)
    elsewhere = msgspec.structs.replace(
        files_of(later, remote, bench.keys)[f"volumes/{path}"], object=f"objects/ab/ab{'0' * 62}", offset=0
    )
    (remote.folder / elsewhere.object).write_bytes(bytes(elsewhere.size))
    other = msgspec.structs.replace(later, number=later.number + 1, added=(*later.added, elsewhere))
    put_named(remote, bench.keys, generation_name(1, other.number), other, bench.box.paths.replicas)
    bench.tell(bench.configs[0])
    Desk(bench.replication).fetch(path=path)
    assert (bench.box.paths.volumes / path).read_bytes() == content


def test_a_volume_comes_from_where_the_archive_is_being_restored_from(bench: Bench) -> None:
    """The settings of the box that burnt down may name no remote, or one that is not there any more."""
    path = sealed_volume(bench)
    content = let_go_of(bench, path)
    cellar, cloud = bench.configs
    manifest = newest(FolderRemote(bench.folders.folder / "cloud"), bench.keys)
    write_remotes(bench.box.paths.data, bench.keys, Remotes((cellar,)))
    bench.folders.fail("cellar", UnavailableError("cellar does not answer."))
    with pytest.raises(UnavailableError, match="cellar"):
        Desk(bench.replication).fetch(path=path)
    RestoreFolder(bench.box.paths.data).save(bench.keys, Restoring(1, cloud, manifest, begun=1))
    Desk(bench.replication).fetch(path=path)
    assert (bench.box.paths.volumes / path).read_bytes() == content


def test_what_a_check_finds_is_told_and_stands_until_a_check_finds_it_whole(bench: Bench) -> None:
    bench.receive("One")
    bench.box.sign()
    bench.run("cellar")
    remote = FolderRemote(bench.folders.folder / "cellar")
    name = max(remote.names("objects"), key=lambda one: len(remote.content(one)))
    whole = remote.content(name)
    remote.spoil(name, whole[:-1] + b"?")
    (run,) = bench.replication.begin("check", "cellar")
    ended = bench.await_end(run.id)
    assert ended.state == "failed" and name in ended.words and ended.lines
    assert bench.replication.history.standing("cellar").unsound == ended.words
    assert bench.replication.history.standing("cellar").failures == 0, "replicating works"
    assert any(one.action == "replica.damaged" for one in bench.replication.history.notes())
    (run,) = bench.replication.begin("check", "cellar")
    again = bench.await_end(run.id)
    assert again.state == "done", again
    assert not bench.replication.history.standing("cellar").unsound
    (run,) = bench.replication.begin("rehearse", "cellar")
    rehearsed = bench.await_end(run.id)
    assert rehearsed.state == "done" and "could be restored" in rehearsed.words
    assert not any((bench.box.paths.replicas / "rehearsal").iterdir())


def test_its_socket_answers_who_knows_its_secret_and_only_what_it_is_for(bench: Bench) -> None:
    bench.receive("One")
    bench.roll()
    paths = bench.box.paths
    door = Door(paths.replica_socket, "replica", Desk(bench.replication).methods())
    door.start()
    try:
        (run,) = ask(paths, "begin", tuple[Run, ...], kind="replicate", remote="cellar")
        assert bench.await_end(run.id).state == "done"
        tested = ask(paths, "test", RemoteTest, config=RemoteConfig("new", "local", path="/new"))
        assert tested.passed and not FolderRemote(bench.folders.folder / "new").names("probes")
        for method, params in (
            ("begin", {"kind": "everything"}), ("begin", {"kind": "replicate", "more": 1}), ("keys", {}),
            ("stop", {"id": "1"}),
        ):  # fmt: skip
            with pytest.raises(UsageError):
                ask(paths, method, type(None), **params)
        paths.replica_secret.write_text("0" * 64)
        with pytest.raises(ForbiddenError):
            ask(paths, "begin", tuple[Run, ...], kind="replicate")
    finally:
        door.close()


def test_a_redis_that_cannot_be_used_is_told_in_words(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILKEEP_REDIS", "redis://127.0.0.1:1/0")
    with pytest.raises(UsageError, match="MAILKEEP_REDIS"):
        bench.new(alone=False)


def test_a_clock_that_was_far_ahead_once_stops_nothing_and_is_told_of(bench: Bench) -> None:
    bench.receive("One")
    bench.tick()
    bench.clock.now += 400 * DAY
    bench.receive("Two")
    bench.tick()
    history, states = bench.replication.history, bench.box.archive.replica_states
    wrong = history.standing("cellar")
    bench.clock.now -= 400 * DAY
    bench.receive("Three")
    seen = states.see(bench.clock.now, 3, {"cellar": wrong})
    assert (seen.only_here, seen.replicas[0].next_at) == (3, int(bench.clock.now)), "at once, and nothing is sure"
    assert any(one.kind == "replica-clock" for one in troubles(seen) if one.level == "error")
    bench.tick(60)
    right = history.standing("cellar")
    assert right.generation > wrong.generation and right.reached == pytest.approx(bench.clock.now * 1e6, abs=1e6)
    assert not list(troubles(states.see(bench.clock.now, 3, {"cellar": right})))
    for _ in range(3):
        bench.receive("Later")
        bench.tick(300)
    assert history.standing("cellar").generation == right.generation + 3
    wrongly_checked = msgspec.structs.replace(right, begun={"check": int((bench.clock.now + 400 * DAY) * 1e6)})
    assert wrongly_checked.due("check", 7 * DAY, int(bench.clock.now * 1e6)) == 0


def test_old_volumes_are_let_go_of_once_a_day(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    days: list[float] = []
    began = bench.clock.now

    def release(work: Work) -> Outcome:
        days.append(round((bench.clock.now - began) / DAY, 1))
        return Outcome("", work.standing, worth_telling=False)

    monkeypatch.setitem(WORKS, "release", release)
    write_remotes(bench.box.paths.data, bench.keys, Remotes(tuple(bench.configs), keep_local_days=1))
    for _ in range(8):
        bench.tick(DAY / 2)
        bench.tick()
    assert days == [1.5, 2.5, 3.5], "the first a day after it was first thought of"


@pytest.mark.parametrize(("state", "hours"), [("incomplete", [8, 32]), ("filling", [8, 16, 24, 32])])
def test_what_a_restore_lacks_is_looked_for_with_pauses(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, state: Stage, hours: list[int]
) -> None:
    """One that has ended and lacks something goes on once a day: the whole archive is checked each time."""
    folder = RestoreFolder(bench.box.paths.data)
    (folder.folder / "restore").write_bytes(b"sealed")
    folder.tell(RestoreStatus(state, "cellar", 1, 1, at=0, records=0, chain_number=0, chain_head=""))
    filled: list[int] = []
    began = bench.clock.now

    def fill(work: Work) -> Outcome:
        filled.append(round((bench.clock.now - began) / 3600))
        raise DamageError("One volume is missing.")

    monkeypatch.setitem(WORKS, "fill", fill)
    for _ in range(4):
        bench.tick(8 * 3600)
        bench.tick()
        bench.tick(5)
    assert filled == hours


def test_whoever_opens_a_new_history_first_is_not_disturbed_by_the_others(tmp_path: Path) -> None:
    begin = "from pathlib import Path; from appliance.services.replicator.history import History; input();"
    for number in range(5):
        command = [sys.executable, "-c", f"{begin} History(Path({str(tmp_path / f'{number}.db')!r}))"]
        processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        said = [process.stdin.write(b"\n") for process in processes if process.stdin is not None]
        ended = [process.communicate(timeout=60)[1] for process in processes]
        assert len(said) == 4 and not any(process.returncode for process in processes), ended


def test_what_two_processes_say_of_a_remote_at_once_is_all_kept(tmp_path: Path) -> None:
    histories = [History(tmp_path / "jobs.db"), History(tmp_path / "jobs.db")]

    def count(history: History) -> None:
        for _ in range(50):
            history.change("cellar", lambda one: msgspec.structs.replace(one, failures=one.failures + 1))

    threads = [threading.Thread(target=count, args=(one,)) for one in histories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert histories[0].standing("cellar").failures == 100
    for one in histories:
        one.close()
