"""Remotes and replication as an administrator meets them: what is set, shown, hidden, refused and written down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.cloud.remote import RemoteConfig
from appliance.cloud.remotes import read_remotes
from appliance.errors import (
    ConflictError,
    DamageError,
    ForbiddenError,
    MailkeepError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from appliance.services import api, auditing, between, service_key, status
from appliance.services.alarms import words
from appliance.services.locked import Locked
from appliance.services.principal import Principal
from appliance.services.replica_states import Seen, troubles
from appliance.services.replicator.door import Desk
from appliance.services.replicator.history import History, Standing
from appliance.services.replicator.replication import Replication
from appliance.services.service_key import keys_of, remove_service_keyfile, stored_keys
from appliance.services.unlock import agent_of
from appliance.services.unreplicated import Unreplicated
from appliance.services.wire import Call
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.reader import LogReader
from tests.scratch import BOX, ScratchArchive, mail

SECONDS = 60.0
SECRET = "Krautwickel-7391"

AUDITOR = Principal(id="someone", roles=frozenset({"user", "auditor"}))
ADMINISTRATOR = Principal(id="boss", roles=frozenset({"user", "admin"}))


def call(box: ScratchArchive, method: str, /, **params: Any) -> Any:
    return box.dispatcher.from_box(Call(method=method, params=params), BOX)


def add(box: ScratchArchive, folder: Path, name: str = "cellar", **settings: Any) -> api.RemoteInfo:
    return call(box, "remote_add", name=name, type="local", path=str(folder / name), **settings)  # type: ignore[no-any-return]


def await_ended(box: ScratchArchive, runs: tuple[api.RunInfo, ...]) -> tuple[api.RunInfo, ...]:
    deadline = time.monotonic() + SECONDS
    while any(one.ended_at is None for one in runs):
        assert time.monotonic() < deadline, runs
        time.sleep(0.02)
        runs = call(box, "replica_runs", ids=[one.id for one in runs])
    return runs


def lines(box: ScratchArchive, find: str) -> list[tuple[str, str, str]]:
    return [(one.who, one.action, one.what) for one in auditing.audit(box.archive, BOX, find=find).lines]


def test_a_remote_is_added_shown_changed_and_removed(box: ScratchArchive, tmp_path: Path) -> None:
    made = add(box, tmp_path, interval=600)
    assert (made.name, made.type, made.interval, made.replica.state) == ("cellar", "local", 600, "new")
    keys = keys_of(box.archive.keyring)
    told = read_remotes(box.paths.data, keys).find("cellar")
    assert told is not None and told.interval == 600
    changed = call(box, "remote_change", name="cellar", interval=900, bandwidth="1M", paused=True)
    assert (changed.interval, changed.bandwidth, changed.paused, changed.path) == (900, "1M", True, made.path)
    assert changed.replica.state == "paused"
    call(box, "remote_remove", name="cellar")
    assert call(box, "remotes") == () and read_remotes(box.paths.data, keys).remotes == ()
    assert [one[1:] for one in lines(box, "remote.")] == [
        ("remote.remove", "cellar"),
        ("remote.change", "cellar local interval=900-seconds paused bandwidth=1M"),
        ("remote.add", "cellar local interval=600-seconds"),
    ]


def test_what_is_set_survives_a_rebuild_of_the_settings(box: ScratchArchive, tmp_path: Path) -> None:
    add(box, tmp_path, keep_weekly=2)
    call(box, "replica_settings_set", keep_local_days=90, rehearsal=False)
    before = box.archive.settings.remotes()
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.unlink()
    box.open()
    assert box.archive.settings.remotes() == before
    assert call(box, "replica_settings") == api.ReplicationSettings(keep_local_days=90, rehearsal=False)


def test_no_secret_is_shown_and_none_is_in_the_audit_trail_or_on_the_disk(box: ScratchArchive, tmp_path: Path) -> None:
    options = {"url": "https://dav.example/", "user": "backup", "pass": SECRET}
    made = call(box, "remote_add", name="cloud", type="webdav", options=options, path="box")
    assert {one.key: (one.value, one.secret) for one in made.options} == {
        "url": ("https://dav.example/", False), "user": ("backup", False), "pass": ("", True),
    }  # fmt: skip
    changed = call(box, "remote_change", name="cloud", options={"user": "backup"}, interval=600)
    assert [one.key for one in changed.options] == ["pass", "url", "user"]
    (kept,) = box.archive.settings.remotes()
    assert kept.options == options, "what is not given stays, the secret too"
    assert SECRET not in str(lines(box, "remote")) and SECRET not in repr(kept)
    assert not [
        one for one in box.paths.data.rglob("*") if one.is_file() and SECRET.encode() in one.read_bytes()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"name": "Cellar"}, UsageError),
        ({"name": "remotes"}, UsageError),
        ({"name": "restore"}, UsageError),
        ({"name": "x" * 33}, UsageError),
        ({"name": "../x"}, UsageError),
        ({"name": "a", "path": "relative"}, UsageError),
        ({"name": "a", "interval": 1}, UsageError),
        ({"name": "a", "bandwidth": "very slow"}, UsageError),
        ({"name": "a", "type": "crypt"}, UsageError),
        ({"name": "a", "lock_days": 3}, UsageError),
        ({"name": "cellar"}, ConflictError),
    ],
)
def test_what_cannot_work_is_refused_and_changes_nothing(
    box: ScratchArchive, tmp_path: Path, settings: dict[str, Any], error: type[MailkeepError]
) -> None:
    add(box, tmp_path)
    before = box.archive.settings.position().number
    with pytest.raises(error):
        call(box, "remote_add", **{"type": "local", "path": str(tmp_path / "x"), **settings})
    assert box.archive.settings.position().number == before
    for method in ("remote_change", "remote_remove", "remote_test"):
        with pytest.raises(NotFoundError, match="attic"):
            call(box, method, name="attic")


def test_all_of_it_is_for_administrators(box: ScratchArchive, tmp_path: Path) -> None:
    add(box, tmp_path)
    replicas = box.dispatcher.replicas
    calls: dict[str, Callable[[Principal], Any]] = {
        "remotes": replicas.remotes,
        "remote_add": lambda who: replicas.add(who, name="b", type="local", path="/b"),
        "remote_change": lambda who: replicas.change(who, name="cellar", paused=True),
        "remote_remove": lambda who: replicas.remove(who, name="cellar"),
        "remote_test": lambda who: replicas.test(who, name="cellar"),
        "remote_files": lambda who: replicas.files(who, name="cellar"),
        "replicate_begin": replicas.replicate,
        "replica_verify_begin": replicas.verify,
        "replica_runs": lambda who: replicas.runs(who, ids=()),
        "replica_stop": lambda who: replicas.stop(who, id=1),
        "replica_history": replicas.history,
        "replica_settings": replicas.settings,
        "replica_settings_set": lambda who: replicas.settings_set(who, rehearsal=False),
    }
    assert calls.keys() == replicas.methods().keys()
    before = box.archive.settings.position().number
    for name, one in calls.items():
        with pytest.raises(ForbiddenError):
            one(AUDITOR)
        assert box.archive.settings.position().number == before, name
    assert [one.name for one in replicas.remotes(ADMINISTRATOR)] == ["cellar"]
    for key in (replicas.service_key, replicas.service_key_write):
        with pytest.raises(ForbiddenError):
            key(ADMINISTRATOR)


def test_a_box_on_which_nothing_is_served_replicates_by_itself(box: ScratchArchive, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="remote add"):
        call(box, "replicate_begin")
    add(box, tmp_path)
    tested = call(box, "remote_test", name="cellar")
    assert tested.passed and tested.up > 0
    box.receive(mail("One"), mail("Two"))
    box.writer.roll()  # what the gateway does when it is asked to
    (run,) = await_ended(box, call(box, "replicate_begin"))
    assert (run.state, run.remote, run.asked) == ("done", "cellar", True), run
    (remote,) = call(box, "remotes")
    assert (remote.replica.state, remote.replica.waiting) == ("current", 0) and remote.replica.generation
    assert call(box, "replica_history") == call(box, "replica_history", remote="cellar") == (run,)
    assert call(box, "replica_history", remote="attic") == ()
    assert ("local:test", "replicate.begin", "all remotes") in lines(box, "replicate.begin")
    moved = call(box, "remote_change", name="cellar", path=str(tmp_path / "elsewhere"))
    assert (moved.replica.state, moved.replica.waiting) == ("new", 2), (
        "what is known of one place is not true of another"
    )


def test_a_remote_is_not_moved_away_from_the_only_copy_of_mail(box: ScratchArchive, tmp_path: Path) -> None:
    add(box, tmp_path)
    box.receive(mail("One"))
    box.sign()
    await_ended(box, call(box, "replicate_begin"))
    path = next(one for one in box.paths.volumes.rglob("t0-*.mkv"))
    name = str(path.relative_to(box.paths.volumes))
    content = path.read_bytes()
    AbsentFiles(box.paths.volumes).add([AbsentFile(name, len(content), sha256(content).digest())])
    path.unlink()
    new = tmp_path / "new-cellar"
    with pytest.raises(ConflictError, match="1 of the archive's volumes"):
        call(box, "remote_change", name="cellar", path=str(new))
    assert call(box, "remotes")[0].path == str(tmp_path / "cellar"), "nothing was changed"
    shutil.copytree(tmp_path / "cellar", new)
    call(box, "remote_change", name="cellar", path=str(new))
    shutil.rmtree(tmp_path / "cellar")
    assert call(box, "remotes")[0].path == str(new)
    box.dispatcher.replicas._own.desk.fetch(path=name)  # type: ignore[union-attr]
    assert path.read_bytes() == content


def test_a_remote_is_tried_before_it_is_set_up(box: ScratchArchive, tmp_path: Path) -> None:
    tested = call(box, "remote_test", type="local", path=str(tmp_path / "somewhere"))
    assert tested.passed
    (tmp_path / "file").touch()
    tested = call(box, "remote_test", type="local", path=str(tmp_path / "file"))
    assert not tested.passed and tested.words
    assert call(box, "remotes") == ()


def test_what_is_only_here_is_counted_and_lateness_raises_an_alarm(box: ScratchArchive, tmp_path: Path) -> None:
    box.receive(mail("One"), mail("Two"))
    box.project()
    assert status.status(box.archive, BOX).only_here == 2, "no remote has it"
    add(box, tmp_path, interval=60)
    box.writer.roll()
    await_ended(box, call(box, "replicate_begin"))
    assert status.status(box.archive, BOX).only_here == 0
    box.receive(mail("Three"))
    now = status.status(box.archive, BOX)
    assert now.only_here == 1 and now.replicas[0].waiting == 1 and now.replicas[0].waiting_bytes > 0
    assert not [one for one in now.alarms if "cellar" in one.text]
    box.archive.clock = lambda: time.time() + 3 * 3600
    late = status.status(box.archive, BOX)
    assert late.replicas[0].state == "behind" and late.replicas[0].lag_seconds > 2 * 3600
    assert any("“cellar” is 3 hours behind: 1 message is not there" in one.text for one in late.alarms)
    assert any("1 message exists only on this box" in one.text for one in late.alarms)


def test_mail_that_came_after_a_moment_is_counted_once_however_often_it_is_asked(box: ScratchArchive) -> None:
    counter = Unreplicated(LogReader(box.paths.volumes), box.paths.volumes)
    first = time.time_ns() // 1000
    box.receive(mail("One"), mail("Two"))
    second = time.time_ns() // 1000
    box.receive(mail("Three"))
    assert [one.records for one in counter.since(first, second)] == [3, 1]
    box.receive(mail("Four"))
    for _ in range(2):
        assert [one.records for one in counter.since(second)] == [2]
    box.compact()
    assert [one.records for one in counter.since(second, first)] == [2, 4]
    assert counter.since() == []


def test_what_the_replicator_has_to_say_gets_into_the_audit_trail_once(box: ScratchArchive, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    call(box, "remote_add", name="broken", type="local", path=str(tmp_path / "file" / "below"))
    box.writer.roll()
    for _ in range(2):
        (run,) = await_ended(box, call(box, "replicate_begin"))
        assert run.state == "failed" and run.words
    box.close()
    box.open()
    failed = lines(box, "remote.failed")
    assert len(failed) == 1 and failed[0][2].startswith("broken: ")


def test_a_remote_that_is_taken_over_or_unsound_is_an_alarm_of_its_own() -> None:
    one = api.ReplicaState(name="cellar", state="superseded", trouble="Another box was restored.")
    two = api.ReplicaState(name="cloud", state="current", unsound="An object is missing.")
    said = [words.sentence(trouble.kind, trouble.figures) for trouble in troubles(Seen((one, two), 0))]
    assert any("Another box was restored." in text for text in said)
    assert any("“cloud” is not as it should be. An object is missing." in text for text in said)


def test_the_service_key_lies_beside_the_data_folder_when_it_is_written(
    box: ScratchArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_of(box.archive.keyring)
    assert stored_keys(box.paths) is None
    assert call(box, "service_key_write") == str(box.paths.service_keyfile)
    assert stored_keys(box.paths) == keys
    assert box.paths.service_keyfile.stat().st_mode & 0o777 == 0o600
    box.paths.service_keyfile.write_text("no key")
    with pytest.raises(DamageError, match="service-key write"):
        stored_keys(box.paths)
    assert remove_service_keyfile(box.paths) and not remove_service_keyfile(box.paths)
    credential = tmp_path / "mailkeep-service"
    credential.write_bytes(call(box, "service_key"))
    monkeypatch.setenv(service_key.CREDENTIAL_PLACE, str(credential))
    assert stored_keys(box.paths) == keys
    assert [one[1:] for one in lines(box, "service-key")] == [
        ("service-key.give", "systemd"), ("service-key.give", "data.servicekey"),
    ]  # fmt: skip


def test_a_locked_archive_says_how_far_its_remotes_are_and_asks_the_replicator(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.receive(mail("One"))
    box.project()
    box.receive(mail("Two"))
    history = History(box.paths.jobs)
    history.stand("cellar", Standing(reached=int(time.time() * 1e6), generation=3, interval=300))
    history.close()
    box.receive(mail("Three"))
    locked = Locked(box.paths, agent_of(box.paths, "archiver"))
    now = locked.from_box(Call(method="status"), BOX)
    assert (now.unlocked, now.only_here, now.replicas[0].name) == (False, 1, "cellar")
    monkeypatch.setattr(between, "START_SECONDS", 0.0)
    with pytest.raises(UnavailableError, match="unlocked"):
        locked.from_box(Call(method="replicate_begin"), BOX)
    with pytest.raises(ForbiddenError):
        locked.from_box(Call(method="replicate_begin"), AUDITOR)
    locked.opened(box.archive)
    assert [one[:2] for one in lines(box, "replicate.begin")] == [("local:test", "replicate.begin")]


def test_a_stored_secret_is_sent_nowhere_but_where_it_was_given_for(box: ScratchArchive) -> None:
    options = {"url": "https://dav.example/", "user": "backup", "pass": SECRET}
    call(box, "remote_add", name="cloud", type="webdav", options=options, path="box")
    for given in ({"url": "https://mine.example/"}, {"user": "other"}, {"bearer_token": "x", "user": "other"}):
        for method in ("remote_test", "remote_change"):
            with pytest.raises(UsageError, match="give pass anew"):
                call(box, method, name="cloud", options=given)
    (kept,) = box.archive.settings.remotes()
    assert kept.options == options
    call(box, "remote_change", name="cloud", options={"url": "https://new.example/box", "pass": "another"})
    (kept,) = box.archive.settings.remotes()
    assert kept.options == {**options, "url": "https://new.example/box", "pass": "another"}
    assert lines(box, "remote.change")[0][2] == "cloud webdav interval=300-seconds url=new.example"


def test_what_the_replicator_is_asked_to_try_has_to_be_a_remote(box: ScratchArchive) -> None:
    replication = Replication(box.paths, keys_of(box.archive.keyring), alone=True)
    try:
        with pytest.raises(UsageError, match="crypt"):
            Desk(replication).test(config=RemoteConfig(name="a", type="crypt"))
    finally:
        replication.close()


def test_no_two_remotes_lie_at_one_place(box: ScratchArchive, tmp_path: Path) -> None:
    add(box, tmp_path)
    add(box, tmp_path, name="attic")
    with pytest.raises(ConflictError, match="“cellar” lies at this place already"):
        call(box, "remote_add", name="again", type="local", path=f"{tmp_path}/cellar/")
    with pytest.raises(ConflictError, match="“cellar” lies at this place already"):
        call(box, "remote_change", name="attic", path=str(tmp_path / "cellar"))
    assert [one.name for one in call(box, "remotes")] == ["attic", "cellar"]
    assert call(box, "remote_change", name="attic", paused=True).paused
    bucket = {"endpoint": "https://s3.example", "secret_access_key": SECRET}
    call(box, "remote_add", name="s3", type="s3", options={**bucket, "access_key_id": "one"}, path="bucket/box")
    with pytest.raises(ConflictError, match="“s3” lies at this place already"):
        call(
            box, "remote_add", name="s4", type="s3", path="/bucket/box",
            options={**bucket, "endpoint": "https://S3.example/", "access_key_id": "two"},
        )  # fmt: skip
    call(box, "remote_add", name="s4", type="s3", options={**bucket, "access_key_id": "two"}, path="bucket/other")


def test_a_remote_that_alone_has_what_is_not_on_this_disk_is_not_removed(box: ScratchArchive, tmp_path: Path) -> None:
    add(box, tmp_path)
    box.receive(mail("One"))
    box.writer.roll()
    await_ended(box, call(box, "replicate_begin"))
    path = next(one for one in box.paths.volumes.rglob("t0-*.mkv"))
    name = str(path.relative_to(box.paths.volumes))
    content = path.read_bytes()
    AbsentFiles(box.paths.volumes).add([AbsentFile(name, len(content), sha256(content).digest())])
    with pytest.raises(ConflictError, match="1 of the archive's volumes"):
        call(box, "remote_remove", name="cellar")
    add(box, tmp_path, name="attic")
    with pytest.raises(ConflictError, match="1 of the archive's volumes"):
        call(box, "remote_remove", name="cellar")
    await_ended(box, call(box, "replicate_begin", remote="attic"))
    call(box, "remote_remove", name="cellar")
    assert [one.name for one in call(box, "remotes")] == ["attic"]
    assert not (box.paths.data / "replicas" / "cellar" / "state").exists(), "nothing is remembered of it"
