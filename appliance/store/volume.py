"""Making volumes: the chain of one writer's headers in one mailbox, and the one volume being appended to.

A volume appears under its name with its whole header durable, or not at all: it is made under another name,
synced, renamed, and the directory synced. Its writer holds a lock on it as long as it may still append; a volume
that is neither closed nor locked has lost its writer and will never grow again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from appliance.errors import StorageError
from appliance.files import Files, create_directory, read_exactly, read_file, write_all
from appliance.keys.envelope import KEY_SIZE, seal
from appliance.store import merkle
from appliance.store.format import (
    HEADER_SIZE,
    MARKER_SIZE,
    NO_PREVIOUS,
    Footer,
    IndexEntry,
    VolumeHeader,
    pack_marker,
)
from appliance.store.names import UNFINISHED_SUFFIX, VolumeName, parse_volume, seal_path, sealed_by
from appliance.store.record import SealedRecord
from appliance.store.seal import attested_header


class VolumeKey(msgspec.Struct, frozen=True):
    """A new volume's identity and data key. Records can be sealed under it before the volume has a file."""

    volume_id: bytes
    key: bytes

    @classmethod
    def generate(cls) -> VolumeKey:
        """From the system's random source."""
        return cls(volume_id=os.urandom(16), key=os.urandom(KEY_SIZE))

    def __repr__(self) -> str:
        return f"VolumeKey(volume_id={self.volume_id.hex()})"


class HeaderChain:
    """One writer's volumes in one mailbox: numbers them without a gap and links each header to the one before."""

    def __init__(self, files: Files, volumes: Path, mailbox: bytes, writer: str) -> None:
        self._files = files
        self._volumes = volumes
        self._mailbox = mailbox
        self._writer = writer
        self._lock = threading.Lock()
        self._head: tuple[int, bytes] | None = None
        self.directory = volumes / mailbox.hex()
        self._durable_directory = False

    def prepare(self) -> None:
        """Make the mailbox's folder durable. Raises OSError."""
        with self._lock:
            self._prepare()

    def create(self, key: VolumeKey, public_key: bytes) -> tuple[VolumeName, int]:
        """A new volume, its header on disk, locked; (name, open descriptor). Raises OSError, StorageError."""
        with self._lock:
            self._prepare()
            name, header = self._next(key, public_key)
            unfinished = self.directory / (name.file + UNFINISHED_SUFFIX)
            descriptor = self._create_unfinished(unfinished)
            try:
                write_all(self._files, descriptor, [header], 0)
                self._publish(descriptor, unfinished, name, header)
            except BaseException:
                self._give_up(descriptor, unfinished)
                raise
            return name, descriptor

    def adopt(self, key: VolumeKey, public_key: bytes, descriptor: int, unfinished: Path) -> VolumeName:
        """Give a volume filled under another name its number, header and name. Raises OSError, StorageError."""
        with self._lock:
            name, header = self._next(key, public_key)
            write_all(self._files, descriptor, [header], 0)
            self._publish(descriptor, unfinished, name, header)
            return name

    def _prepare(self) -> None:
        # Another writer may have made the folder and died before it was durable: sync once, whoever made it.
        if not self._durable_directory:
            create_directory(self._files, self.directory)
            self._durable_directory = True

    def _next(self, key: VolumeKey, public_key: bytes) -> tuple[VolumeName, bytes]:
        sequence, previous = self._head or self._find_head()
        header = VolumeHeader(
            volume_id=key.volume_id, mailbox=self._mailbox, writer=self._writer, sequence=sequence + 1,
            created=time.time_ns() // 1000, previous=previous,
        )  # fmt: skip
        sealed = seal(public_key, key.key, header.key_info())
        name = VolumeName(self._mailbox, self._writer, header.sequence)
        return name, msgspec.structs.replace(header, sealed_key=sealed).pack()

    def _find_head(self) -> tuple[int, bytes]:
        # A volume may have been replaced by an archive volume; its seal stays, and keeps its number taken.
        files = self._files.names(self.directory)
        found = [sealed_by(f"{self.directory.name}/{name}") or f"{self.directory.name}/{name}" for name in files]
        ours = [name for name in map(parse_volume, found) if name is not None and name.writer == self._writer]
        if not ours:
            return 0, NO_PREVIOUS
        newest = max(ours, key=lambda name: name.sequence)
        # Whatever stands there is linked to, even damaged: verify names the damage, and a link that fits.
        return newest.sequence, self._header_hash(newest)

    def _header_hash(self, name: VolumeName) -> bytes:
        try:
            descriptor = self._files.open(self.directory / name.file)
        except FileNotFoundError:
            return attested_header(read_file(self._files, self._volumes / seal_path(str(name))))
        try:
            return sha256(read_exactly(self._files, descriptor, HEADER_SIZE, 0)).digest()
        finally:
            self._files.close(descriptor)

    def _create_unfinished(self, path: Path) -> int:
        # The name is taken by whoever is making this volume: so two processes that were given one writer's name
        # by mistake cannot rename over each other's volume.
        try:
            descriptor = self._files.create(path)
        except FileExistsError:
            remove_abandoned(self._files, path)
            descriptor = self._files.create(path)
        if not self._files.lock(descriptor):
            self._files.close(descriptor)
            raise _two_writers(self._writer)
        return descriptor

    def _publish(self, descriptor: int, unfinished: Path, name: VolumeName, header: bytes) -> None:
        path = self.directory / name.file
        self._head = None  # until all of it is done, nobody knows which volume is the newest
        self._files.sync(descriptor)
        if self._files.exists(path):
            raise _two_writers(self._writer)
        self._files.rename(unfinished, path)
        self._files.sync_directory(self.directory)
        self._head = name.sequence, sha256(header).digest()

    def _give_up(self, descriptor: int, unfinished: Path) -> None:
        with contextlib.suppress(OSError):
            self._files.unlink(unfinished)
        with contextlib.suppress(OSError):
            self._files.close(descriptor)


