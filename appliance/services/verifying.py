"""Checking everything that is stored, as a job: without keys, or deep, with every record opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from appliance.errors import DamageError, UsageError
from appliance.ingest.system_log import check_chain, entries
from appliance.language import later
from appliance.services import api
from appliance.services.alarms.trouble import Figures, Trouble
from appliance.services.archive import Archive
from appliance.services.jobs import Jobs, Progress
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.seals import SealFiles
from appliance.services.timestamping import Stamps
from appliance.services.timestamping import check as check_timestamps
from appliance.services.unlock import load_keyring
from appliance.store.refs import Finding
from appliance.store.verify import Verifier, VerifyReport, verify

KIND = "verify"


class Checked(msgspec.Struct, frozen=True):
    """What a check found. ``errors`` are losses and forgeries; ``notes`` are things to know that lose nothing
    confirmed, such as bytes that a crash cut off, or volumes that are not signed yet. ``unopened`` of the records, in
    sealed mailboxes, could not be decrypted."""

    records: int
    volumes: int
    errors: tuple[Finding, ...]
    notes: tuple[Finding, ...] = ()
    deep: bool = False
    unopened: int = 0
    audit_trail: bool = True  # was checked, too: only an unlocked archive can
    absent: int = 0  # of the volumes are on replicas only: their seals were checked, their records were not


class _StoppedError(Exception):
    """Whoever asked for the check does not want it any more."""


class Verifications:
    """Checks of an open archive."""

    def __init__(self, archive: Archive, jobs: Jobs) -> None:
        self._archive = archive
        self._jobs = jobs

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"verify_begin": self.begin, "verify_result": self.result}

    def begin(self, principal: Principal, *, deep: bool = False) -> api.JobInfo:
        """Check checksums, footers, chains, seals, timestamps and the audit trail; ``deep``: open every record."""
        principal.require("auditor")

        def work(progress: Progress) -> str:
            checked = self._check(progress, deep)
            if checked is not None:
                self._archive.note(principal, "verify", f"{checked.records} records, {len(checked.errors)} errors")
                self._tell(checked)
                progress.result = checked
            return ""

        title = later("Check of every record") if deep else later("Check of all volumes")
        # Not noted before it is done: a new entry of the system log would cover up that the newest ones are gone.
        return self._jobs.begin(principal, KIND, title, work, what=None, shared_with="auditor")

    def result(self, principal: Principal, *, id: str) -> Checked:
        """What a finished check found."""
        found = self._jobs.result(principal, id=id)
        if not isinstance(found, Checked):
            raise UsageError("That job was no check.")
        return found

    def _tell(self, checked: Checked) -> None:
        """Raise the alarm, or end it: what a deep check found, only a deep check takes back."""
        alarms = self._archive.alarms
        before = next((one for one in alarms.book.reported if one.kind == KIND), None)
        if checked.errors:
            figures: Figures = {"errors": len(checked.errors), "deep": int(checked.deep)}
            alarms.report(KIND, Trouble(KIND, "error", figures=figures))
        elif before is not None and (checked.deep or not before.figures.get("deep")):
            alarms.report(KIND, None)

    def _check(self, progress: Progress, deep: bool) -> Checked | None:
        archive = self._archive
        report = _verify(archive.paths, archive.keyring, progress, deep=deep)
        if report is None:
            return None
        position = archive.settings.position()
        try:
            wrong = check_chain(entries(archive.reader), position)
        except DamageError as error:
            wrong = [error.message]
        findings = [Finding(file="system log", offset=0, record_id=None, what=what) for what in wrong]
        findings += self._lost_since_projected()
        findings += check_timestamps(archive.seals, Stamps(archive.paths.timestamps))
        errors = (*report.errors, *findings)
        return Checked(
            report.records, report.volumes, errors, report.notes, deep, report.unopened, absent=report.absent
        )

    def _lost_since_projected(self) -> Iterator[Finding]:
        """Volumes that are gone or shorter than the catalogue knows them: a loss that no seal attests yet."""
        sizes = {volume.path: volume.size for volume in self._archive.reader.volumes()}
        for path, (cursor, _finished) in self._archive.catalogue.cursors().items():
            if path not in sizes:
                yield Finding(file=path, offset=0, record_id=None, what="the volume is missing; the catalogue knows it")
            elif sizes[path] < cursor:
                what = f"{cursor - sizes[path]} bytes are missing that the catalogue was made from"
                yield Finding(file=path, offset=sizes[path], record_id=None, what=what)


def verify_locked(paths: Paths, progress: Progress) -> Checked | None:
    """Check a data folder without any key, whether something runs on it or not; None where it was stopped.

    Raises NotFoundError where there is no archive, StorageError.
    """
    report = _verify(paths, load_keyring(paths), progress, deep=False)
    if report is None:
        return None
    findings = check_timestamps(SealFiles(paths.volumes), Stamps(paths.timestamps))
    errors = (*report.errors, *findings)
    return Checked(report.records, report.volumes, errors, report.notes, audit_trail=False, absent=report.absent)


def _verify(paths: Paths, keyring: Verifier, progress: Progress, *, deep: bool) -> VerifyReport | None:
    def report(done: int, total: int) -> None:
        if progress.stopped():
            raise _StoppedError
        progress.report(done, total)

    try:
        return verify(paths.volumes, keyring, deep=deep, progress=report)
    except _StoppedError:
        return None
