"""Which generations of a replica are kept, and that nothing goes which one of them needs."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.cloud.collect import agreed_time, collect, kept_generations
from appliance.cloud.manifests import files_of, generation, generation_names, generations, objects_of
from appliance.cloud.objects import generation_name, object_name
from appliance.cloud.remote import RemoteConfig, RemoteObject
from appliance.errors import DamageError
from tests.cloud_double import FolderRemote
from tests.replica_box import DAY, HOUR, MINUTE, NOON, Quiet, ReplicaBox


def listed(*ages_in_days: float) -> list[RemoteObject]:
    """Generations of these ages, the oldest first."""
    ages = sorted(ages_in_days, reverse=True)
    return [RemoteObject(generation_name(1, number), 100, NOON - int(age * DAY)) for number, age in enumerate(ages, 1)]


def kept_ages(objects: list[RemoteObject], config: RemoteConfig) -> list[float]:
    names = kept_generations(objects, config, NOON)
    assert len(set(names)) == len(names)
    return sorted(round((NOON - one.modified) / DAY, 2) for one in objects if one.name in names)


def test_the_last_of_seven_days_and_four_weeks_are_kept() -> None:
    config = RemoteConfig(name="x", type="local")
    objects = listed(*(hours / 6 for hours in range(6 * 70)))  # six a day, for ten weeks
    ages = kept_ages(objects, config)
    days = {datetime.fromtimestamp((NOON - age * DAY) / 1e6, UTC).date() for age in ages}
    today = datetime.fromtimestamp(NOON / 1e6, UTC).date()
    assert {(today - day).days for day in days} >= set(range(7))
    assert 7 + 2 <= len(ages) <= 7 + 4
    assert max(ages) > 14
    weeks = {day.isocalendar()[:2] for day in days}
    assert len(weeks) == 4


def test_days_without_a_generation_do_not_count() -> None:
    config = RemoteConfig(name="x", type="local", keep_daily=3, keep_weekly=0)
    assert kept_ages(listed(0, 0.01, 1.2, 30, 60, 90), config) == [0, 1.2, 30]


def test_the_newest_is_kept_whatever_the_settings_and_the_clock_say() -> None:
    config = RemoteConfig(name="x", type="local", keep_daily=0, keep_weekly=0)
    objects = listed(0, 1, 2)
    assert kept_ages(objects, config) == [0]
    odd = [RemoteObject(generation_name(2, 4), 1, NOON - 400 * DAY), *objects]
    assert kept_generations(odd, config, NOON) == [generation_name(2, 4)]


def test_the_last_of_an_epoch_before_is_kept_for_weeks() -> None:
    """It may hold what the restored box has not; that box writes generations on the same day."""
    config = RemoteConfig(name="cellar", type="local", keep_daily=7, keep_weekly=4)

    def kept(age: float) -> list[str]:
        before = [RemoteObject(generation_name(1, one), 1, int(NOON - age * DAY) - (8 - one)) for one in (6, 7)]
        after = [RemoteObject(generation_name(2, one), 1, int(NOON - age * DAY) + one) for one in (8, 9)]
        since = [RemoteObject(generation_name(2, 40 - day), 1, NOON - day * DAY) for day in range(int(age))]
        return [one for one in kept_generations([*before, *after, *since], config, NOON) if one.startswith("g")]

    assert generation_name(1, 7) in kept(1) and generation_name(1, 6) not in kept(1)
    assert generation_name(1, 7) in kept(27)
    assert generation_name(1, 7) not in kept(36)


def test_a_clock_that_is_ahead_expires_nothing_that_would_have_stayed() -> None:
    """The remote tells the right times, this box's clock is two months ahead."""
    config = RemoteConfig(name="cellar", type="s3", keep_daily=3, keep_weekly=2, lock_days=5)
    objects = [*listed(0, 1, 2, 3, 4, 6, 8, 15, 22), RemoteObject(generation_name(1, 99), 1, NOON)]
    right = kept_generations(objects, config, NOON)
    assert kept_generations(objects, config, NOON + 60 * DAY) == right
    assert agreed_time(objects, NOON + 60 * DAY) == NOON


