"""Generations of the projections: a rebuild makes a new one beside the one in use, then swaps.

``projections/current`` names the folder in use. Who has a generation open looks at that file between two pieces of
work and moves over; the folder that nobody uses any more is removed by the projector. What of its index is in memory
lies in a folder of the same name on a tmpfs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from appliance.catalogue.store import Catalogue
from appliance.files import Files, replace_file
from appliance.index import live
from appliance.index.place import Place
from appliance.keys.access import Keys
from appliance.services.paths import Paths


class Generation(msgspec.Struct, frozen=True):
    """One catalogue with its index."""

    folder: Path

    @property
    def catalogue(self) -> Path:
        """catalogue.db."""
        return self.folder / "catalogue.db"

    def index(self, paths: Paths, keys: Keys, catalogue: Catalogue) -> Place:
        """Where its search index is; ``catalogue`` is its own."""
        return Place(
            root=paths.live,
            live=paths.live / self.folder.name,
            sealed=self.folder / "index",
            key=keys.key("index"),
            identity=catalogue.identity,
        )


class Generations:
    """The generations of a data folder."""

    def __init__(self, paths: Paths, files: Files | None = None) -> None:
        self._folder = paths.projections
        self._live = paths.live
        self._files = files or Files()

    @property
    def _current(self) -> Path:
        return self._folder / "current"

    def current(self) -> Generation:
        """The generation in use; the first one is made where there is none."""
        try:
            name = self._current.read_text("ascii").strip()
        except FileNotFoundError:
            generation = self.new()
            self.use(generation)
            return generation
        return Generation(self._folder / name)

    def new(self) -> Generation:
        """An empty generation beside the others."""
        self._folder.mkdir(parents=True, exist_ok=True)
        taken = [int(one.name) for one in self._folder.iterdir() if one.name.isdigit()]
        folder = self._folder / f"{max(taken, default=0) + 1:04d}"
        folder.mkdir()
        return Generation(folder)

    def use(self, generation: Generation) -> None:
        """Name ``generation`` as the one in use, durably."""
        replace_file(self._files, self._current, generation.folder.name.encode("ascii") + b"\n")

    def remove_others(self) -> None:
        """Remove the generations before the one in use; newer ones are being built."""
        current = int(self.current().folder.name)
        for one in self._folder.iterdir():
            if one.name.isdigit() and int(one.name) < current:
                shutil.rmtree(one, ignore_errors=True)
                live.remove(self._live, self._live / one.name)


def remove_live(paths: Paths) -> None:
    """Take the live index out of the memory, whatever is left of it: for when the archive is locked or nothing runs."""
    live.remove(paths.live, paths.live)
