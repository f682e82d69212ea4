"""What the next generation is made of: the one before, and what of it is known to be on the remote.

What the box remembers is believed where the remote lists it and no run was broken off; else everything that is there is
listed once, and what is missing goes up again. A box that was restored begins a new epoch with what is here, or is
listed as absent here, and uses it where it lies on the remote from before. So does one that finds a generation there
which is not of its own past: what that has beyond this box stays in it, and is told of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from appliance.cloud.contents import Contents
from appliance.cloud.lineage import Lineage
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import (
    files_of,
    generation,
    generation_names,
    highest_epoch,
    inventory,
    put_named,
    read_inventory,
)
from appliance.cloud.objects import (
    VERSION,
    EpochMark,
    Manifest,
    Placed,
    epoch_name,
    generation_name,
    parse_generation,
)
from appliance.cloud.run import Run
from appliance.cloud.state import Remembered, State
from appliance.errors import ConflictError, DamageError, NotFoundError, UnavailableError
from appliance.store.absent import AbsentFiles

_SHOWN: Final = 3
"""Volumes that are named in a sentence."""


@dataclass(slots=True)
class Base:
    """Where a run starts from."""

    number: int  # of the newest generation that opens, or that this box knows
    taken: frozenset[int] = frozenset()
    """Numbers that something on the remote has in its name, whether it opens or not."""
    manifest: Manifest | None = None
    remembered: Remembered | None = None
    """What was saved with the manifest."""
    contents: Contents = field(default_factory=Contents)
    listed: bool = False
    """Whether the manifest is on the remote."""
    sure: bool = False
    """Whether all that the manifest names was there when it was written, and nothing else was uploaded since."""
    elsewhere: dict[bytes, Placed] = field(default_factory=dict)
    """By hash, what lies on the remote from before a restore."""


def find_base(run: Run, state: State, epoch: int) -> Base:
    """Raises ConflictError as ``require_epoch``, and as ``Remote`` does."""
    marked = require_epoch(run, epoch)
    listed = generation_names(run.remote)
    remembered = state.load()
    saved = remembered.manifest if remembered is not None and remembered.manifest.epoch == epoch else None
    if saved is not None and parse_generation(generation_name(epoch, saved.number)) is None:
        saved = None  # under such a name nobody finds it
    there = [one for one in listed if generation_name(*one) not in run.bad]
    later = _later(run, there, epoch, saved)
    base = Base(_highest(run, there, saved.number if saved is not None else 0))
    base.taken = frozenset(number for _, number in listed)
    base.sure = saved is not None and later is None and (saved.epoch, saved.number) in there and not state.is_unfinished
    if not base.sure:
        run.uploads.present.update((one.name, one.size) for one in run.remote.list("objects"))
        if remembered is not None and not listed and not run.uploads.present:
            raise UnavailableError(
                f"{run.remote.config.name} is empty, and this archive was replicated there before. Is the disk "
                "mounted, and is it the right one? No mail was written there. If everything was deleted there on "
                "purpose, remove this remote and add it anew: then all that is on this disk is replicated again."
            )
    if marked < epoch:
        _mark(run, epoch)
    if (manifest := later or saved) is not None:
        try:
            base.contents = Contents(_inventory(run, state, manifest.inventory))
        except (DamageError, NotFoundError) as error:
            run.trouble.append(error)
        else:
            base.contents.apply(manifest)
            if later is None or Lineage(run).has(later, {one.path: one for one in base.contents}):
                base.manifest = manifest
                base.listed = (manifest.epoch, manifest.number) in there
                base.remembered = remembered if later is None else None
            else:
                base.contents = Contents()
    if base.manifest is None and listed:
        _adopt(run, base, listed)
    return base


def require_epoch(run: Run, epoch: int) -> int:
    """The epoch of the last restore from the remote. Raises ConflictError where it is later than this box's."""
    marked = highest_epoch(run.remote, run.keys)
    if marked > epoch:
        raise ConflictError(
            f"Another box was restored from {run.remote.config.name} and goes on with this archive (epoch {marked}; "
            f"this box has {epoch}). This box does not write there any more. What only this box has is still here: "
            "export it, then take this box out of service."
        )
    return marked


