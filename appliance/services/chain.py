"""The one chain of seals that this process signs into: by turns, whether volumes are signed, dropped or compacted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import StorageError
from appliance.files import FILES, Files
from appliance.keys.access import Keys
from appliance.store.seal import Chain
from appliance.store.switch import clear


class SharedChain:
    """Threads share it; only one at a time has the chain."""

    def __init__(self, volumes: Path, keys: Keys, *, files: Files = FILES) -> None:
        self._volumes = volumes
        self._keys = keys
        self._files = files
        self._lock = threading.Lock()
        self._chain: Chain | None = None
        self._cleared = False

    @contextmanager
    def held(self) -> Iterator[Chain]:
        """The chain, and nobody else's until the end of the block. Raises StorageError.

        The first time, what a crash left of archive volumes is removed.
        """
        with self._lock:
            if self._chain is None:
                self._chain = self.read()
            if not self._cleared:
                clear(self._volumes, self._chain, files=self._files)
                self._cleared = True
            try:
                yield self._chain
            except StorageError:
                self._chain = None  # what the disk has taken is known when it is read again
                raise

    def read(self) -> Chain:
        """The chain as it is on disk now, to look at. Raises StorageError."""
        keys = self._keys
        return Chain.load(self._volumes, archive_id=keys.archive_id, verify_key=keys.verify_key, files=self._files)
