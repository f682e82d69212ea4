"""A small archive in one process, its replica in a folder, and what must be true of the two."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from appliance.cloud.manifests import ReplicaKeys, files_of, newest, open_kind, read_box, read_placed
from appliance.cloud.objects import Manifest
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.replicate import ReplicaPaths, replicate
from appliance.cloud.sorting import SYSTEM
from appliance.files import FILES, Files
from appliance.keys.keyring import Argon2, Keyring
from appliance.mail.facts import Provenance
from appliance.store.drop import drop
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import Chain, sign_volume, waiting
from appliance.store.writer import LogWriter
from tests.archive_volumes import compact_all
from tests.cloud_double import FolderRemote

NOON = 1_795_000_000_000_000
"""Microseconds: a moment in November 2026."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CHEAP = Argon2(memory=64, passes=1)


class Quiet:
    """Progress that nobody looks at, and that may be told to stop."""

    def __init__(self) -> None:
        self.stop = False
        self.reports: list[tuple[int, int, str]] = []

    def report(self, done: int, total: int, what: str) -> None:
        self.reports.append((done, total, what))

    def stopped(self) -> bool:
        return self.stop


class ReplicaBox:
    """The archive's side, without a process: mail goes into its log, and a run is a call."""

    def __init__(self, folder: Path, *, config: RemoteConfig | None = None) -> None:
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.volumes = self.data / "volumes"
        self.keyring, self.recovery_key = Keyring.create(
            self.data / "keyring.json", passphrase="open sesame", argon2=CHEAP
        )
        self.mailbox = bytes(range(16))
        self.public_key = self.keyring.create_mailbox(self.mailbox, password=False).public
        self.system_key: bytes | None = None
        self.keys = ReplicaKeys(self.keyring.archive_id, self.keyring.key("service"), self.keyring.verify_key)
        self.now = NOON
        self.remote = FolderRemote(folder / "remote", config, clock=lambda: self.now)
        self.paths = ReplicaPaths.of(self.data, self.remote.config.name)
        self.progress = Quiet()
        self.log: LogWriter | None = None
        self.originals: dict[bytes, bytes] = {}
        """Every acknowledged record that was not erased, by its id."""

    # -- the archive -------------------------------------------------------------------------------------------------

    def writer(self, name: str, **options: Any) -> LogWriter:
        return LogWriter(self.volumes, name, reserve=0, **options)

    def receive(self, *originals: bytes) -> list[RecordRef]:
        """Mail is acknowledged."""
        if self.log is None:
            self.log = self.writer("g0")
        at = Provenance(received_at=self.now, rcpt_to=("journal@archive.test",))
        waiting = [self.log.append(self.mailbox, self.public_key, one, at) for one in originals]
        refs = [one.result(timeout=30) for one in waiting]
        self.originals.update({ref.record_id: one for ref, one in zip(refs, originals, strict=True)})
        return refs

    def receive_in_system_log(self, entry: bytes) -> None:
        """Something is noted in the system log, in a volume of its own."""
        if self.system_key is None:
            self.system_key = self.keyring.create_mailbox(SYSTEM, password=False).public
        log = self.writer("a0")
        at = Provenance(received_at=self.now, rcpt_to=())
        ref = log.append(SYSTEM, self.system_key, entry, at).result(timeout=30)
        log.close()
        self.originals[ref.record_id] = entry

    def roll(self, data: Path | None = None, now: int = 0) -> None:
        """What the gateway does when it is asked to."""
        if self.log is not None:
            self.log.roll()

    def chain(self) -> Chain:
        return Chain.load(self.volumes, archive_id=self.keys.archive, verify_key=self.keys.verify_key)

    def sign(self) -> None:
        """What the archiver does with closed volumes."""
        chain = self.chain()
        for volume in list(waiting(self.volumes, chain)):
            sign_volume(self.volumes, volume, chain, self.keyring)

    def compact(self) -> None:
        """Every signed volume into archive volumes."""
        compact_all(self)

    def erase(self, record: bytes) -> None:
        """Drop a record from its volume, which is signed and not compacted."""
        reader = LogReader(self.volumes, self.keyring)
        (volume,) = [
            info.path
            for info in reader.volumes()
            if any(isinstance(ref, RecordRef) and ref.record_id == record for ref in reader.scan(info))
        ]
        assert drop(self.volumes, volume, {record}, self.chain(), self.keyring, reserve=0) is not None
        self.originals.pop(record)

    def write_settings(self, *values: str) -> None:
        """A settings.db of sorts."""
        with closing(sqlite3.connect(self.data / "settings.db")) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS value (text TEXT)")
            database.executemany("INSERT INTO value VALUES (?)", [(value,) for value in values])

    def write_projections(self, change: int, *, packs: Iterable[bytes] = (b"pack",), generation: str = "0001") -> None:
        """A catalogue that has given out ``change`` numbers, and one shard of a sealed index."""
        folder = self.data / "projections" / generation
        shard = folder / "index" / "20264"
        shard.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / "catalogue.db")) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL)")
            database.execute("INSERT OR REPLACE INTO meta VALUES ('change', ?)", (change,))
        for one in packs:
            (shard / os.urandom(16).hex()).write_bytes(one)
        (shard / "manifest.new").write_bytes(b"manifest of %d" % change)
        (shard / "manifest.new").rename(shard / "manifest")
        (self.data / "projections" / "current").write_text(f"{generation}\n")

    # -- the replica -------------------------------------------------------------------------------------------------

    def run(self, *, after: int = 5 * MINUTE, files: Files = FILES, **options: Any) -> Manifest:
        """One run of replication, some time after the last."""
        self.now += after
        options.setdefault("roll", self.roll)
        return replicate(self.paths, self.remote, self.keys, self.progress, now=self.now, files=files, **options)

    def local(self) -> dict[str, bytes]:
        """SHA-256 of all whole files of the log, by path."""
        held = set() if self.log is None else set(self.log_growing())
        return {
            f"volumes/{path.relative_to(self.volumes)}": sha256(path.read_bytes()).digest()
            for path in self.volumes.rglob("*")
            if path.suffix in (".mkv", ".mka", ".seal") and str(path.relative_to(self.volumes)) not in held
        }

    def log_growing(self) -> list[str]:
        reader = LogReader(self.volumes)
        return [info.path for info in reader.volumes() if not info.closed]

    def restored(self, folder: Path, manifest: Manifest | None = None) -> dict[bytes, bytes]:
        """Every original that the replica's newest generation (or that one) gives back with the recovery key alone,
        by record id. Everything that a manifest names is read, and is what it says."""
        manifest = manifest or newest(self.remote, self.keys)
        folder.mkdir(parents=True)
        (folder / "keyring.json").write_bytes(self.remote.read(manifest.keyring))
        keyring = Keyring.load(folder / "keyring.json", argon2=CHEAP).unlock_with_recovery_key(self.recovery_key)
        assert keyring.key("service") == self.keys.service
        assert [slot.kind for slot in keyring.slots()] == ["recovery"]
        for path, placed in files_of(manifest, self.remote, self.keys).items():
            assert path == placed.path
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_placed(self.remote, placed))
        if manifest.settings is not None:
            assert open_kind(read_placed(self.remote, manifest.settings), self.keys, "settings")
        if manifest.box is not None:
            read_box(self.remote, self.keys, manifest.box)
        for placed in manifest.snapshot.files if manifest.snapshot is not None else ():
            read_placed(self.remote, placed)
        chain = Chain.load(folder / "volumes", archive_id=self.keys.archive, verify_key=self.keys.verify_key)
        assert chain.findings == ()
        assert (chain.number, chain.head) == (manifest.chain_number, manifest.chain_head)
        reader = LogReader(folder / "volumes", keyring)
        found: dict[bytes, bytes] = {}
        count = 0
        for info in reader.volumes():
            for ref in reader.scan(info):
                count += 1
                if isinstance(ref, RecordRef):
                    found[ref.record_id] = reader.read(ref).original
        assert count == manifest.records
        return found
