"""What the next generation is made of: the one before, and what of it is known to be on the remote.

What the box remembers is believed where the remote lists it and no run was broken off; else everything that is there is
listed once, and what is missing goes up again. A box that was restored begins a new epoch with what is here, or is
listed as absent here, and uses it where it lies on the remote from before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from appliance.cloud.contents import Contents
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import (
    files_of,
    generation,
    generation_names,
    highest_epoch,
    inventory,
    read_inventory,
)
from appliance.cloud.objects import Manifest, Placed, generation_name
from appliance.cloud.run import Run
from appliance.cloud.state import Remembered, State
from appliance.errors import ConflictError, DamageError, NotFoundError, UnavailableError
from appliance.store.absent import AbsentFiles


@dataclass(slots=True)
class Base:
    """Where a run starts from."""

    number: int  # of the newest generation that the remote or this box knows
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
    """Raises ConflictError where a box was restored that works for a later epoch, and as ``Remote`` does."""
    marked = highest_epoch(run.remote, run.keys)
    if marked > epoch:
        raise ConflictError(
            f"Another box was restored from {run.remote.config.name} and goes on with this archive (epoch {marked}; "
            f"this box has {epoch}). This box does not write there any more. What only this box has is still here: "
            "export it, then take this box out of service."
        )
    listed = generation_names(run.remote)
    remembered = state.load()
    saved = remembered.manifest if remembered is not None and remembered.manifest.epoch == epoch else None
    there = [one for one in listed if generation_name(*one) not in run.bad]
    later = _later(run, there, epoch, saved)
    base = Base(max([number for _, number in listed] + ([saved.number] if saved is not None else []), default=0))
    base.sure = saved is not None and later is None and (saved.epoch, saved.number) in there and not state.is_unfinished
    if not base.sure:
        run.uploads.present.update((one.name, one.size) for one in run.remote.list("objects"))
    if (manifest := later or saved) is not None:
        try:
            base.contents = Contents(_inventory(run, state, manifest.inventory))
        except (DamageError, NotFoundError) as error:
            run.trouble.append(error)
        else:
            base.contents.apply(manifest)
            base.manifest = manifest
            base.listed = (manifest.epoch, manifest.number) in there
            base.remembered = remembered if later is None else None
    if base.manifest is None and listed:
        _adopt(run, base, listed)
    return base


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
    for epoch, number in listed:
        if base.elsewhere and not absent:
            break
        try:
            earlier = files_of(generation(run.remote, run.keys, epoch, number), run.remote, run.keys)
        except (DamageError, NotFoundError) as error:
            run.trouble.append(error)
            continue
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
