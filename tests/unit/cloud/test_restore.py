"""A restore: everything comes back on an empty machine, by the recovery key alone, and nothing that was forged."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.cloud import download, filling
from appliance.cloud.fetching import put_back
from appliance.cloud.manifests import ReplicaKeys, files_of, highest_epoch, newest, put_named
from appliance.cloud.objects import Manifest, Placed, Snapshot, generation_name
from appliance.cloud.recovering import find_keys, survey
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.replicate import ReplicaPaths, replicate
from appliance.cloud.restore import prepare
from appliance.cloud.restore_state import RestoreFolder
from appliance.cloud.sorting import Span
from appliance.cloud.state import own_epoch
from appliance.errors import (
    ConflictError,
    DamageError,
    DiskFullError,
    KeyringError,
    MailkeepError,
    NotFoundError,
    RemoteDeniedError,
    StorageError,
    UnavailableError,
    UsageError,
)
from appliance.files import Files
from appliance.keys.keyring import Keyring
from appliance.keys.recovery import new_secret, to_text, to_words
from appliance.services.archive import Archive
from appliance.services.paths import Paths
from appliance.services.unlock import Secret, unlock
from appliance.store.absent import AbsentFiles
from appliance.store.verify import verify
from tests.burnt import SECOND_DOOR, YEAR, Fire, Replicated
from tests.cloud_double import FolderRemote, Killed
from tests.replica_box import Quiet
from tests.scratch import DOOR, ScratchArchive, mail

STEP = int(os.environ.get("MAILKEEP_FAULT_STEP", "13"))
"""Of the calls that fail one after the other, every how many is tried."""


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# -- what comes back -------------------------------------------------------------------------------------------------


def test_everything_comes_back_by_the_recovery_key_alone(fire: Fire) -> None:
    manifest = fire.manifest()
    prepared = fire.prepare()
    assert prepared.status.state == "filling" and prepared.status.files == len(fire.absent()) > 0
    assert (prepared.status.generation, prepared.status.chain_head) == (manifest.number, manifest.chain_head.hex())
    assert (prepared.status.notes, prepared.status.quarantined) == ((), ())
    filled = fire.fill()
    assert filled.is_whole and filled.status.state == "complete" and filled.records >= manifest.records
    assert fire.records() == fire.originals and not fire.absent()
    report = verify(fire.data / "volumes", unlock(Paths(fire.data)), deep=True)
    assert (report.errors, report.absent) == ((), 0)


def test_the_archive_works_before_its_mail_is_there(fire: Fire) -> None:
    """Settings, users, search and new mail: all but what is in volumes that are still on their way."""
    fire.prepare()
    assert fire.absent()
    archive = Archive(Paths(fire.data), unlock(Paths(fire.data)))
    try:
        assert {one.address for one in archive.settings.mailboxes()} == {DOOR, SECOND_DOOR}
        assert archive.catalogue.counts().messages == len(fire.originals)
        assert archive.index.all_documents() == len(fire.originals)
    finally:
        archive.close()
    assert (fire.data / f"positions/{fire.second.hex()}-0badcafe").read_text() == "here\n"


def test_what_came_in_while_catalogue_and_index_were_copied_is_there_with_them(tmp_path: Path) -> None:
    """Mail is stored and indexed at every step of the run; the copies are used, whatever they know of already."""
    box = ScratchArchive(tmp_path / "box")
    remote = FolderRemote(tmp_path / "replica", RemoteConfig(name="cellar", type="local"))
    keyring = box.archive.keyring
    keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
    count = 0

    def more(call: str, name: str) -> None:
        nonlocal count
        if threading.current_thread() is not threading.main_thread():
            return  # several files go up at a time; between them is enough
        count += 1
        box.receive(mail("While it was copied", message_id=f"{count}@example.com"))
        box.project()

    def roll(data: Path, now: int) -> None:
        box.writer.roll()
        box.archive.writer.roll()

    more("", "")
    remote.after = more
    manifest = replicate(
        ReplicaPaths.of(box.paths.data, "cellar"), remote, keys, Quiet(), now=time.time_ns() // 1000, roll=roll
    )
    remote.after = lambda call, name: None
    box.close()
    assert count > 5 and manifest.snapshot is not None
    data = tmp_path / "new"
    prepared = prepare(data, remote, box.created.recovery_key, progress=Quiet())
    assert prepared.status.notes == () and (data / "projections" / "current").exists()
    archive = Archive(Paths(data), unlock(Paths(data), Secret(recovery_key=box.created.recovery_key)))
    try:
        assert 1 < archive.catalogue.counts().messages < count
    finally:
        archive.close()


def test_seals_and_the_system_log_come_with_a_request_each(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much mail lies between them."""
    monkeypatch.setattr(download, "_GAP", 0)  # what lies apart is asked for apart
    files = files_of(fire.manifest(), fire.remote, fire.keys)
    seals = {one.object for path, one in files.items() if path.endswith(".seal")}
    system = {one.object for path, one in files.items() if bytes(16).hex() in path and path.endswith(".mkv")}
    assert len([path for path in files if path.endswith(".seal")]) > 5
    fire.prepare()
    for objects in (seals, system):
        assert len([name for call, name in fire.remote.calls if call in ("read", "get") and name in objects]) == 1


