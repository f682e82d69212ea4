"""Checks of a replica: every kind of tampering is noticed and named, nothing that is whole is, and all that can be
mended is, in both directions."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from appliance.cloud import audit, bundling, full_check
from appliance.cloud.audit import Audited
from appliance.cloud.checked import GOOD_FOR, verified_files
from appliance.cloud.findings import ReplicaFinding
from appliance.cloud.manifests import files_of, generation_names, newest, put_named, raise_epoch, read_placed
from appliance.cloud.mending import FOUND, REPAIRED, Mended, mend
from appliance.cloud.objects import Manifest, Placed, epoch_name, generation_name, object_name
from appliance.cloud.readback import open_handed
from appliance.cloud.records import Looked
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.state import State, set_own_epoch
from appliance.errors import ConflictError, DamageError, UnavailableError
from appliance.files import Files
from appliance.store.absent import AbsentFile, AbsentFiles
from tests.archive_volumes import office_mail
from tests.replica_box import DAY, HOUR, MINUTE, ReplicaBox


@pytest.fixture
def box(tmp_path: Path) -> ReplicaBox:
    return ReplicaBox(tmp_path)


class Trail:
    """The audit trail."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, action: str, what: str) -> None:
        self.lines.append((action, what))

    def of(self, action: str) -> list[str]:
        return [what for found, what in self.lines if found == action]


def filled(box: ReplicaBox) -> Manifest:
    """Two generations: signed volumes in one object, later ones in another, settings, catalogue and index."""
    box.receive(b"one", b"two")
    box.roll()
    box.sign()
    box.write_settings("anna")
    box.write_projections(1)
    box.run()
    box.receive(b"three")
    box.roll()
    box.sign()
    return box.run()


def full(box: ReplicaBox, **options: object) -> Audited:
    return audit.full(box.paths, box.remote, box.keys, box.progress, now=box.now, **options)  # type: ignore[arg-type]


def sample(box: ReplicaBox, **options: object) -> Audited:
    options.setdefault("rng", random.Random(1))
    return audit.sample(box.paths, box.remote, box.keys, box.progress, now=box.now, **options)  # type: ignore[arg-type]


def mended(box: ReplicaBox, found: Audited, trail: Trail | None = None, **options: object) -> Mended:
    return mend(box.paths, box.remote, box.keys, found, trail or Trail(), now=box.now, **options)  # type: ignore[arg-type]


def serious(found: Audited) -> list[ReplicaFinding]:
    return [one for one in found.findings if one.is_serious]


def kinds(found: Audited) -> list[str]:
    return sorted(one.kind for one in serious(found))


def objects_of_mail(box: ReplicaBox) -> list[str]:
    """The objects that volumes are in, of the newest generation."""
    files = files_of(newest(box.remote, box.keys), box.remote, box.keys)
    return sorted({one.object for path, one in files.items() if path.endswith(".mkv")})


def volumes(box: ReplicaBox) -> list[Path]:
    return sorted(box.volumes.rglob("*.mkv"))


# -- what is whole ----------------------------------------------------------------------------------------------------


def test_a_whole_replica_is_found_whole(box: ReplicaBox) -> None:
    manifest = filled(box)
    for found in (full(box), sample(box)):
        assert (found.is_whole, found.findings, found.is_complete) == (True, (), True)
        assert (found.epoch, found.generation) == (1, manifest.number)
        assert found.words.startswith("Whole:")
    assert full(box).objects == len(box.remote.names("objects")) + 1  # and the keyring
    assert full(box).here == 4


def test_a_check_changes_nothing(box: ReplicaBox) -> None:
    filled(box)
    before = box.remote.names(), box.local()
    box.remote.calls.clear()
    full(box)
    sample(box)
    assert (box.remote.names(), box.local()) == before
    assert {call for call, _ in box.remote.calls} <= {"list", "read", "get"}


def test_a_sample_compares_merkle_roots_and_with_a_key_opens_every_record(box: ReplicaBox) -> None:
    filled(box)
    keyless = sample(box)
    assert (keyless.files, keyless.records, keyless.opened) == (2, 3, 0)
    deep = sample(box, opener=box.keyring)
    assert (deep.files, deep.records, deep.opened, deep.is_whole) == (2, 3, 3, True)
    assert sample(box, count=1).files == 1


def test_a_sample_opens_archive_volumes_whose_parts_are_in_others(box: ReplicaBox) -> None:
    """Attachments that go round are kept once: reading one archive volume needs another of the mailbox."""
    for half in (office_mail(12), office_mail(12)):
        box.receive(*half)
        box.roll()
        box.sign()
        box.compact()
    box.run()
    files = [path for path in files_of(newest(box.remote, box.keys), box.remote, box.keys) if path.endswith(".mka")]
    assert len(files) == 2
    for seed in range(6):
        found = sample(box, count=1, rng=random.Random(seed), opener=box.keyring)
        assert (found.files, found.opened, found.is_whole) == (1, 12, True)


