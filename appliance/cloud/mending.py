"""Mending what a check found: the replica from this box, and this box from the replica.

An object that is not what it should be is named to replication, whose next run uploads anew what this box has whole of
it, under another name; nothing is deleted that may hold the only whole copy of a file. A file of this box is replaced
only where its own bytes are damaged and the replica's are those that were signed. Both may be interrupted anywhere:
what is to be mended is written down before, and struck off when it is mended and told of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.cloud.audited import Audited
from appliance.cloud.checked import CheckedFile
from appliance.cloud.comparing import Here
from appliance.cloud.fetching import arriving, put_back
from appliance.cloud.findings import ReplicaFinding
from appliance.cloud.local import ROOT, Log
from appliance.cloud.manifests import ReplicaKeys, files_of, get_placed, newest, put_named, read_placed
from appliance.cloud.objects import VERSION, EpochMark, Placed, parse_epoch
from appliance.cloud.records import is_sound
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths, State
from appliance.errors import ConflictError, DamageError, ForbiddenError, MailkeepError, NotFoundError, StorageError
from appliance.files import FILES, Files, create_directory, replace_file
from appliance.store.absent import held
from appliance.store.names import SEAL_SUFFIX, VolumeName, parse_volume
from appliance.store.seal import Chain, read_seal
from appliance.store.survey import Survey, survey

OBJECTS: Final = frozenset({"missing", "truncated", "altered", "swapped", "unreadable", "differs"})
"""Findings about objects, which the next run of replication mends."""
FOUND: Final = "replica.damaged"
REPAIRED: Final = "replica.repaired"
"""Actions in the audit trail."""

_SEAL_MODE: Final = 0o640
_WAIT: Final = 5.0
_WAITS: Final = "It is mended from the replica once the archive is unlocked."

Note = Callable[[str, str], None]
"""Writes an audit line, durably: the action, and about what."""


class Mended(NamedTuple):
    """What was done, and what could not be, each in a sentence."""

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def __add__(self, other: object) -> Mended:
        if not isinstance(other, Mended):
            return NotImplemented
        return Mended((*self.done, *other.done), (*self.left, *other.left))


def mend(
    paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, audited: Audited, note: Note, *, now: int,
    may_change_here: bool = True, files: Files = FILES,
) -> Mended:  # fmt: skip
    """Mend what a check found, and tell the audit trail of each thing that was found and each that was mended, once.

    With ``may_change_here`` false this box's files wait; they are taken up by the next call. Raises ConflictError
    while this remote is replicated to, StorageError, and as ``Remote`` does.
    """
    mending = _Mending(paths, remote, keys, note, files)
    with _held(paths, keys, files):
        mending.tell(audited)
        mended = mending.objects(audited.findings) + mending.epochs(audited.findings, now)
        if may_change_here:
            return mended + mending.here()
        return mended + Mended(left=tuple(f"{path}: {_WAITS}" for path in mending.damaged_here()))


def mend_from_other(
    paths: ReplicaPaths, other: Remote, keys: ReplicaKeys, note: Note, *, lost: Collection[str] = (),
    files: Files = FILES,
) -> Mended:  # fmt: skip
    """Mend this box's files that the remote of ``paths`` was not able to mend from ``other``, which may.

    They are those that were found damaged here, and ``lost``, which is written down with them. Raises as ``mend``.
    """
    with _held(paths, keys, files):
        mending = _Mending(paths, other, keys, note, files)
        mending.add_damaged(lost)
        return mending.here()


@contextmanager
def _held(paths: ReplicaPaths, keys: ReplicaKeys, files: Files) -> Iterator[None]:
    """Nobody replicates to the remote meanwhile, and the disk's refusals are told in words."""
    try:
        with State(paths, keys, files=files).held():
            yield
    except OSError as error:
        raise StorageError(
            f"What the check found could not be mended ({error.strerror or error}). Nothing was lost by that; it is "
            "tried again. Look at the disk's health."
        ) from error


