"""Catalogue and search index of one moment, so that a restored archive can be searched before its mail is there."""

from __future__ import annotations

from typing import NamedTuple

from appliance.cloud import copies
from appliance.cloud.bundling import tasks_of
from appliance.cloud.clock import not_ahead
from appliance.cloud.objects import Placed, Snapshot
from appliance.cloud.run import Run
from appliance.cloud.upload import Item, Outcome


class Copied(NamedTuple):
    """Catalogue and index as of one moment, held in the staging folder."""

    generation: str
    change: int
    items: list[Item]


def due(run: Run, last: Snapshot | None, *, force: bool) -> str | None:
    """The name of the projections to be copied now, if any. Raises as SQLite does, in words."""
    name = copies.current_projections(run.paths, run.files)
    if name is None or force or last is None:
        return name
    if run.now < not_ahead(last.at, run.now) + run.remote.config.snapshot_interval * 1_000_000:
        return None
    return None if (last.generation, last.change) == (name, copies.change(run.paths, name)) else name


def copied(run: Run, name: str) -> Copied:
    """A copy of the projections of that name. Raises DamageError, StorageError, UnavailableError, OSError."""
    # The index first: whatever change it has reached, the catalogue's copy has too.
    items = copies.index(run.paths, run.uploads, name)
    catalogue, change = copies.catalogue(run.paths, run.uploads, run.keys, name)
    return Copied(name, change, [*items, catalogue])


def uploaded(run: Run, copy: Copied, last: Snapshot | None) -> Snapshot:
    """The snapshot that a copy is once it is on the remote; packs that the ``last`` one has too are there already.

    Raises as ``Uploads.run``.
    """
    before = {one.path: one for one in (last.files if last is not None else ()) if copies.is_pack(one.path)}
    files: list[Placed] = []
    items: list[Item] = []
    for item in copy.items:
        there = before.get(item.path)
        if there is not None and there.size == item.size:
            files.append(there)
        else:
            items.append(item)

    def take(outcome: Outcome) -> None:
        files.extend(outcome.placed)

    run.uploads.run(tasks_of(items), "catalogue and search index", take)
    return Snapshot(run.now, copy.generation, copy.change, tuple(sorted(files, key=lambda one: one.path)))
