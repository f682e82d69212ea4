"""A box that burnt down, what is left of it at a remote, and an empty machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from appliance.cloud.manifests import ReplicaKeys, files_of, newest, put_named
from appliance.cloud.objects import Manifest, Placed, generation_name
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.replicate import ReplicaPaths, replicate
from appliance.cloud.restore import Filled, Prepared, fill, prepare
from appliance.services import mailboxes
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from appliance.store.absent import AbsentFiles
from appliance.store.reader import LogReader, RecordRef
from tests.cloud_double import FolderRemote
from tests.replica_box import Quiet
from tests.scratch import BOX, ScratchArchive, mail

YEAR = 365 * 86_400.0
SECOND_DOOR = "second@archive.test"
PAPER = "The same words in every letter. " * 100


class Replicated(NamedTuple):
    """What is left of a box that burnt down."""

    folder: Path  # of the replica
    recovery_key: str
    keys: ReplicaKeys
    originals: dict[bytes, bytes]
    second: bytes  # id of another mailbox


def burn_down(folder: Path, *, volumes: int = 1) -> Replicated:
    """An archive of two mailboxes, mail of a year ago and of today, compacted, signed and not signed yet; then only its
    replica."""
    box = ScratchArchive(folder)
    second = mailboxes.mailbox_create(box.archive, BOX, name="Second", address=SECOND_DOOR).mailbox.id
    originals: dict[bytes, bytes] = {}

    def receive(subject: str, **where: str | float) -> None:
        one = mail(f"About {subject}", PAPER, message_id=f"{subject}@example.com")
        (record,) = box.receive(one, **where)  # type: ignore[arg-type]
        originals[record] = one

    for number in range(8):
        receive(f"yesteryear{number}", at=time.time() - YEAR)
    assert box.compact().volumes
    receive("second", rcpt=SECOND_DOOR, mailbox_id=second)
    box.sign()
    for number in range(volumes):
        receive(f"third{number}")
        box.sign()
    box.project()
    receive("unsigned")
    box.project()
    assert box.projecting is not None
    box.projecting.close()  # seals the index
    box.projecting = None
    box.writer.roll()
    box.archive.writer.roll()
    (box.paths.data / "positions").mkdir()
    (box.paths.data / "positions" / f"{second}-0badcafe").write_text("here\n")
    keyring = box.archive.keyring
    keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
    remote = FolderRemote(folder / "replica", RemoteConfig(name="cellar", type="local"))
    replicate(
        ReplicaPaths.of(box.paths.data, "cellar"), remote, keys, Quiet(), now=time.time_ns() // 1000,
        roll=lambda _data, _now: None,
    )  # fmt: skip
    box.close()
    return Replicated(folder / "replica", box.created.recovery_key, keys, originals, bytes.fromhex(second))


class Fire:
    """An empty machine, and a replica of its own to be looked at and spoiled."""

    def __init__(self, folder: Path, replicated: Replicated, *, slow: float = 0.0) -> None:
        """``slow`` is how many seconds each call of the remote takes."""
        shutil.copytree(replicated.folder, folder / "replica")
        self.remote = FolderRemote(folder / "replica", RemoteConfig(name="cellar", type="local"))
        self.remote.after = lambda call, name: time.sleep(slow)
        self.data = folder / "new" / "data"
        self.keyfile = folder / "new" / "data.keyfile"
        self.keys = replicated.keys
        self.recovery_key = replicated.recovery_key
        self.originals = replicated.originals
        self.second = replicated.second
        self.progress = Quiet()

    def prepare(self, **how: object) -> Prepared:
        how = {"keyfile": self.keyfile, "progress": self.progress, **how}
        return prepare(self.data, self.remote, self.recovery_key, **how)  # type: ignore[arg-type]

    def fill(self, **how: object) -> Filled:
        return fill(self.data, self.remote, self.keys, self.progress, **how)  # type: ignore[arg-type]

    def records(self) -> dict[bytes, bytes]:
        """What can be read of the restored archive, without anything being fetched."""
        reader = LogReader(self.data / "volumes", unlock(Paths(self.data)))
        found: dict[bytes, bytes] = {}
        for info in reader.volumes():
            if info.absent or info.mailbox == bytes(16):
                continue
            found.update(
                (one.record_id, reader.read(one).original) for one in reader.scan(info) if isinstance(one, RecordRef)
            )
        return found

    def absent(self) -> set[str]:
        return set(AbsentFiles(self.data / "volumes").all())

    def manifest(self) -> Manifest:
        return newest(self.remote, self.keys)

    def rewrite(self, change: Callable[[Manifest], Manifest]) -> None:
        """Another manifest in place of the newest, as only somebody with the service key could write it."""
        before = self.manifest()
        self.remote.delete(generation_name(before.epoch, before.number))
        staging = self.remote.folder.parent / "staging"
        staging.mkdir(exist_ok=True)
        put_named(self.remote, self.keys, generation_name(before.epoch, before.number), change(before), staging)

    def placed(self, ending: str) -> Placed:
        """A file of the generation, by the end of its path."""
        return next(
            one for path, one in files_of(self.manifest(), self.remote, self.keys).items() if path.endswith(ending)
        )
