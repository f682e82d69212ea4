"""A rehearsal of the restore finds what would keep a restore from working, and leaves nothing behind."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from appliance.cloud.manifests import files_of, highest_epoch
from appliance.cloud.objects import Manifest
from appliance.cloud.readback import open_handed
from appliance.cloud.rehearsal import rehearse
from appliance.cloud.rehearsed import Rehearsed
from appliance.cloud.state import ReplicaPaths
from appliance.errors import DamageError, DiskFullError, NotFoundError, UnavailableError
from appliance.files import Files
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from tests.burnt import Fire
from tests.cloud_double import FolderRemote


def rehearsed(fire: Fire, **how: object) -> Rehearsed:
    scratch = fire.data.parent / "replicas" / "rehearsal"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        return rehearse(scratch, fire.remote, fire.keys, fire.progress, **how)  # type: ignore[arg-type]
    finally:
        assert not scratch.exists()


def trouble(found: Rehearsed) -> dict[str, tuple[str, ...]]:
    return {one.what: one.trouble for one in found.checks if one.trouble}


def opener(fire: Fire) -> object:
    fire.prepare()
    return unlock(Paths(fire.data))


def test_a_whole_replica_is_found_whole_and_nothing_there_is_changed(fire: Fire) -> None:
    before = {name: fire.remote.content(name) for name in fire.remote.names()}
    found = rehearsed(fire, sample=100)
    assert found.is_whole and found.generation == fire.manifest().number
    assert found.words.startswith(f"Generation {found.generation} could be restored; a whole restore would take about")
    assert [one.what for one in found.checks] == [
        "inventory", "keyring", "settings", "catalogue", "small files", "seals", "volumes"
    ]  # fmt: skip
    assert found.volumes == sum(
        not path.endswith(".seal") for path in files_of(fire.manifest(), fire.remote, fire.keys)
    )
    assert found.estimate is not None and found.estimate > 0 and found.bytes > 0
    assert {name: fire.remote.content(name) for name in fire.remote.names()} == before
    assert highest_epoch(fire.remote, fire.keys) == 1


def test_with_keys_every_record_of_the_sample_opens(fire: Fire) -> None:
    keys = opener(fire)
    found = rehearsed(fire, sample=100, opener=keys)
    assert found.is_whole and found.opened >= fire.manifest().records


def test_a_compacted_volume_opens_with_the_parts_that_it_shares_with_others(fire: Fire) -> None:
    keys = opener(fire)
    for seed in range(6):  # whichever volume it is
        assert rehearsed(fire, sample=1, opener=keys, rng=random.Random(seed)).opened > 0


def test_without_keys_no_record_is_opened(fire: Fire) -> None:
    assert rehearsed(fire, sample=100).opened == 0


def test_a_missing_object_is_named_with_what_it_holds(fire: Fire) -> None:
    one = fire.placed(".mka")
    fire.remote.spoil(one.object, None)
    found = trouble(rehearsed(fire))
    assert any(one.object in text and "not there" in text for text in found["inventory"])
    assert "inventory" in rehearsed(fire).words and any(one.object in line for line in rehearsed(fire).lines())


def test_an_object_that_was_cut_is_named(fire: Fire) -> None:
    last = max(files_of(fire.manifest(), fire.remote, fire.keys).values(), key=lambda one: one.offset)
    fire.remote.spoil(last.object, fire.remote.content(last.object)[:-1])
    assert any(last.object in text and "too short" in text for text in trouble(rehearsed(fire))["inventory"])


def test_a_volume_that_was_altered_is_named(fire: Fire) -> None:
    one = fire.placed(".mka")
    content = bytearray(fire.remote.content(one.object))
    content[one.offset + 2000] ^= 1
    fire.remote.spoil(one.object, bytes(content))
    found = trouble(rehearsed(fire, sample=100))
    assert list(found) == ["volumes"] and any(one.path in text for text in found["volumes"])


def test_a_seal_that_was_altered_is_named(fire: Fire) -> None:
    one = fire.placed(".seal")
    content = bytearray(fire.remote.content(one.object))
    content[one.offset + 20] ^= 1
    fire.remote.spoil(one.object, bytes(content))
    assert any(one.path.removeprefix("volumes/") in text for text in trouble(rehearsed(fire))["seals"])


def test_a_keyring_that_was_altered_is_named(fire: Fire) -> None:
    name = fire.manifest().keyring
    fire.remote.spoil(name, fire.remote.content(name)[:-2])
    assert list(trouble(rehearsed(fire))) == ["keyring"]
    fire.remote.spoil(name, None)
    assert list(trouble(rehearsed(fire))) == ["keyring"]


@pytest.mark.parametrize(("member", "check"), [("settings", "settings"), ("box", "small files")])
def test_a_copy_that_does_not_open_is_named(fire: Fire, member: str, check: str) -> None:
    fire.rewrite(
        lambda one: msgspec.structs.replace(
            one, **{member: msgspec.structs.replace(getattr(one, member), hash=bytes(32))}
        )
    )
    assert list(trouble(rehearsed(fire))) == [check]


def test_a_catalogue_that_does_not_open_is_named(fire: Fire) -> None:
    def change(one: Manifest) -> Manifest:
        assert one.snapshot is not None
        files = tuple(
            msgspec.structs.replace(file, hash=bytes(32)) if file.path.endswith("catalogue.db") else file
            for file in one.snapshot.files
        )
        return msgspec.structs.replace(one, snapshot=msgspec.structs.replace(one.snapshot, files=files))

    fire.rewrite(change)
    assert list(trouble(rehearsed(fire))) == ["catalogue"]


def test_what_was_left_by_an_interrupted_one_is_removed(fire: Fire) -> None:
    scratch = fire.data.parent / "replicas" / "rehearsal"
    (scratch / "volumes").mkdir(parents=True)
    (scratch / "volumes" / "x").write_bytes(b"old")
    assert rehearsed(fire).is_whole


def test_it_can_be_stopped_and_leaves_nothing(fire: Fire) -> None:
    fire.progress.stop = True
    with pytest.raises(UnavailableError, match="stopped"):
        rehearsed(fire)


def test_a_full_disk_is_told(fire: Fire) -> None:
    class Small(Files):
        def free(self, path: Path) -> int:
            return 1000

    with pytest.raises(DiskFullError, match="rehearsal"):
        rehearsed(fire, files=Small())


def test_where_there_is_nothing_it_says_so(fire: Fire, tmp_path: Path) -> None:
    fire.remote = FolderRemote(tmp_path / "empty")
    with pytest.raises(NotFoundError):
        rehearsed(fire)


def test_a_manifest_that_does_not_open_is_named_and_what_a_restore_would_take_is_rehearsed(fire: Fire) -> None:
    number = fire.manifest().number
    name = f"generations/0001-{number:010}"
    fire.remote.spoil(name, fire.remote.content(name)[:-1])
    found = rehearsed(fire)
    assert not found.is_whole and found.generation == number - 1
    assert any(name in text for text in trouble(found)["manifests"])
    for one in fire.remote.names("generations"):
        fire.remote.spoil(one, b"junk")
    with pytest.raises(DamageError, match=name):
        rehearsed(fire)


def test_the_volumes_of_a_rehearsal_are_decrypted_by_who_has_the_keys(fire: Fire) -> None:
    keys = opener(fire)
    paths = ReplicaPaths.of(fire.data, "cellar")
    for _ in range(2):  # the second takes the place of one that nobody has opened
        found = rehearsed(fire, sample=100, hand_over=paths)
        assert found.is_whole and found.opened == 0
        assert any("left to be decrypted" in line for line in found.lines())
    looked = open_handed(paths, "rehearsed", keys, keys, fetch=_never)  # type: ignore[arg-type]
    assert looked is not None and looked.opened >= fire.manifest().records and not looked.wrong
    assert open_handed(paths, "rehearsed", keys, keys, fetch=_never) is None  # type: ignore[arg-type]


def test_a_compacted_volume_that_was_handed_over_opens_with_parts_from_elsewhere(fire: Fire) -> None:
    keys = opener(fire)
    assert fire.fill().is_whole
    paths = ReplicaPaths.of(fire.data, "cellar")
    for seed in range(6):
        rehearsed(fire, sample=1, hand_over=paths, rng=random.Random(seed))
        looked = open_handed(paths, "rehearsed", keys, keys, fetch=_never)  # type: ignore[arg-type]
        assert looked is not None and looked.opened > 0 and not looked.wrong


def test_a_rehearsed_volume_whose_records_are_not_what_was_committed_to_is_told(fire: Fire) -> None:
    keys = opener(fire)
    paths = ReplicaPaths.of(fire.data, "cellar")
    rehearsed(fire, sample=100, hand_over=paths)
    volume = max((paths.state / "rehearsed").rglob("*.mkv"), key=lambda path: path.stat().st_size)
    content = bytearray(volume.read_bytes())
    content[len(content) // 2] ^= 1
    volume.write_bytes(content)
    looked = open_handed(paths, "rehearsed", keys, keys, fetch=_never)  # type: ignore[arg-type]
    assert looked is not None and looked.wrong


def test_what_is_not_as_it_was_signed_is_not_handed_over(fire: Fire) -> None:
    keys = opener(fire)
    paths = ReplicaPaths.of(fire.data, "cellar")
    one = fire.placed(".mka")
    fire.remote.spoil(one.object, bytes(len(fire.remote.content(one.object))))
    assert not rehearsed(fire, sample=100, hand_over=paths).is_whole
    assert open_handed(paths, "rehearsed", keys, keys, fetch=_never) is None  # type: ignore[arg-type]


def _never(path: str) -> None:
    raise AssertionError(path)
