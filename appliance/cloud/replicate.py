"""One run of replication: what the archive has and the remote lacks goes there, and a manifest last.

Volumes that are being written are closed first, so that only whole files are replicated. Objects have their hashes for
names: whatever was uploaded before a run broke off is found by the next one and not uploaded again. A file leaves the
replica only when an archive volume that is in it stands in its place; one that is merely not on this disk stays.

The manifest for new mail is written first, then one with what takes longer: small objects put together, catalogue and
index copied. Whatever knows of volumes, settings or catalogue, is copied before the volumes are closed and listed that
its manifest names: so a restored archive finds no volume in it that it has not.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from appliance.cloud import copies, snapshot
from appliance.cloud.additions import Additions
from appliance.cloud.base import find_base, next_number, require_epoch
from appliance.cloud.bundling import Bundle, grouped, merges_of, tasks_of
from appliance.cloud.clock import not_ahead
from appliance.cloud.collect import collect
from appliance.cloud.contents import Contents, in_objects
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import ReplicaKeys, kind_place, put_named
from appliance.cloud.objects import VERSION, Manifest, Placed, generation_name
from appliance.cloud.remote import Remote
from appliance.cloud.rolling import roll_and_wait
from appliance.cloud.run import Run
from appliance.cloud.state import Remembered, ReplicaPaths, State, own_epoch
from appliance.cloud.upload import Item, Outcome, Progress, Task, Uploads
from appliance.errors import DamageError, DiskFullError, NotFoundError, StorageError, UnavailableError
from appliance.files import FILES, Files, create_directory, create_file, file_digest
from appliance.keys import stored
from appliance.sealing import write_sealed

__all__ = ["Progress", "ReplicaKeys", "ReplicaPaths", "replicate"]

SMALL: Final = 8 * 1024 * 1024
"""Bytes in use of an object below which it is one to be merged."""
MOST_SMALL: Final = 32
"""Small objects that may lie about."""
COPIES_EVERY: Final = 3_600_000_000
"""Microseconds between copies of settings and box files: what happened since is in the system log's volumes."""

_DAY: Final = 86_400_000_000
_SHOWN: Final = 3
"""Files that are named in a sentence."""
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

Roll = Callable[[Path, int], None]


def _roll(data: Path, now: int) -> None:
    roll_and_wait(data, now=now)


def replicate(
    paths: ReplicaPaths,
    remote: Remote,
    key: ReplicaKeys,
    progress: Progress,
    *,
    now: int,
    force_snapshot: bool = False,
    roll: Roll = _roll,
    files: Files = FILES,
) -> Manifest:
    """Bring a remote up to date, at ``now`` (microseconds). The newest generation there, whose ``at`` says up to when
    everything acknowledged is in it; where nothing had changed, it is the one from before with a later ``at``.

    Catalogue and index are copied when that is due, or by ``force_snapshot``. Raises ConflictError where another box
    was restored from this remote, or another run is under way; RemoteDeniedError, RemoteFullError, UnavailableError;
    StorageError. DamageError and UnavailableError may also come at the end, when the generation has been written: they
    say which file was left out because it is damaged here, or what else could not be done.
    """
    state = State(paths, key, files=files)
    lock = now + remote.config.lock_days * _DAY if remote.config.lock_days else 0
    try:
        with state.held(), _staging(paths, files):
            uploads = Uploads(remote, paths, progress, files=files, lock_until=lock, before=state.begin_uploading)
            state.settle(remote.config)
            run = Run(paths, remote, key, progress, now, files, uploads, state.bad())
            replication = _Replication(run, state)
            ready = replication.get_ready()
            with ThreadPoolExecutor(1, "snapshot") as beside:
                copying = beside.submit(replication.copy_projections, force=force_snapshot)
                at = replication.roll(roll)
                replication.take_mail(ready)
            replication.finish(at)
            replication.merge_small()
            replication.take_snapshot(copying.result(), roll)
            manifest = replication.finish(at)
            replication.collect()
            replication.tell_lost()
    except OSError as error:
        raise _disk(error) from error
    run.raise_trouble()
    return manifest


