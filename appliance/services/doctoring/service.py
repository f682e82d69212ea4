"""The doctor as a service: an examination as a job of the archiver; what only the archive knows, for all faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.errors import UsageError
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.doctoring.examining import examine
from appliance.services.doctoring.finding import Finding
from appliance.services.doctoring.subject import Subject, of_archive, with_remotes
from appliance.services.jobs import Jobs, Progress
from appliance.services.principal import Principal
from appliance.services.replicas import Replicas

KIND = "doctor"


class Examinations:
    """Examinations of the box that an open archive runs on."""

    def __init__(self, archive: Archive, jobs: Jobs, replicas: Replicas) -> None:
        self._archive = archive
        self._jobs = jobs
        self._replicas = replicas

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"doctor_begin": self.begin, "doctor_findings": self.findings, "doctor_subject": self.subject}

    def subject(self, principal: Principal) -> Subject:
        """What the doctor has to know of the archive; remotes are for the caller to try."""
        principal.require("admin")
        return of_archive(self._archive)

    def begin(self, principal: Principal) -> api.JobInfo:
        """Look at everything, as a job."""
        principal.require("admin")

        def work(progress: Progress) -> str:
            remotes = tuple(one.name for one in self._replicas.remotes(principal) if not one.paused)
            about = with_remotes(
                of_archive(self._archive), remotes, lambda name: self._replicas.test(principal, name=name)
            )
            found: list[Finding] = []
            for one in examine(self._archive.paths, about, progress.report):
                found.append(one)
                if progress.stopped():
                    break
            progress.result = tuple(found)
            return ""

        return self._jobs.begin(principal, KIND, later("Examination of this box"), work, shared_with="admin")

    def findings(self, principal: Principal, *, id: str) -> tuple[Finding, ...]:
        """What a finished examination found. Raises NotFoundError, ConflictError while it runs, UsageError."""
        principal.require("admin")
        found = self._jobs.result(principal, id=id)
        if not isinstance(found, tuple):
            raise UsageError("That job was no examination.")
        return found
