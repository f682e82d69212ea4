"""A box and a machine that answer with what they are given: what the pages show is then the same on every day."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from appliance.errors import MailkeepError, UnavailableError
from appliance.host import clock, hostname, network, processes, units, updates
from appliance.services import api, doctoring
from appliance.services.paths import Paths
from tui.app import Console
from tui.screens import doctor

P = ParamSpec("P")
T = TypeVar("T")

NOW = datetime(2026, 11, 21, 14, 3, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY, GB = 60, 3600, 86_400, 1024**3


class FakeBox:
    """Answers by the name of the service; a function is called with the parameters, an error is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {**usual(), **answers}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.session = ""

    async def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """As ``tui.box.Box``; the answer must be of the kind that is asked for."""
        self.calls.append((method, params))
        answer = self.answers.get(method, UnavailableError(f"The fake box has no answer for {method}."))
        if callable(answer):
            answer = answer(**params)
        if isinstance(answer, MailkeepError):
            raise answer
        return msgspec.convert(msgspec.to_builtins(answer, builtin_types=(bytes,)), kind)

    async def save(self, place: Path, method: str, /, **params: Any) -> int:
        """As ``tui.box.Box``."""
        self.calls.append((method, params))
        return place.write_bytes(b"bundle")

    def speak_for(self, session: str) -> None:
        """As ``tui.box.Box``."""
        self.session = session

    def asked(self, method: str) -> list[dict[str, Any]]:
        """With what a service was called."""
        return [params for name, params in self.calls if name == method]