class _Mending:
    def __init__(self, paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, note: Note, files: Files) -> None:
        self._paths = paths
        self._remote = remote
        self._keys = keys
        self._note = note
        self._files = files
        self._file = CheckedFile(paths, keys, files=files)
        self._compared = Here(paths.volumes, keys, files=files)

    def tell(self, audited: Audited) -> None:
        """Write down what was found: for the audit trail, and what is to be mended here."""
        checked = self._file.load()
        found = [one for one in audited.findings if one.is_serious or one.kind == "earlier"]
        for one in found:
            if one.name not in checked.told:
                self._note(FOUND, f"{self._remote.config.name}: {one.words}")
        damaged = checked.damaged_here.union(one.name for one in audited.findings if one.is_here)
        # A sample sees little: what it does not find again has not gone by that.
        told = frozenset(one.name for one in found)
        if not (audited.full and audited.is_complete):
            told |= checked.told
        after = msgspec.structs.replace(checked, told=told, damaged_here=damaged)
        if after != checked:
            self._file.save(after)

    def objects(self, findings: Iterable[ReplicaFinding]) -> Mended:
        """Have the next run of replication do without the objects and manifests that are not what they should be."""
        bad = [one for one in findings if one.kind in OBJECTS or one.kind == "generation-altered"]
        if not bad:
            return Mended()
        # First written down, then deleted: whatever happens between, the next run knows.
        State(self._paths, self._keys, files=self._files).add_bad(one.name for one in bad)
        spare = (one.name for one in bad if one.is_spare and one.kind != "missing")
        return Mended(left=tuple(filter(None, map(self._delete, spare))))

    def epochs(self, findings: Iterable[ReplicaFinding], now: int) -> Mended:
        """Remove forged marks, and write this box's own where it is missing."""
        mended = Mended()
        for one in findings:
            epoch = parse_epoch(one.name)
            if epoch is None or one.kind not in ("epoch-forged", "epoch-missing"):
                continue
            if left := self._delete(one.name):
                mended += Mended(left=(left,))
            elif one.kind == "epoch-forged":
                mended += self._done(f"{one.name}, which was a forgery, was deleted.")
            else:
                create_directory(self._files, self._paths.state)
                mark = EpochMark(VERSION, self._keys.archive, epoch, now)
                put_named(self._remote, self._keys, one.name, mark, self._paths.state, files=self._files)
                mended += self._done(f"{one.name} was written anew.")
        return mended

    def add_damaged(self, paths: Collection[str]) -> None:
        """Write down that these are to be mended here."""
        checked = self._file.load()
        if not checked.damaged_here.issuperset(paths):
            self._file.save(msgspec.structs.replace(checked, damaged_here=checked.damaged_here.union(paths)))

    def damaged_here(self) -> Sequence[str]:
        """Files of this box that are to be mended, seals first: volumes are compared with them."""
        return sorted(self._file.load().damaged_here, key=lambda path: (not path.endswith(SEAL_SUFFIX), path))

    def here(self) -> Mended:
        """Put the replica's copies in the places of what is damaged or lost here."""
        damaged = self.damaged_here()
        if not damaged:
            return Mended()
        try:
            placed = files_of(newest(self._remote, self._keys), self._remote, self._keys)
        except (DamageError, NotFoundError) as error:
            return Mended(left=tuple(f"{path} cannot be mended from this replica: {error.message}" for path in damaged))
        mended = Mended()
        for path in damaged:
            one = placed.get(path)
            try:
                words = self._mend_one(one) if one is not None else self._unneeded(path)
            except MailkeepError as error:
                mended += Mended(left=(f"{path} cannot be mended from this replica: {error.message}",))
                continue
            mended += self._done(words)
            checked = self._file.load()
            self._file.save(msgspec.structs.replace(checked, damaged_here=checked.damaged_here - {path}))
        return mended

    def _unneeded(self, path: str) -> str:
        """Raises NotFoundError where the archive needs a file that the replica does not have."""
        if self._compared.belongs_here(path.removeprefix(ROOT)):
            raise NotFoundError("The newest generation there that opens does not have it.")
        return f"{path} belongs to the archive no more."

    def _mend_one(self, one: Placed) -> str:
        """Raises DamageError where the replica's is not what was signed either, NotFoundError where it is gone."""
        if not self._is_damaged(one):
            return f"{one.path} is whole here again."
        mend = self._mend_seal if one.path.endswith(SEAL_SUFFIX) else self._mend_volume
        return mend(one, one.path.removeprefix(ROOT))

    def _is_damaged(self, one: Placed) -> bool:
        found = self._compared.compare(one)
        return found is not None and found.is_here

    def _mend_seal(self, one: Placed, name: str) -> str:
        raw = read_placed(self._remote, one)
        key = Ed25519PublicKey.from_public_bytes(self._keys.verify_key)
        seal = read_seal(name, raw, key, self._keys.archive)
        chain = Chain.load(
            self._paths.volumes, archive_id=self._keys.archive, verify_key=self._keys.verify_key, files=self._files
        )
        if seal.number > chain.number:
            # The archiver goes on after the newest seal that it finds: two would get one number.
            raise ConflictError(f"It is newer than all seals here, and the archive signs {seal.volume} anew.")
        create_directory(self._files, (self._paths.volumes / name).parent)
        replace_file(self._files, self._paths.volumes / name, raw, _SEAL_MODE)
        return f"{one.path} was damaged here and was put back from {self._remote.config.name}."

    def _mend_volume(self, one: Placed, name: str) -> str:
        seal = self._log.seal_of(one.path)
        if seal is not None and (seal.size, seal.file_hash) != (one.size, one.hash):
            raise DamageError("What the replica has of it is not what was signed either.")
        volumes = self._paths.volumes
        create_directory(self._files, (volumes / name).parent)
        coming = arriving(volumes, name)
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(coming)
        get_placed(self._remote, one, coming, files=self._files)
        try:
            if seal is None:
                self._check_unsealed(name, coming)
            # Neither compaction nor anybody who lets files go touches the mailbox until it is in its place.
            with held((volumes / name).parent, seconds=_WAIT, files=self._files):
                if not self._is_damaged(one):
                    return f"{one.path} is whole here again."
                put_back(volumes, name, coming, one.hash, files=self._files)
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._files.unlink(coming)
        return f"{one.path} was damaged here and was put back from {self._remote.config.name}."

    def _check_unsealed(self, name: str, coming: Path) -> None:
        """Of a volume that nobody has signed the one counts that holds together. Raises DamageError."""
        volume = parse_volume(name)
        theirs = self._sound(coming, volume) if volume is not None else None
        if volume is None or theirs is None:
            raise DamageError("It has no seal yet, and what the replica has of it is damaged too.")
        with contextlib.suppress(FileNotFoundError):
            mine = self._sound(self._paths.volumes / name, volume)
            # One that was cut off at its end holds together, as far as it goes.
            if mine is not None and (mine.closed or mine.entries != theirs.entries[: len(mine.entries)]):
                raise DamageError("It has no seal yet, and both copies hold together though they differ.")

    def _sound(self, path: Path, volume: VolumeName) -> Survey | None:
        descriptor = self._files.open(path)
        try:
            found = survey(self._files, descriptor)
        finally:
            self._files.close(descriptor)
        header = found.header
        fits = header is not None and (header.mailbox, header.writer, header.sequence) == volume
        return found if fits and is_sound(found) else None

    @property
    def _log(self) -> Log:
        return Log(self._paths.volumes, self._keys, self._files)

    def _delete(self, name: str) -> str:
        """Delete an object; why it could not be, if so."""
        try:
            self._remote.delete(name)
        except ForbiddenError as error:
            return f"{name} cannot be deleted: {error.message}"
        return ""

    def _done(self, words: str) -> Mended:
        self._note(REPAIRED, words)
        return Mended(done=(words,))
