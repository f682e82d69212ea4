"""Catalogue and search index of one moment, so that a restored archive can be searched before its mail is there."""

from __future__ import annotations

from appliance.cloud import copies
from appliance.cloud.bundling import tasks_of
from appliance.cloud.objects import Placed, Snapshot
from appliance.cloud.run import Run
from appliance.cloud.upload import Item, Outcome


def due(run: Run, last: Snapshot | None, *, force: bool) -> str | None:
    """The name of the projections to be copied now, if any. Raises as SQLite does, in words."""
    name = copies.current_projections(run.paths, run.files)
    if name is None or force or last is None:
        return name
    if run.now < last.at + run.remote.config.snapshot_interval * 1_000_000:
        return None
    return None if (last.generation, last.change) == (name, copies.change(run.paths, name)) else name


def taken(run: Run, name: str, last: Snapshot | None) -> Snapshot:
    """A copy of the projections of that name, on the remote; packs that the ``last`` one has too stay where they are.

    Raises DamageError, StorageError, UnavailableError, and as ``Uploads.run``.
    """
    known = {one.path: one for one in (last.files if last is not None else ())}
    files: list[Placed] = []
    items: list[Item] = []
    # The index first: whatever change it has reached, the catalogue's copy has too.
    for item in copies.index(run.paths, run.uploads, name):
        before = known.get(item.path)
        if before is not None and copies.is_pack(item.path) and before.size == item.size:
            files.append(before)
        else:
            items.append(item)
    catalogue, change = copies.catalogue(run.paths, run.uploads, run.keys, name)

    def take(outcome: Outcome) -> None:
        files.extend(outcome.placed)

    run.uploads.run(tasks_of([*items, catalogue]), "catalogue and search index", take)
    return Snapshot(run.now, name, change, tuple(sorted(files, key=lambda one: one.path)))