class FakeHost:
    """Answers by the function."""

    def __init__(self, answers: dict[Callable[..., Any], Any] | None = None) -> None:
        self.answers = {**machine(), **(answers or {})}
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    async def ask(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """As ``tui.host.Host``."""
        self.calls.append((function, arguments))
        answer = self.answers.get(function)
        if isinstance(answer, MailkeepError):
            raise answer
        return answer  # type: ignore[return-value]

    def asked(self, function: Callable[..., Any]) -> list[tuple[Any, ...]]:
        """With what a function was called."""
        return [arguments for name, arguments in self.calls if name == function]


DATA = Path("/var/lib/mailkeep/archive")


class FinishedConsole(Console):
    """A console whose set-up is finished."""

    def needs_set_up(self) -> bool:
        """No."""
        return False


def console(*, plain: bool, sign_in: bool = False, box: FakeBox | None = None, host: FakeHost | None = None) -> Console:
    """A console on fakes."""
    app = FinishedConsole(
        Paths(DATA), plain=plain, sign_in=sign_in, box=box or FakeBox(), host=host or FakeHost(), now=lambda: NOW
    )
    app.place = "archive.example.com"
    return app


def status(**changes: Any) -> api.Status:
    """The status of an archive that is well."""
    minutes = tuple(round(15 + 9 * math.sin(i / 9) + 4 * math.sin(i * 1.7)) for i in range(60))
    usual = api.Status(
        version="0.5.0", started_at=int(NOW - 9 * DAY), unlocked=True, unlocks_itself=True, records=1_284_306,
        projected=1_284_306, messages=1_190_211, indexed=1_190_211, unassigned=214, unparsed=3, users=86, mailboxes=3,
        volumes=2_104, volumes_signed=2_104, backlog=4, oldest_unsearchable_seconds=1.4, last_message_at=int(NOW - 41),
        per_minute=minutes, log_bytes=212 * GB, index_bytes=9 * GB, disk_free=788 * GB, disk_total=1_024 * GB,
        accepted=91_044, refused=12, deferred=3, slots=("passphrase", "recovery", "keyfile"),
        replicas=(replica("offsite"), replica("nas", state="paused")), only_here=38,
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def replica(name: str, **changes: Any) -> api.ReplicaState:
    """How far a remote is."""
    usual = api.ReplicaState(
        name=name, state="current", reached_at=int(NOW - 212), lag_seconds=212.0, waiting=38, waiting_bytes=4_200_000,
        last_at=int(NOW - 190), next_at=int(NOW + 110), generation=4_411, records=1_284_268, free=3_900 * GB,
        used=118 * GB, checked_at=int(NOW - 3 * DAY), rehearsed_at=int(NOW - 5 * DAY),
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def remote(name: str, type: str, path: str, **changes: Any) -> api.RemoteInfo:
    """A remote as it is set up."""
    usual = api.RemoteInfo(
        name=name, type=type, path=path, options=(), paused=False, interval=300, snapshot_interval=DAY, bandwidth="",
        transfers=4, lock_days=0, lock_mode="GOVERNANCE", keep_daily=7, keep_weekly=4, erased_stay_days=35,
        replica=replica(name),
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def mailbox(id: str, address: str, **changes: Any) -> api.MailboxInfo:
    """A mailbox."""
    usual = api.MailboxInfo(
        id=id, name="Journal of the head office", address=address, state="active", records=1_204_110,
        bytes=188 * GB, first_at=int(NOW - 2_000 * DAY), last_at=int(NOW - 41), created_at=int(NOW - 2_001 * DAY),
    )  # fmt: skip
    return msgspec.structs.replace(usual, **changes)


def user(id: str, name: str, primary: str, **changes: Any) -> api.UserInfo:
    """A user."""
    return msgspec.structs.replace(
        api.UserInfo(id=id, name=name, primary=primary, sign_in="password", messages=21_400), **changes
    )


def usual() -> dict[str, Any]:
    """What a busy, healthy archive answers."""
    samples = 40
    return {
        "lock_state": api.LockState(unlocked=True),
        "host_name": "archive.example.com",
        "status": status(),
        "trends": api.Trends(
            seconds=60, backlog=tuple(round(4 + 4 * math.sin(i * 2.1)) for i in range(samples)),
            disk_used=tuple(236 * GB + i * GB // 200 for i in range(samples)),
            replica_lag=tuple(float(i * 60 % 300) for i in range(samples)),
        ),
        "mailboxes": (
            mailbox("m1", "journal@archive.example.com"),
            mailbox(
                "m2", "board@archive.example.com", name="Board", sealed=True, records=4_120, bytes=900_000_000,
                last_at=int(NOW - 5 * HOUR),
            ),
            mailbox(
                "m3", "old-journal@archive.example.com", name="Former system", state="suspended", records=76_076,
                bytes=11 * GB, last_at=int(NOW - 31 * DAY),
            ),
        ),
        "mailbox_setup": (
            api.SetupText("Microsoft 365 (Exchange Online)", ("Make an MX record.", "Add a connector.")),
            api.SetupText("Google Workspace", ("Third-party email archiving.",)),
        ),
        "access_list": (),
        "users": api.UserPage(
            86,
            (
                user("u1", "Anna Berg", "anna.berg@example.com", roles=("admin", "user"), totp_enabled=True),
                user("u2", "Jo Lindqvist", "jo@example.com", roles=("auditor", "user"), messages=8_412),
                user("u3", "Sales", "sales@example.com", sign_in="none", messages=120_388),
                user("u4", "Tomás Ribeiro", "tomas.ribeiro@example.com", sign_in="invited", messages=911),
                user("u5", "Wilma Öst", "wilma@example.com", state="disabled", messages=40_007),
            ),
        ),
        "imports": (),
        "jobs": (
            api.JobInfo("j1", "verify", "Check of all volumes", "running", 410, 2_104, started_at=int(NOW - 300)),
            api.JobInfo(
                "j2", "export", "Export of 1,204 messages", "done", 1204, 1204, started_at=int(NOW - 2 * HOUR),
                finished_at=int(NOW - 2 * HOUR + 40), download="export.zip",
            ),
        ),
        "replica_history": (
            api.RunInfo(
                8121, "offsite", "replicate", False, "running", int(NOW - 20), int(NOW - 19), done=3_100_000,
                total=4_200_000, eta=4.0,
            ),
            api.RunInfo(
                8120, "offsite", "replicate", False, "done", int(NOW - 330), int(NOW - 330), int(NOW - 322),
                "41 messages, 4.4 MB", 4_400_000, lines=("12 objects uploaded", "manifest 4411 written"),
            ),
            api.RunInfo(
                8119, "nas", "replicate", True, "failed", int(NOW - 2 * DAY), int(NOW - 2 * DAY), int(NOW - 2 * DAY),
                "The remote does not answer. It is tried again in 5 minutes.", times=4,
            ),
        ),
        "remotes": (
            remote("offsite", "s3", "mailkeep-archive/box1"),
            remote("nas", "sftp", "/volume1/mailkeep", paused=True, replica=replica("nas", state="paused", waiting=0)),
        ),
        "slots": (
            api.SlotInfo("s1", "passphrase", "Anna", int(NOW - 400 * DAY)),
            api.SlotInfo("s2", "recovery", "", int(NOW - 400 * DAY)),
            api.SlotInfo("s3", "keyfile", "archive.keyfile", int(NOW - 300 * DAY)),
        ),
        "certificate": api.Certificate(
            source="acme", names=("archive.example.com",), subject="CN=archive.example.com", issuer="Let's Encrypt R11",
            not_before=int(NOW - 30 * DAY), not_after=int(NOW + 60 * DAY), days_left=60.0, key="EC P-256",
            fingerprint="A1:0C:" * 15 + "77:3B", chain=2, host_name="archive.example.com",
            acme=api.AcmeState(
                directory="https://acme-v02.api.letsencrypt.org/directory", contact="anna@example.com",
                names=("archive.example.com",), next_try=int(NOW + 30 * DAY), problem="",
            ),
        ),
        "machine_act": None,
    }  # fmt: skip


def machine() -> dict[Callable[..., Any], Any]:
    """What a Debian box with systemd answers."""
    return {
        time.monotonic: 36_000.0,
        units.available: True,
        units.states: tuple(
            units.Unit(
                f"mailkeep-{name}.service", name.split("@")[0], "", "failed" if name == "redirect" else "running",
                since=1,
            )
            for name in ("agent", "archiver", "projector", "replicator", "collector", "gateway@0", "gateway@1",
                         "pop3@0", "web", "redirect")
        ),
        units.logs: (
            units.LogLine(int((NOW - 60) * 1e6), "gateway", "info", "event=accepted bytes=40112"),
            units.LogLine(int((NOW - 30) * 1e6), "archiver", "info", "event=sealed volume=2104"),
        ),
        units.restart: None,
        processes.of: (
            processes.Process(41, "supervisor", 7_200.0),
            processes.Process(42, "agent", 7_199.0),
            processes.Process(43, "archiver", 7_198.0),
        ),
        updates.current: updates.Updates(
            looked_at=NOW - 3 * HOUR,
            packages=(
                updates.Update("openssl", "3.0.14-1", "3.0.15-1", True),
                updates.Update("mailkeep", "0.5.0", "0.5.1", False),
            ),
            mailkeep="0.5.0", restart_needed=False, unattended=True, unattended_at=NOW - DAY,
        ),
        updates.is_installing: False,
        hostname.current: hostname.HostName("archive.example.com", ""),
        network.current: network.Network(
            "networkd", (network.Interface("ens3", "52:54:00:12:34:56", True, ("192.0.2.7/24",), ("192.0.2.1",),
                                           ("192.0.2.1",), True),), "",
        ),
        clock.current: clock.Clock(NOW, "Europe/Berlin", True, True, ("0.debian.pool.ntp.org",), ""),
        doctor.examine: (
            doctoring.Finding("Ports", "ok", "25, 443 and 995 are open, and mailkeep holds them."),
            doctoring.Finding(
                "DNS", "warning", "There is no PTR record for 192.0.2.7.",
                "Ask whoever runs your network for one that says archive.example.com.",
            ),
            doctoring.Finding("Clock", "problem", "The clock is 94 seconds behind.", "Switch time synchronisation on."),
        ),
    }  # fmt: skip
