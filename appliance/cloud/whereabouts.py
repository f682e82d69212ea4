"""Where on a remote a file of the log lies, as any of the remote's generations says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from appliance.cloud.fetching import arriving, place
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import ReplicaKeys, generation, generation_names, get_placed, read_inventory
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.remote import Remote
from appliance.errors import DamageError, NotFoundError
from appliance.files import FILES, Files
from appliance.store.absent import AbsentFile
from appliance.store.failures import storage_error

Number = tuple[int, int]
"""Epoch and number of a generation."""


class Whereabouts:
    """Looks into as many generations of a remote as it takes. Threads may share it.

    The generation that was of use last is looked into first: who misses one file of it misses others.
    """

    def __init__(self, remote: Remote, keys: ReplicaKeys) -> None:
        self._remote = remote
        self._keys = keys
        self._kept: tuple[Number, Manifest] | None = None
        self._inventory: tuple[str, Mapping[str, Placed]] = "", {}
        self._lock = threading.Lock()

    def of(self, wanted: AbsentFile, *, first: Sequence[Number] = ()) -> Iterator[Placed]:
        """Each place that a generation names for the file, once: in the newest generation, in those of ``first``, then
        in all others, the newest first. Raises as ``Remote.list`` and ``read``.

        Generations that do not open are passed over. Whether the file is whole there is for who fetches it to find out.
        """
        given: set[tuple[str, int]] = set()
        for number in self._order(first):
            found = self._place(number, ROOT + wanted.path)
            if found is None or (one := found[1]) is None or (one.size, one.hash) != (wanted.size, wanted.hash):
                continue
            with self._lock:
                self._kept = number, found[0]
            if (one.object, one.offset) not in given:
                given.add((one.object, one.offset))
                yield one

    def bring(self, wanted: AbsentFile, volumes: Path, *, first: Sequence[Number] = (), files: Files = FILES) -> None:
        """Have a file that is absent in its place below ``volumes``, from the first place where it is whole.

        Not to be called for one file by two threads at once. Raises NotFoundError, DamageError where it is nowhere as
        it was written, StorageError, and as ``Remote`` does.
        """
        target = arriving(volumes, wanted.path)
        wrong: DamageError | NotFoundError | None = None
        for one in self.of(wanted, first=first):
            try:
                with contextlib.suppress(FileNotFoundError):
                    files.unlink(target)
                get_placed(self._remote, one, target, files=files)
            except (DamageError, NotFoundError) as error:
                wrong = wrong or error
            except OSError as error:
                raise storage_error(error) from error
            else:
                return place(volumes, wanted.path, target, wanted.hash, files=files)
        raise wrong or NotFoundError(f"No generation at “{self._remote.config.name}” has {wanted.path}.")

    def _order(self, first: Sequence[Number]) -> Sequence[Number]:
        listed = generation_names(self._remote)
        with self._lock:
            kept = [self._kept[0]] if self._kept is not None else []
        there = frozenset(listed)
        early = [one for one in (*kept, *listed[:1], *first) if one in there]
        return list(dict.fromkeys((*early, *listed)))

    def _place(self, number: Number, path: str) -> tuple[Manifest, Placed | None] | None:
        """Where a generation has a file, if it does; None where the generation does not open."""
        with self._lock:
            manifest = self._kept[1] if self._kept is not None and self._kept[0] == number else None
        with contextlib.suppress(DamageError, NotFoundError):
            manifest = manifest or generation(self._remote, self._keys, *number)
            added = next((one for one in manifest.added if one.path == path), None)
            if added is not None or path in manifest.removed:
                return manifest, added
            return manifest, self._files(manifest.inventory).get(path)
        return None

    def _files(self, name: str) -> Mapping[str, Placed]:
        """An inventory; the one read last is kept, since generations that follow one another share it."""
        with self._lock:
            if self._inventory[0] == name:
                return self._inventory[1]
        files = read_inventory(name, self._remote, self._keys)
        with self._lock:
            self._inventory = name, files
        return files