class ActiveVolume:
    """The open end of one volume. Used by one thread at a time; any OSError means: abandon it."""

    def __init__(self, files: Files, name: VolumeName, descriptor: int) -> None:
        self._files = files
        self._descriptor = descriptor
        self.name = name
        self._entries: list[IndexEntry] = []
        self._cipher_hashes: list[bytes] = []
        self._size = HEADER_SIZE
        self._batches = 0

    def append(self, records: Sequence[SealedRecord]) -> list[IndexEntry]:
        """Write one batch and return when it is on disk; where each record lies. Raises OSError."""
        # Every batch before this one was synced before this one was begun: all before the marker is durable.
        buffers: list[bytes] = [pack_marker(self._batches + 1, self._size)]
        offset = self._size + MARKER_SIZE
        entries = []
        for record in records:
            entries.append(record.entry(offset))
            buffers += record.parts
            offset += record.length
        write_all(self._files, self._descriptor, buffers, self._size)
        self._files.sync_data(self._descriptor)
        self._size = offset
        self._batches += 1
        self._entries += entries
        self._cipher_hashes += [record.cipher_hash for record in records]
        return entries

    def finish(self) -> None:
        """Write the footer, sync and close. Raises OSError; what was confirmed before stays so."""
        footer = make_footer(self._entries, self._cipher_hashes, self._size)
        write_all(self._files, self._descriptor, [footer.pack()], self._size)
        self._files.sync_data(self._descriptor)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the file, and with it of the lock."""
        with contextlib.suppress(OSError):
            self._files.close(self._descriptor)


def make_footer(entries: Sequence[IndexEntry], cipher_hashes: Sequence[bytes], logical_end: int) -> Footer:
    """The footer over the records of a volume."""
    return Footer(
        entries=tuple(entries),
        leaf_root=merkle.root(merkle.leaf_hash(entry.committed()) for entry in entries),
        cipher_root=merkle.root(cipher_hashes),
        logical_end=logical_end,
    )


def remove_abandoned(files: Files, path: Path) -> None:
    """Remove an unfinished file that nobody holds: it was never part of the log. Raises OSError, StorageError."""
    try:
        descriptor = files.open(path)
    except FileNotFoundError:
        return
    try:
        if files.is_locked(descriptor):
            raise _two_writers(path.name.split("-")[0])
        files.unlink(path)
    finally:
        files.close(descriptor)


def _two_writers(writer: str) -> StorageError:
    return StorageError(
        f"Another process writes to the archive under the name {writer!r}. Nothing is lost: the sender will try "
        "again. Stop one of the two."
    )
