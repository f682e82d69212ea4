"""Replication: what a run puts on a remote, what it leaves there, and what it says where it cannot."""

from __future__ import annotations

import random
import time
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from appliance.cloud import bundling, replicate
from appliance.cloud.manifests import (
    ReplicaKeys,
    files_of,
    generation,
    generation_names,
    get_placed,
    highest_epoch,
    newest,
    newest_of,
    open_kind,
    put_named,
    raise_epoch,
    read_box,
    read_placed,
)
from appliance.cloud.objects import VERSION, EpochMark, Manifest, Placed, epoch_name, generation_name, object_name
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.state import State, set_own_epoch
from appliance.errors import (
    ConflictError,
    DamageError,
    DiskFullError,
    RemoteFullError,
    UnavailableError,
)
from appliance.files import Files
from appliance.store.absent import AbsentFile, AbsentFiles
from tests.cloud_double import FolderRemote
from tests.replica_box import DAY, HOUR, MINUTE, ReplicaBox
from tests.scratch import DOOR, ScratchArchive, mail, report


@pytest.fixture
def box(tmp_path: Path) -> ReplicaBox:
    return ReplicaBox(tmp_path)


def small_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at a thousandth of its size."""
    monkeypatch.setattr(bundling, "ALONE", 16 * 1024)
    monkeypatch.setattr(bundling, "LARGEST_OBJECT", 64 * 1024)
    monkeypatch.setattr(replicate, "SMALL", 8 * 1024)


def incompressible(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# -- what is there afterwards ----------------------------------------------------------------------------------------


def test_everything_acknowledged_comes_back_with_the_recovery_key_alone(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one", b"two")
    box.write_settings("anna")
    box.write_projections(3)
    manifest = box.run()
    assert manifest.at == box.now
    box.receive(b"three")
    box.roll()
    box.sign()
    box.run()
    assert box.restored(tmp_path / "signed") == box.originals
    box.compact()
    box.receive(b"four")
    box.run()
    assert box.restored(tmp_path / "compacted") == box.originals


def test_what_is_new_goes_up_and_nothing_else(box: ReplicaBox) -> None:
    box.receive(b"one")
    first = box.run()
    before = box.remote.names()
    second = box.run()
    assert box.remote.names() == before
    assert second == msgspec.structs.replace(first, at=box.now)
    box.receive(b"two")
    third = box.run()
    assert len(box.remote.names()) == len(before) + 2  # the mail and a manifest
    assert (third.number, third.at) == (first.number + 1, box.now)


def test_a_volume_goes_up_before_it_is_signed_and_its_seal_follows(box: ReplicaBox) -> None:
    box.receive(b"one")
    assert box.run().chain_number == 0
    (volume,) = files_of(newest(box.remote, box.keys), box.remote, box.keys).values()
    assert volume.path.endswith(".mkv")
    box.sign()
    manifest = box.run()
    files = files_of(manifest, box.remote, box.keys)
    assert manifest.chain_number == 1 and set(files) == {volume.path, volume.path.replace(".mkv", ".seal")}
    assert files[volume.path] == volume


def test_objects_are_named_by_what_is_in_them_and_never_change(box: ReplicaBox) -> None:
    seen: dict[str, bytes] = {}
    for number in range(6):
        box.receive(b"mail %d" % number)
        if number % 2:
            box.roll()
            box.sign()
        if number == 3:
            box.compact()
        box.run()
        for name in box.remote.names():
            content = box.remote.content(name)
            assert seen.setdefault(name, content) == content
            if name.startswith("objects/"):
                assert name == object_name(sha256(content).digest())
    assert set(seen) == set(box.remote.names())


def test_many_small_files_share_objects_and_a_large_one_has_its_own(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_bundles(monkeypatch)
    for number in range(40):
        box.receive(incompressible(2_000, number))
        box.roll()
    box.receive(incompressible(200_000))
    box.roll()
    box.sign()
    manifest = box.run()
    files = files_of(manifest, box.remote, box.keys)
    assert len(files) == 82 and len({one.object for one in files.values()}) < 10
    large = [one for one in files.values() if one.size > 100_000]
    assert [(one.offset, one.object) for one in large] == [(0, object_name(large[0].hash))]
    assert all(one.size <= bundling.LARGEST_OBJECT for one in box.remote.list("objects") if one.name != large[0].object)
    assert box.restored(tmp_path / "r") == box.originals


def test_small_objects_are_put_together_and_their_files_found_at_the_new_place(box: ReplicaBox, tmp_path: Path) -> None:
    for number in range(replicate.MOST_SMALL + 3):
        box.receive(b"mail %d" % number)
        manifest = box.run()
    files = files_of(manifest, box.remote, box.keys)
    assert len({one.object for one in files.values()}) < 5
    assert box.restored(tmp_path / "r") == box.originals


def test_seals_and_the_system_log_have_objects_of_their_own_also_when_put_together(
    box: ReplicaBox, tmp_path: Path
) -> None:
    """A restore needs all of these, and nothing of the mail, before the archive works."""
    for number in range(replicate.MOST_SMALL):
        box.receive(b"mail %d" % number)
        box.receive_in_system_log(b"entry %d" % number)
        box.roll()
        box.sign()
        files = files_of(box.run(), box.remote, box.keys)
        kinds: dict[str, set[str]] = {}
        for path, one in files.items():
            kinds.setdefault(_kind(path), set()).add(one.object)
        assert sum(len(objects) for objects in kinds.values()) == len(set().union(*kinds.values()))
        if number > 1 and len(kinds["seal"]) == 1:
            break
    assert number < replicate.MOST_SMALL - 1 and {kind: len(one) for kind, one in kinds.items()} == {
        "seal": 1, "system": 1, "mail": 1
    }  # fmt: skip
    assert box.restored(tmp_path / "r") == box.originals


def _kind(path: str) -> str:
    if path.endswith(".seal"):
        return "seal"
    return "system" if bytes(16).hex() in path else "mail"


def test_what_is_merged_and_not_on_this_disk_is_read_from_the_remote(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"far away")
    (before,) = files_of(box.run(), box.remote, box.keys).values()
    (path,) = box.volumes.rglob("*.mkv")
    path.unlink()
    for number in range(replicate.MOST_SMALL + 3):
        box.receive(b"mail %d" % number)
        manifest = box.run()
    moved = files_of(manifest, box.remote, box.keys)[f"volumes/{path.relative_to(box.volumes)}"]
    assert moved.object != before.object
    assert box.restored(tmp_path / "r") == box.originals


def test_a_long_list_of_changes_becomes_a_new_inventory(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("appliance.cloud.contents.MOST_DIFFERENCES", 4)
    inventories = set()
    for number in range(8):
        box.receive(b"mail %d" % number)
        manifest = box.run()
        assert len(manifest.added) + len(manifest.removed) <= 4
        inventories.add(manifest.inventory)
    assert 2 <= len(inventories) <= 3
    assert box.restored(tmp_path / "r") == box.originals


def test_replaced_volumes_leave_the_replica_with_their_replacement_in_it(box: ReplicaBox, tmp_path: Path) -> None:
    refs = box.receive(b"one", b"two")
    box.roll()
    box.sign()
    box.run()
    box.erase(refs[0].record_id)
    manifest = box.run()
    paths = set(files_of(manifest, box.remote, box.keys))
    assert {Path(path).name for path in paths} == {"g0-00000001.seal", "d0-00000001.mka", "d0-00000001.seal"}
    assert manifest.records == 2
    assert box.restored(tmp_path / "r") == box.originals == {refs[1].record_id: b"two"}
    box.compact()
    names = {Path(path).name for path in files_of(box.run(), box.remote, box.keys)}
    assert names >= {"g0-00000001.seal"} and "g0-00000001.mkv" not in names


def test_an_archive_volume_that_nobody_signed_is_not_taken(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.roll()
    box.sign()
    (folder,) = box.volumes.iterdir()
    (folder / "c0-00000001.mka").write_bytes(b"unfinished business")
    box.run()
    (folder / "c0-00000001.seal").write_bytes(b"{}\nforged\n")
    with pytest.raises(DamageError, match=r"c0-00000001\.mka on this disk are damaged"):
        box.run()
    files = files_of(newest(box.remote, box.keys), box.remote, box.keys)
    assert not [path for path in files if path.endswith(".mka")]


def test_an_archive_volume_whose_seal_rots_before_it_was_replicated_is_told_in_every_run(
    box: ReplicaBox, tmp_path: Path
) -> None:
    box.receive(*[b"one of many %d" % number for number in range(20)])
    box.roll()
    box.sign()
    box.compact()
    (seal,) = box.volumes.rglob("c0-*.seal")
    good = seal.read_bytes()
    seal.write_bytes(good[:-10] + bytes([good[-10] ^ 1]) + good[-9:])
    for subject in (b"new mail", b"newer mail"):
        box.receive(subject)
        with pytest.raises(DamageError, match=r"c0-00000001\.mka .*not replicated"):
            box.run()
        assert newest(box.remote, box.keys).records >= 1, "everything else is"
    seal.write_bytes(good)
    box.run()
    assert any(path.endswith(".mka") for path in files_of(newest(box.remote, box.keys), box.remote, box.keys))


def test_volumes_that_are_compacted_while_they_are_uploaded_are_taken_in_their_new_form(
    box: ReplicaBox, tmp_path: Path
) -> None:
    box.receive(b"one", b"two")
    box.roll()
    box.sign()

    class Compacting(Files):
        """The volume is replaced between the listing and its reading."""

        done = False

        def open(self, path: Path) -> int:
            if path.name.endswith(".mkv") and box.remote.calls and not self.done and self.listed:
                self.done = True
                box.compact()
            return super().open(path)

        listed = 0

        def is_locked(self, descriptor: int) -> bool:
            self.listed += 1
            return super().is_locked(descriptor)

    files = Compacting()
    box.run(files=files)
    assert files.done
    names = {Path(path).name for path in files_of(newest(box.remote, box.keys), box.remote, box.keys)}
    assert "c0-00000001.mka" in names and "g0-00000001.mkv" not in names
    assert box.restored(tmp_path / "r") == box.originals


def test_a_file_that_is_lost_here_stays_in_the_replica(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    (path,) = box.volumes.rglob("*.mkv")
    path.unlink()
    box.receive(b"two")
    box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_a_volume_that_rots_here_is_named_and_does_not_replace_its_good_copy(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    box.receive(b"two")
    box.roll()
    box.sign()
    second = box.volumes / box.mailbox.hex() / "g0-00000002.mkv"
    whole = second.read_bytes()
    second.write_bytes(whole[:-40] + b"rot" + whole[-37:])
    box.receive(b"three")
    with pytest.raises(DamageError, match=r"g0-00000002\.mkv on this disk is not what was signed"):
        box.run()
    manifest = newest(box.remote, box.keys)
    names = {Path(path).name for path in files_of(manifest, box.remote, box.keys)}
    assert "g0-00000002.mkv" not in names and {"g0-00000001.mkv", "g0-00000003.mkv"} <= names
    second.write_bytes(whole)
    box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_a_writer_that_does_not_close_its_volume_is_named_and_the_rest_goes_up(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    first = box.run()

    def stuck(data: Path, now: int) -> None:
        raise UnavailableError("g7-00000001.mkv is still being written.")

    box.receive(b"two")
    box.roll()
    box.sign()
    with pytest.raises(UnavailableError, match="g7-00000001"):
        box.run(roll=stuck)
    manifest = newest(box.remote, box.keys)
    assert manifest.number == first.number + 1 and manifest.at == first.at
    assert box.restored(tmp_path / "r") == box.originals


def test_mail_that_is_still_being_written_is_left_for_the_next_run(box: ReplicaBox) -> None:
    box.receive(b"one")
    box.run(roll=lambda data, now: None)
    assert not files_of(newest(box.remote, box.keys), box.remote, box.keys)
    box.run()
    assert len(files_of(newest(box.remote, box.keys), box.remote, box.keys)) == 1


# -- settings, files of the box, catalogue and index ------------------------------------------------------------------


def test_settings_are_copied_when_they_change_and_at_most_hourly(box: ReplicaBox) -> None:
    box.write_settings("anna")
    first = box.run()
    assert first.settings is not None
    assert b"anna" in open_kind(read_placed(box.remote, first.settings), box.keys, "settings")
    box.write_settings("ben")
    assert box.run().settings == first.settings
    second = box.run(after=HOUR)
    assert second.settings is not None
    copy = open_kind(read_placed(box.remote, second.settings), box.keys, "settings")
    assert b"anna" in copy and b"ben" in copy
    assert box.run(after=HOUR).settings == second.settings


def test_the_boxs_own_files_come_along_sealed(box: ReplicaBox) -> None:
    contents = {
        "tls/key.pem": b"secret words",
        "gateway/erased/00": bytes(16),
        "positions/a-b": b"1\n",
        "timestamps/1": b"t",
    }
    for path, content in {**contents, "tls/key.pem.new": b"half"}.items():
        (box.data / path).parent.mkdir(parents=True, exist_ok=True)
        (box.data / path).write_bytes(content)
    manifest = box.run()
    assert manifest.box is not None
    assert read_box(box.remote, box.keys, manifest.box).files == contents
    assert not any(b"secret words" in box.remote.content(name) for name in box.remote.names())


def test_catalogue_and_index_are_copied_when_it_is_due(box: ReplicaBox) -> None:
    box.write_projections(1)
    box.receive(b"one")
    first = box.run().snapshot
    assert first is not None and (first.at, first.change) == (box.now, 1)
    box.write_projections(2)
    assert box.run(after=DAY - MINUTE).snapshot == first
    second = box.run(after=MINUTE).snapshot
    assert second is not None and (second.at, second.change) == (box.now, 2)
    assert box.run(after=2 * DAY).snapshot == second  # nothing has changed
    third = box.run(force_snapshot=True).snapshot
    assert third is not None and third.at == box.now
    box.write_projections(1, generation="0002")
    fourth = box.run(after=2 * DAY).snapshot
    assert fourth is not None and all(one.path.startswith("projections/0002/") for one in fourth.files)


def test_a_pack_goes_up_once_and_a_half_written_one_not_at_all(box: ReplicaBox) -> None:
    box.write_projections(1, packs=[b"first pack"])
    before = _packs(box.run(force_snapshot=True))
    time.sleep(0.02)  # of the file system's clock
    box.write_projections(2, packs=[b"second pack"])
    time.sleep(0.02)
    half = box.data / "projections" / "0001" / "index" / "20264" / ("ab" * 16)
    half.write_bytes(b"half a pa")
    after = _packs(box.run(force_snapshot=True))
    assert len(after) == 2 and all(after[path] == one for path, one in before.items())
    assert sorted(read_placed(box.remote, one) for one in after.values()) == [b"first pack", b"second pack"]


def _packs(manifest: Manifest) -> dict[str, Placed]:
    assert manifest.snapshot is not None
    return {one.path: one for one in manifest.snapshot.files if len(one.path.rpartition("/")[2]) == 32}


def test_the_index_never_knows_more_than_the_catalogue_beside_it(box: ReplicaBox) -> None:
    """The index is saved, and the catalogue goes on, while they are copied."""
    box.write_projections(1)

    class Busy(Files):
        count = 1

        def link(self, source: Path, target: Path) -> None:
            super().link(source, target)
            if source.name == "manifest" and self.count < 4:
                self.count += 1
                box.write_projections(self.count)

    files = Busy()
    snapshot = box.run(files=files).snapshot
    assert snapshot is not None and files.count == 4
    (manifest,) = [one for one in snapshot.files if one.path.endswith("/manifest")]
    assert int(read_placed(box.remote, manifest).split()[-1]) <= snapshot.change == 4


def test_a_damaged_catalogue_does_not_hold_up_mail(box: ReplicaBox, tmp_path: Path) -> None:
    box.write_projections(1)
    catalogue = box.data / "projections" / "0001" / "catalogue.db"
    catalogue.write_bytes(b"no database at all" * 1000)
    box.receive(b"one")
    with pytest.raises(DamageError, match=r"catalogue\.db is damaged"):
        box.run()
    assert box.restored(tmp_path / "r") == box.originals


# -- what others see --------------------------------------------------------------------------------------------------


def test_nothing_on_the_remote_can_be_read_or_guessed_from(tmp_path: Path) -> None:
    """The whole product's files: no word of mail, no name, no setting; a passphrase opens nothing there."""
    archive = ScratchArchive(tmp_path)
    archive.user("anna@secret-customer.example", name="Annegret")
    archive.receive(report(mail("Krokodil", "Zwetschgenkuchen"), "To: anna@secret-customer.example"))
    archive.project()
    archive.sign()
    keyring = archive.archive.keyring
    keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
    box = ReplicaBox(tmp_path / "other")
    paths = replicate.ReplicaPaths.of(archive.paths.data, "cellar")
    manifest = replicate.replicate(
        paths, box.remote, keys, box.progress, now=box.now, roll=lambda data, now: None, force_snapshot=True
    )
    assert manifest.records >= 1 and manifest.settings is not None and manifest.snapshot is not None
    everything = b"".join(box.remote.content(name) for name in box.remote.names()).lower()
    words = ["krokodil", "zwetschgen", "secret-customer", "annegret", DOOR, "settings.db", "catalogue", "passphrase"]
    for word in words:
        for spelled in (word.encode(), word.encode("utf-16-le")):
            assert spelled not in everything, word
    assert b'"recovery"' in everything and b'"keyfile"' not in everything
    with pytest.raises(DamageError):
        newest(box.remote, box.keys)  # another archive's key
    archive.close()