def _mark(run: Run, epoch: int) -> None:
    """Keep the box from before from writing to the remote: this one was restored from another, or the mark is gone."""
    mark = EpochMark(VERSION, run.keys.archive, epoch, run.now)
    try:
        put_named(run.remote, run.keys, epoch_name(epoch), mark, run.paths.staging, files=run.files)
    except ConflictError:
        run.trouble.append(
            DamageError(
                f"{epoch_name(epoch)} at {run.remote.config.name}, the mark that keeps the box from before from "
                f"writing there, is a forgery or was altered. `mailkeep replica verify --full --remote "
                f"{run.remote.config.name}` removes it, and this box's own takes its place."
            )
        )


def next_number(run: Run, number: int, taken: Container[int]) -> int:
    """The first number after ``number`` that nothing has. Raises ConflictError where there is none left."""
    number += 1
    while number in taken:
        number += 1
    if parse_generation(generation_name(1, number)) is None:
        raise ConflictError(
            f"{run.remote.config.name} has a generation with the last number that there can be, so no other can be "
            "written after it. All mail is safe on this disk. Whoever made that generation had this archive's service "
            "key or the remote's credentials: look into who had access, and replicate to an empty place."
        )
    return number


def _highest(run: Run, listed: Sequence[tuple[int, int]], known: int) -> int:
    """The highest number of a generation that opens, or the one that is ``known`` where that is higher."""
    for number, epoch in sorted(((number, epoch) for epoch, number in listed if number > known), reverse=True):
        with contextlib.suppress(DamageError, NotFoundError):
            return generation(run.remote, run.keys, epoch, number).number
    return known


def _later(run: Run, listed: Sequence[tuple[int, int]], epoch: int, saved: Manifest | None) -> Manifest | None:
    """The newest generation of this box that opens and is newer than the one remembered."""
    for found, number in listed:
        if found == epoch and (saved is None or number > saved.number):
            try:
                return generation(run.remote, run.keys, epoch, number)
            except (DamageError, NotFoundError) as error:
                run.trouble.append(error)
    return None


def _inventory(run: Run, state: State, name: str) -> dict[str, Placed]:
    sealed = state.inventory()
    if sealed is not None:
        with contextlib.suppress(DamageError):  # of another generation, after a crash
            return inventory(name, sealed, run.keys)
    return read_inventory(name, run.remote, run.keys)


def _adopt(run: Run, base: Base, listed: Sequence[tuple[int, int]]) -> None:
    """Find what lies on the remote from before, for what is here and for what is absent here."""
    absent = {one.hash: one for one in AbsentFiles(run.paths.volumes, files=run.files).all().values()}
    newest: Manifest | None = None
    for epoch, number in listed:
        if base.elsewhere and not absent:
            break
        try:
            manifest = generation(run.remote, run.keys, epoch, number)
            earlier = files_of(manifest, run.remote, run.keys)
        except (DamageError, NotFoundError) as error:
            run.trouble.append(error)
            continue
        if newest is None:
            newest = manifest
            if strange := Lineage(run).strange(earlier):
                run.trouble.append(_further(run, manifest, strange))
        there = {one.hash: one for one in earlier.values() if run.is_there(one, sure=False)}
        for digest in absent.keys() & there.keys():
            base.contents.put(msgspec.structs.replace(there[digest], path=ROOT + absent.pop(digest).path))
        base.elsewhere = base.elsewhere or there
    if absent:
        run.trouble.append(
            UnavailableError(
                f"{len(absent)} of the archive's volumes are on another replica only, neither on this disk nor on "
                f"{run.remote.config.name}. All others are replicated; they follow once they are on this disk again."
            )
        )


def _further(run: Run, manifest: Manifest, strange: Sequence[str]) -> UnavailableError:
    shown = ", ".join(path.removeprefix(ROOT) for path in strange[:_SHOWN]) + (" …" if len(strange) > _SHOWN else "")
    return UnavailableError(
        f"Generation {manifest.number} (epoch {manifest.epoch}) at {run.remote.config.name} has volumes that this box "
        f"does not have, or has other mail under the names of: {len(strange)} ({shown}). It was written by a box that "
        "was further along than this one was restored to. It stays there until it expires, and the generations from "
        "now on hold what this box has. Restore it into another folder soon "
        f"(`mailkeep restore --generation {manifest.number}`) and export from there what is missing here."
    )
