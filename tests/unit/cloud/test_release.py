"""Letting go of volumes: only what two replicas hold as it was signed, and whenever the power goes nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.cloud.fetching import arriving, place, put_back, remove_arriving
from appliance.cloud.objects import Placed
from appliance.cloud.release import releasable, release
from appliance.errors import DamageError, StorageError, UsageError
from appliance.files import Files
from appliance.keys.keyring import Argon2, Keyring, Unlocked
from appliance.store.absent import AbsentFiles, held
from appliance.store.reader import LogReader, RecordRef
from appliance.store.verify import verify
from appliance.store.writer import LogWriter
from tests.archive_volumes import chain_of, compact_all, fill, office_mail

MAILBOX = bytes(range(16))
LATER = 1 << 60
MAILS = office_mail(60)


class Archive:
    """As the store's tests have it."""

    def __init__(self, volumes: Path, keyring: Unlocked) -> None:
        self.volumes, self.keyring, self.mailbox = volumes, keyring, MAILBOX
        self.public_key = keyring.public_key(MAILBOX)

    def writer(self, name: str = "g0", **options: int) -> LogWriter:
        return LogWriter(self.volumes, name, reserve=0, threads=2, **options)


class Dying(Files):
    """A process that is killed at the ``at``th call that changes something."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0

    def count(self) -> None:
        self.calls += 1
        if self.calls >= self.at:
            raise KilledError


class KilledError(BaseException):
    """Nothing catches this."""


def _counted(name: str) -> Callable[..., object]:
    def call(self: Dying, *args: object) -> object:
        self.count()
        return getattr(Files, name)(self, *args)

    return call


for _name in ("create", "write", "sync", "sync_directory", "rename", "unlink"):
    setattr(Dying, _name, _counted(_name))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Unlocked]:
    folder = tmp_path_factory.mktemp("archive")
    keyring, _ = Keyring.create(folder / "keyring.json", passphrase="correct horse", argon2=Argon2(memory=64, passes=1))
    keyring.create_mailbox(MAILBOX)
    archive = Archive(folder / "volumes", keyring)
    fill(archive, MAILS[:30])
    compact_all(archive, step_bytes=100_000)
    fill(archive, MAILS[30:], writer="g1")
    return folder / "volumes", keyring


@pytest.fixture
def archive(made: tuple[Path, Unlocked], tmp_path: Path) -> Iterator[Archive]:
    shutil.copytree(made[0], tmp_path / "volumes")
    yield Archive(tmp_path / "volumes", made[1])


def replica_of(archive: Archive) -> dict[str, Placed]:
    """What a replica holds that is up to date."""
    return {
        f"volumes/{seal.volume}": Placed(f"volumes/{seal.volume}", seal.size, seal.file_hash, "objects/x", 0)
        for seal in chain_of(archive).seals.values()
    }


def found(archive: Archive, *replicas: dict[str, Placed], **wanted: object) -> list[str]:
    values = {"keep": (), "older_than": 0, "now": LATER, **wanted}
    chain = values.pop("chain", None) or chain_of(archive)
    return releasable(archive.volumes, chain, {str(n): one for n, one in enumerate(replicas)}, **values)


def here(archive: Archive) -> list[str]:
    folder = archive.volumes / MAILBOX.hex()
    return sorted(f"{folder.name}/{path.name}" for path in folder.iterdir() if path.suffix in (".mkv", ".mka"))


def test_what_two_replicas_hold_goes_but_for_the_newest_volume(archive: Archive) -> None:
    replica = replica_of(archive)
    newest = max(path for path in here(archive) if path.endswith(".mkv"))
    assert any(path.endswith(".mka") for path in here(archive))
    assert sorted(found(archive, replica, replica)) == [path for path in here(archive) if path != newest]
    assert found(archive, replica) == []
    assert found(archive, replica, {}) == []
    assert found(archive, replica, {}, copies=1) == found(archive, replica, replica)


def test_a_replica_counts_for_the_files_that_it_holds_as_they_were_signed(archive: Archive) -> None:
    replica = replica_of(archive)
    path = found(archive, replica, replica)[0]
    for other in (
        msgspec.structs.replace(replica[f"volumes/{path}"], hash=bytes(32)),
        msgspec.structs.replace(replica[f"volumes/{path}"], size=7),
    ):
        left = found(archive, replica, {**replica, f"volumes/{path}": other})
        assert path not in left
        assert len(left) == len(found(archive, replica, replica)) - 1


def test_age_counts_from_when_the_mail_was_sealed_first(archive: Archive) -> None:
    replica = replica_of(archive)
    seals = chain_of(archive).seals.values()
    compacted = [seal for seal in seals if seal.replaces]
    before = max(seal.sealed_at for seal in seals if seal.volume.endswith(".mkv") and "/g0-" in seal.volume)
    assert before < min(seal.sealed_at for seal in compacted)
    assert sorted(found(archive, replica, replica, now=before)) == sorted(seal.volume for seal in compacted)
    assert found(archive, replica, replica, now=before, older_than=3_600_000_000) == []


def test_kept_mailboxes_stay_and_a_broken_chain_lets_nothing_go(archive: Archive) -> None:
    replica = replica_of(archive)
    assert found(archive, replica, replica, keep={MAILBOX}) == []
    next(iter((archive.volumes / MAILBOX.hex()).glob("g0-*.seal"))).unlink()
    assert found(archive, replica, replica) == []


def test_volumes_without_a_seal_and_archive_volumes_with_leftovers_stay(archive: Archive) -> None:
    replica = replica_of(archive)
    log = archive.writer("g1")
    log.append(MAILBOX, archive.public_key, b"unsigned").result(timeout=30)
    log.close()
    unsigned = max(path for path in here(archive) if "/g1-" in path)
    seal = next(seal for seal in chain_of(archive).archives)
    (archive.volumes / seal.replaces[0].volume).write_bytes(b"left by a crash")
    left = found(archive, replica, {**replica, **replica_of(archive)})
    assert unsigned not in left
    assert seal.volume not in left


def test_what_went_is_read_again_and_the_archive_is_whole(archive: Archive) -> None:
    paths = found(archive, replica_of(archive), replica_of(archive))
    kept = {path: (archive.volumes / path).read_bytes() for path in paths}
    done = release(archive.volumes, paths, chain_of(archive))
    assert (done.files, done.bytes, done.busy) == (len(paths), sum(map(len, kept.values())), ())
    assert not set(paths) & set(here(archive))
    assert AbsentFiles(archive.volumes).all().keys() == set(paths)
    assert_whole(archive, kept)


def test_a_mailbox_that_is_being_compacted_is_left_alone(archive: Archive) -> None:
    paths = found(archive, replica_of(archive), replica_of(archive))
    before = here(archive)
    with held(archive.volumes / MAILBOX.hex()):
        done = release(archive.volumes, paths, chain_of(archive))
    assert (done.files, done.busy) == (0, (MAILBOX.hex(),))
    assert here(archive) == before
    assert AbsentFiles(archive.volumes).all() == {}


def test_what_was_replaced_meanwhile_is_not_listed(archive: Archive) -> None:
    chain = chain_of(archive)
    paths = found(archive, replica_of(archive), replica_of(archive))
    (seal,) = compact_all(archive)
    release(archive.volumes, paths, chain)
    assert not {one.volume for one in seal.replaces} & AbsentFiles(archive.volumes).all().keys()
    assert verify(archive.volumes, archive.keyring).errors == ()


def test_a_kill_at_any_call_loses_no_volume(archive: Archive, tmp_path: Path) -> None:
    paths = found(archive, replica_of(archive), replica_of(archive))
    chain = chain_of(archive)
    kept = {path: (archive.volumes / path).read_bytes() for path in here(archive)}
    at = 0
    while True:
        at += 1
        for path, content in kept.items():
            (archive.volumes / path).write_bytes(content)
        AbsentFiles(archive.volumes).remove(paths)
        try:
            release(archive.volumes, paths, chain, files=Dying(at))
        except KilledError:
            listed = AbsentFiles(archive.volumes).all().keys()
            assert set(here(archive)) | listed >= kept.keys()
            assert verify(archive.volumes, archive.keyring).errors == ()
            assert release(archive.volumes, paths, chain).busy == ()
            assert AbsentFiles(archive.volumes).all().keys() == set(paths)
            continue
        break
    assert at > len(paths) + 6
    assert_whole(archive, kept)


def test_a_kill_at_any_call_while_one_comes_back_leaves_it_here_or_listed(archive: Archive) -> None:
    path = found(archive, replica_of(archive), replica_of(archive))[0]
    content = (archive.volumes / path).read_bytes()
    digest = chain_of(archive).seals[path].file_hash
    at = 0
    while True:
        at += 1
        release(archive.volumes, [path], chain_of(archive))
        coming = arriving(archive.volumes, path)
        coming.write_bytes(content)
        try:
            place(archive.volumes, path, coming, digest, files=Dying(at))
        except KilledError:
            there = archive.volumes / path
            assert there.read_bytes() == content if there.exists() else path in AbsentFiles(archive.volumes).all()
            assert verify(archive.volumes, archive.keyring).errors == ()
            remove_arriving(archive.volumes)
            assert not coming.exists()
            continue
        break
    assert at > 3
    assert path in here(archive)
    assert AbsentFiles(archive.volumes).all() == {}


def test_other_bytes_are_not_taken(archive: Archive) -> None:
    path = found(archive, replica_of(archive), replica_of(archive))[0]
    digest = chain_of(archive).seals[path].file_hash
    release(archive.volumes, [path], chain_of(archive))
    coming = arriving(archive.volumes, path)
    coming.write_bytes(b"something else")
    with pytest.raises(DamageError, match="another file"):
        place(archive.volumes, path, coming, digest)
    assert not coming.exists()
    assert path not in here(archive)
    assert path in AbsentFiles(archive.volumes).all()
    with pytest.raises(StorageError):
        put_back(archive.volumes, path, coming, digest)
    for wrong in ("../keyring.json", f"{MAILBOX.hex()}/g0-00000001.seal"):
        with pytest.raises(UsageError):
            arriving(archive.volumes, wrong)
        with pytest.raises(UsageError):
            put_back(archive.volumes, wrong, coming, digest)


def test_what_arrives_is_nothing_that_a_writer_takes_for_its_own(archive: Archive) -> None:
    path = next(path for path in here(archive) if path.endswith(".mkv"))
    release(archive.volumes, [path], chain_of(archive))
    coming = arriving(archive.volumes, path)
    coming.write_bytes(b"half")
    archive.writer("g1").close()  # which removes what it left itself
    assert coming.exists()
    assert verify(archive.volumes, archive.keyring).errors == ()


def assert_whole(archive: Archive, kept: dict[str, bytes]) -> None:
    """Nothing is wrong, and every original comes back."""

    def fetch(path: str) -> None:
        coming = arriving(archive.volumes, path)
        coming.write_bytes(kept[path])
        place(archive.volumes, path, coming, chain_of(archive).seals[path].file_hash)

    assert verify(archive.volumes, archive.keyring, deep=True).errors == ()
    reader = LogReader(archive.volumes, archive.keyring, fetch=fetch)
    originals = [
        reader.read(one).original
        for volume in reader.volumes()
        for one in reader.scan(volume)
        if isinstance(one, RecordRef)
    ]
    assert originals == MAILS