def test_a_leap_of_the_clock_that_the_remote_shares_is_believed_after_a_day() -> None:
    """A mounted disk has its times from this box."""
    config = RemoteConfig(name="cellar", type="local", keep_daily=3, keep_weekly=0)
    before = listed(0, 1, 2, 3)
    kept = set(kept_generations(before, config, NOON))
    leapt = NOON + 60 * DAY
    after = [*before, *(RemoteObject(generation_name(1, 10 + one), 1, leapt + one * 5 * MINUTE) for one in range(200))]
    assert kept < set(kept_generations(after, config, leapt + 200 * 5 * MINUTE)), "the three days before are there"
    put_right = [*after, RemoteObject(generation_name(1, 500), 1, NOON + HOUR)]
    assert kept - {before[-1].name} < set(kept_generations(put_right, config, NOON + HOUR)), "and when it is put right"
    went_on = [*after, *(RemoteObject(generation_name(1, 300 + day), 1, leapt + day * DAY) for day in range(1, 6))]
    days = set(kept_generations(went_on, config, leapt + 5 * DAY))
    assert days == {generation_name(1, number) for number in (303, 304, 305)}, "the box was off for so long"


def test_no_object_goes_early_while_the_clock_is_ahead(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path)
    box.receive(b"one")
    box.run()
    name = object_name(sha256(b"theirs").digest())
    (tmp_path / "theirs").write_bytes(b"theirs")
    box.remote.put(tmp_path / "theirs", name)
    collect(box.remote, box.keys, box.progress, now=box.now + 60 * DAY)
    assert name in box.remote.names("objects"), "another box may be uploading it"


def test_what_is_locked_is_kept() -> None:
    config = RemoteConfig(name="x", type="s3", keep_daily=1, keep_weekly=0, lock_days=10)
    ages = kept_ages(listed(0, 1.5, 3, 3.01, 9, 11), config)
    assert ages == [0, 1.5, 3.01, 9]  # the first of each day is the locked one


def days_of_mail(box: ReplicaBox, days: int) -> None:
    """Three generations a day, with volumes that are compacted now and then."""
    for day in range(days):
        for hour in range(3):
            box.receive(b"mail of day %d, hour %d" % (day, hour))
            box.roll()
            box.sign()
            if (day, hour) == (days // 2, 1):
                box.compact()
            box.run(after=DAY - 2 * HOUR if hour == 0 else HOUR)


def test_after_weeks_the_kept_generations_are_whole_and_nothing_else_is_there(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="local", keep_daily=3, keep_weekly=2))
    days_of_mail(box, 20)
    for days in (3, 2):
        box.receive(b"and %d days later" % days)
        box.run(after=days * DAY)
    manifests = generations(box.remote, box.keys)
    assert 3 <= len(manifests) <= 5
    needed = {name for one in manifests for name in objects_of(one)}
    for number, one in enumerate(manifests):
        assert box.restored(tmp_path / f"r{number}", one).items() <= box.originals.items()
        needed |= {placed.object for placed in files_of(one, box.remote, box.keys).values()}
    assert set(box.remote.names("objects")) | set(box.remote.names("keyrings")) == needed
    assert box.restored(tmp_path / "newest") == box.originals


def test_a_run_collects_once_a_day(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="local", keep_daily=1, keep_weekly=0))
    counts = []
    for number in range(4):
        box.receive(b"mail %d" % number)
        box.run(after=10 * MINUTE)
        counts.append(len(generation_names(box.remote)))
    assert counts == [1, 2, 3, 4]
    box.run(after=DAY)
    assert len(generation_names(box.remote)) == 1
    assert box.restored(tmp_path / "r") == box.originals