def test_what_a_sample_read_back_is_gone_afterwards(box: ReplicaBox) -> None:
    filled(box)
    sample(box, opener=box.keyring)
    assert not [path for path in (box.paths.state / "sample").rglob("*") if path.is_file()]


def test_a_sample_is_handed_over_to_who_has_the_keys(box: ReplicaBox) -> None:
    """The process that reads back has no key that opens mail."""
    for _ in range(2):
        box.receive(*office_mail(12))
        box.roll()
        box.sign()
        box.compact()
    box.receive(b"not compacted")
    box.run()

    def opened() -> Looked | None:
        return open_handed(box.paths, "sample", box.keyring, box.keyring, fetch=_never)

    assert opened() is None
    found = sample(box, count=2, hand_over=True)
    assert (found.files, found.opened) == (2, 0)
    looked = opened()
    assert looked is not None and (looked.opened, looked.wrong) == (found.records, "")
    assert opened() is None
    assert not [path for path in (box.paths.state / "sample").rglob("*") if path.is_file()]


def _never(path: str) -> None:
    raise AssertionError(path)


def test_a_sample_that_was_handed_over_and_altered_is_told(box: ReplicaBox) -> None:
    filled(box)
    sample(box, hand_over=True)
    path = next((box.paths.state / "sample").rglob("*.mkv"))
    content = bytearray(path.read_bytes())
    content[-len(content) // 3] ^= 1
    path.write_bytes(bytes(content))
    looked = open_handed(box.paths, "sample", box.keyring, box.keyring, fetch=_never)
    assert looked is not None and path.name in looked.wrong


def test_what_compaction_replaced_and_what_is_absent_is_not_missed(box: ReplicaBox) -> None:
    filled(box)
    first = volumes(box)[0]
    content = first.read_bytes()
    path = str(first.relative_to(box.volumes))
    AbsentFiles(box.volumes).add([AbsentFile(path, len(content), sha256(content).digest())])
    first.unlink()
    assert full(box).findings == ()
    first.write_bytes(content)
    AbsentFiles(box.volumes).remove([path])
    box.compact()  # the replica has the volumes still
    assert full(box).findings == ()
    box.run()
    assert full(box).findings == ()


# -- tampering --------------------------------------------------------------------------------------------------------

Tamper = Callable[[ReplicaBox], str]
"""Does something to the remote; the name that the finding has to give."""


def _delete_object(box: ReplicaBox) -> str:
    name = objects_of_mail(box)[0]
    box.remote.spoil(name, None)
    return name


def _truncate_object(box: ReplicaBox) -> str:
    name = objects_of_mail(box)[0]
    box.remote.spoil(name, box.remote.content(name)[:-1])
    return name


def _flip_a_bit(box: ReplicaBox) -> str:
    name = objects_of_mail(box)[0]
    content = bytearray(box.remote.content(name))
    content[len(content) // 2] ^= 1
    box.remote.spoil(name, bytes(content))
    return name


def _lengthen_object(box: ReplicaBox) -> str:
    name = objects_of_mail(box)[0]
    box.remote.spoil(name, box.remote.content(name) + b"more")
    return name


def _swap_objects(box: ReplicaBox) -> str:
    one, other = objects_of_mail(box)[:2]
    mine, its = box.remote.content(one), box.remote.content(other)
    larger, bytes_of_smaller = (one, its) if len(mine) > len(its) else (other, mine)
    smaller = other if larger == one else one
    box.remote.spoil(smaller, box.remote.content(larger))
    assert bytes_of_smaller
    return smaller


def _older_settings(box: ReplicaBox) -> str:
    """The settings of the generation before, under the name of today's."""
    before = newest(box.remote, box.keys).settings
    box.write_settings("anna", "berta")
    manifest = box.run(after=2 * 60 * MINUTE)
    assert before is not None and manifest.settings is not None and manifest.settings.object != before.object
    box.remote.spoil(manifest.settings.object, box.remote.content(before.object))
    return manifest.settings.object


def _alter_keyring(box: ReplicaBox) -> str:
    name = newest(box.remote, box.keys).keyring
    box.remote.spoil(name, box.remote.content(name).replace(b'"recovery"', b'"Recovery"'))
    return name


def _delete_keyring(box: ReplicaBox) -> str:
    name = newest(box.remote, box.keys).keyring
    box.remote.spoil(name, None)
    return name


def _delete_inventory(box: ReplicaBox) -> str:
    name = newest(box.remote, box.keys).inventory
    box.remote.spoil(name, None)
    return name


def _alter_inventory(box: ReplicaBox) -> str:
    name = newest(box.remote, box.keys).inventory
    box.remote.spoil(name, box.remote.content(name)[:-1] + b"x")
    return name


def _alter_snapshot(box: ReplicaBox) -> str:
    snapshot = newest(box.remote, box.keys).snapshot
    assert snapshot is not None
    name = snapshot.files[0].object
    box.remote.spoil(name, b"x" * len(box.remote.content(name)))
    return name


def _delete_newest_manifest(box: ReplicaBox) -> str:
    name = generation_name(*generation_names(box.remote)[0])
    box.remote.spoil(name, None)
    return name


def _delete_all_manifests(box: ReplicaBox) -> str:
    name = generation_name(*generation_names(box.remote)[0])
    for one in box.remote.names("generations"):
        box.remote.spoil(one, None)
    return name


def _alter_manifest(box: ReplicaBox) -> str:
    name = generation_name(*generation_names(box.remote)[0])
    box.remote.spoil(name, box.remote.content(name)[:-1] + b"x")
    return name


def _older_manifest_in_its_place(box: ReplicaBox) -> str:
    new, old = (generation_name(*one) for one in generation_names(box.remote)[:2])
    box.remote.spoil(new, box.remote.content(old))
    return new


def _forge_a_later_manifest(box: ReplicaBox) -> str:
    name = generation_name(1, generation_names(box.remote)[0][1] + 5)
    box.remote.spoil(name, b"forged" * 20)
    return name


def _forge_an_epoch(box: ReplicaBox) -> str:
    (box.remote.folder / "epochs").mkdir(exist_ok=True)
    box.remote.spoil(epoch_name(9), b"forged" * 20)
    return epoch_name(9)


TAMPERING: dict[str, tuple[Tamper, str]] = {
    "object deleted": (_delete_object, "missing"),
    "object truncated": (_truncate_object, "truncated"),
    "object altered": (_flip_a_bit, "altered"),
    "object lengthened": (_lengthen_object, "altered"),
    "object swapped with another": (_swap_objects, "swapped"),
    "object swapped with an older one": (_older_settings, "swapped"),
    "keyring altered": (_alter_keyring, "altered"),
    "keyring deleted": (_delete_keyring, "missing"),
    "inventory deleted": (_delete_inventory, "missing"),
    "inventory altered": (_alter_inventory, "altered"),
    "index altered": (_alter_snapshot, "altered"),
    "newest manifest deleted": (_delete_newest_manifest, "rolled-back"),
    "all manifests deleted": (_delete_all_manifests, "rolled-back"),
    "manifest altered": (_alter_manifest, "generation-altered"),
    "older manifest under a new name": (_older_manifest_in_its_place, "generation-altered"),
    "later manifest forged": (_forge_a_later_manifest, "generation-altered"),
    "epoch forged": (_forge_an_epoch, "epoch-forged"),
}


ALSO = {
    "all manifests deleted": ("generation-missing",),
    "manifest altered": ("rolled-back",),  # the newest that opens is an older one
    "older manifest under a new name": ("rolled-back",),
}
"""Other ways to say the same."""


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_named_and_nothing_else_is_and_nothing_is_lost(box: ReplicaBox, tmp_path: Path, what: str) -> None:
    filled(box)
    assert full(box).is_whole
    tamper, kind = TAMPERING[what]
    name = tamper(box)
    found = full(box)
    (finding,) = [one for one in serious(found) if one.kind not in ALSO.get(what, ())]
    assert (finding.kind, finding.name) == (kind, name)
    assert not found.is_whole and name in finding.words
    trail = Trail()
    assert mended(box, found, trail).left == ()
    assert any(name in line for line in trail.of(FOUND))
    box.run()
    assert full(box).is_whole
    assert box.restored(tmp_path / "restored") == box.originals


def test_a_finding_says_which_files_are_hit_and_how_many_records(box: ReplicaBox) -> None:
    filled(box)
    name = _delete_object(box)
    (found,) = serious(full(box))
    files = files_of(newest(box.remote, box.keys), box.remote, box.keys)
    inside = [path for path, one in files.items() if one.object == name]
    assert sorted(found.files) == sorted(inside)
    assert found.records == sum(files[path].records for path in inside if path.endswith(".mkv")) > 0
    assert f"{found.records} record" in found.words


def test_of_a_damaged_bundle_only_the_files_that_are_hit_are_named(box: ReplicaBox) -> None:
    for text in (b"one", b"two", b"three"):
        box.receive(text)
        box.roll()
    box.run()
    files = sorted(files_of(newest(box.remote, box.keys), box.remote, box.keys).values(), key=lambda one: one.offset)
    assert len({one.object for one in files}) == 1
    content = bytearray(box.remote.content(files[0].object))
    content[files[1].offset + 100] ^= 1
    box.remote.spoil(files[0].object, bytes(content))
    (found,) = serious(full(box))
    assert found.files == (files[1].path,)


@pytest.mark.parametrize("tamper", [_delete_object, _truncate_object, _flip_a_bit, _swap_objects, _alter_keyring])
def test_a_sample_that_meets_tampering_names_it(box: ReplicaBox, tamper: Tamper) -> None:
    filled(box)
    name = tamper(box)
    assert name in [one.name for one in serious(sample(box))]


@pytest.mark.parametrize("tamper", [_delete_newest_manifest, _alter_manifest, _forge_an_epoch, _forge_a_later_manifest])
def test_a_sample_looks_at_the_manifests_too(box: ReplicaBox, tamper: Tamper) -> None:
    filled(box)
    name = tamper(box)
    assert name in [one.name for one in serious(sample(box))]


def test_a_kept_generation_that_is_gone_is_named_and_one_that_was_cleared_is_not(box: ReplicaBox) -> None:
    filled(box)
    for _ in range(12):
        box.receive(b"another day")
        box.run(after=DAY)
        assert full(box).findings == ()  # the clearing goes on all the time
    kept = box.remote.names("generations")
    box.remote.spoil(kept[-3], None)
    (found,) = serious(full(box))
    assert (found.kind, found.name) == ("generation-missing", kept[-3])
    assert full(box).findings == ()  # told once: it cannot come back


def test_an_object_of_an_earlier_generation_is_checked_too(box: ReplicaBox) -> None:
    box.receive(b"one")
    box.roll()
    box.sign()
    before = box.run()
    (volume,) = [one for path, one in files_of(before, box.remote, box.keys).items() if path.endswith(".mkv")]
    box.compact()
    box.run()
    box.remote.spoil(volume.object, None)
    (found,) = serious(full(box))
    assert (found.kind, found.name) == ("missing", volume.object)
    assert volume.path in found.files


def test_strangers_are_listed_and_left_alone(box: ReplicaBox) -> None:
    filled(box)
    (box.remote.folder / "holiday.jpg").write_bytes(b"a picture")
    left = box.remote.folder / "objects" / "ab" / ("ab" * 32)
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half a run")
    (box.remote.folder / "probes").mkdir()
    (box.remote.folder / "probes" / "1234").write_bytes(b"probe")
    found = full(box)
    assert {(one.kind, one.name) for one in found.findings} == {
        ("stranger", "holiday.jpg"), ("unnamed", f"objects/ab/{'ab' * 32}")
    }  # fmt: skip
    mended(box, found)
    assert (box.remote.folder / "holiday.jpg").exists() and left.exists()


def test_the_mark_of_this_boxs_own_epoch_is_missed(box: ReplicaBox, tmp_path: Path) -> None:
    """Without it the box that was lost would go on writing when it is found again."""
    box.receive(b"one")
    box.run()
    set_own_epoch(box.data, raise_epoch(box.remote, box.keys, tmp_path, now=box.now))
    box.receive(b"two")
    box.run()
    assert full(box).is_whole
    box.remote.spoil(epoch_name(2), None)
    found = full(box)
    assert kinds(found) == ["epoch-missing"]
    trail = Trail()
    assert mended(box, found, trail).left == ()
    assert full(box).is_whole and len(trail.of(REPAIRED)) == 1


def test_a_locked_object_cannot_be_deleted_and_mail_is_uploaded_beside_it(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="s3", lock_days=30))
    filled(box)
    name = _flip_a_bit(box)
    assert mended(box, full(box)).left == ()
    box.run()
    assert name in box.remote.names() and name not in objects_of_mail(box)
    assert box.restored(tmp_path / "restored") == box.originals


def test_a_locked_manifest_that_was_altered_is_left_and_a_good_one_follows(tmp_path: Path) -> None:
    box = ReplicaBox(tmp_path, config=RemoteConfig(name="cellar", type="s3", lock_days=30))
    box.receive(b"one")
    box.run()
    name = _alter_manifest(box)
    (left,) = mended(box, full(box)).left
    assert name in left and "locked" in left
    box.run()
    assert newest(box.remote, box.keys).number == 2
    assert box.restored(tmp_path / "restored") == box.originals


def test_what_is_only_on_the_remote_is_never_deleted(box: ReplicaBox, tmp_path: Path) -> None:
    """A bundle is damaged in one place; its other file is not on this disk any more."""
    for text in (b"one", b"two"):
        box.receive(text)
        box.roll()
    box.sign()
    box.run()
    files = sorted(
        (one for path, one in files_of(newest(box.remote, box.keys), box.remote, box.keys).items() if ".mkv" in path),
        key=lambda one: one.offset,
    )
    AbsentFiles(box.volumes).add([AbsentFile(files[0].path.removeprefix("volumes/"), files[0].size, files[0].hash)])
    (box.data / files[0].path).unlink()
    content = bytearray(box.remote.content(files[1].object))
    content[files[1].offset + 10] ^= 1
    box.remote.spoil(files[1].object, bytes(content))
    found = full(box)
    assert serious(found)[0].files == (files[1].path,)
    mended(box, found)
    with pytest.raises(DamageError, match=files[0].path.removeprefix("volumes/")):
        box.run()  # everything else is replicated, and somebody is told
    assert box.restored(tmp_path / "restored") == box.originals


# -- what the remote tells by itself ----------------------------------------------------------------------------------


class Hashing:
    """A remote that tells a hash of its objects; made of the box's by mixing it in."""

    def __init__(self, box: ReplicaBox, kind: str, *, listed: bool) -> None:
        remote = box.remote

        class Telling(type(remote)):  # type: ignore[misc]
            def hashes(self, folder: str) -> dict[str, tuple[str, str]]:
                return {name: told for name in self.names(folder) if listed and (told := self.hash_of(name))}

            def hash_of(self, name: str) -> tuple[str, str]:
                return kind, hashlib.new(kind, self.content(name)).hexdigest()

        remote.__class__ = Telling


def reads(box: ReplicaBox) -> set[str]:
    found = {name for call, name in box.remote.calls if call in ("read", "get") and name.startswith("objects/")}
    return found - {newest(box.remote, box.keys).inventory}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_the_remotes_own_hashes_save_reading_it(box: ReplicaBox, kind: str, listed: bool) -> None:
    filled(box)
    mail = set(objects_of_mail(box))
    Hashing(box, kind, listed=listed)
    box.remote.calls.clear()
    assert full(box).is_whole
    assert not reads(box) & mail  # made of the files here, or told
    box.remote.calls.clear()
    assert full(box).is_whole
    assert reads(box) == set()  # told as the last time
    name = _flip_a_bit(box)
    assert [(one.kind, one.name) for one in serious(full(box))] == [("altered", name)]


# -- a check that is interrupted --------------------------------------------------------------------------------------


def test_a_full_check_in_slices_goes_on_where_it_was(box: ReplicaBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "ALONE", 1024)
    for number in range(6):
        box.receive(random.Random(number).randbytes(4000))
        box.roll()
    box.run()
    whole = full(box)
    box.now += DAY
    box.remote.calls.clear()
    slices = 0
    while True:
        slices += 1
        left = [2]

        def enough(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        found = full(box, enough=enough)
        if found.is_complete:
            break
        box.now += MINUTE
        assert slices < 50
    assert slices > 3
    assert (found.objects, found.is_whole) == (whole.objects, True)
    read = [name for call, name in box.remote.calls if call == "read"]
    mail = objects_of_mail(box)
    assert sorted(name for name in read if name in mail) == mail  # each once


def test_a_check_that_is_killed_goes_on_from_what_was_written_down(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "ALONE", 1024)
    monkeypatch.setattr(full_check, "SAVE_SECONDS", 0)
    for number in range(12):
        box.receive(random.Random(number).randbytes(4000))
        box.roll()
    box.run()
    mail = objects_of_mail(box)
    state = box.paths.state / "checked"
    at_death = []

    def before(call: str, name: str) -> None:
        if call == "read" and name in mail and state.exists():
            at_death.append(state.read_bytes())

    box.remote.before = before
    whole = full(box)
    box.remote.before = lambda call, name: None
    state.write_bytes(at_death[-1])
    box.remote.calls.clear()
    after = full(box)
    assert (after.objects, after.is_whole) == (whole.objects, True)
    assert len([name for call, name in box.remote.calls if call == "read" and name in mail]) < len(mail) / 2


def test_a_check_that_is_stopped_says_so_and_keeps_how_far_it_was(box: ReplicaBox) -> None:
    filled(box)
    box.progress.stop = True
    for check in (full, sample):
        with pytest.raises(UnavailableError, match="stopped"):
            check(box)
    box.progress.stop = False
    assert full(box).is_whole


def test_a_check_and_replication_do_not_meet(box: ReplicaBox) -> None:
    filled(box)
    with State(box.paths, box.keys).held():
        for check in (full, sample):
            with pytest.raises(ConflictError):
                check(box)


def test_a_damaged_memory_of_checks_is_a_check_anew(box: ReplicaBox) -> None:
    filled(box)
    full(box)
    (box.paths.state / "checked").write_bytes(b"nonsense")
    assert full(box).is_whole


# -- what may go from this disk ---------------------------------------------------------------------------------------


def test_what_was_checked_while_the_clock_was_ahead_is_checked_anew(box: ReplicaBox) -> None:
    filled(box)
    box.now += 400 * DAY
    full(box)
    box.now -= 400 * DAY
    assert verified_files(box.paths, box.remote, box.keys, now=box.now) == {}
    box.remote.calls.clear()
    full(box)
    read = {name for call, name in box.remote.calls if call in ("read", "get")}
    assert set(objects_of_mail(box)) <= read
    assert verified_files(box.paths, box.remote, box.keys, now=box.now)
    box.now += DAY
    full(box)
    assert verified_files(box.paths, box.remote, box.keys, now=box.now)


def test_only_what_a_full_check_found_whole_counts_as_verified(box: ReplicaBox) -> None:
    def verified() -> set[str]:
        return {
            path
            for path in verified_files(box.paths, box.remote, box.keys, now=box.now)
            if path.endswith(".mkv")
        }  # fmt: skip

    filled(box)
    assert verified() == set()
    sample(box)
    assert verified() == set()
    full(box)
    assert len(verified()) == 2
    box.receive(b"four")
    box.roll()
    box.run()
    assert len(verified()) == 2  # the new one has not been looked at
    name = objects_of_mail(box)[0]
    hit = {
        path for path, one in files_of(newest(box.remote, box.keys), box.remote, box.keys).items() if one.object == name
    }
    box.remote.spoil(name, None)
    mended(box, full(box))
    assert not verified() & hit
    box.run()
    full(box)
    assert len(verified()) == 3
    box.now += GOOD_FOR
    assert verified() == set()


# -- this box's own files ---------------------------------------------------------------------------------------------


def _rot(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _lose(path: Path) -> None:
    path.unlink()


def _archived(box: ReplicaBox) -> Path:
    (path,) = box.volumes.rglob("*.mka")
    return path


HERE: dict[str, Callable[[ReplicaBox], Path]] = {
    "volume": lambda box: volumes(box)[0],
    "seal": lambda box: volumes(box)[0].with_suffix(".seal"),
    "archive volume": _archived,
    "unsigned volume": lambda box: volumes(box)[-1],
}


def _with(box: ReplicaBox, what: str) -> Path:
    filled(box)
    if what == "archive volume":
        box.compact()
        box.run()
    if what == "unsigned volume":
        box.receive(b"not signed yet")
        box.run()
    return HERE[what](box)


@pytest.mark.parametrize("how", [_rot, _cut, _lose])
@pytest.mark.parametrize("what", HERE)
def test_what_rots_here_is_named_and_put_back_from_the_replica(
    box: ReplicaBox, what: str, how: Callable[[Path], None]
) -> None:
    path = _with(box, what)
    whole = path.read_bytes()
    how(path)
    found = full(box)
    (finding,) = serious(found)
    assert finding.is_here and finding.name == str(path.relative_to(box.data))
    trail = Trail()
    done = mended(box, found, trail)
    assert done.left == () and len(done.done) == 1
    assert path.read_bytes() == whole
    assert [action for action, _ in trail.lines] == [FOUND, REPAIRED]
    assert finding.name in trail.of(REPAIRED)[0]
    assert full(box).findings == ()
    assert not [one for one in box.volumes.rglob("*") if one.name.endswith(".new")]


def test_what_was_read_wrong_when_it_was_uploaded_is_uploaded_anew(box: ReplicaBox, tmp_path: Path) -> None:
    """The replica has what the manifest says, and that is not what was signed afterwards."""
    box.receive(b"one")
    box.roll()
    (path,) = volumes(box)
    whole = path.read_bytes()
    _rot(path)
    box.run()
    path.write_bytes(whole)
    box.sign()
    box.run()
    for found in (full(box), sample(box)):
        assert "unreadable" in kinds(found)
    mended(box, full(box))
    box.run()
    assert full(box).is_whole
    assert box.restored(tmp_path / "restored") == box.originals


def test_a_seal_that_was_made_anew_here_replaces_the_replicas(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.roll()
    box.sign()
    box.run()
    (path,) = box.volumes.rglob("*.seal")
    path.unlink()
    box.now += MINUTE
    box.sign()
    assert kinds(full(box)) == ["differs"]
    mended(box, full(box))
    box.receive(b"two")
    box.roll()
    box.sign()
    box.run()
    assert full(box).is_whole
    assert box.restored(tmp_path / "restored") == box.originals


def test_a_lost_seal_that_would_be_the_newest_is_left_to_the_archiver(box: ReplicaBox) -> None:
    """It may be signing the volume anew, under the same number."""
    filled(box)
    path = volumes(box)[-1].with_suffix(".seal")
    path.unlink()
    (left,) = mended(box, full(box)).left
    assert "signs" in left and not path.exists()
    box.now += MINUTE
    box.sign()
    anew = path.read_bytes()
    mended(box, full(box))
    box.run()
    assert path.read_bytes() == anew
    assert full(box).is_whole


def test_a_sample_that_meets_rot_here_has_it_mended(box: ReplicaBox) -> None:
    filled(box)
    path = volumes(box)[0]
    whole = path.read_bytes()
    _rot(path)
    mended(box, sample(box))
    assert path.read_bytes() == whole


def test_a_damaged_file_stays_where_the_replicas_is_damaged_too(box: ReplicaBox) -> None:
    filled(box)
    path = volumes(box)[0]
    _rot(path)
    rotten = path.read_bytes()
    _flip_a_bit(box)
    for name in objects_of_mail(box):
        box.remote.spoil(name, b"x" * len(box.remote.content(name)))
    found = full(box)
    trail = Trail()
    done = mended(box, found, trail)
    assert any(str(path.relative_to(box.data)) in left for left in done.left)
    assert path.read_bytes() == rotten and trail.of(REPAIRED) == []


def test_while_the_archive_is_locked_its_files_wait(box: ReplicaBox) -> None:
    filled(box)
    path = volumes(box)[0]
    whole = path.read_bytes()
    _rot(path)
    (left,) = mended(box, sample(box), may_change_here=False).left
    assert "unlocked" in left and path.read_bytes() != whole
    trail = Trail()
    mended(box, sample(box, count=0), trail)  # finds nothing itself; what waits is taken up
    assert path.read_bytes() == whole and len(trail.of(REPAIRED)) == 1


def test_what_was_found_is_in_the_audit_trail_once(box: ReplicaBox) -> None:
    filled(box)
    (box.remote.folder / "holiday.jpg").write_bytes(b"a picture")
    trail = Trail()
    for _ in range(3):
        mended(box, full(box), trail)
    assert len(trail.lines) == 1
    (box.remote.folder / "holiday.jpg").unlink()
    mended(box, full(box), trail)
    (box.remote.folder / "holiday.jpg").write_bytes(b"a picture")
    mended(box, full(box), trail)
    assert len(trail.lines) == 2


def test_a_volume_that_was_compacted_meanwhile_does_not_come_back(box: ReplicaBox) -> None:
    filled(box)
    path = volumes(box)[0]
    whole = path.read_bytes()
    _rot(path)
    found = full(box)
    path.write_bytes(whole)
    box.compact()
    assert not path.exists()
    mended(box, found)
    assert not path.exists() and full(box).findings == ()


def test_two_unsigned_copies_that_both_hold_together_are_left_alone(box: ReplicaBox) -> None:
    """Nobody could say which one is the archive's."""
    box.receive(b"one")
    box.run()
    path = volumes(box)[0]
    other = ReplicaBox(path.parents[4] / "other")
    other.receive(b"another")
    other.roll()
    (replacement,) = volumes(other)
    path.write_bytes(replacement.read_bytes())
    (left,) = mended(box, full(box)).left
    assert "both copies hold together" in left and path.read_bytes() == replacement.read_bytes()


# -- a crash in the midst of it ---------------------------------------------------------------------------------------


class Cut(BaseException):
    """The power goes."""


class Counting(Files):
    """Cuts the power at the Nth call that changes something."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Cut

    def create(self, path: Path, mode: int = 0o640) -> int:
        self._step()
        return super().create(path, mode)

    def write(self, descriptor: int, buffers, offset: int) -> int:  # type: ignore[no-untyped-def]
        self._step()
        return super().write(descriptor, buffers, offset)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)


@pytest.mark.parametrize("what", ["volume", "seal"])
def test_a_crash_anywhere_in_mending_this_box_leaves_one_copy_or_the_other(box: ReplicaBox, what: str) -> None:
    path = _with(box, what)
    whole = path.read_bytes()
    for at in range(1, 200):
        _rot(path)
        rotten = path.read_bytes()
        trail = Trail()
        found = full(box)
        try:
            mended(box, found, trail, files=Counting(at))
        except Cut:
            assert path.read_bytes() in (whole, rotten)
            mended(box, sample(box, count=0), trail)
            assert path.read_bytes() in (whole, rotten)
        else:
            break
        again = full(box)
        mended(box, again, trail)
        assert path.read_bytes() == whole
        assert trail.of(REPAIRED), at
        assert full(box).findings == ()
    else:
        raise AssertionError("it never came to its end")
    assert at > 10


def test_a_crash_anywhere_in_mending_the_replica_loses_nothing(box: ReplicaBox, tmp_path: Path) -> None:
    filled(box)
    for at in range(1, 60):
        name = _flip_a_bit(box)
        altered = newest(box.remote, box.keys).keyring
        box.remote.spoil(altered, b"{}")
        found = full(box)
        assert {name, altered} <= {one.name for one in serious(found)}
        try:
            mended(box, found, files=Counting(at))
        except Cut:
            mended(box, full(box))
            box.run()
        else:
            box.run()
            assert full(box).is_whole
            break
        assert full(box).is_whole
        assert box.restored(tmp_path / f"restored {at}") == box.originals
    assert at > 3


def test_a_remote_that_goes_away_in_the_midst_of_a_repair_is_told_and_it_is_tried_again(box: ReplicaBox) -> None:
    filled(box)
    path = volumes(box)[0]
    whole = path.read_bytes()
    _rot(path)
    found = full(box)
    (placed,) = [
        one for name, one in files_of(newest(box.remote, box.keys), box.remote, box.keys).items()
        if name == str(path.relative_to(box.data))
    ]  # fmt: skip
    box.remote.fail(UnavailableError("The remote does not answer."), "get", match=placed.object)  # it is alone in there
    trail = Trail()
    assert "does not answer" in " ".join(mended(box, found, trail).left)
    assert path.read_bytes() != whole and trail.of(REPAIRED) == []
    mended(box, sample(box, count=0), trail)
    assert path.read_bytes() == whole


def absent_volume(box: ReplicaBox) -> tuple[Path, bytes, Placed]:
    """A volume that the replica has in an object of its own, let go of here; its path, bytes and place."""
    one = next(
        one
        for path, one in sorted(files_of(newest(box.remote, box.keys), box.remote, box.keys).items())
        if path.endswith(".mkv")
    )
    path = box.data / one.path
    content = path.read_bytes()
    AbsentFiles(box.volumes).add([AbsentFile(one.path.removeprefix("volumes/"), one.size, one.hash)])
    path.unlink()
    return path, content, one


def test_what_is_neither_here_nor_there_is_told_in_every_run_until_it_is_back(box: ReplicaBox) -> None:
    filled(box)
    path, content, one = absent_volume(box)
    box.remote.spoil(one.object, None)
    box.now += DAY
    mend(box.paths, box.remote, box.keys, full(box), Trail(), now=box.now)
    for subject in (b"new", b"newer"):
        box.receive(subject)
        with pytest.raises(DamageError, match="not on this disk"):
            box.run()
        assert State(box.paths, box.keys).bad() == {one.object}
    with pytest.raises(DamageError, match="not on this disk"):
        box.run(after=HOUR)
    path.write_bytes(content)
    placed = files_of(box.run(), box.remote, box.keys)[one.path]
    assert read_placed(box.remote, placed) == content and State(box.paths, box.keys).bad() == frozenset()


def test_an_empty_place_is_not_taken_for_a_replica(box: ReplicaBox) -> None:
    filled(box)
    full(box)
    absent_volume(box)
    elsewhere = box.remote.folder.with_name("unmounted")
    box.remote.folder.rename(elsewhere)
    box.remote.folder.mkdir()
    for _ in range(2):
        with pytest.raises(UnavailableError, match="mounted"):
            box.run()
    assert box.remote.names() == []
    assert verified_files(box.paths, box.remote, box.keys, now=box.now) == {}
    box.remote.folder.rmdir()
    elsewhere.rename(box.remote.folder)
    box.run()
    assert verified_files(box.paths, box.remote, box.keys, now=box.now)


def test_what_was_verified_at_one_place_is_not_verified_at_another(box: ReplicaBox) -> None:
    filled(box)
    full(box)
    before = verified_files(box.paths, box.remote, box.keys, now=box.now)
    assert before
    config = box.remote.config
    box.remote.config = msgspec.structs.replace(config, options={"some_secret": "renewed"})
    assert verified_files(box.paths, box.remote, box.keys, now=box.now) == before
    box.remote.config = msgspec.structs.replace(config, path="/somewhere/else")
    assert verified_files(box.paths, box.remote, box.keys, now=box.now) == {}
    box.run()
    box.remote.config = config
    assert verified_files(box.paths, box.remote, box.keys, now=box.now) == {}, "it was forgotten"


def test_what_the_remote_lists_no_more_is_not_verified(box: ReplicaBox) -> None:
    filled(box)
    full(box)
    before = verified_files(box.paths, box.remote, box.keys, now=box.now)
    gone = objects_of_mail(box)[0]
    box.remote.spoil(gone, None)
    after = verified_files(box.paths, box.remote, box.keys, now=box.now)
    assert after == {path: one for path, one in before.items() if one.object != gone} != before


# -- forgeries with the service key -----------------------------------------------------------------------------------


def forge(box: ReplicaBox, path: str, content: bytes) -> None:
    """A newer manifest, with a file of that path in it."""
    before = newest(box.remote, box.keys)
    digest = hashlib.sha256(content).digest()
    target = box.remote.folder / object_name(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    strange = Placed(path, len(content), digest, object_name(digest), 0)
    after = msgspec.structs.replace(before, number=before.number + 1, added=(*before.added, strange))
    put_named(box.remote, box.keys, generation_name(after.epoch, after.number), after, box.paths.data)


def test_a_forged_path_leads_no_check_out_of_its_folder(box: ReplicaBox) -> None:
    filled(box)
    (box.data / "gateway").mkdir(exist_ok=True)
    theirs = box.data / "gateway" / "gateway.json"
    theirs.write_bytes(b"good")
    forge(box, "volumes/../../../gateway/gateway.json", b"evil")
    for found in (sample(box), full(box)):
        assert "generation-altered" in [one.kind for one in found.findings]
    assert theirs.read_bytes() == b"good"


def test_a_forged_path_takes_no_file_of_this_box_to_the_remote(box: ReplicaBox, tmp_path: Path) -> None:
    filled(box)
    secret = b"what opens the archive"
    (tmp_path / "data.keyfile").write_bytes(secret)
    forge(box, "volumes/../../data.keyfile", b"\0" * len(secret))
    box.receive(b"Subject: more\r\n\r\nmore\r\n")
    with pytest.raises(DamageError, match="forgery"):
        box.run()  # replicates, and tells of it
    assert newest(box.remote, box.keys).records == 4
    assert not [name for name in box.remote.names() if secret in box.remote.content(name)]
    assert not [path for path in files_of(newest(box.remote, box.keys), box.remote, box.keys) if ".." in path]