def test_a_manifest_opens_under_its_own_name_only(box: ReplicaBox) -> None:
    box.receive(b"one")
    first = box.run()
    box.receive(b"two")
    second = box.run()
    old, new = (generation_name(1, one.number) for one in (first, second))
    box.remote.spoil(new, box.remote.content(old))
    with pytest.raises(DamageError, match=new):
        generation(box.remote, box.keys, 1, second.number)
    found = newest_of(box.remote, box.keys, generation_names(box.remote))
    assert found.manifest.number == second.number - 1 and found.forged == (new,)


def test_a_file_that_is_not_what_the_manifest_says_is_not_given_out(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    (placed,) = files_of(box.run(), box.remote, box.keys).values()
    whole = box.remote.content(placed.object)
    for spoilt in (whole[: placed.size - 1], whole[:100] + b"x" + whole[101:], b""):
        box.remote.spoil(placed.object, spoilt)
        for read in (lambda: read_placed(box.remote, placed), lambda: get_placed(box.remote, placed, tmp_path / "f")):
            with pytest.raises(DamageError, match="does not hold"):
                read()
        assert not (tmp_path / "f").exists()


def test_objects_are_locked_where_that_was_asked_for_and_one_manifest_a_day(tmp_path: Path) -> None:
    config = RemoteConfig(name="cellar", type="s3", lock_days=30)
    box = ReplicaBox(tmp_path, config=config)
    for number in range(3):
        box.receive(b"mail %d" % number)
        box.run()
    box.receive(b"next day")
    box.run(after=DAY)
    locked = box.remote.locked_until
    assert {name for name in box.remote.names() if not name.startswith("generations/")} <= set(locked)
    assert sorted(name for name in locked if name.startswith("generations/")) == [
        generation_name(1, 1), generation_name(1, 4)
    ]  # fmt: skip
    assert all(until >= box.now - DAY + 30 * DAY - HOUR for until in locked.values())


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_a_full_remote_is_told_and_what_is_there_is_not_uploaded_again(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_bundles(monkeypatch)
    for number in range(5):
        box.receive(incompressible(50_000, number))
        box.roll()
    box.remote.capacity = 170_000
    with pytest.raises(RemoteFullError):
        box.run()
    assert generation_names(box.remote) == []
    there = set(box.remote.names("objects"))
    assert there
    box.remote.capacity = None
    box.remote.calls.clear()
    box.run()
    assert not {name for call, name in box.remote.calls if call == "put"} & there
    assert box.restored(tmp_path / "r") == box.originals


def test_a_full_disk_here_is_told_before_anything_is_staged(box: ReplicaBox, tmp_path: Path) -> None:
    class Full(Files):
        def free(self, path: Path) -> int:
            return 1024

    box.receive(b"one")
    with pytest.raises(DiskFullError, match="All mail is safe"):
        box.run(files=Full())
    assert not list(box.paths.staging.iterdir())
    box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_a_run_that_is_stopped_says_so_and_the_next_goes_on(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.progress.stop = True
    with pytest.raises(UnavailableError, match="stopped"):
        box.run()
    box.progress.stop = False
    box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_progress_is_told_in_bytes_and_reaches_the_end(box: ReplicaBox) -> None:
    box.receive(incompressible(300_000))
    box.run()
    done, total, what = box.progress.reports[-1]
    assert done == total > 300_000 and what == "mail"
    counts = [done for done, _, _ in box.progress.reports]
    assert counts == sorted(counts)


def test_two_runs_to_one_remote_do_not_meet(box: ReplicaBox) -> None:
    box.receive(b"one")
    with State(box.paths, box.keys).held(), pytest.raises(ConflictError, match="just now"):
        box.run()
    box.run()


def test_without_what_the_box_remembered_the_remote_is_read_instead(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small_bundles(monkeypatch)
    box.receive(incompressible(50_000))
    box.write_projections(1)
    first = box.run()
    _forget(box)
    box.remote.calls.clear()
    box.receive(b"two")
    second = box.run()
    assert second.number == first.number + 1
    kept = files_of(first, box.remote, box.keys)
    assert kept.items() <= files_of(second, box.remote, box.keys).items()
    assert not {one.object for one in kept.values()} & {name for call, name in box.remote.calls if call == "put"}
    assert box.restored(tmp_path / "r") == box.originals


def test_a_remote_that_was_emptied_is_filled_again_once_it_is_set_up_anew(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.write_settings("anna")
    box.write_projections(1)
    first = box.run()
    for name in box.remote.names():
        box.remote.spoil(name, None)
    with pytest.raises(UnavailableError, match="add it anew"):
        box.run()
    assert box.remote.names() == []
    State(box.paths, box.keys).forget()
    second = box.run()
    assert second.records == first.records
    assert box.restored(tmp_path / "r") == box.originals


@pytest.mark.parametrize("spoilt", ["volume", "settings", "snapshot", "inventory"])
@pytest.mark.parametrize("how", ["deleted", "altered"])
def test_what_an_audit_found_bad_goes_up_again_under_another_name(
    box: ReplicaBox, tmp_path: Path, spoilt: str, how: str
) -> None:
    box.receive(b"one")
    box.write_settings("anna")
    box.write_projections(1)
    box.roll()
    box.sign()
    first = box.run()
    assert first.settings is not None and first.snapshot is not None
    (volume,) = [one for path, one in files_of(first, box.remote, box.keys).items() if path.endswith(".mkv")]
    name = {
        "volume": volume.object, "settings": first.settings.object, "inventory": first.inventory,
        "snapshot": first.snapshot.files[0].object,
    }[spoilt]  # fmt: skip
    box.remote.spoil(name, None if how == "deleted" else b"something else")
    State(box.paths, box.keys).add_bad([name])
    second = box.run()
    assert second.number > first.number
    assert name not in {one.object for one in files_of(second, box.remote, box.keys).values()}
    assert box.restored(tmp_path / "r") == box.originals
    assert State(box.paths, box.keys).bad() == frozenset()
    third = box.run()
    assert third.number == second.number


def test_an_object_that_was_cut_off_is_replaced(box: ReplicaBox, tmp_path: Path) -> None:
    """A run broke off, and the storage kept half of an object under its name."""
    box.receive(b"one")
    box.run()
    (cut,) = {one.object for one in files_of(newest(box.remote, box.keys), box.remote, box.keys).values()}
    box.remote.spoil(cut, box.remote.content(cut)[:100])
    for name in box.remote.names():
        if name != cut:
            box.remote.spoil(name, None)
    _forget(box)
    box.run()
    assert ("delete", cut) in box.remote.calls
    assert box.restored(tmp_path / "r") == box.originals


def test_a_forged_generation_is_named_and_the_next_one_is_good(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    first = box.run()
    forged = generation_name(1, first.number + 1)
    box.remote.spoil(forged, b"forged" * 20)
    box.receive(b"two")
    with pytest.raises(DamageError, match=forged):
        box.run()
    assert generation_names(box.remote)[0] == (1, first.number + 2)
    assert box.restored(tmp_path / "r") == box.originals


def test_an_archive_volume_whose_seal_rots_here_stays_in_the_replica(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(*[b"one of many %d" % number for number in range(20)])
    box.roll()
    box.sign()
    box.run()
    box.compact()
    before = files_of(box.run(), box.remote, box.keys)
    assert any(path.endswith(".mka") for path in before) and not any(path.endswith(".mkv") for path in before)
    (seal,) = box.volumes.rglob("c0-*.seal")
    content = bytearray(seal.read_bytes())
    content[len(content) // 2] ^= 1
    seal.write_bytes(content)
    box.receive(b"new mail")
    State(box.paths, box.keys).begin_uploading()  # the run before was broken off
    with pytest.raises(DamageError, match=r"c0-00000001\.mka .*stay in the replica"):
        box.run()
    assert before.items() <= files_of(newest(box.remote, box.keys), box.remote, box.keys).items()
    assert box.restored(tmp_path / "r") == box.originals


def test_a_forged_name_with_the_last_number_changes_no_number(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    first = box.run()
    forged = generation_name(1, 9_999_999_999)
    box.remote.spoil(forged, b"junk" * 20)
    box.receive(b"two")
    with pytest.raises(DamageError, match=forged):
        box.run()
    assert (1, first.number + 1) in generation_names(box.remote)
    _forget(box)
    with pytest.raises(DamageError, match=forged):
        box.run()
    box.remote.spoil(forged, None)
    box.receive(b"three")
    assert box.run().number in (first.number + 2, first.number + 3)
    assert box.restored(tmp_path / "r") == box.originals


def test_after_a_generation_with_the_last_number_nothing_is_written(box: ReplicaBox) -> None:
    """Somebody with the service key wrote it."""
    box.receive(b"one")
    last = msgspec.structs.replace(box.run(), number=9_999_999_999)
    put_named(box.remote, box.keys, generation_name(1, last.number), last, box.data)
    box.receive(b"two")
    with pytest.raises(ConflictError, match="All mail is safe"):
        box.run()
    assert generation_names(box.remote)[0] == (1, last.number)
    assert len(box.remote.names("generations")) == 2


def test_a_remembered_number_that_no_name_can_have_is_not_heeded(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    first = box.run()
    state = State(box.paths, box.keys)
    remembered = state.load()
    assert remembered is not None
    manifest = msgspec.structs.replace(remembered.manifest, number=10_000_000_000)
    state.save(msgspec.structs.replace(remembered, manifest=manifest))
    box.receive(b"two")
    assert box.run().number == first.number + 1
    assert box.restored(tmp_path / "r") == box.originals


# -- after a restore --------------------------------------------------------------------------------------------------


def test_a_box_whose_place_another_has_taken_stops_writing(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    assert raise_epoch(box.remote, box.keys, tmp_path, now=box.now) == 2
    before = box.remote.names()
    box.receive(b"two")
    with pytest.raises(ConflictError, match="does not write there any more"):
        box.run()
    assert box.remote.names() == before


def test_a_box_whose_place_is_taken_in_the_midst_of_a_run_writes_no_generation(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    box.receive(b"two")
    other = FolderRemote(tmp_path / "remote", clock=lambda: box.now)

    def take_over(call: str, name: str) -> None:
        if call == "put" and name.startswith("objects/") and not other.names("epochs"):
            raise_epoch(other, box.keys, tmp_path, now=box.now)

    box.remote.before = take_over
    before = box.remote.names("generations")
    with pytest.raises(ConflictError, match="does not write there any more"):
        box.run(after=2 * DAY)
    assert other.names("epochs") == ["epochs/0002"]
    assert box.remote.names("generations") == before
    assert not [name for call, name in box.remote.calls if call == "delete"]


def test_a_box_restored_from_another_remote_marks_this_one_too(box: ReplicaBox) -> None:
    box.receive(b"one")
    box.run()
    set_own_epoch(box.data, 2)
    box.run()
    set_own_epoch(box.data, 1)  # the box from before
    box.receive(b"two")
    with pytest.raises(ConflictError, match="does not write there any more"):
        box.run()


def test_a_forgery_in_the_place_of_the_own_mark_is_told_and_mail_goes_on(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    (box.remote.folder / "epochs").mkdir()
    box.remote.spoil(epoch_name(2), b"junk")
    set_own_epoch(box.data, 2)
    box.receive(b"two")
    with pytest.raises(DamageError, match="epochs/0002"):
        box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_forged_names_raise_no_epoch(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    box.remote.spoil(generation_name(9999, 1), b"junk")
    (box.remote.folder / "epochs").mkdir()
    box.remote.spoil(epoch_name(2), b"junk")
    assert raise_epoch(box.remote, box.keys, tmp_path, now=box.now) == 3
    assert highest_epoch(box.remote, box.keys) == 3


def test_after_the_last_epoch_there_is_none(box: ReplicaBox, tmp_path: Path) -> None:
    mark = EpochMark(VERSION, box.keys.archive, 9999, box.now)
    put_named(box.remote, box.keys, epoch_name(9999), mark, tmp_path)
    with pytest.raises(ConflictError, match="Nothing was changed there"):
        raise_epoch(box.remote, box.keys, tmp_path, now=box.now)
    assert box.remote.names() == [epoch_name(9999)]
    set_own_epoch(box.data, 10_000)
    with pytest.raises(DamageError, match="from 1 to 9999"):
        box.run()


def test_a_forged_epoch_stops_nobody(box: ReplicaBox, tmp_path: Path) -> None:
    box.receive(b"one")
    box.run()
    raise_epoch(box.remote, box.keys, tmp_path, now=box.now)
    box.remote.spoil(epoch_name(7), box.remote.content(epoch_name(2)))
    box.remote.spoil(epoch_name(2), None)
    box.receive(b"two")
    box.run()
    assert box.restored(tmp_path / "r") == box.originals


def test_a_restored_box_goes_on_with_what_is_on_the_remote(
    box: ReplicaBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it has, and what it has not fetched yet, is not uploaded again; generations go on in the next epoch."""
    small_bundles(monkeypatch)
    box.receive(incompressible(50_000))
    box.roll()
    box.receive(incompressible(2_000))
    box.roll()
    box.sign()
    first = box.run()
    away = box.volumes / box.mailbox.hex() / "g0-00000001.mkv"
    content = away.read_bytes()
    AbsentFiles(box.volumes).add(
        [AbsentFile(str(away.relative_to(box.volumes)), len(content), sha256(content).digest())]
    )
    away.unlink()
    _forget(box)
    set_own_epoch(box.data, raise_epoch(box.remote, box.keys, tmp_path, now=box.now))
    before = box.remote.names("objects")
    box.receive(b"new mail after the restore")
    second = box.run()
    assert (second.epoch, second.number) == (2, first.number + 1)
    assert len(box.remote.names("objects")) <= len(before) + 3  # the new mail, an inventory, copies of box files
    assert box.restored(tmp_path / "r") == box.originals


def test_what_a_later_generation_dropped_is_found_in_the_one_that_was_restored(box: ReplicaBox, tmp_path: Path) -> None:
    """Restored from the generation before compaction: its volumes are absent here, and named by that one only."""
    box.receive(b"one", b"two")
    box.roll()
    box.sign()
    earlier = box.run()
    originals = dict(box.originals)
    seal = (box.volumes / box.mailbox.hex() / "g0-00000001.seal").read_bytes()
    box.compact()
    box.run()
    (volume,) = [one for path, one in files_of(earlier, box.remote, box.keys).items() if path.endswith(".mkv")]
    for path in (*box.volumes.rglob("*.mk?"), *box.volumes.rglob("*.seal"), *box.paths.state.iterdir()):
        if path.is_file():
            path.unlink()
    (box.volumes / box.mailbox.hex() / "g0-00000001.seal").write_bytes(seal)
    AbsentFiles(box.volumes).add([AbsentFile(volume.path.removeprefix("volumes/"), volume.size, volume.hash)])
    set_own_epoch(box.data, raise_epoch(box.remote, box.keys, tmp_path, now=box.now))
    manifest = box.run()
    assert {Path(path).name for path in files_of(manifest, box.remote, box.keys)} == {
        "g0-00000001.mkv", "g0-00000001.seal"
    }  # fmt: skip
    assert box.restored(tmp_path / "r") == originals


def test_volumes_that_only_another_replica_has_are_counted_in_words(box: ReplicaBox) -> None:
    box.receive(b"one")
    box.run()
    AbsentFiles(box.volumes).add([AbsentFile(f"{box.mailbox.hex()}/g0-00000009.mkv", 10, bytes(32))])
    set_own_epoch(box.data, raise_epoch(box.remote, box.keys, box.data, now=box.now))
    with pytest.raises(UnavailableError, match="1 of the archive's volumes"):
        box.run()
    assert len(files_of(newest(box.remote, box.keys), box.remote, box.keys)) == 1


@pytest.mark.parametrize("is_restored", [True, False])
@pytest.mark.parametrize("is_signed", [True, False])
def test_a_remote_that_was_further_along_gets_this_boxs_mail_and_keeps_the_other(
    box: ReplicaBox, tmp_path: Path, *, is_restored: bool, is_signed: bool
) -> None:
    """Restored from another remote, or set back to an earlier state of its disk, the box gives names again that lie on
    this remote with other mail in them."""
    box.receive(b"one")
    box.roll()
    box.sign()
    box.receive(b"two, before the fire")
    box.roll()
    if is_signed:
        box.sign()
    before = box.run()
    lost = dict(box.originals)
    for path in box.volumes.rglob("g0-00000002.*"):
        path.unlink()
    box.originals = {record: one for record, one in lost.items() if one == b"one"}
    _forget(box)
    if is_restored:
        set_own_epoch(box.data, 2)  # which another remote was told of
    assert box.log is not None
    box.log.close()
    box.log = None
    box.receive(b"two, after the fire")
    box.roll()
    box.sign()
    there = {name: box.remote.content(name) for name in box.remote.names()}
    with pytest.raises(UnavailableError, match=r"has volumes that this box does not have.*: 1 .*g0-00000002\.mkv"):
        box.run()
    after = newest(box.remote, box.keys)
    assert (after.epoch, after.number) == (2 if is_restored else 1, before.number + 1)
    assert box.restored(tmp_path / "after") == box.originals
    assert box.restored(tmp_path / "before", before) == lost
    assert there.items() <= {name: box.remote.content(name) for name in box.remote.names()}.items()
    box.receive(b"three")
    box.run()  # it was said once, and everything is as ever
    assert box.restored(tmp_path / "later") == box.originals


def test_what_was_signed_or_compacted_since_is_this_boxs_own(box: ReplicaBox, tmp_path: Path) -> None:
    """The box lost what it remembered of the remote: nothing there is strange to it."""
    box.receive(b"one")
    box.roll()
    box.sign()
    box.receive(b"two")
    box.run()
    before = set(box.remote.names("objects"))
    box.sign()
    box.compact()
    _forget(box)
    set_own_epoch(box.data, 2)
    box.run()
    assert before < set(box.remote.names("objects"))
    assert box.restored(tmp_path / "r") == box.originals


def _forget(box: ReplicaBox) -> None:
    """What the box remembers of the replica is lost."""
    for path in box.paths.state.iterdir():
        if path.is_file():
            path.unlink()