def test_what_another_box_is_uploading_is_spared(tmp_path: Path) -> None:
    """It took over a moment ago, and has no generation yet."""
    box = ReplicaBox(tmp_path)
    box.receive(b"one")
    box.run()
    name = object_name(sha256(b"theirs").digest())
    (tmp_path / "theirs").write_bytes(b"theirs")
    box.remote.put(tmp_path / "theirs", name)
    collect(box.remote, box.keys, box.progress, now=box.now + DAY)
    assert name in box.remote.names("objects")
    for _ in range(3):
        box.receive(b"more")
        box.run(after=DAY)
    assert name not in box.remote.names("objects")
    assert box.restored(tmp_path / "r") == box.originals


def test_locked_objects_stay_until_their_time_and_go_then(tmp_path: Path) -> None:
    config = RemoteConfig(name="cellar", type="s3", keep_daily=1, keep_weekly=0, lock_days=5)
    box = ReplicaBox(tmp_path, config=config)
    for day in range(4):
        box.receive(b"mail %d" % day)
        box.roll()
        box.sign()
        box.run(after=DAY)
    box.compact()
    box.run(after=DAY)
    before = set(box.remote.names())
    collect(box.remote, box.keys, box.progress, now=box.now)
    assert set(box.remote.names("objects")) == {name for name in before if name.startswith("objects/")}
    for epoch, number in generation_names(box.remote):
        one = generation(box.remote, box.keys, epoch, number)
        box.restored(tmp_path / f"r{number}", one)
    for day in range(12):
        box.receive(b"later mail %d" % day)
        box.run(after=DAY)
    assert min(number for _, number in generation_names(box.remote)) > 5
    assert not before <= set(box.remote.names())
    assert box.restored(tmp_path / "newest") == box.originals


def test_a_generation_that_the_remote_will_not_let_go_keeps_what_it_names(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="s3", keep_daily=1, keep_weekly=0))
    box.receive(b"one")
    box.roll()
    box.sign()
    first = box.run()
    box.compact()
    box.run()
    box.remote.locked_until[generation_name(1, first.number)] = box.now + DAY
    collect(box.remote, box.keys, box.progress, now=box.now)
    assert box.restored(tmp_path / "first", first) == box.originals


def test_nothing_is_deleted_while_a_kept_manifest_cannot_be_read(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="local", keep_daily=2, keep_weekly=0))
    box.receive(b"one")
    box.roll()
    box.sign()
    first = box.run()
    box.compact()
    box.run(after=DAY)
    name = generation_name(1, first.number)
    whole = box.remote.content(name)
    box.remote.spoil(name, whole[:-1])
    before = box.remote.names("objects")
    with pytest.raises(DamageError, match=name):
        collect(box.remote, box.keys, box.progress, now=box.now)
    assert box.remote.names("objects") == before
    box.remote.spoil(name, whole)
    collect(box.remote, box.keys, box.progress, now=box.now)
    assert box.restored(tmp_path / "first", first) == box.originals


def test_a_crash_between_any_two_deletions_leaves_no_promise_unkept(tmp_path: Path) -> None:
    """Whatever manifest is still there names only what is still there."""

    class CutError(Exception):
        pass

    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="local", keep_daily=30))
    days_of_mail(box, 8)
    box.remote.config = RemoteConfig(name="cellar", type="local", keep_daily=2, keep_weekly=1)
    left = [0]

    def count(call: str, name: str) -> None:
        if call == "delete":
            left[0] -= 1
            if left[0] < 0:
                raise CutError

    box.remote.before = count
    rounds = 0
    while True:
        left[0], rounds = 2, rounds + 1
        try:
            collect(box.remote, box.keys, Quiet(), now=box.now)
        except CutError:
            pass
        else:
            break
        there = set(box.remote.names())
        for one in generations(box.remote, box.keys):
            assert set(objects_of(one)) <= there
            assert {placed.object for placed in files_of(one, box.remote, box.keys).values()} <= there
    assert rounds > 3
    assert box.restored(tmp_path / "newest") == box.originals


def test_the_folder_double_locks_as_it_says(tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path / "remote", clock=lambda: NOON)
    (tmp_path / "file").write_bytes(b"x")
    remote.put(tmp_path / "file", "objects/a", lock_until=NOON + 1)
    assert remote.locked_until == {"objects/a": NOON + 1}
    assert [one.modified for one in remote.list()] == [NOON]
