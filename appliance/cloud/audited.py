"""What a check of a replica found, counted and in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from appliance.cloud.comparing import Compared
from appliance.cloud.findings import ReplicaFinding
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.named import Named
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths, State
from appliance.errors import StorageError
from appliance.files import Files

STOPPED: Final = "The check was stopped. What was found whole is not read again by the next one."


class Audited(msgspec.Struct, frozen=True):
    """What a check found. ``is_whole`` says whether the replica, and this box's copies of its files, are."""

    full: bool
    at: int  # microseconds
    epoch: int = 0  # of the newest generation whose manifest opens, and its number; 0 where there is none
    generation: int = 0
    is_complete: bool = True  # a full check that is not goes on from here
    objects: int = 0  # found whole in this check so far, by a full one
    files: int = 0  # read back, by a sample
    records: int = 0  # in them, whose Merkle roots were compared
    opened: int = 0  # of these, decrypted and compared with their commitments
    unopened: int = 0  # of these, in sealed mailboxes
    here: int = 0  # files of this box that were compared
    bytes: int = 0  # that came over the network
    findings: tuple[ReplicaFinding, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, damaged or forged, as far as was looked."""
        return not any(one.is_serious for one in self.findings)

    @property
    def words(self) -> str:
        """How it went, in a sentence."""
        wrong = [one for one in self.findings if one.is_serious]
        if wrong:
            more = f" And {len(wrong) - 1} more." if len(wrong) > 1 else ""
            return f"{wrong[0].words}{more}"
        if self.full:
            return f"Whole: {self.objects} objects, and {self.here} files here."
        opened = f", {self.opened} of them decrypted" if self.opened else ""
        return f"Whole: {self.files} files read back with {self.records} records{opened}."

    def lines(self) -> Iterator[str]:
        """It all, for the history."""
        if self.generation:
            yield f"Generation {self.generation} of epoch {self.epoch} was looked at."
        for one in self.findings:
            yield one.words


@dataclass(slots=True)
class Tally:
    """What a check has counted."""

    objects: int = 0
    files: int = 0
    records: int = 0
    opened: int = 0
    unopened: int = 0
    here: int = 0
    bytes: int = 0
    findings: list[ReplicaFinding] = field(default_factory=list)

    def take(self, compared: Compared) -> None:
        """Count an object that was compared."""
        self.bytes += compared.read
        self.objects += compared.mark is not None
        self.add(compared.finding)

    def add(self, finding: ReplicaFinding | None) -> None:
        """Note a finding, if there is one."""
        if finding is not None:
            self.findings.append(finding)

    def audited(self, named: Named, *, full: bool, now: int, is_complete: bool = True) -> Audited:
        """All of it, with what was found about what is ``named``."""
        manifest = named.manifest
        return Audited(
            full=full, at=now, epoch=manifest.epoch if manifest is not None else 0,
            generation=manifest.number if manifest is not None else 0, is_complete=is_complete, objects=self.objects,
            files=self.files, records=self.records, opened=self.opened, unopened=self.unopened, here=self.here,
            bytes=self.bytes, findings=(*named.findings, *self.findings),
        )  # fmt: skip


@contextmanager
def check_held(paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, files: Files) -> Iterator[None]:
    """Nobody replicates to the remote meanwhile, nothing is remembered of another place, and the disk's refusals are
    told in words."""
    state = State(paths, keys, files=files)
    try:
        with state.held():
            state.settle(remote.config)
            yield
    except OSError as error:
        raise StorageError(
            f"The disk of the archive could not be read or written for the check ({error.strerror or error}). Nothing "
            "was changed. Look at the disk's health."
        ) from error