class _Replication:
    """The generation in the making."""

    def __init__(self, run: Run, state: State) -> None:
        self._run = run
        self._state = state
        self._epoch = own_epoch(run.paths.data, files=run.files)
        base = find_base(run, state, self._epoch)
        self._additions = Additions(run, base)
        self._base = base.manifest
        self._number = base.number
        self._taken = base.taken
        self._contents = base.contents
        self._listed = base.listed
        self._sure = base.sure
        self._settings = base.manifest.settings if base.manifest is not None else None
        self._box = base.manifest.box if base.manifest is not None else None
        self._snapshot = base.manifest.snapshot if base.manifest is not None else None
        self._lost: dict[str, Placed] = {}
        kept = base.remembered
        self._digests = {
            copies.SETTINGS: kept.settings if kept is not None else b"",
            copies.BOX: kept.box if kept is not None else b"",
        }
        self._copied = not_ahead(kept.copied, run.now) if kept is not None else 0
        self._locked = kept.locked if kept is not None else 0
        self._collected = not_ahead(kept.collected, run.now) if kept is not None else 0

    def roll(self, roll: Roll) -> int:
        """Have the volumes closed that are being written; up to when everything acknowledged can be in this run."""
        if self._close_volumes(roll):
            return self._run.now
        return not_ahead(self._base.at, self._run.now) if self._base is not None else 0

    def _close_volumes(self, roll: Roll) -> bool:
        try:
            roll(self._run.paths.data, self._run.now)
        except UnavailableError as error:
            self._run.trouble.append(error)
            return False
        return True

    # -- what goes up ------------------------------------------------------------------------------------------------

    def get_ready(self) -> list[Task]:
        """What goes up beside mail: what is to be mended, and copies of settings and box files where they are due."""
        mending = list(self._mending())
        # Copies are sealed anew each time: mail's bundles, beside them, are the same when a run is tried again.
        return [*mending, *tasks_of(self._copies())]

    def take_mail(self, beside: Sequence[Task]) -> None:
        """Upload what of the log is not on the remote, and ``beside`` with it."""
        self._additions.take(beside, self._note)

    def _note(self, one: Placed) -> None:
        if one.path == copies.SETTINGS:
            self._settings = one
        elif one.path == copies.BOX:
            self._box = one
        else:
            self._contents.put(one)

    def _copies(self) -> Iterator[Item]:
        if self._settings is not None and self._box is not None and self._run.now < self._copied + COPIES_EVERY:
            return
        for name, make in ((copies.SETTINGS, copies.settings), (copies.BOX, copies.box)):
            try:
                made = make(self._run.paths, self._run.uploads, self._run.keys, self._digests[name])
            except (DamageError, StorageError, UnavailableError) as error:
                self._run.trouble.append(error)
                continue
            if made is not None:
                self._digests[name] = made.digest
                self._copied = self._run.now
                yield made.item

    def _mending(self) -> Iterator[Bundle]:
        """What is to go up anew, since its object is not there or not what it should be; under other names, for an
        object that is locked cannot be taken away."""
        spoilt = [one for one in self._contents if self._is_spoilt(one)]
        here = {one.path for one in spoilt if self._run.files.exists(self._run.paths.data / one.path)}
        self._lost = {one.path: one for one in spoilt if one.path not in here}
        items = (
            Item(one.path, one.size, self._additions.signed_hash(one.path) or one.hash, one.records)
            for one in spoilt
            if one.path in here
        )
        yield from (Bundle(group, salted=True) for group in grouped(items))
        if self._settings is not None and self._is_spoilt(self._settings):
            self._settings, self._digests[copies.SETTINGS] = None, b""
        if self._box is not None and self._is_spoilt(self._box):
            self._box, self._digests[copies.BOX] = None, b""
        if self._snapshot is not None and any(self._is_spoilt(one) for one in self._snapshot.files):
            self._snapshot = None
        if self._base is not None and (
            self._base.inventory in self._run.bad
            or not (self._sure or self._base.inventory in self._run.uploads.present)
        ):
            self._contents.require_inventory()

    def _is_spoilt(self, one: Placed) -> bool:
        return not self._run.is_there(one, sure=self._sure)

    def _still_lost(self) -> list[Placed]:
        """What is neither here nor whole on the remote, and has nothing in its place."""
        return [one for path, one in self._lost.items() if self._contents.get(path) == one]

    def tell_lost(self) -> None:
        """Say in every run which files could not be mended, since they are not here."""
        lost = sorted(one.path.removeprefix(ROOT) for one in self._still_lost())
        if lost:
            shown = ", ".join(lost[:_SHOWN]) + (" …" if len(lost) > _SHOWN else "")
            self._run.trouble.append(
                DamageError(
                    f"{len(lost)} of the archive's files are not on this disk, and {self._run.remote.config.name} has "
                    f"them damaged or not at all: {shown}. Everything else is replicated. Where another "
                    "replica has them, they are fetched from there and go up again by themselves. Leave the other "
                    "replicas as they are."
                )
            )

    def _placed(self) -> Iterator[Placed]:
        """All that the generation keeps in objects which files share."""
        yield from self._contents
        yield from (one for one in (self._settings, self._box) if one is not None)
        yield from self._snapshot.files if self._snapshot is not None else ()

    def merge_small(self) -> None:
        """Put what is in small objects, or in objects most of which is not needed any more, into large ones."""
        shown = self._snapshot.files if self._snapshot is not None else ()
        within = in_objects(self._placed())
        lost = {one.object for one in self._still_lost()}
        small = [
            placed for name, placed in within.items() if name not in lost and sum(one.size for one in placed) < SMALL
        ]
        if len(small) <= MOST_SMALL:
            return
        merged: dict[str, Placed] = {}

        def take(outcome: Outcome) -> None:
            merged.update((one.path, one) for one in outcome.placed)

        tasks = merges_of(one for placed in small for one in placed)
        self._run.uploads.run(tasks, "small files put together", take)
        if self._snapshot is not None:
            files = tuple(merged.pop(one.path, one) for one in shown)
            self._snapshot = msgspec.structs.replace(self._snapshot, files=files)
        for one in merged.values():
            self._note(one)

    def copy_projections(self, *, force: bool) -> snapshot.Copied | None:
        """Catalogue and index, where a snapshot is due; may run beside the upload of mail."""
        try:
            name = snapshot.due(self._run, self._snapshot, force=force)
            return None if name is None else snapshot.copied(self._run, name)
        except (DamageError, StorageError) as error:
            self._run.trouble.append(error)
            return None

    def take_snapshot(self, copy: snapshot.Copied | None, roll: Roll) -> None:
        """Upload a copy of catalogue and index, after the mail that came in until it was made."""
        # Without all volumes that it knows of it would be of no use, and the one before still is.
        if copy is None or not self._close_volumes(roll):
            return
        self.take_mail(())
        try:
            self._snapshot = snapshot.uploaded(self._run, copy, self._snapshot)
        except StorageError as error:
            self._run.trouble.append(error)

    # -- the generation ----------------------------------------------------------------------------------------------

    def finish(self, at: int) -> Manifest:
        """Write the manifest, if there is anything new in it."""
        keyring = self._keyring()
        base = self._base
        if base is not None and not self._is_new(base, keyring):
            if not self._sure or self._run.bad:
                self._remember(base)
                self._sure = True
            return msgspec.structs.replace(base, at=at)
        named = self._inventory() if base is None or self._contents.needs_inventory else base.inventory
        number, head = self._additions.chain
        manifest = Manifest(
            version=VERSION,
            archive=self._run.keys.archive,
            epoch=self._epoch,
            number=next_number(self._run, self._number, self._taken),
            at=at,
            chain_number=number,
            chain_head=head,
            records=self._contents.records,
            keyring=keyring,
            inventory=named,
            added=self._contents.added,
            removed=self._contents.removed,
            settings=self._settings,
            box=self._box,
            snapshot=self._snapshot,
        )
        self._put(manifest)
        self._number, self._base, self._listed, self._sure = manifest.number, manifest, True, True
        self._contents.changed = False
        self._remember(manifest)
        return manifest

    def _is_new(self, base: Manifest, keyring: str) -> bool:
        if self._contents.changed or self._contents.needs_inventory or not self._listed:
            return True
        before = base.keyring, base.settings, base.box, base.snapshot
        return before != (keyring, self._settings, self._box, self._snapshot)

    def _keyring(self) -> str:
        """The name of the keyring that the recovery key opens, which is on the remote on return."""
        content = stored.load(self._run.paths.data / "keyring.json", self._run.files).for_replica()
        name = f"keyrings/{sha256(content).hexdigest()}"
        if not self._sure or self._base is None or self._base.keyring != name or name in self._run.bad:
            staged = self._run.uploads.staged()
            create_file(self._run.files, staged, content)
            self._run.uploads.put_as(staged, name)
        return name

    def _inventory(self) -> str:
        staged = self._run.uploads.staged()
        pieces = packed_inventory(self._contents)
        size = write_sealed(self._run.files, staged, self._run.keys.sealing, kind_place("inventory"), pieces)
        name = self._run.uploads.put(staged, file_digest(self._run.files, staged), size)
        self._state.save_inventory(staged)
        self._contents.inventoried()
        return name

    def _put(self, manifest: Manifest) -> None:
        lock_until = self._run.uploads.lock_until
        # The first of a day is locked: who gets hold of the remote's credentials can take back a day and no more.
        if lock_until and _day(self._locked) != _day(self._run.now):
            self._locked = self._run.now
        else:
            lock_until = 0
        self._state.begin_uploading()
        require_epoch(self._run, self._epoch)  # what went up may have taken days
        name = generation_name(self._epoch, manifest.number)
        put_named(
            self._run.remote, self._run.keys, name, manifest, self._run.paths.staging, lock_until=lock_until,
            files=self._run.files,
        )  # fmt: skip

    def _remember(self, manifest: Manifest) -> None:
        self._state.save(
            Remembered(
                version=VERSION,
                manifest=manifest,
                settings=self._digests[copies.SETTINGS],
                box=self._digests[copies.BOX],
                copied=self._copied,
                locked=self._locked,
                collected=self._collected or self._run.now,
                objects=len({one.object for one in self._placed()} | {manifest.keyring, manifest.inventory}) + 1,
            ),
            bad={one.object for one in self._still_lost()},
        )

    def collect(self) -> None:
        """Once a day, delete what nobody needs any more."""
        if self._base is None or not self._collected or self._run.now < self._collected + _DAY:
            return
        require_epoch(self._run, self._epoch)
        try:
            collect(self._run.remote, self._run.keys, self._run.progress, now=self._run.now)
        except (DamageError, NotFoundError) as error:
            self._run.trouble.append(error)
            return
        self._collected = self._run.now
        self._remember(self._base)


