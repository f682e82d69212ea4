"""A sample: some volumes of the newest generation, chosen at random, read back and compared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from appliance.cloud.audited import STOPPED, Audited, Tally, check_held
from appliance.cloud.checked import CheckedFile
from appliance.cloud.comparing import Here, Objects
from appliance.cloud.findings import ReplicaFinding
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.named import Named, look
from appliance.cloud.objects import Placed, object_name
from appliance.cloud.readback import ReadBack
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths
from appliance.cloud.upload import Progress
from appliance.errors import DamageError, NotFoundError, UnavailableError
from appliance.files import FILES, Files
from appliance.store.names import SEAL_SUFFIX
from appliance.store.reader import KeyOpener

SAMPLE: Final = 8
"""Volumes that a sample reads back."""
MOST_BYTES: Final = 512 * 1024 * 1024
"""Bytes of a sample, above which it takes no further one."""


def sample(
    paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, progress: Progress, *, now: int, count: int = SAMPLE,
    rng: random.Random | None = None, opener: KeyOpener | None = None, hand_over: bool = False, files: Files = FILES,
) -> Audited:  # fmt: skip
    """Read ``count`` volumes of the newest generation back, chosen at random, and compare them with the manifest, with
    their seals' Merkle roots, and with this box's copies.

    With an ``opener`` all their records are decrypted and compared with their commitments, the leaves of these trees;
    with ``hand_over`` they are left for somebody who has the keys (``readback.open_handed``). Raises ConflictError
    while this remote is replicated to, UnavailableError when stopped, StorageError, and as ``Remote.read`` does.
    """
    with check_held(paths, remote, keys, files):
        checked = CheckedFile(paths, keys, files=files).load()
        listed = [*remote.list("generations"), *remote.list("epochs")]
        named = look(paths, remote, keys, listed, checked, now=now, every=False, files=files)
        chosen = _chosen(named, count, rng or random.SystemRandom())
        keep = hand_over or opener is not None
        objects = Objects(paths.data, remote, files=files, stopped=progress.stopped, now=now)
        with ReadBack(paths, remote, keys, named.files, keep=keep, files=files) as read_back:
            sampling = _Sampling(named, objects, Here(paths.volumes, keys, files=files), read_back, progress)
            sampling.read_back(chosen)
            if opener is not None:
                sampling.open(opener)
            elif hand_over:
                read_back.hand_over()
        return sampling.tally.audited(named, full=False, now=now)


class _Sampling:
    def __init__(
        self, named: Named, objects: Objects, here: Here, read_back: ReadBack, progress: Progress
    ) -> None:  # fmt: skip
        self._named = named
        self._objects = objects
        self._here = here
        self._read_back = read_back
        self._progress = progress
        self.tally = Tally()

    def read_back(self, chosen: Sequence[Placed]) -> None:
        """Compare these, what else lies in their objects, and what every restore needs."""
        # Of a bundle the rest is read too: what is cut off may be a neighbour's.
        suspect = {one.object for one in chosen if one.object != object_name(one.hash)}
        total, done = sum(one.size for one in chosen), 0
        for one in chosen:
            if self._progress.stopped():
                raise UnavailableError(STOPPED)
            self._progress.report(done, total, "files read back")
            if not self._take(one):
                suspect.add(one.object)
            self.tally.add(self._here.compare(one))
            self.tally.here += 1
            done += one.size
        suspect.update(name for name, known in self._named.objects.items() if known.labels)
        for name in sorted(suspect):
            self.tally.take(self._objects.compare(self._named.objects[name], lambda _size: None))
        self._progress.report(total, total, "files read back")

    def _take(self, one: Placed) -> bool:
        """Whether a file came back as it was written."""
        try:
            looked = self._read_back.take(one)
        except (DamageError, NotFoundError):
            return False
        self.tally.files += 1
        self.tally.bytes += one.size
        self.tally.records += looked.records
        if looked.wrong:
            words = f"{one.path} came back as it was written there, but: {looked.wrong}"
            self.tally.add(ReplicaFinding("unreadable", one.object, words, (one.path,), one.records))
        return True

    def open(self, opener: KeyOpener) -> None:
        """Decrypt the records of what was read back."""
        looked = self._read_back.open(opener)
        self.tally.opened, self.tally.unopened = looked.opened, looked.unopened
        if looked.wrong:
            # Hashes and roots are as signed: it is no fault of the replica's, and nothing there would mend it.
            self.tally.add(ReplicaFinding("unopened", self._named.name, looked.wrong))


def _chosen(named: Named, count: int, rng: random.Random) -> list[Placed]:
    """Volumes and archive volumes, as many as asked for and not much more bytes than is sensible."""
    paths = sorted(path for path in named.files if not path.endswith(SEAL_SUFFIX))
    chosen: list[Placed] = []
    for path in rng.sample(paths, min(count, len(paths))):
        one = named.files[path]
        if chosen and sum(before.size for before in chosen) + one.size > MOST_BYTES:
            break
        chosen.append(one)
    return chosen
