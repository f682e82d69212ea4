"""Whether what lies on a remote is this box's own past.

After a restore two boxes may have given one name to different volumes: the one that burnt down, after the generation
that was restored, and the one that goes on. So may a box whose disk was set back to an earlier state. By its name alone
such a volume would be taken for what is here, and this box's mail would not go up.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.cloud.local import ROOT
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.run import Run
from appliance.files import file_digest
from appliance.store.names import VOLUME_SUFFIX, sealed_by
from appliance.store.seal import Chain


class Lineage:
    """The chain of seals and the volumes that are here, to be compared with generations."""

    def __init__(self, run: Run) -> None:
        """Raises StorageError."""
        self._run = run
        self._chain = Chain.load(
            run.paths.volumes, archive_id=run.keys.archive, verify_key=run.keys.verify_key, files=run.files
        )

    def has(self, manifest: Manifest, files: Mapping[str, Placed]) -> bool:
        """Whether a generation, of these ``files``, is of this box's past: its chain is the beginning of the one that
        is here, and its volumes are, or were, here. Raises OSError."""
        return self._has_head(manifest) and not self.strange(files)

    def strange(self, files: Mapping[str, Placed]) -> list[str]:
        """Volumes of a generation that are not, and never were, in this box: their paths. Raises OSError."""
        found: list[str] = []
        for path, one in files.items():
            if path.endswith(VOLUME_SUFFIX):
                if not self._knows(path, one.hash):
                    found.append(path)
                continue
            of = sealed_by(path.removeprefix(ROOT))
            # A volume that an archive volume stands for is known by its seal.
            is_replaced = of is not None and of.endswith(VOLUME_SUFFIX) and ROOT + of not in files
            if of is not None and is_replaced and self._digest(path) != one.hash:
                found.append(ROOT + of)
        return sorted(found)

    def _has_head(self, manifest: Manifest) -> bool:
        number, head = manifest.chain_number, manifest.chain_head
        if number == self._chain.number:
            return head == self._chain.head
        return number == 0 or any(
            (seal.number, seal.previous) == (number + 1, head) for seal in self._chain.seals.values()
        )

    def _knows(self, path: str, digest: bytes) -> bool:
        seal = self._chain.seal_of(path.removeprefix(ROOT))
        return (self._digest(path) if seal is None else seal.file_hash) == digest

    def _digest(self, path: str) -> bytes | None:
        try:
            return file_digest(self._run.files, self._run.paths.data / path)
        except FileNotFoundError:
            return None