def packed_inventory(contents: Contents) -> Iterator[bytes]:
    """An ``Inventory`` in MessagePack, in pieces: its files may be many."""
    encode = msgspec.msgpack.Encoder().encode
    yield b"".join((b"\x82", encode("version"), encode(VERSION), encode("files"), b"\xdd", len(contents).to_bytes(4)))
    yield from map(encode, contents)


@contextmanager
def _staging(paths: ReplicaPaths, files: Files) -> Iterator[None]:
    """An empty staging folder, and empty again afterwards."""
    create_directory(files, paths.staging)
    _empty(paths.staging, files)
    try:
        yield
    except Exception:
        with contextlib.suppress(OSError):
            _empty(paths.staging, files)
        raise
    _empty(paths.staging, files)


def _empty(folder: Path, files: Files) -> None:
    for name in files.names(folder):
        with contextlib.suppress(FileNotFoundError):
            files.unlink(folder / name)


def _day(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d")


def _disk(error: OSError) -> StorageError:
    if error.errno in _FULL:
        return DiskFullError(
            "There is no room on the disk of the archive to get mail ready for the replica. All mail is safe on that "
            "disk; make room there, and replication goes on by itself."
        )
    return StorageError(
        f"The disk of the archive could not be read or written for the replica ({error.strerror or error}). What is on "
        "the remote stays as it is; replication is tried again. Look at the disk's health."
    )
