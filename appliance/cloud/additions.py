"""What of the log the replica lacks, and what it needs no more since an archive volume stands in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from appliance.cloud.base import Base
from appliance.cloud.bundling import tasks_of
from appliance.cloud.local import ROOT, LocalFile, Log
from appliance.cloud.objects import Placed
from appliance.cloud.run import Run
from appliance.cloud.upload import Item, Outcome, Task
from appliance.errors import DamageError, UnavailableError
from appliance.store.names import ARCHIVE_SUFFIX, SEAL_SUFFIX, VOLUME_SUFFIX, sealed_by
from appliance.store.seal import NO_PREVIOUS, Seal

_LOOKS = 5


class _Signed(NamedTuple):
    """What is kept of a seal."""

    hash: bytes  # of its file
    records: int  # of the volume; an archive volume's count with the volumes that it stands for
    of_archive: bool


class Additions:
    """The log's part of a run."""

    def __init__(self, run: Run, base: Base) -> None:
        self._run = run
        self._log = Log(run.paths.volumes, run.keys, run.files)
        self._contents = base.contents
        self._elsewhere = base.elsewhere
        self._archives_changed = not base.sure
        self._unsigned: set[str] = set()
        self.chain = (0, NO_PREVIOUS)
        """Number of the newest seal, and the SHA-256 of its file."""
        if base.manifest is not None:
            self.chain = base.manifest.chain_number, base.manifest.chain_head

    def take(self, beside: Sequence[Task], note: Callable[[Placed], None]) -> None:
        """Upload what is lacking, and do ``beside`` with it; ``note`` gets where each file is.

        Raises UnavailableError where volumes are replaced all the time, and as ``Uploads.run``.
        """
        for _ in range(_LOOKS):
            gone: list[str] = []

            def taken(outcome: Outcome, gone: list[str] = gone) -> None:
                for one in outcome.placed:
                    note(one)
                gone += outcome.gone
                if outcome.damaged:
                    self._run.trouble.append(_damaged(outcome.damaged))

            mine = list(self._items(self._log.beyond(self._contents), gone))
            self._run.uploads.run([*beside, *tasks_of(mine)], "mail", taken)
            beside = []
            if not gone:
                break
        else:
            raise UnavailableError("Volumes are replaced faster than they can be replicated. It is tried again later.")
        if self._archives_changed:
            self._drop_replaced()
        # One that another stands for goes, and takes its seal with it.
        self._unsigned = {path for path in self._unsigned if self._run.files.exists(self._run.paths.data / path)}
        if self._unsigned:
            self._run.trouble.append(_not_replicated(sorted(self._unsigned)))

    def signed_hash(self, path: str) -> bytes | None:
        """The SHA-256 that a file of the log has by its seal, or that a good seal itself has; None without one."""
        if path.endswith(SEAL_SUFFIX):
            signed = self._log.seal(path)
            return None if signed is None else signed.hash
        seal = self._log.seal_of(path)
        return None if seal is None else seal.file_hash

    def _items(self, fresh: Sequence[LocalFile], gone: list[str]) -> Iterator[Item]:
        """What of the files is to be uploaded; what lies on the remote already is noted where it is."""
        seals = self._seals(one.path for one in fresh if one.path.endswith(SEAL_SUFFIX))
        if any(one.path.endswith(ARCHIVE_SUFFIX) for one in fresh) or any(one.of_archive for one in seals.values()):
            self._archives_changed = True
        standing = self._standing(one.path for one in fresh) if self._archives_changed else {}
        for one in fresh:
            try:
                item = self._item(one, seals.get(one.path), standing)
            except FileNotFoundError:
                gone.append(one.path)
                continue
            if item is None:
                continue
            known = self._elsewhere.get(item.expected) if item.expected is not None else None
            if known is None:
                yield item
            else:
                self._contents.put(msgspec.structs.replace(known, path=item.path, records=item.records))

    def _seals(self, paths: Iterable[str]) -> dict[str, _Signed]:
        found: dict[str, _Signed] = {}
        for path in paths:
            signed = self._log.seal(path)
            if signed is not None:
                self.chain = max(self.chain, (signed.seal.number, signed.hash))
                of_archive = bool(signed.seal.replaces)
                found[path] = _Signed(signed.hash, 0 if of_archive else signed.seal.records, of_archive)
        return found

    def _item(self, one: LocalFile, signed: _Signed | None, standing: Mapping[str, str]) -> Item | None:
        """A file as it is to be uploaded; None where it does not belong to the archive. Raises FileNotFoundError."""
        if one.path.endswith(SEAL_SUFFIX):
            # One that nobody signed is uploaded as it is: a restore takes it for what it is.
            return Item(one.path, one.size, *(signed or (None, 0))[:2])
        if one.path in standing:
            return None
        seal = self._log.seal_of(one.path)
        if one.path.endswith(ARCHIVE_SUFFIX):
            if seal is None:
                self._unsigned.add(one.path)
                return None
            if one.path not in standing.values():
                return None
            return Item(one.path, one.size, seal.file_hash, self._replaced_records(seal))
        if seal is None:
            return Item(one.path, one.size, None, self._log.records(one.path))
        return Item(one.path, one.size, seal.file_hash, seal.records)

    def _replaced_records(self, seal: Seal) -> int:
        seals = (self._log.seal_of(ROOT + one.volume) for one in seal.replaces)
        return sum(one.records for one in seals if one is not None)

    def _standing(self, fresh: Iterable[str] = ()) -> dict[str, str]:
        """By volume, the archive volume in its place: of those that are in the replica or come into it."""
        paths = {one.path for one in self._contents if one.path.endswith((SEAL_SUFFIX, ARCHIVE_SUFFIX))}.union(fresh)
        found: list[tuple[Seal, str]] = []
        for path in paths:
            of = sealed_by(path.removeprefix(ROOT))
            if of is not None and of.endswith(ARCHIVE_SUFFIX) and ROOT + of in paths:
                signed = self._log.seal(path)
                if signed is not None:
                    found.append((signed.seal, ROOT + of))
        found.sort(key=lambda one: one[0].number)
        return {ROOT + one.volume: archive for seal, archive in found for one in seal.replaces}

    def _drop_replaced(self) -> None:
        """Leave out what archive volumes of the replica stand for, and archive volumes that others stand for."""
        standing = self._standing()
        used = set(standing.values())
        unsigned: list[str] = []
        for path in [one.path for one in self._contents]:
            if path.endswith(VOLUME_SUFFIX) and path in standing:
                self._contents.drop(path)
            elif path.endswith(ARCHIVE_SUFFIX) and path not in used:
                # It may be the only place of the mail in it: what it stands for has left the replica.
                seal = self._log.seal_of(path)
                if seal is None:
                    unsigned.append(path)
                elif all(ROOT + one.volume in standing for one in seal.replaces):
                    self._contents.drop(path)
        if unsigned:
            self._run.trouble.append(_unsigned(unsigned))


def _unsigned(paths: Sequence[str]) -> DamageError:
    return DamageError(
        f"The seals of {', '.join(paths)} on this disk are damaged or missing, so nobody can tell which volumes these "
        "stand for. They stay in the replica, and the mail in them is safe there. `mailkeep verify` says more. Look at "
        "the disk's health."
    )


def _not_replicated(paths: Sequence[str]) -> DamageError:
    return DamageError(
        f"The seals of {', '.join(paths)} on this disk are damaged, so nobody can tell which volumes these stand for. "
        "They were not replicated, and mail in them may exist on this disk only; everything else was. `mailkeep "
        "verify` says more. Look at the disk's health, and put the seals back from a copy of the disk."
    )


def _damaged(paths: Sequence[str]) -> DamageError:
    return DamageError(
        f"{', '.join(paths)} on this disk is not what was signed, so it was not replicated; everything else was. "
        "`mailkeep verify` says more. Look at the disk's health."
    )
