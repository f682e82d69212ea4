"""A rehearsal of the restore: as much of it as can be done without the recovery key, into a scratch folder.

It shows that the newest generation opens, that everything it names is there, that settings and catalogue can be laid
out, and that volumes taken at random are what was signed; where keys are at hand, that their records open. It does not
show that somebody still has the recovery key: `mailkeep restore --list` with it does.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

from appliance.cloud.laying import CATALOGUE, SETTINGS, Laying, is_sound
from appliance.cloud.log_laying import LogLaying, chain_troubles, is_seal
from appliance.cloud.manifests import Newest, ReplicaKeys, files_of, generation_names, newest_of
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.readback import hand_over_rehearsed
from appliance.cloud.rehearsed import Checked, Rehearsed
from appliance.cloud.remote import Remote
from appliance.cloud.sorting import ROOT, log_name, sort_volumes
from appliance.cloud.state import ReplicaPaths
from appliance.cloud.upload import Progress
from appliance.errors import DamageError, DiskFullError, KeyringError, MailkeepError, NotFoundError, SealedError
from appliance.files import FILES, Files, create_directory
from appliance.keys.keyring import Keyring
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.failures import storage_error
from appliance.store.names import parse_volume, volume_name
from appliance.store.reader import KeyOpener, LogReader, RecordRef
from appliance.store.seal import Chain
from appliance.store.survey import survey_archive, survey_volume

SAMPLE: Final = 5
"""Volumes that are read back, unless told."""
MOST_NAMED: Final = 20
"""Findings of one kind that are named one by one."""


class _Seals:
    """Whose seals count, for a reader."""

    def __init__(self, keys: ReplicaKeys) -> None:
        self.archive_id: UUID = keys.archive
        self.verify_key: bytes = keys.verify_key


def rehearse(
    scratch: Path,
    remote: Remote,
    keys: ReplicaKeys,
    progress: Progress,
    *,
    sample: int = SAMPLE,
    opener: KeyOpener | None = None,
    hand_over: ReplicaPaths | None = None,
    rng: random.Random | None = None,
    files: Files = FILES,
) -> Rehearsed:
    """Restore a part of the newest generation into the folder ``scratch``, which is removed before and afterwards.

    ``opener`` opens the records of ordinary mailboxes; with ``hand_over``, the paths of the remote, the volumes that
    were read back are left for somebody who has the keys (``readback.open_handed``). What is wrong with the replica is
    in the result. Raises NotFoundError where there is no generation, DamageError where no manifest opens,
    DiskFullError, StorageError, UnavailableError when stopped, and as ``Remote`` does.
    """
    begun = time.monotonic()
    found = newest_of(remote, keys, generation_names(remote))
    try:
        with _folder(scratch, files):
            run = _Rehearsal(scratch, remote, keys, found.manifest, progress, files)
            run.tell_forged(found)
            run.look_at_inventory()
            run.look_at_keyring()
            run.look_at_copies()
            run.look_at_seals()
            run.look_at_volumes(sample, rng or random.SystemRandom(), opener, hand_over)
            return run.result(time.monotonic() - begun)
    except OSError as error:
        raise storage_error(error) from error


@contextmanager
def _folder(scratch: Path, files: Files) -> Iterator[None]:
    shutil.rmtree(scratch, ignore_errors=True)
    create_directory(files, scratch.parent)
    create_directory(files, scratch)
    create_directory(files, scratch / "volumes")
    try:
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Rehearsal:
    def __init__(
        self, scratch: Path, remote: Remote, keys: ReplicaKeys, manifest: Manifest, progress: Progress, files: Files
    ) -> None:
        self._scratch = scratch
        self._volumes = scratch / "volumes"
        self._staging = scratch / "staging"
        self._remote = remote
        self._keys = keys
        self._manifest = manifest
        self._progress = progress
        self._files = files
        self._laying = Laying(scratch, self._staging, remote, keys, progress, files=files)
        self._log = LogLaying(scratch, self._staging, remote, keys, progress, files=files)
        self._checks: list[Checked] = []
        self._contents: Mapping[str, Placed] = {}
        self._chain = Chain(keys.archive, keys.verify_key)
        self._opened = self._sampled = self._bytes = 0
        self._fetching = 0.0

    def result(self, seconds: float) -> Rehearsed:
        """What was found out."""
        snapshot = self._manifest.snapshot.files if self._manifest.snapshot is not None else ()
        every = sum(one.size for one in (*self._contents.values(), *snapshot))
        return Rehearsed(
            remote=self._remote.config.name,
            epoch=self._manifest.epoch,
            generation=self._manifest.number,
            at=self._manifest.at,
            checks=tuple(self._checks),
            volumes=self._sampled,
            bytes=self._bytes,
            opened=self._opened,
            seconds=seconds,
            estimate=every * self._fetching / self._bytes if self._bytes else None,
        )

    # -- what is there ------------------------------------------------------------------------------------------------

    def tell_forged(self, found: Newest) -> None:
        """A restore passes over manifests that do not open, and says so."""
        if found.forged:
            self._note("manifests", [f"{name} was altered or is a forgery: it does not open." for name in found.forged])

    def look_at_inventory(self) -> None:
        """Every object that the generation names is there, and as large as it has to be."""
        try:
            self._contents = files_of(self._manifest, self._remote, self._keys)
        except (DamageError, NotFoundError) as error:
            self._note("inventory", [error.message])
            return
        there = {one.name: one.size for one in self._remote.list("objects")}
        needed: dict[str, list[Placed]] = {}
        for one in (*self._contents.values(), *self._copies()):
            needed.setdefault(one.object, []).append(one)
        short = [
            f"{name}, which holds {_several([one.path for one in within])}, is {_how(name in there)}."
            for name, within in needed.items()
            if there.get(name, -1) < max(one.offset + one.size for one in within)
        ]
        strange = [f"{path} has no place in an archive." for path in self._contents if log_name(path) is None]
        self._note("inventory", [*short, *strange], f"{len(self._contents)} files in {len(needed)} objects")

    def look_at_keyring(self) -> None:
        """The keyring is the one that was written, of this archive, and has a slot for the recovery key."""
        trouble = []
        name = self._manifest.keyring
        try:
            content = self._remote.read(name)
            keyring = Keyring.parse(content, self._scratch / "keyring.json")
            if f"keyrings/{sha256(content).hexdigest()}" != name or keyring.archive_id != self._keys.archive:
                trouble.append(f"{name} is not what was written there.")
            elif {slot.kind for slot in keyring.slots()} != {"recovery"}:
                trouble.append(f"{name} has other slots than the recovery key's.")
        except (NotFoundError, KeyringError) as error:
            trouble.append(error.message)
        self._note("keyring", trouble)

    def look_at_copies(self) -> None:
        """Settings, catalogue and box files open, and the databases are sound."""
        create_directory(self._files, self._staging)
        snapshot = self._manifest.snapshot
        catalogue = next((one for one in self._copies() if one.path.endswith(CATALOGUE)), None)
        self._require_room([one for one in (self._manifest.settings, catalogue) if one is not None])
        if self._manifest.settings is not None:
            self._look_at_database("settings", self._manifest.settings, SETTINGS)
        if catalogue is not None and snapshot is not None:
            self._look_at_database("catalogue", catalogue, CATALOGUE)
        if self._manifest.box is not None:
            with self._noting("small files", self._manifest.box) as trouble:
                trouble += [f"{path} has no place in an archive." for path in self._laying.box(self._manifest.box)]

    def _look_at_database(self, kind: str, placed: Placed, name: str) -> None:
        with self._noting(kind, placed) as trouble:
            self._laying.opened(placed, "settings" if name == SETTINGS else "catalogue", self._scratch / name)
            if not is_sound(self._scratch / name):
                trouble.append(f"SQLite finds the copy of {name} damaged. Both are made anew from the log if need be.")

    def look_at_seals(self) -> None:
        """All seals are signed, and their chain is the one that the generation says."""
        seals = [one for path, one in self._contents.items() if is_seal(path)]
        with self._timed(seals):
            self._log.folders(self._contents)
            wrong = self._log.seals(self._contents)
        self._chain = self._log.chain()
        trouble = [f"{path}: {why}" for path, why in wrong.items()]
        self._note("seals", [*trouble, *chain_troubles(self._chain, self._manifest)], f"{len(seals)} seals")

    # -- volumes ------------------------------------------------------------------------------------------------------

    def look_at_volumes(
        self, sample: int, rng: random.Random, opener: KeyOpener | None, hand_over: ReplicaPaths | None
    ) -> None:
        """Some volumes come back as what was signed; with keys, their records open."""
        found = sort_volumes(self._contents, self._chain)
        there = [*found.now, *found.later]
        chosen = rng.sample(there, min(sample, len(there)))
        self._require_room(chosen)
        trouble = [f"{path}: {why}." for path, why in found.quarantined.items()]
        trouble += self._bring(chosen)
        self._sampled = len(chosen)
        here = [one.path.removeprefix(ROOT) for one in chosen if self._files.exists(self._scratch / one.path)]
        for name in here:
            trouble += self._surveyed(name)
        told = f"{self._sampled} of {len(there)}"
        if opener is not None or hand_over is not None:
            self._list_absent(there)
        if opener is not None:
            trouble += self._read(here, {one.path.removeprefix(ROOT): one for one in there}, opener)
            told += f", {self._opened} records opened"
        elif hand_over is not None and here and not trouble:
            hand_over_rehearsed(hand_over, self._volumes, here, files=self._files)
            told += ", left to be decrypted by who has the keys"
        self._note("volumes", trouble, told)

    def _list_absent(self, there: Iterable[Placed]) -> None:
        """For a reader: what was not read back is somewhere else."""
        AbsentFiles(self._volumes, files=self._files).add(
            AbsentFile(one.path.removeprefix(ROOT), one.size, one.hash) for one in there
        )

    def _bring(self, wanted: Sequence[Placed]) -> list[str]:
        with self._timed(wanted):
            return list(self._log.bring(wanted, "volumes").values())

    def _surveyed(self, name: str) -> Iterator[str]:
        """What is wrong with a volume or archive volume by itself, without a key."""
        seal = self._chain.seal_of(name)
        if parse_volume(name) is None:
            try:
                archive = survey_archive(self._files, self._volumes / name)
            except DamageError as error:
                yield f"{name}: {error.message}"
                return
            if seal is None or (archive.file_hash, archive.leaf_root, archive.cipher_root) != (
                seal.file_hash, seal.leaf_root, seal.cipher_root
            ):  # fmt: skip
                yield f"{name} is not the archive volume that was signed."
            return
        found, digest = survey_volume(self._files, self._volumes, volume_name(name))
        if seal is not None and (digest, found.leaf_root, found.cipher_root) != (
            seal.file_hash, seal.leaf_root, seal.cipher_root
        ):  # fmt: skip
            yield f"{name} is not the volume that was signed."
        if any(gap.durable for gap in found.gaps) or found.header is None or found.disagreement():
            yield f"{name} is damaged, here as on the box."

    def _read(self, here: Sequence[str], every: Mapping[str, Placed], opener: KeyOpener) -> Iterator[str]:
        """Open all records; a reader that compares each with what was committed to."""

        def fetch(name: str) -> None:
            for message in self._bring([every[name]]):
                raise DamageError(message)

        reader = LogReader(self._volumes, opener, seal_key=_Seals(self._keys), fetch=fetch, files=self._files)
        for name in here:
            seal = self._chain.seal_of(name)
            written = [one.volume for one in seal.replaces] if seal is not None and seal.replaces else [name]
            for volume in written:
                yield from self._read_volume(reader, volume)

    def _read_volume(self, reader: LogReader, volume: str) -> Iterator[str]:
        for one in reader.scan(volume):
            if not isinstance(one, RecordRef):
                continue
            try:
                for _ in reader.stream(one):
                    pass
                self._opened += 1
            except SealedError:
                return
            except MailkeepError as error:
                yield f"{volume} at {one.offset}: {error.message}"

    # -- by the way ---------------------------------------------------------------------------------------------------

    def _copies(self) -> list[Placed]:
        snapshot = self._manifest.snapshot.files if self._manifest.snapshot is not None else ()
        return [one for one in (self._manifest.settings, self._manifest.box, *snapshot) if one is not None]

    @contextmanager
    def _timed(self, wanted: Sequence[Placed]) -> Iterator[None]:
        """Count what is fetched, and how long that takes."""
        begun = time.monotonic()
        yield
        self._fetching += time.monotonic() - begun
        self._bytes += sum(one.size for one in wanted)

    def _require_room(self, wanted: Sequence[Placed]) -> None:
        # What is sealed is also compressed: opened, a database may take several times as much.
        needed = 4 * sum(one.size for one in wanted)
        if self._files.free(self._scratch) < needed:
            raise DiskFullError(
                f"A rehearsal of the restore needs {needed // 1_000_000} MB on the disk of the archive for a while, "
                "and there is not so much free. Nothing was lost; make room."
            )

    @contextmanager
    def _noting(self, what: str, placed: Placed) -> Iterator[list[str]]:
        trouble: list[str] = []
        with self._timed([placed]):
            try:
                yield trouble
            except (DamageError, NotFoundError) as error:
                trouble.append(error.message)
        self._note(what, trouble)

    def _note(self, what: str, trouble: Sequence[str], told: str = "") -> None:
        more = len(trouble) - MOST_NAMED
        named = (*trouble[:MOST_NAMED], f"And {more} more.") if more > 0 else tuple(trouble)
        self._checks.append(Checked(what, named, told))


def _several(paths: Sequence[str]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more files" if len(paths) > 1 else paths[0]


def _how(there: bool) -> str:
    return "too short" if there else "not there"
