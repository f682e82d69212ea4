"""An archive whose recovery key nobody holds never counts; one that may hold mail is never taken away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ConflictError, KeyringError, StorageError, UsageError
from appliance.files import Files
from appliance.keys.keyring import Keyring
from appliance.services.paths import Paths
from appliance.services.setup import is_needed, making
from appliance.services.setup.create import create, discard
from appliance.services.setup.progress import Progress, load, save
from tests.scratch import ScratchArchive

PASSPHRASE = "a few unrelated words"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "data")


def test_the_archive_counts_when_the_recovery_key_was_typed_back(paths: Paths) -> None:
    progress, key = making.begin(paths, Progress(host_name="box.test"), passphrase=PASSPHRASE, unlocks_itself=False)
    assert load(paths).archive == "making"
    with pytest.raises(KeyringError):
        making.confirm(paths, progress, key=key, typed=key.replace("-", "")[:-1] + "0")
    assert load(paths).archive == "making"
    made = making.confirm(paths, progress, key=key, typed=" ".join(making.words(key)))
    assert made.archive == load(paths).archive == "made"
    assert is_needed(paths)
    keyring = Keyring.load(paths.keyring)
    keyring.unlock_with_passphrase(PASSPHRASE)
    keyring.unlock_with_recovery_key(key)
    assert not paths.keyfile.exists()


def test_one_that_was_not_typed_back_is_made_anew_with_another_key(paths: Paths) -> None:
    _progress, first = making.begin(paths, Progress(), passphrase=PASSPHRASE, unlocks_itself=True)
    progress, second = making.begin(paths, load(paths), passphrase="other unrelated words", unlocks_itself=False)
    assert first != second
    making.confirm(paths, progress, key=second, typed=second)
    assert not paths.keyfile.exists(), "the first try's keyfile is left"
    with pytest.raises(KeyringError):
        Keyring.load(paths.keyring).unlock_with_recovery_key(first)


def test_a_key_of_an_archive_that_somebody_else_made_anew_confirms_nothing(paths: Paths) -> None:
    progress, written_down = making.begin(paths, Progress(), passphrase=PASSPHRASE, unlocks_itself=False)
    making.begin(paths, load(paths), passphrase=PASSPHRASE, unlocks_itself=False)  # at another console
    with pytest.raises(KeyringError):
        making.confirm(paths, progress, key=written_down, typed=written_down)
    assert load(paths).archive == "making"


class _PowerCutError(Exception):
    pass


class _Cut(Files):
    """Files that stop at the Nth change."""

    def __init__(self, after: int) -> None:
        self._left = after

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _PowerCutError

    def unlink(self, path: Path) -> None:
        self._count()
        super().unlink(path)

    def rename(self, source: Path, target: Path) -> None:
        self._count()
        super().rename(source, target)


@pytest.mark.parametrize("after", range(8))
def test_a_power_cut_while_it_is_made_anew_leaves_set_up_able_to_go_on(paths: Paths, after: int) -> None:
    making.begin(paths, Progress(), passphrase=PASSPHRASE, unlocks_itself=True)
    try:
        making.begin(paths, load(paths), passphrase=PASSPHRASE, unlocks_itself=True, files=_Cut(after))
    except (_PowerCutError, StorageError):
        assert load(paths).archive == "making"
    progress, key = making.begin(paths, load(paths), passphrase=PASSPHRASE, unlocks_itself=True)
    making.confirm(paths, progress, key=key, typed=key)
    Keyring.load(paths.keyring).unlock_with_keyfile(paths.keyfile)


def test_an_archive_with_mail_is_not_taken_away(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path)
    box.receive(b"Subject: kept\r\n\r\n")
    box.close()
    with pytest.raises(ConflictError, match="may hold mail"):
        discard(box.paths)
    save(box.paths, Progress(archive="making"))
    with pytest.raises(ConflictError):
        making.begin(box.paths, load(box.paths), passphrase=PASSPHRASE, unlocks_itself=False)
    box.open()
    assert box.archive.reader.volumes(bytes.fromhex(box.mailbox.id))
    box.close()


@pytest.mark.parametrize(
    "prepare",
    [lambda data: (data / "run" / "web").mkdir(parents=True), lambda data: (data / "lost+found").mkdir(parents=True)],
)
def test_folders_of_a_package_or_a_disk_are_no_archive(paths: Paths, prepare: Callable[[Path], None]) -> None:
    prepare(paths.data)
    create(paths, passphrase=None, keyfile=True, administrator=False, hostname="box.test")
    assert paths.keyring.exists()


def test_a_folder_with_a_file_in_it_is_left_alone(paths: Paths) -> None:
    paths.data.mkdir()
    (paths.data / "letter.txt").write_text("mine")
    with pytest.raises(ConflictError, match="not empty"):
        making.begin(paths, Progress(), passphrase=PASSPHRASE, unlocks_itself=False)
    assert [one.name for one in paths.data.iterdir()] == ["letter.txt"]


def test_a_short_passphrase_makes_nothing(paths: Paths) -> None:
    with pytest.raises(UsageError, match="at least 12"):
        making.begin(paths, Progress(), passphrase="too short", unlocks_itself=True)
    with pytest.raises(UsageError):
        making.begin(paths, Progress(), passphrase="", unlocks_itself=False)
    assert not paths.data.exists()
    assert not paths.setup.exists()


def test_no_secret_is_remembered(paths: Paths) -> None:
    _progress, key = making.begin(paths, Progress(), passphrase=PASSPHRASE, unlocks_itself=False)
    kept = paths.setup.read_text()
    assert PASSPHRASE not in kept
    assert not any(group in kept for group in key.split("-"))
