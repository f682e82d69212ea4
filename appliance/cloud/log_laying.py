"""Laying out the log of a replica: seals, and such volumes as are wanted at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.cloud.download import Fetched, download
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.remote import Remote
from appliance.cloud.sorting import ROOT, log_name
from appliance.cloud.upload import Progress
from appliance.errors import DamageError
from appliance.files import Files, create_directory, file_digest, read_file
from appliance.store.names import sealed_by
from appliance.store.seal import Chain, read_seal

Check = Callable[[str, Path], None]
"""Looks at a file that has arrived, given its path below volumes/ and where it is. Raises DamageError."""


class LogLaying:
    """The way of volumes and seals from one remote into one data folder. What is there and whole stays."""

    def __init__(
        self, data: Path, staging: Path, remote: Remote, keys: ReplicaKeys, progress: Progress, *, files: Files
    ) -> None:
        self._data = data
        self._staging = staging
        self._remote = remote
        self._keys = keys
        self._progress = progress
        self._files = files

    def folders(self, contents: Mapping[str, Placed]) -> None:
        """A folder for each mailbox. Raises OSError."""
        volumes = self._data / "volumes"
        mailboxes = {name.partition("/")[0] for path in contents if (name := log_name(path)) is not None}
        for folder in (volumes, *(volumes / mailbox for mailbox in sorted(mailboxes))):
            if not self._files.exists(folder):
                create_directory(self._files, folder)

    def seals(self, contents: Mapping[str, Placed]) -> dict[str, str]:
        """All seals that this archive's key has signed; what is wrong with the others, by path.

        Raises as ``download``.
        """
        key = Ed25519PublicKey.from_public_bytes(self._keys.verify_key)

        def check(name: str, path: Path) -> None:
            read_seal(name, read_file(self._files, path), key, self._keys.archive)

        return self.bring([one for path, one in contents.items() if is_seal(path)], "seals", check)

    def bring(self, wanted: Sequence[Placed], what: str, check: Check | None = None) -> dict[str, str]:
        """Files of the log into their places; why one could not be had, or was not taken, by path.

        Raises as ``download``.
        """
        wrong: dict[str, str] = {}
        touched: set[Path] = set()

        def take(fetched: Fetched) -> None:
            path = fetched.placed.path
            if fetched.wrong is not None:
                wrong[path] = fetched.wrong.message
                return
            try:
                if check is not None:
                    check(path.removeprefix(ROOT), fetched.path)
            except DamageError as error:
                self._files.unlink(fetched.path)
                wrong[path] = error.message
                return
            self._files.rename(fetched.path, self._data / path)
            touched.add((self._data / path).parent)

        missing = [one for one in wanted if not self._is_there(one)]
        download(self._remote, missing, self._staging, take, self._progress, what=what, files=self._files)
        for folder in sorted(touched):
            self._files.sync_directory(folder)
        return wrong

    def chain(self) -> Chain:
        """The chain of the seals that are there. Raises StorageError."""
        return Chain.load(
            self._data / "volumes", archive_id=self._keys.archive, verify_key=self._keys.verify_key, files=self._files
        )

    def _is_there(self, placed: Placed) -> bool:
        try:
            return file_digest(self._files, self._data / placed.path) == placed.hash
        except FileNotFoundError:
            return False


def is_seal(path: str) -> bool:
    """Whether a path (from the data folder) is that of a seal."""
    name = log_name(path)
    return name is not None and sealed_by(name) is not None


def chain_troubles(chain: Chain, manifest: Manifest) -> list[str]:
    """What is wrong with the chain of a generation's seals, in sentences."""
    found = [f"{one.file}: {one.what}." for one in chain.findings]
    if (chain.number, chain.head) != (manifest.chain_number, manifest.chain_head):
        found.append(
            f"The chain of seals ends with number {chain.number}; the generation says {manifest.chain_number}, or "
            "another seal of that number."
        )
    return found
