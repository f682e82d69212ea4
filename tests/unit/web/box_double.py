"""The part of the double that is about the box: its certificate, and what the doctor finds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.errors import UnavailableError, UsageError
from appliance.services import api

TERMS = "https://authority.example/terms.pdf"
_DAY = 24 * 3600


class BoxDouble:
    """A certificate and findings; mixed into ``ArchiveDouble``."""

    state: Any

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _note(self, method: str, **params: Any) -> None:
        raise NotImplementedError

    def begin_box(self) -> None:
        """A self-signed certificate, and a box that was looked at."""
        now = int(time.time())
        self.shown = api.Certificate(
            source="self-signed", names=("archive.example.org",), subject="archive.example.org",
            issuer="archive.example.org", not_before=now - _DAY, not_after=now + 3651 * _DAY, days_left=3651.0,
            key="ECDSA 256", fingerprint=":".join(["A7"] * 32), chain=1, host_name="archive.example.org",
        )  # fmt: skip
        self.refused = ""
        self.findings = (
            api.Finding("swap", "ok", "There is none, or it is encrypted or stays in memory."),
            api.Finding(
                "mail for example.org", "warning", "Goes to mx.provider.example, not to archive.example.org.",
                "That is right only where the senders have a connector that leads to archive.example.org. Else: "
                "example.org. MX 10 archive.example.org.",
            ),
            api.Finding("disk speed", "ok", "A synced write takes 0.4 ms, at worst 3 ms. That is fast."),
            api.Finding(
                "port 25", "problem", "exim4 listens on port 25, so mailkeep cannot.",
                "Stop it for good: `systemctl disable --now exim4`.",
            ),
        )  # fmt: skip

    def show_authority(self, **changes: Any) -> None:
        """Have the certificate be one of an authority."""
        acme = api.AcmeState("https://authority.example/dir", "it@example.org", ("archive.example.org",), TERMS)
        self.shown = msgspec.structs.replace(
            self.shown, source="acme", issuer="R11", chain=2, days_left=61.0,
            not_after=int(time.time()) + 61 * _DAY, acme=msgspec.structs.replace(acme, **changes),
        )  # fmt: skip

    def add_job(self, kind: str, state: Any, **changes: Any) -> api.JobInfo:
        """A job that is under way, or over."""
        over = None if state in ("waiting", "running") else int(time.time())
        job = api.JobInfo(
            id=f"{kind}-{len(self.state.jobs)}", kind=kind, title="Certificate for archive.example.org", state=state,
            done=3, total=5, message="", started_at=int(time.time()) - 4, finished_at=over, download="",
        )  # fmt: skip
        self.state.jobs.insert(0, msgspec.structs.replace(job, **changes))
        return job

    async def certificate(self, token: str) -> api.Certificate:
        self._admin(token)
        return self.shown

    async def certificate_self_signed(self, token: str, *, names: Sequence[str] = ()) -> api.Certificate:
        self._admin(token)
        self._note("certificate_self_signed", names=names)
        return self.shown

    async def certificate_own(self, token: str, *, content: Sequence[bytes], password: str = "") -> api.Certificate:
        self._admin(token)
        self._note("certificate_own", content=content, password=password)
        if self.refused:
            raise UsageError(self.refused)
        return self.shown

    async def certificate_acme_terms(self, token: str, *, directory: str) -> str:
        self._admin(token)
        self._note("certificate_acme_terms", directory=directory)
        if self.refused:
            raise UnavailableError(self.refused)
        return TERMS

    async def certificate_acme(
        self, token: str, *, contact: str, agree: bool, names: Sequence[str], directory: str
    ) -> api.JobInfo:
        self._admin(token)
        self._note("certificate_acme", contact=contact, agree=agree, names=names, directory=directory)
        return self.add_job("certificate", "running")

    async def certificate_renew(self, token: str) -> api.JobInfo:
        self._admin(token)
        self._note("certificate_renew")
        return self.add_job("certificate", "running")

    async def doctor_begin(self, token: str) -> api.JobInfo:
        self._admin(token)
        self._note("doctor_begin")
        return self.add_job("doctor", "running")

    async def doctor_findings(self, token: str, *, id: str) -> tuple[api.Finding, ...]:
        self._admin(token)
        return self.findings