def test_the_words_of_the_recovery_key_do_as_well(fire: Fire) -> None:
    fire.recovery_key = " ".join(to_words(fire.recovery_key))
    fire.prepare()
    assert fire.fill().is_whole


def test_the_newest_volume_comes_first(fire: Fire, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noted(volumes: Path, path: str, source: Path, digest: bytes, *, files: Files) -> None:
        order.append(path)
        put_back(volumes, path, source, digest, files=files)

    monkeypatch.setattr(filling, "put_back", noted)
    monkeypatch.setattr(download, "_GAP", -1)  # each by itself
    fire.remote = FolderRemote(fire.remote.folder, RemoteConfig(name="cellar", type="local", transfers=1))
    fire.prepare()
    fire.fill()
    assert order[-1].endswith(".mka")  # last year's mail, which was compacted
    numbers = [sealed_number(fire, path) for path in order[:-1]]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 1


def sealed_number(fire: Fire, path: str) -> int:
    line = (fire.data / "volumes" / path).with_suffix(".seal").read_bytes().partition(b"\n")[0]
    return int(json.loads(line)["number"])


def test_without_a_keyfile_only_the_recovery_key_opens_it(fire: Fire) -> None:
    fire.prepare(keyfile=None)
    assert not fire.keyfile.exists()
    assert [one.kind for one in Keyring.load(fire.data / "keyring.json").slots()] == ["recovery"]


def test_a_keyfile_that_is_there_already_is_left_as_it_is(fire: Fire) -> None:
    fire.keyfile.parent.mkdir()
    fire.keyfile.write_text("00" * 32)
    with pytest.raises(ConflictError, match="keyfile"):
        fire.prepare()
    assert fire.keyfile.read_text() == "00" * 32
    fire.prepare(keyfile=None)


def test_only_one_mailbox_comes_down_and_the_rest_waits_to_be_opened(fire: Fire) -> None:
    fire.prepare(mailbox=SECOND_DOOR)
    every = fire.absent()
    filled = fire.fill()
    assert filled.is_whole and filled.status.on_replica_only == len(fire.absent())
    assert fire.absent() == {path for path in every if not path.startswith(fire.second.hex())}
    assert fire.absent() < every
    fire.prepare()  # and now all of them
    assert fire.fill().is_whole and fire.records() == fire.originals


def test_what_was_let_go_of_since_does_not_come_down_again(fire: Fire) -> None:
    """While something else is missing still, a restore goes on every day."""
    fire.prepare()
    absent = AbsentFiles(fire.data / "volumes")
    listed = absent.all()
    lost = sorted(listed)[0]
    missing = fire.placed(lost)
    place = fire.remote.folder / missing.object
    whole = place.read_bytes()
    place.write_bytes(whole[: missing.offset] + bytes(missing.size) + whole[missing.offset + missing.size :])
    assert not fire.fill().is_whole and set(absent.all()) == {lost} < set(listed)
    released = set(listed) - {lost}
    for path in released:
        absent.add([listed[path]])
        (fire.data / "volumes" / path).unlink()
    assert not fire.fill().is_whole and set(absent.all()) == set(listed)
    place.write_bytes(whole)
    filled = fire.fill()
    assert filled.is_whole and filled.files == 1 and set(absent.all()) == released


def test_only_the_mail_of_some_months_comes_down(fire: Fire) -> None:
    month = int((time.time() - YEAR / 12) * 1e6)
    fire.prepare(span=Span(since=month))
    fire.fill()
    assert {path.rpartition(".")[2] for path in fire.absent()} == {"mka"}
    fire.prepare(span=Span(until=month))
    fire.fill()
    assert not fire.absent()


def test_an_older_generation_can_be_chosen(fire: Fire) -> None:
    first = fire.manifest()
    fire.prepare()
    fire.fill()
    shutil.rmtree(fire.data)
    fire.keyfile.unlink()
    staging = fire.remote.folder.parent / "staging"
    staging.mkdir()
    later = msgspec.structs.replace(first, number=first.number + 1, records=first.records + 7)
    put_named(fire.remote, fire.keys, generation_name(first.epoch, later.number), later, staging)
    listed = survey(fire.remote, fire.keys)
    assert [one.number for one in listed.generations][:2] == [later.number, first.number]
    assert fire.prepare(generation=first.number).status.generation == first.number
    with pytest.raises(ConflictError, match=f"Generation {first.number}"):
        fire.prepare(generation=later.number)


def test_a_generation_that_there_is_not(fire: Fire) -> None:
    with pytest.raises(NotFoundError, match="no generation 77"):
        fire.prepare(generation=77)
    assert not fire.data.exists()


# -- who may, and where ----------------------------------------------------------------------------------------------


def test_another_recovery_key_opens_nothing(fire: Fire) -> None:
    fire.recovery_key = to_text(new_secret())
    with pytest.raises(KeyringError, match="opens none of the 1 keyrings"):
        fire.prepare()
    assert not fire.data.exists()


def test_a_slip_in_the_recovery_key_is_told_before_the_remote_is_asked(fire: Fire) -> None:
    fire.recovery_key = "Z" + fire.recovery_key[1:] if fire.recovery_key[0] != "Z" else "Y" + fire.recovery_key[1:]
    with pytest.raises(KeyringError, match="slip"):
        fire.prepare()
    assert fire.remote.calls == []


def test_a_wrong_path_is_told(fire: Fire, tmp_path: Path) -> None:
    fire.remote = FolderRemote(tmp_path / "empty")
    with pytest.raises(NotFoundError, match="no replica"):
        fire.prepare()


def test_a_folder_that_is_not_empty_is_left_as_it_is(fire: Fire) -> None:
    fire.data.mkdir(parents=True)
    (fire.data / "keyring.json").write_text("{}")
    with pytest.raises(ConflictError, match="not empty"):
        fire.prepare()
    assert names(fire.data) == {"keyring.json"}
    assert highest_epoch(fire.remote, fire.keys) == 1


def test_a_second_process_keeps_out(fire: Fire) -> None:
    fire.prepare()
    with RestoreFolder(fire.data).held():
        with pytest.raises(ConflictError):
            fire.prepare()
        with pytest.raises(ConflictError):
            fire.fill()


def test_one_that_died_before_it_said_that_it_is_an_archive_is_one(fire: Fire) -> None:
    fire.prepare()
    folder = RestoreFolder(fire.data)
    folder.tell(msgspec.structs.replace(folder.status(), state="preparing", ready_at=None))
    assert folder.status().state == "filling"
    assert fire.prepare().is_new is False
    assert fire.fill().is_whole


def test_a_restore_that_has_ended_is_not_begun_again(fire: Fire) -> None:
    fire.prepare()
    fire.fill()
    assert not RestoreFolder(fire.data).has_begun, "the remote's credentials stay no longer than they are needed"
    assert RestoreFolder(fire.data).status().state == "complete"
    before = contents(fire.data)
    assert fire.prepare().status.state == "complete"
    with pytest.raises(ConflictError, match="there already"):
        fire.fill()
    with pytest.raises(ConflictError, match="of this archive, whole"):
        fire.prepare(generation=99)
    assert contents(fire.data) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mailbox", ["", SECOND_DOOR])
@pytest.mark.parametrize("is_filled", [True, False])
def test_an_archive_in_use_that_lost_its_keyring_is_left_as_it_is(fire: Fire, mailbox: str, is_filled: bool) -> None:
    """Going on with the restore would put the old generation's files in place of those of today."""
    fire.prepare(mailbox=mailbox)
    if is_filled:
        fire.fill()
    (position,) = (fire.data / "positions").iterdir()
    position.write_text("a year later\n")
    (fire.data / "keyring.json").unlink()
    before = {name: (fire.data / name).read_bytes() for name in names(fire.data)}
    with pytest.raises(ConflictError):
        fire.prepare()
    assert {name: (fire.data / name).read_bytes() for name in names(fire.data)} == before


def test_the_box_from_before_is_told_to_stop(fire: Fire) -> None:
    fire.prepare()
    assert (highest_epoch(fire.remote, fire.keys), own_epoch(fire.data)) == (2, 2)


def test_a_remote_that_takes_nothing_can_still_be_restored_from(fire: Fire) -> None:
    fire.remote.fail(RemoteDeniedError("This key may only read."), "put", times=99)
    prepared = fire.prepare()
    assert any("may only read" in note for note in prepared.status.notes)
    assert own_epoch(fire.data) == 2
    assert fire.fill().is_whole


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(fire: Fire) -> None:
    class Small(Files):
        def free(self, path: Path) -> int:
            return 1_000_000

    with pytest.raises(DiskFullError, match="larger disk"):
        fire.prepare(files=Small())
    assert highest_epoch(fire.remote, fire.keys) == 1


# -- what was forged -------------------------------------------------------------------------------------------------


def other(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("spoil", [other, lambda content: content[: len(content) // 2], lambda content: b""])
def test_a_manifest_that_was_altered_is_named_and_the_newest_that_opens_is_restored(
    fire: Fire, spoil: Callable[[bytes], bytes]
) -> None:
    number = fire.manifest().number
    name = generation_name(1, number)
    fire.remote.spoil(name, spoil(fire.remote.content(name)))
    assert survey(fire.remote, fire.keys).unopened == (name,)
    with pytest.raises(DamageError, match=name):
        fire.prepare(generation=number)
    assert not fire.data.exists(), "what was asked for by its number is restored, or nothing is"
    fire.remote.fail(UnavailableError("It does not answer."), "read", match="objects/")
    with pytest.raises(UnavailableError):
        fire.prepare()
    prepared = fire.prepare()
    assert prepared.status.generation == number - 1
    assert any(name in note and f"Generation {number - 1} was restored" in note for note in prepared.status.notes)
    assert fire.fill().is_whole and fire.records() == fire.originals


def test_where_no_manifest_opens_nothing_is_restored(fire: Fire) -> None:
    for name in fire.remote.names("generations"):
        fire.remote.spoil(name, other(fire.remote.content(name)))
    with pytest.raises(DamageError, match=generation_name(1, 2)):
        fire.prepare()
    assert not fire.data.exists()


def test_a_forged_manifest_keeps_nobody_from_the_newest_that_is_whole(fire: Fire) -> None:
    """Whoever can write to the remote can put a file with any name there."""
    number = fire.manifest().number
    content = fire.remote.content(generation_name(1, number))
    for forged in (generation_name(1, 9), generation_name(9999, number)):
        (fire.remote.folder / forged).write_bytes(content)
    assert fire.prepare(generation=number).status.generation == number
    fire.data, fire.keyfile = fire.data.with_name("again"), fire.keyfile.with_name("again.keyfile")
    prepared = fire.prepare()
    assert prepared.status.generation == number
    for forged in (generation_name(1, 9), generation_name(9999, number)):
        assert any(forged in note for note in prepared.status.notes)
    assert fire.fill().is_whole and fire.records() == fire.originals


def test_a_keyring_that_was_altered_opens_nothing(fire: Fire) -> None:
    (name,) = fire.remote.names("keyrings")
    fire.remote.spoil(name, other(fire.remote.content(name)))
    with pytest.raises(KeyringError, match="not what was written"):
        fire.prepare()


def test_a_keyring_that_somebody_else_put_there_is_not_taken(fire: Fire, tmp_path: Path) -> None:
    """Whoever can write to the remote can make a keyring of his own, but none that this recovery key opens."""
    _, key = Keyring.create(tmp_path / "theirs.json", passphrase="x")
    (fire.remote.folder / "keyrings" / ("f" * 64)).write_bytes((tmp_path / "theirs.json").read_bytes())
    assert find_keys(fire.remote, fire.recovery_key) == fire.keys
    with pytest.raises(KeyringError):
        find_keys(fire.remote, key)


def altered(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def truncated(content: bytes, at: int) -> bytes:
    return content[:at]


def swapped(content: bytes, at: int) -> bytes:
    return content[at:] + content[:at]


@pytest.mark.parametrize("spoil", [altered, truncated, swapped, None])
def test_a_volume_that_is_not_what_was_written_is_named_and_not_taken(
    fire: Fire, spoil: Callable[[bytes, int], bytes] | None
) -> None:
    fire.prepare()
    contents = files_of(fire.manifest(), fire.remote, fire.keys)
    coming = [contents[f"volumes/{path}"] for path in fire.absent()]
    one = max(coming, key=lambda placed: placed.offset)
    fire.remote.spoil(one.object, spoil(fire.remote.content(one.object), one.offset + 700) if spoil else None)
    filled = fire.fill()
    path = one.path.removeprefix("volumes/")
    assert any(missing.startswith(f"{path}: ") for missing in filled.status.missing)
    assert not filled.is_whole and RestoreFolder(fire.data).status().state == "incomplete"
    assert len(filled.status.missing) == (1 if spoil in (altered, truncated) else len(coming))
    assert path in fire.absent() and not (fire.data / one.path).exists()
    assert set(fire.records().items()) < set(fire.originals.items())


def test_what_was_missing_comes_once_the_remote_is_whole_again(fire: Fire) -> None:
    fire.prepare()
    contents = files_of(fire.manifest(), fire.remote, fire.keys)
    (gone,) = {contents[f"volumes/{path}"].object for path in fire.absent()}
    content = fire.remote.content(gone)
    fire.remote.spoil(gone, None)
    assert not fire.fill().is_whole
    fire.remote.spoil(gone, content)
    assert fire.fill().is_whole and fire.records() == fire.originals


def test_a_volume_whose_seal_says_that_it_is_another_file_is_quarantined(fire: Fire) -> None:
    """Whoever has the service key can write manifests, but not sign volumes."""
    genuine = next(
        one for path, one in files_of(fire.manifest(), fire.remote, fire.keys).items()
        if path.endswith(".mkv") and fire.second.hex() in path
    )  # fmt: skip
    forged = next(
        one for one in files_of(fire.manifest(), fire.remote, fire.keys).values() if one.path.endswith(".mka")
    )
    wrong = msgspec.structs.replace(forged, path=genuine.path)
    fire.rewrite(lambda one: msgspec.structs.replace(one, added=(*one.added, wrong)))
    prepared = fire.prepare()
    assert any(genuine.path in one and "another file" in one for one in prepared.status.quarantined)
    filled = fire.fill()
    assert not (fire.data / genuine.path).exists() and not filled.is_whole
    assert any(genuine.path.removeprefix("volumes/") in one for one in filled.status.errors)


@pytest.mark.parametrize(
    "path",
    [
        "../outside", "/etc/outside", "volumes/../../outside", "volumes/" + "0" * 32 + "/../../../outside",
        "keyring.json",
        "volumes/" + "0" * 32 + "/a0-00000001.mkv/..", "gateway/gateway.json", "replicas/epoch", "volumes/absent",
        "volumes/" + "0" * 32 + "/x.new", "volumes/" + "0" * 32 + "/a0-00000001.mkv\x00", "run/agent.key",
    ],
)  # fmt: skip
def test_no_path_of_a_manifest_leads_anywhere_else(fire: Fire, path: str) -> None:
    strange = msgspec.structs.replace(fire.placed(".seal"), path=path)
    number = fire.manifest().number
    fire.rewrite(lambda one: msgspec.structs.replace(one, added=(*one.added, strange)))
    with pytest.raises(DamageError, match="forgery"):
        fire.prepare(generation=number)
    assert not fire.data.exists() and not list(fire.data.parent.parent.rglob("*outside*"))


def test_no_object_of_a_manifest_lies_anywhere_else(fire: Fire) -> None:
    strange = msgspec.structs.replace(fire.placed(".seal"), object="objects/../../outside")
    number = fire.manifest().number
    fire.rewrite(lambda one: msgspec.structs.replace(one, added=(*one.added, strange)))
    with pytest.raises(DamageError, match="forgery"):
        fire.prepare(generation=number)
    assert not fire.data.exists()


@pytest.mark.parametrize("path", ["../../outside", "projections/0001/index/00000/../../../../outside"])
def test_a_snapshot_without_a_name_leads_nowhere_else(fire: Fire, path: str) -> None:
    def change(one: Manifest) -> Manifest:
        assert one.snapshot is not None
        catalogue = next(each for each in one.snapshot.files if each.path.endswith("catalogue.db"))
        files = tuple(msgspec.structs.replace(catalogue, path=each) for each in ("xx/catalogue.db", path))
        return msgspec.structs.replace(one, snapshot=Snapshot(one.snapshot.at, "", 1, files))

    fire.rewrite(change)
    assert any("do not belong there" in one for one in fire.prepare().status.notes)
    assert not list(fire.data.parent.parent.rglob("*outside*")) and not (fire.data / "xx").exists()


def test_no_path_of_a_snapshot_leads_anywhere_else(fire: Fire) -> None:
    def change(one: Manifest) -> Manifest:
        assert one.snapshot is not None
        strange = msgspec.structs.replace(one.snapshot.files[0], path="projections/0001/../../outside")
        snapshot = msgspec.structs.replace(one.snapshot, files=(*one.snapshot.files, strange))
        return msgspec.structs.replace(one, snapshot=snapshot)

    fire.rewrite(change)
    prepared = fire.prepare()
    assert any("do not belong there" in one for one in prepared.status.notes)
    assert not (fire.data / "projections" / "current").exists() and not list(fire.data.parent.rglob("*outside*"))


def test_a_catalogue_that_knows_more_than_the_mail_is_made_anew(fire: Fire) -> None:
    """Its volumes' names are given again, to other mail, which would never be found."""
    path = next(
        path for path in files_of(fire.manifest(), fire.remote, fire.keys)
        if path.endswith(".mkv") and "t0-" in path and path.replace(".mkv", ".seal") not in
        files_of(fire.manifest(), fire.remote, fire.keys)
    )  # fmt: skip
    fire.rewrite(lambda one: msgspec.structs.replace(one, removed=(*one.removed, path), added=()))
    prepared = fire.prepare()
    assert any("made later" in one for one in prepared.status.notes)
    assert not (fire.data / "projections" / "current").exists()


@pytest.mark.parametrize("what", ["settings", "box", "snapshot"])
def test_a_copy_that_cannot_be_used_is_named_and_done_without(fire: Fire, what: str) -> None:
    def change(one: Manifest) -> Manifest:
        found: Placed | Snapshot | None = getattr(one, what)
        spoilt: Placed | Snapshot
        if isinstance(found, Snapshot):
            files = tuple(msgspec.structs.replace(file, hash=bytes(32)) for file in found.files)
            spoilt = msgspec.structs.replace(found, files=files)
        else:
            assert found is not None
            spoilt = msgspec.structs.replace(found, hash=bytes(32))
        return msgspec.structs.replace(one, **{what: spoilt})

    fire.rewrite(change)
    prepared = fire.prepare()
    assert len(prepared.status.notes) == 1
    assert fire.fill().is_whole and fire.records() == fire.originals
    archive = Archive(Paths(fire.data), unlock(Paths(fire.data)))  # settings are made anew from the system log
    try:
        assert {one.address for one in archive.settings.mailboxes()} == {DOOR, SECOND_DOOR}
    finally:
        archive.close()


def test_a_missing_seal_is_named_and_its_volume_restored(fire: Fire) -> None:
    seal = fire.placed(".seal")
    fire.rewrite(
        lambda one: msgspec.structs.replace(one, added=(*one.added, msgspec.structs.replace(seal, hash=bytes(32))))
    )
    prepared = fire.prepare()
    assert any(seal.path in one for one in prepared.status.quarantined)
    assert prepared.status.notes  # the chain has a hole


def test_a_listing_that_is_older_than_a_restore_is_told(fire: Fire) -> None:
    fire.prepare()
    assert fire.prepare().status.notes == ()  # its own restore is no news
    fire.data = fire.data.with_name("again")
    fire.keyfile = fire.keyfile.with_name("again.keyfile")
    prepared = fire.prepare()
    assert any("epoch 2" in note for note in prepared.status.notes)
    assert own_epoch(fire.data) == 3
    assert survey(fire.remote, fire.keys).warnings


# -- interruptions ---------------------------------------------------------------------------------------------------


def whole(fire: Fire) -> None:
    """Calling both again ends well, whatever happened before."""
    fire.remote.before = fire.remote.after = lambda call, name: None
    if not (fire.data / "keyring.json").exists():
        fire.prepare()
    if RestoreFolder(fire.data).completed() is None:
        assert fire.fill().is_whole
    assert fire.records() == fire.originals and not fire.absent()
    assert names(fire.data / "volumes") == {
        path.removeprefix("volumes/") for path in files_of(newest(fire.remote, fire.keys), fire.remote, fire.keys)
    }
    unlocked = unlock(Paths(fire.data))
    assert verify(fire.data / "volumes", unlocked, deep=True).errors == ()


def calls(tmp_path: Path, replicated: Replicated) -> int:
    fire = Fire(tmp_path / "counting", replicated)
    fire.prepare()
    fire.fill()
    return len(fire.remote.calls)


@pytest.mark.faults
def test_killed_at_each_call_of_the_remote_it_goes_on(tmp_path: Path, replicated: Replicated) -> None:
    for number in range(0, calls(tmp_path, replicated), min(STEP, 3)):
        fire = Fire(tmp_path / str(number), replicated)
        seen = iter(range(10_000))

        def before(call: str, name: str, seen: Iterator[int] = seen, number: int = number) -> None:
            if next(seen) == number:
                raise Killed

        fire.remote.before = before
        with pytest.raises(Killed):
            fire.prepare()
            fire.fill()
        whole(fire)


class Failing(Files):
    """Every call of some kinds counts; the Nth raises."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at = at
        self.error = error
        self.count = 0

    def _hit(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise self.error

    def create(self, path: Path, mode: int = 0o640) -> int:
        self._hit()
        return super().create(path, mode)

    def sync(self, descriptor: int) -> None:
        self._hit()
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._hit()
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._hit()
        super().rename(source, target)

    def make_directory(self, path: Path, mode: int = 0o750) -> None:
        self._hit()
        super().make_directory(path, mode)


@pytest.mark.faults
@pytest.mark.parametrize("error", [Killed(), OSError(5, "Input/output error")], ids=["killed", "disk"])
def test_stopped_at_each_change_of_the_disk_it_goes_on(
    tmp_path: Path, replicated: Replicated, error: BaseException
) -> None:
    counting = Failing(0, error)
    fire = Fire(tmp_path / "counting", replicated)
    fire.prepare(files=counting)
    fire.fill(files=counting)
    for number in range(1, counting.count + 1, STEP):
        fire = Fire(tmp_path / str(number), replicated)
        files = Failing(number, error)
        with pytest.raises((Killed, StorageError, KeyringError)):
            fire.prepare(files=files)
            fire.fill(files=files)
        whole(fire)
        shutil.rmtree(tmp_path / str(number))


def test_stopped_by_somebody_it_says_so_and_goes_on(fire: Fire) -> None:
    fire.progress.stop = True
    with pytest.raises(UnavailableError, match="stopped"):
        fire.prepare()
    fire.progress.stop = False
    fire.prepare()
    fire.progress.stop = True
    with pytest.raises(UnavailableError, match="stopped"):
        fire.fill()
    fire.progress.stop = False
    whole(fire)


def test_a_network_that_comes_and_goes_is_told_and_nothing_is_fetched_twice(fire: Fire) -> None:
    fire.remote.fail(UnavailableError("No network."), "read", match="objects/", times=1)
    with pytest.raises(MailkeepError, match="No network"):
        fire.prepare()
    whole(fire)


def test_a_folder_with_another_archives_restore_is_left_as_it_is(fire: Fire) -> None:
    fire.prepare()
    sealed = fire.data / "replicas" / "restore"
    sealed.write_bytes(other(sealed.read_bytes()))
    with pytest.raises(ConflictError, match="another archive"):
        fire.prepare()


def test_a_mailbox_that_there_is_not_is_told_and_the_right_one_taken_then(fire: Fire) -> None:
    with pytest.raises(NotFoundError, match="nobody@"):
        fire.prepare(mailbox="nobody@archive.test")
    fire.prepare(mailbox=SECOND_DOOR)
    assert fire.fill().is_whole


def test_usage_errors_are_of_the_command(fire: Fire) -> None:
    with pytest.raises((UsageError, KeyringError)):
        prepare(fire.data, fire.remote, "", progress=fire.progress)
