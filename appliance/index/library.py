"""The shards as a reader sees them: those that the writer has open, and copies of the others, as many as fit.

A search takes a ``view``: the shards as of one commit. Those of the writer are read where they lie. One that lies on
the disk is restored into memory when it is needed, and goes again when another one needs the room, the one that was
used longest ago first. What it answered is remembered: it cannot change before its manifest does.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import tantivy

from appliance.errors import DamageError, UnavailableError
from appliance.files import FILES, Files
from appliance.index import live
from appliance.index import manifest as m
from appliance.index.engine import engine_trouble, is_engine_failure, open_index
from appliance.index.mirror import Mirror, Stamp
from appliance.index.place import Place
from appliance.index.state import read_state, state_stamp

T = TypeVar("T")

_REMEMBERED = 2_000  # answers of cold shards
_OVERHEAD = 2**20  # what a restored shard takes beyond its files: blocks that are not full


class StaleError(Exception):
    """The view is of a commit that is gone: take a new one."""


class Shard:
    """One shard of a view."""

    def __init__(
        self, library: Library, number: int, manifest: m.Manifest | None, searcher: tantivy.Searcher | None = None
    ) -> None:
        self.number = number
        self.manifest = manifest
        """What is known without opening it; None for one that is open already."""
        self._library = library
        self._searcher = searcher

    @property
    def searcher(self) -> tantivy.Searcher:
        """To find and to show; a cold one is restored now. Raises StaleError, UnavailableError."""
        return self._open(shown=True)

    def ask(self, question: Hashable, answer: Callable[[tantivy.Searcher], T]) -> T:
        """What ``answer`` finds out, without looking at a document; of a cold shard only once for each ``question``."""
        if self.manifest is None:
            return answer(self.searcher)
        return self._library.remembered((self.manifest.mark, question), lambda: answer(self._open(shown=False)))

    def _open(self, *, shown: bool) -> tantivy.Searcher:
        if self.manifest is None:
            assert self._searcher is not None
            return self._searcher
        return self._library.restored(self.number, self.manifest, shown=shown)


class _Copy(NamedTuple):
    """A cold shard in memory."""

    mark: str
    folder: Path
    size: int
    searcher: tantivy.Searcher
    shown: bool
    """Whether its documents can be shown, or it is good for finding and counting only."""


class Library:
    """The shards of one index. Threads may share it.

    ``budget`` is how many bytes the index may take in memory, the writer's part included; a single shard is opened
    even where it is larger, as long as there is room.
    """

    def __init__(self, place: Place, budget: int, *, files: Files = FILES) -> None:
        self._place = place
        self._budget = budget
        self._mirror = Mirror(place, files=files)
        self._lock = threading.Lock()
        self._restoring = threading.Lock()
        self._seen: tuple[Stamp | None, ...] | None = None
        self._view: tuple[Shard, ...] = ()
        self._state: m.State | None = None
        self._hot: dict[str, tantivy.Index] = {}
        self._manifests: dict[int, m.Manifest] = {}
        self._copies: OrderedDict[int, _Copy] = OrderedDict()
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        live.remove(place.root, place.restored)  # what a killed reader left

    def view(self) -> tuple[Shard, ...]:
        """The shards as of the newest commit."""
        with self._lock:
            while (seen := self._stamps()) != self._seen:
                try:
                    self._load()
                except StaleError:
                    if self._stamps() == seen:
                        raise UnavailableError(
                            "A part of the search index is just being made. The mail itself is safe; try again."
                        ) from None
                    continue
                self._seen = seen
            return self._view

    def reached(self) -> dict[int, int]:
        """For each shard the change number that is covered."""
        view = self.view()
        hot = {one.shard: one.sequence for one in self._state.hot} if self._state else {}
        return hot | {one.number: one.manifest.sequence for one in view if one.manifest}

    def documents(self) -> int:
        """How many documents all shards hold."""
        view = self.view()
        hot = sum(one.documents for one in self._state.hot) if self._state else 0
        return hot + sum(one.manifest.documents for one in view if one.manifest)

    def live_bytes(self) -> int:
        """What the index takes in memory now."""
        with self._restoring:
            return self._hot_bytes() + sum(copy.size for copy in self._copies.values())

    def sealed_bytes(self) -> int:
        """What the index takes on the disk."""
        return self._mirror.size()

    def close(self) -> None:
        """Give the memory back."""
        with self._restoring:
            self._copies.clear()
            self._answers.clear()
            live.remove(self._place.root, self._place.restored)

    # -- a view -----------------------------------------------------------------------------------------------

    def _stamps(self) -> tuple[Stamp | None, ...]:
        """What changes with every commit: the writer's state, or, where no writer runs, the manifests."""
        state = state_stamp(self._place)
        if state is not None:
            return (state,)
        return (None, *(self._mirror.stamp(shard) for shard in self._mirror.shards()))

    def _load(self) -> None:
        state = read_state(self._place)
        if state is None:
            cold: dict[int, str | None] = dict.fromkeys(self._mirror.shards())
        else:
            cold = {one.shard: one.mark for one in state.cold}
        manifests = {shard: found for shard, mark in cold.items() if (found := self._manifest(shard, mark))}
        hot = {one.folder: self._hot.get(one.folder) or self._opened(one.folder) for one in state.hot} if state else {}
        shards = [Shard(self, shard, found) for shard, found in manifests.items()]
        for one in state.hot if state else ():
            index = hot[one.folder]
            try:
                index.reload()
            except BaseException as error:
                if not is_engine_failure(error):
                    raise
                raise StaleError from error
            shards.append(Shard(self, one.shard, None, index.searcher()))
        with self._restoring:
            for shard in [one for one, copy in self._copies.items() if self._is_old(one, copy, manifests)]:
                self._forget(shard)
        self._state, self._hot, self._manifests = state, hot, manifests
        self._view = tuple(sorted(shards, key=lambda one: -one.number))

    @staticmethod
    def _is_old(shard: int, copy: _Copy, manifests: dict[int, m.Manifest]) -> bool:
        return shard not in manifests or manifests[shard].mark != copy.mark

    def _manifest(self, shard: int, mark: str | None) -> m.Manifest | None:
        """The manifest with this mark, or with any."""
        known = self._manifests.get(shard)
        if known is not None and known.mark == mark:
            return known
        try:
            found = self._mirror.manifest(shard)
        except DamageError:
            return None  # the writer finds out, too, and makes the shard anew
        if mark is not None and (found is None or found.mark != mark):
            raise StaleError
        return found

    def _opened(self, folder: str) -> tantivy.Index:
        try:
            return open_index(self._place.written / folder)
        except (DamageError, OSError, ValueError) as error:
            raise StaleError from error

    # -- cold shards ------------------------------------------------------------------------------------------

    def restored(self, shard: int, manifest: m.Manifest, *, shown: bool) -> tantivy.Searcher:
        """The searcher of a cold shard, as of its manifest; not ``shown``, it may lack the documents."""
        with self._restoring:
            copy = self._copies.get(shard)
            if copy is not None and copy.mark != manifest.mark:
                self._forget(shard)
                copy = None
            if copy is None or (shown and not copy.shown):
                copy = self._copies[shard] = self._restore(shard, manifest, shown=shown)
            self._copies.move_to_end(shard)
            return copy.searcher

    def remembered(self, question: Hashable, answer: Callable[[], T]) -> T:
        """What was answered before, or is now."""
        with self._lock:
            if question in self._answers:
                self._answers.move_to_end(question)
                return self._answers[question]  # type: ignore[no-any-return]
        found = answer()
        with self._lock:
            self._answers[question] = found
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return found

    def _restore(self, shard: int, manifest: m.Manifest, *, shown: bool) -> _Copy:
        """A copy of the shard, or what the one that is there lacks."""
        before = self._copies.pop(shard, None)
        folder = before.folder if before else self._place.restored / f"{shard:05}-{os.urandom(4).hex()}"
        size = self._mirror.restored_bytes(manifest, shown=shown) + _OVERHEAD
        try:
            self._make_room(size, there=before.size if before else 0)
            live.make(self._place.root, self._place.restored)
            with engine_trouble(self._place):
                if before:
                    self._mirror.restore_shown(shard, manifest, folder)
                else:
                    self._mirror.restore(shard, manifest, folder, shown=shown)
                searcher = open_index(folder).searcher()
            return _Copy(manifest.mark, folder, size, searcher, shown)
        except BaseException as error:
            live.remove(self._place.root, folder)
            if not isinstance(error, DamageError):
                raise
            if self._is_gone(shard, manifest):
                raise StaleError from error
            self._mirror.disown(shard, manifest.mark)
            raise UnavailableError(
                f"A part of the search index is damaged, and is made anew from the log. {error.message} "
                "Until then a search may find less; the mail itself is safe."
            ) from error

    def _is_gone(self, shard: int, manifest: m.Manifest) -> bool:
        try:
            found = self._mirror.manifest(shard)
        except DamageError:
            return False
        return found is None or found.mark != manifest.mark

    def _make_room(self, size: int, *, there: int) -> None:
        """Forget copies until one of this size fits, of which a part is ``there`` already."""
        allowed, needed = self._budget - self._hot_bytes(), size - there + live.SPARE
        while self._copies and sum(copy.size for copy in self._copies.values()) + size > allowed:
            self._forget(next(iter(self._copies)))
        while self._copies and live.room(self._place.live)[1] < needed:
            self._forget(next(iter(self._copies)))
        if live.room(self._place.live)[1] < needed:
            raise live.no_room(self._place.root)

    def _forget(self, shard: int) -> None:
        """Whoever still searches it in another thread goes on: open files stay until they are closed."""
        live.remove(self._place.root, self._copies.pop(shard).folder)

    def _hot_bytes(self) -> int:
        return sum(one.live_bytes for one in self._state.hot) if self._state else 0
