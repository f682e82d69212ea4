"""What the manifests on a remote name, and whether these manifests are the ones that were written.

The box knows the newest generation that it wrote, and which ones there were at the last full check: so it notices when
manifests were taken away, though nothing on the remote itself would tell.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.cloud.checked import Checked
from appliance.cloud.collect import kept_generations
from appliance.cloud.findings import ReplicaFinding, when
from appliance.cloud.manifests import (
    ReplicaKeys,
    epoch_mark,
    generation,
    inventory,
    read_inventory,
)
from appliance.cloud.objects import Manifest, Placed, epoch_name, generation_name, parse_epoch, parse_generation
from appliance.cloud.remote import Remote, RemoteObject
from appliance.cloud.state import FIRST_EPOCH, ReplicaPaths, State, own_epoch
from appliance.errors import DamageError, NotFoundError
from appliance.files import FILES, Files


@dataclass(slots=True)
class Known:
    """An object that a generation needs."""

    name: str
    placed: list[Placed] = field(default_factory=list)
    """The files in it that are needed."""
    labels: list[str] = field(default_factory=list)
    """What it is, where it is no bundle of files."""
    is_newest: bool = False
    """Whether the newest generation needs it."""

    @property
    def end(self) -> int:
        """Bytes that it has at least."""
        return max((one.offset + one.size for one in self.placed), default=0)


@dataclass(slots=True)
class Named:
    """What was found."""

    manifest: Manifest | None = None
    """The newest generation whose manifest opens."""
    files: dict[str, Placed] = field(default_factory=dict)
    """The log's files in it."""
    objects: dict[str, Known] = field(default_factory=dict)
    generations: tuple[RemoteObject, ...] = ()
    """The manifests that were read and open."""
    findings: list[ReplicaFinding] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the newest manifest that opens; empty where there is none."""
        return "" if self.manifest is None else generation_name(self.manifest.epoch, self.manifest.number)


def look(
    paths: ReplicaPaths,
    remote: Remote,
    keys: ReplicaKeys,
    listed: Sequence[RemoteObject],
    checked: Checked,
    *,
    now: int,
    every: bool,
    files: Files = FILES,
) -> Named:
    """Read the manifests among what is ``listed``: the newest, or ``every`` one. Raises as ``Remote.read``, OSError."""
    looking = _Looking(paths, remote, keys, files)
    manifests = [one for one in listed if parse_generation(one.name) is not None]
    for manifest in looking.manifests(manifests, every=every):
        looking.add(manifest)
    looking.compare_with_memory(manifests, checked, now)
    looking.read_epochs(listed)
    return looking.found


class _Looking:
    def __init__(self, paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, files: Files) -> None:
        self._paths = paths
        self._remote = remote
        self._keys = keys
        self._files = files
        self._state = State(paths, keys, files=files)
        self._seen: set[tuple[str, int]] = set()
        self._inventory: tuple[str, dict[str, Placed]] = "", {}
        self.found = Named()

    def compare_with_memory(self, listed: Sequence[RemoteObject], checked: Checked, now: int) -> None:
        """Tell of manifests that are gone though nobody was to delete them."""
        there = {one.name for one in listed}
        epoch = own_epoch(self._paths.data, files=self._files)
        remembered = self._state.load()
        own = remembered.manifest if remembered is not None else None
        newest = generation_name(own.epoch, own.number) if own is not None else ""
        if own is not None and own.epoch == epoch and newest not in there:
            self._compare_with_newest(own)
        config = self._remote.config
        if checked.keeping != (config.keep_daily, config.keep_weekly):
            return  # what was to be kept until now is not known
        union = {one.name: one for one in (*checked.generations, *self.found.generations)}
        for name in kept_generations(list(union.values()), config, now):
            if name not in there and name != newest:
                words = f"{name}, of {when(union[name].modified)}, is not there any more, and was to be kept."
                self.found.findings.append(ReplicaFinding("generation-missing", name, words))

    def _compare_with_newest(self, own: Manifest) -> None:
        """``own``, which this box wrote last, is not there."""
        found = self.found.manifest
        if found is not None and (found.epoch, found.number) > (own.epoch, own.number):
            return  # an older state of this box's own was brought back
        name = generation_name(own.epoch, own.number)
        rest = "There is none that opens."
        if found is not None:
            rest = f"The newest there is {generation_name(found.epoch, found.number)}, of {when(found.at)}."
        words = f"{name}, the newest generation, which this box wrote for {when(own.at)}, is not there any more. {rest}"
        self.found.findings.append(ReplicaFinding("rolled-back", name, words, records=own.records))

    def read_epochs(self, listed: Sequence[RemoteObject]) -> None:
        """Tell of marks that this archive's key did not make, and of this box's own where it is missing."""
        good = set()
        for one in listed:
            if (epoch := parse_epoch(one.name)) is None:
                continue
            try:
                epoch_mark(self._remote, self._keys, epoch)
                good.add(epoch)
            except DamageError:
                words = f"{one.name}, the mark of a restore, is a forgery or was altered. It is not heeded."
                self.found.findings.append(ReplicaFinding("epoch-forged", one.name, words))
            except NotFoundError:
                continue
        own = own_epoch(self._paths.data, files=self._files)
        if own > FIRST_EPOCH and own not in good:
            name = epoch_name(own)
            words = f"{name}, which keeps the box that this one was restored in place of from writing, is not there."
            self.found.findings.append(ReplicaFinding("epoch-missing", name, words))

    def manifests(self, listed: Sequence[RemoteObject], *, every: bool) -> Sequence[Manifest]:
        """Those that open, the newest first."""
        opened = []
        for one in sorted(listed, key=lambda one: one.name, reverse=True):
            number = parse_generation(one.name)
            assert number is not None
            try:
                opened.append(generation(self._remote, self._keys, *number))
                self.found.generations += (one,)
            except DamageError:
                words = f"{one.name}, a manifest, was altered or is a forgery: this archive's key does not open it."
                self.found.findings.append(ReplicaFinding("generation-altered", one.name, words, is_spare=True))
                continue
            except NotFoundError:
                continue
            if not every:
                break
        return opened

    def add(self, manifest: Manifest) -> None:
        """Take note of all that a generation names and no newer one did."""
        is_newest = self.found.manifest is None
        for name, label in (
            (manifest.keyring, "the keyring, without which the recovery key opens nothing"),
            (manifest.inventory, "the list of the generation's files"),
        ):
            self._known(name, is_newest).labels[:] = [label]
        files = self._files_of(manifest)
        alone = [one for one in (manifest.settings, manifest.box) if one is not None]
        shown = manifest.snapshot.files if manifest.snapshot is not None else ()
        for one in (*files.values(), *alone, *shown):
            if (one.object, one.offset) not in self._seen:
                self._seen.add((one.object, one.offset))
                self._known(one.object, is_newest).placed.append(one)
        if is_newest:
            self.found.manifest, self.found.files = manifest, files

    def _known(self, name: str, is_newest: bool) -> Known:
        return self.found.objects.setdefault(name, Known(name, is_newest=is_newest))

    def _files_of(self, manifest: Manifest) -> dict[str, Placed]:
        files = dict(self._inventory_of(manifest.inventory))
        for path in manifest.removed:
            files.pop(path, None)
        files.update((one.path, one) for one in manifest.added)
        return files

    def _inventory_of(self, name: str) -> dict[str, Placed]:
        """An inventory; where the remote's is bad, which its object's check tells, this box's copy, or none."""
        if self._inventory[0] != name:
            found: dict[str, Placed] = {}
            try:
                found = read_inventory(name, self._remote, self._keys)
            except (DamageError, NotFoundError):
                with contextlib.suppress(DamageError):
                    found = inventory(name, self._state.inventory() or b"", self._keys)
            self._inventory = name, found
        return self._inventory[1]
