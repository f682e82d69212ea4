"""The part of the double that has alarms: some that stand and one that is over, and how people are told of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.errors import NotFoundError, SignInError, UnavailableError, UsageError
from appliance.services import api
from appliance.services.client import Stream, StreamHead

NOW = int(datetime.now(UTC).timestamp())
TOKEN = "mkm_" + "7f" * 32
BUNDLE = "mailkeep-support-2026-11-20-1430.zip"


class AlarmsDouble:
    """Alarms and telling of them; mixed into ``ArchiveDouble``."""

    state: Any

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _note(self, method: str, **params: Any) -> None:
        raise NotImplementedError

    def begin_alarms(self) -> None:
        """Two that stand, one that is over."""
        self.health_now = api.Health(True)
        self.archiver_is_gone = False
        self.metrics_token = ""
        self.standing = [
            api.Alarm(
                level="error", id="a1", kind="disk", title="The disk is filling up", since=NOW - 7200,
                text="The disk is nearly full: 91% is in use, 9% is free. Mail is put off when it is full, and the "
                "senders try again. Give the archive a larger disk, or keep less mail on this one.",
            ),
            api.Alarm(
                level="warning", id="a2", kind="silence", title="No mail comes in", since=NOW - 90_000,
                text="No mail has come to journal-7f3kq9@archive.example.org for 31 hours, 6 or more of them in "
                "working time. Look at the journal rule: Exchange disables a rule whose target did not answer.",
                acknowledged_by="Jonas Müller", acknowledged_at=NOW - 3600,
            ),
        ]  # fmt: skip
        self.over = [
            api.Alarm(
                level="error", id="a0", kind="replica-behind", about="wasabi", title="A replica is behind",
                since=NOW - 900_000, until=NOW - 880_000, acknowledged_by="Jonas Müller",
                acknowledged_at=NOW - 890_000,
                text="The replica “wasabi” is 5 hours behind: 214 messages are not there.",
            )
        ]  # fmt: skip
        common = api.WatchRule("", "", False, 6, (0, 1, 2, 3, 4), 480, 1080, "Europe/Berlin")
        self.rules = {
            "": common,
            "b-1": msgspec.structs.replace(common, mailbox="b-1", address="journal-7f3kq9@archive.example.org"),
        }
        self.notified = api.NotifyingSettings(
            host="smtp.example.org", port=587, security="starttls", user="mailkeep", has_password=True,
            sender="archive@example.org", recipients=("it@example.org",), language="en", level="warning", daily_hour=7,
            url="", has_secret=False, while_locked=False,
        )  # fmt: skip

    async def health(self) -> api.Health:
        if self.archiver_is_gone:
            raise UnavailableError("The archive is not answering just now.")
        return self.health_now

    async def metrics(self, *, secret: str, on_the_box: bool) -> bytes:
        if self.archiver_is_gone:
            raise UnavailableError("The archive is not answering just now.")
        if secret != self.metrics_token if self.metrics_token else not on_the_box:
            raise SignInError("Give the token for metrics.")
        return b"mailkeep_unlocked 1.0\n"

    async def metrics_token_is_set(self, token: str) -> bool:
        self._admin(token)
        return bool(self.metrics_token)

    async def metrics_token_make(self, token: str) -> str:
        self._admin(token)
        self.metrics_token = TOKEN
        return TOKEN

    async def metrics_token_remove(self, token: str) -> None:
        self._admin(token)
        self.metrics_token = ""

    async def alarms(self, token: str) -> api.AlarmPage:
        self._admin(token)
        return api.AlarmPage(tuple(self.standing), tuple(self.over))

    async def alarm_acknowledge(self, token: str, *, id: str) -> api.Alarm:
        self._admin(token)
        self._note("alarm_acknowledge", id=id)
        for number, one in enumerate(self.standing):
            if one.id == id:
                seen = msgspec.structs.replace(one, acknowledged_by="Jonas Müller", acknowledged_at=NOW)
                self.standing[number] = seen
                return seen
        raise NotFoundError("There is no such alarm any more: it may be over already.")

    async def watch_rules(self, token: str) -> tuple[api.WatchRule, ...]:
        self._admin(token)
        return tuple(self.rules.values())

    async def watch_set(self, token: str, **rule: Any) -> None:
        self._admin(token)
        self._note("watch_set", **rule)
        if rule.get("hours", 0) > 1000:
            raise UsageError("The hours without mail are from 1 to 1000, or 0 for never.")

    async def notifying(self, token: str) -> api.NotifyingSettings:
        self._admin(token)
        return self.notified

    async def notifying_set(self, token: str, **changes: Any) -> api.NotifyingSettings:
        self._admin(token)
        self._note("notifying_set", **changes)
        if changes.get("url", "https:").startswith("http:"):
            raise UsageError("A webhook is told over HTTPS only.")
        if changes.get("host") and not changes.get("recipients"):
            raise UsageError("Enter at least one address that mails go to.")
        told = {name: value for name, value in changes.items() if name not in ("password", "secret")}
        if told.get("daily_hour") == -1:
            told["daily_hour"] = None
        self.notified = msgspec.structs.replace(
            self.notified, **told, has_secret=self.notified.has_secret or bool(changes.get("secret"))
        )
        return self.notified

    async def notify_test(self, token: str, *, way: str = "") -> tuple[api.NotifyTested, ...]:
        self._admin(token)
        self._note("notify_test", way=way)
        if not self.notified.host:
            raise UsageError("Nothing is set up yet: enter a mail server or a webhook, and save.")
        return (api.NotifyTested("mail", False, "smtp.example.org:587 does not accept the user name or the password."),)

    async def support_begin(self, token: str) -> api.JobInfo:
        self._admin(token)
        self._note("support_begin")
        job = api.JobInfo("s1", "support", "Support bundle", "done", 13, 13, started_at=NOW, download=BUNDLE)
        self.state.jobs.insert(0, job)
        return job

    async def support_download(self, token: str, *, id: str) -> Stream:
        self._admin(token)

        async def chunks() -> AsyncIterator[bytes]:
            yield b"PK\x05\x06" + bytes(18)

        return Stream(StreamHead(BUNDLE, "application/zip", 22), chunks())
