"""The files of the generation that is being made, and how they differ from those of the inventory before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from appliance.cloud.objects import Manifest, Placed
from appliance.store.names import VOLUME_SUFFIX, seal_path, sealed_by

MOST_DIFFERENCES = 1000
"""Entries of a manifest's lists, above which an inventory is written anew."""


class Contents:
    """Files by path. Changing them keeps the difference; there is one of these, since it may be long."""

    def __init__(self, inventory: dict[str, Placed] | None = None) -> None:
        """Of an inventory's files, which are given away to it; none for a first generation."""
        self._files = inventory if inventory is not None else {}
        self._added: dict[str, Placed] = {}
        self._removed: set[str] = set()
        self._needs_inventory = inventory is None
        self.changed = False
        """Whether anything was put or dropped since ``apply``."""

    def apply(self, manifest: Manifest) -> None:
        """Make the difference that a manifest says, which is that inventory's."""
        for path in manifest.removed:
            self.drop(path)
        for one in manifest.added:
            self.put(one)
        self.changed = False

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Placed]:
        return iter(self._files.values())

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def get(self, path: str) -> Placed | None:
        """Where a file is."""
        return self._files.get(path)

    def put(self, placed: Placed) -> None:
        """A file is there, or at another place."""
        self._files[placed.path] = self._added[placed.path] = placed
        self._removed.discard(placed.path)
        self.changed = True

    def drop(self, path: str) -> None:
        """A file belongs to the archive no more."""
        self._files.pop(path, None)
        self._added.pop(path, None)
        self._removed.add(path)
        self.changed = True

    @property
    def added(self) -> tuple[Placed, ...]:
        """What the manifest lists as added."""
        return tuple(self._added.values())

    @property
    def removed(self) -> tuple[str, ...]:
        """What the manifest lists as removed."""
        return tuple(sorted(self._removed))

    @property
    def needs_inventory(self) -> bool:
        """Whether an inventory has to be written."""
        return self._needs_inventory or len(self._added) + len(self._removed) > MOST_DIFFERENCES

    def require_inventory(self) -> None:
        """The inventory before is not there any more."""
        self._needs_inventory = True

    def inventoried(self) -> None:
        """An inventory of all there is was written."""
        self._added.clear()
        self._removed.clear()
        self._needs_inventory = False

    @property
    def records(self) -> int:
        """Records in all volumes, whatever stands in their places: by the seal of each, or by itself where it has
        none."""
        return sum(one.records for one in self._files.values() if self._tells(one.path))

    def _tells(self, path: str) -> bool:
        if path.endswith(VOLUME_SUFFIX):
            return seal_path(path) not in self._files
        return (of := sealed_by(path.partition("/")[2])) is not None and of.endswith(VOLUME_SUFFIX)


def in_objects(files: Iterable[Placed]) -> dict[str, list[Placed]]:
    """The files by the objects that they are in."""
    found: dict[str, list[Placed]] = {}
    for one in files:
        found.setdefault(one.object, []).append(one)
    return found
