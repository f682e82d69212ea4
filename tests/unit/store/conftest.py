"""A mailbox, its keys, and disks that fail: what the store's tests share."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import MailkeepError
from appliance.files import Files
from appliance.keys.keyring import Argon2, Keyring, Unlocked
from appliance.store.reader import LogReader, RecordRef
from appliance.store.verify import VerifyReport, verify
from appliance.store.writer import LogWriter


class FailingFiles(Files):
    """Counts the calls that change something; the ``fail_at``th raises, and with ``dead`` all after it do.

    ``dead`` is a process killed at that call: what it had open is closed, nothing more reaches the disk.
    """

    CALLS = ("create", "write", "sync_data", "sync", "sync_directory", "make_directory", "rename", "unlink", "free")

    def __init__(self, fail_at: int = 0, *, error: int = errno.EIO, dead: bool = False, short: int = 0) -> None:
        self.calls: list[str] = []
        self.fail_at = fail_at
        self.error = error
        self.dead = dead
        self.short = short

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if self.fail_at and (len(self.calls) == self.fail_at or (self.dead and len(self.calls) > self.fail_at)):
            raise OSError(self.error, os.strerror(self.error))

    def write(self, descriptor: int, buffers: Sequence[Any], offset: int) -> int:
        if self.fail_at and len(self.calls) + 1 == self.fail_at:
            # A failing write leaves half of its bytes behind.
            data = b"".join(buffers)
            super().write(descriptor, [data[: len(data) // 2]], offset)
        self._count("write")
        if self.short:
            return super().write(descriptor, [b"".join(buffers)[: self.short]], offset)
        return super().write(descriptor, buffers, offset)


def _counting(name: str) -> Callable[..., Any]:
    def call(self: FailingFiles, *args: Any) -> Any:
        self._count(name)
        return getattr(Files, name)(self, *args)

    return call


for _name in FailingFiles.CALLS:
    if _name != "write":
        setattr(FailingFiles, _name, _counting(_name))


class PowerCutFiles(Files):
    """Remembers what was never synced; ``cut`` takes it away, as a power cut may.

    Bytes of a file are durable by ``sync`` or ``sync_data``, a name by ``sync_directory``.
    """

    def __init__(self) -> None:
        self._paths: dict[int, Path] = {}
        self._durable: dict[Path, bytes] = {}
        self._undo: dict[Path, list[Callable[[], None]]] = {}
        self.on = True

    def create(self, path: Path, mode: int = 0o640) -> int:
        descriptor = super().create(path, mode)
        self._paths[descriptor] = path
        self._durable[path] = b""
        self._undo.setdefault(path.parent, []).append(lambda: path.unlink(missing_ok=True))
        return descriptor

    def make_directory(self, path: Path, mode: int = 0o750) -> None:
        super().make_directory(path, mode)

        def remove() -> None:
            for inside in sorted(path.rglob("*"), reverse=True):
                inside.unlink()
            path.rmdir()

        self._undo.setdefault(path.parent, []).append(remove)

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._durable[target] = self._durable.pop(source)
        for descriptor, path in self._paths.items():
            if path == source:
                self._paths[descriptor] = target
        self._undo.setdefault(target.parent, []).append(lambda: target.unlink(missing_ok=True))

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        path = self._paths[descriptor]
        self._durable[path] = path.read_bytes()

    def sync_data(self, descriptor: int) -> None:
        self.sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self._undo.pop(path, None)

    def cut(self) -> None:
        """The power goes, and comes back."""
        for path, data in self._durable.items():
            if path.exists():
                path.write_bytes(data)
        for actions in list(self._undo.values())[::-1]:
            for undo in reversed(actions):
                undo()


class Archive:
    """A volumes folder with one mailbox, and the keys to it."""

    def __init__(self, volumes: Path, keyring: Unlocked, mailbox: bytes) -> None:
        self.volumes = volumes
        self.keyring = keyring
        self.mailbox = mailbox
        self.public_key = keyring.public_key(mailbox)

    def writer(self, name: str = "g0", **options: Any) -> LogWriter:
        return LogWriter(self.volumes, name, **{"reserve": 0, "threads": 2, **options})

    def reader(self) -> LogReader:
        return LogReader(self.volumes, self.keyring)

    def originals(self) -> list[bytes]:
        """All originals in the archive, every check made; damage is left out."""
        reader = self.reader()
        return [
            reader.read(found).original
            for volume in reader.volumes()
            for found in reader.scan(volume)
            if isinstance(found, RecordRef)
        ]

    def verify(self) -> VerifyReport:
        return verify(self.volumes, self.keyring, deep=True)

    def append(self, writer: LogWriter, original: bytes) -> RecordRef | None:
        """Append and wait; None where it was refused."""
        try:
            return writer.append(self.mailbox, self.public_key, original).result(timeout=30)
        except MailkeepError:
            return None

    def path(self, writer: str = "g0", sequence: int = 1) -> Path:
        return self.volumes / self.mailbox.hex() / f"{writer}-{sequence:08d}.mkv"


@pytest.fixture(scope="session")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Unlocked:
    path = tmp_path_factory.mktemp("keys") / "keyring.json"
    unlocked, _ = Keyring.create(path, passphrase="correct horse", argon2=Argon2(memory=64, passes=1))
    return unlocked


@pytest.fixture(scope="session")
def mailbox(keyring: Unlocked) -> bytes:
    identity = bytes(range(16))
    keyring.create_mailbox(identity)
    return identity


@pytest.fixture
def archive(tmp_path: Path, keyring: Unlocked, mailbox: bytes) -> Iterator[Archive]:
    yield Archive(tmp_path / "volumes", keyring, mailbox)


@pytest.fixture
def make_archive(tmp_path: Path, keyring: Unlocked, mailbox: bytes) -> Callable[[], Archive]:
    """Archives in folders of their own, for tests that need one for each round."""
    count = 0

    def make() -> Archive:
        nonlocal count
        count += 1
        return Archive(tmp_path / f"volumes-{count}", keyring, mailbox)

    return make


@pytest.fixture
def failing() -> type[FailingFiles]:
    return FailingFiles


@pytest.fixture
def power_cut() -> type[PowerCutFiles]:
    return PowerCutFiles
