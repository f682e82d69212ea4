"""When people are told: once, together, again after a failure, the end too, and over a restart."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from appliance.errors import UnavailableError
from appliance.services.alarms.keeper import Alarms
from appliance.services.alarms.trouble import Trouble
from appliance.services.notifying.delivery import Delivery, Hook, Mail
from appliance.services.notifying.letters import Part
from appliance.services.notifying.notifier import FIRST_RETRY, GROUP_SECONDS, Notifier, Setup
from appliance.settings.events import NotifyingSet

DISK = Trouble("disk", "warning", figures={"used": 0.82, "free": 0.18})
FULL = Trouble("disk", "error", figures={"used": 0.93, "free": 0.07})
GATEWAY = Trouble("gateway", "error", "0", {"worker": 0})
TOLD = NotifyingSet(
    host="smtp.archive.test", sender="archive@archive.test", recipients=("it@archive.test", "boss@archive.test"),
    url="https://hooks.archive.test/x", secret="s" * 32,
)  # fmt: skip


class Desk:
    """A notifier with a clock, and what it has sent."""

    def __init__(self, folder: Path, told: NotifyingSet = TOLD, since: float = 0.0) -> None:
        self.now = 1_795_435_200.0
        self.folder = folder
        self.down: set[str] = set()
        self.tries: list[str] = []
        self.mails: list[EmailMessage] = []
        self.calls: list[dict[str, Any]] = []
        self.setup: Setup | None = Setup(told, since, "box.archive.test")
        self.due: tuple[str, list[Part], str] | None = None
        self.start()

    def start(self) -> None:
        """As a new process does."""
        self.alarms = Alarms(self.folder / "alarms.json", clock=lambda: self.now)
        self.alarms.keeps = True
        self.notifier = Notifier(
            self.alarms, lambda: self.setup, clock=lambda: self.now, daily=self._daily, deliver=self._deliver
        )

    def see(self, *troubles: Trouble) -> None:
        """A look that finds these, with what was reported."""
        self.alarms.see((*troubles, *self.alarms.book.reported))

    def wait(self, seconds: float) -> None:
        """Let time go by, and have people told."""
        self.now += seconds
        self.notifier.round()

    @property
    def subjects(self) -> list[str]:
        return [str(one["Subject"]) for one in self.mails]

    def _daily(self, _setup: Setup) -> tuple[str, list[Part], str] | None:
        return self.due if self.due and self.due[2] != self.alarms.book.daily else None

    def _deliver(self, delivery: Delivery) -> str:
        way = "mail" if isinstance(delivery, Mail) else "webhook"
        self.tries.append(way)
        if way in self.down:
            raise UnavailableError(f"{way} cannot be reached.")
        if isinstance(delivery, Hook):
            self.calls.append(msgspec.json.decode(delivery.body))
        else:
            assert delivery.recipients == TOLD.recipients
            self.mails.append(cast(EmailMessage, message_from_bytes(delivery.message, policy=default)))  # type: ignore[arg-type]
        return ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def text(mail: EmailMessage, kind: str = "plain") -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_what_comes_within_a_minute_is_one_message_and_is_told_once(desk: Desk) -> None:
    desk.see(DISK)
    desk.wait(20)
    desk.see(DISK, GATEWAY)
    desk.wait(20)
    assert not desk.mails and not desk.calls
    desk.wait(GROUP_SECONDS)
    for _ in range(10):
        desk.see(DISK, GATEWAY)
        desk.wait(3600)
    assert desk.subjects == ["[box.archive.test] ERROR: The gateway is silent, and 1 more"]
    assert "82% is in use" in text(desk.mails[0]) and "Gateway worker 0" in text(desk.mails[0], "html")
    assert desk.mails[0]["Auto-Submitted"] == "auto-generated" and desk.mails[0]["Message-ID"]
    assert [[one["kind"] for one in call["alarms"]] for call in desk.calls] == [["disk", "gateway"]]


def test_what_gets_worse_and_what_is_over_is_told_too(desk: Desk) -> None:
    desk.see(DISK)
    desk.wait(60)
    desk.see(FULL)
    desk.wait(60)
    desk.see(DISK)  # a little better is nothing to wake somebody for
    desk.wait(60)
    desk.see()
    desk.wait(60)
    assert desk.subjects == [
        "[box.archive.test] warning: The disk is filling up", "[box.archive.test] ERROR: The disk is filling up",
        "[box.archive.test] over: The disk is filling up",
    ]  # fmt: skip
    assert "over after 3 minutes" in text(desk.mails[-1])
    assert [call["alarms"][0]["state"] for call in desk.calls] == ["standing", "standing", "over"]


def test_a_server_that_is_down_is_tried_ever_more_slowly_and_misses_nothing(desk: Desk) -> None:
    desk.down = {"mail"}
    desk.see(DISK)
    for _ in range(24 * 60):
        desk.wait(60)
        desk.see(DISK)
    assert 24 <= desk.tries.count("mail") <= 32, "every hour in the end"
    assert len(desk.calls) == 2, "of the disk, and that mails cannot be delivered"
    assert any(one.key == ("undelivered", "mail") for one in desk.alarms.book.standing)
    desk.down.clear()
    desk.see()
    desk.wait(3600)
    desk.see()
    desk.wait(120)
    assert len(desk.mails) == 1 and "over" in desk.subjects[0]
    assert not desk.alarms.book.standing


def test_a_restart_tells_nothing_twice_and_forgets_nothing(desk: Desk) -> None:
    desk.see(DISK)
    desk.wait(60)
    desk.start()
    desk.see(DISK, GATEWAY)
    desk.start()
    desk.see(DISK, GATEWAY)
    desk.wait(60)
    assert desk.subjects == [
        "[box.archive.test] warning: The disk is filling up", "[box.archive.test] ERROR: The gateway is silent",
    ]  # fmt: skip


def test_what_was_over_before_anybody_could_be_told_is_told_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, since=1_795_435_300.0)
    desk.see(GATEWAY)
    desk.see()
    desk.now += 130
    desk.see()
    desk.wait(60)
    assert not desk.mails, "it was over before anything was set up"
    desk.see(DISK)
    desk.now += 30
    desk.see()
    desk.wait(60)
    assert desk.subjects == ["[box.archive.test] over: The disk is filling up"]
    desk.wait(3600)
    assert len(desk.mails) == 1


def test_who_wants_errors_only_hears_of_no_warning(tmp_path: Path) -> None:
    desk = Desk(tmp_path, msgspec.structs.replace(TOLD, level="error"))
    desk.see(DISK)
    desk.wait(60)
    assert not desk.mails
    desk.see(FULL)
    desk.wait(60)
    desk.see(DISK)
    desk.wait(60)
    desk.see()
    desk.wait(60)
    assert [subject.split("] ")[1] for subject in desk.subjects] == [
        "ERROR: The disk is filling up", "over: The disk is filling up",
    ]  # fmt: skip


def test_the_daily_mail_goes_out_once_and_again_where_it_failed(desk: Desk) -> None:
    desk.due = ("All is well", [Part("Mail", [("good", "3 messages <came> in.")])], "2026-11-23")
    desk.down = {"mail"}
    desk.wait(0)
    desk.down.clear()
    desk.wait(FIRST_RETRY - 1)
    assert not desk.mails
    for _ in range(5):
        desk.wait(60)
    assert desk.subjects == ["All is well"]
    assert "&lt;came&gt;" in text(desk.mails[0], "html") and "<came>" in text(desk.mails[0])


def test_nobody_is_told_where_nothing_is_set(tmp_path: Path) -> None:
    desk = Desk(tmp_path, NotifyingSet())
    desk.see(GATEWAY)
    desk.wait(600)
    desk.setup = None
    desk.wait(600)
    assert not desk.tries
