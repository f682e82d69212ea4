"""When people are told: what comes within a minute is one message, what fails is tried again ever more slowly.

What has been told is written down with each alarm, so nothing is told twice and nothing is forgotten over a restart; a
server that was away for hours gets one message of how it is then, not all that it missed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from appliance.errors import UnavailableError
from appliance.language import _, speaking
from appliance.services.alarms import words
from appliance.services.alarms.book import Alarm, how
from appliance.services.alarms.keeper import Alarms
from appliance.services.alarms.trouble import RANK, Trouble
from appliance.services.notifying import letters
from appliance.services.notifying.delivery import Delivery, Hook, Mail, deliver, signed
from appliance.settings.events import NotifyingSet

log = logging.getLogger(__name__)

GROUP_SECONDS = 60.0
"""What begins or ends within this time is one message."""
FIRST_RETRY, LONGEST_RETRY = 60.0, 3600.0
ROUND_SECONDS = 5.0
WAYS = ("mail", "webhook")


class Setup(msgspec.Struct, frozen=True):
    """How people are told, since when (seconds), and what the box is called."""

    told: NotifyingSet
    since: float
    host: str

    def uses(self, way: str) -> bool:
        """Whether that way is set up."""
        return bool(self.told.host if way == "mail" else self.told.url)

    def mail(self, subject: str, parts: Sequence[letters.Part], now: float) -> Mail:
        """A mail to the recipients."""
        told = self.told
        with speaking(told.language):
            foot = _("From the mail archive {host}. Who gets this is set on its page “Notifications”.").format(
                host=self.host
            )
        message = letters.mail(
            subject, parts, foot, sender=told.sender, recipients=told.recipients, language=told.language, now=now
        )
        return Mail(
            told.host, told.port, told.security, told.user, told.password, told.sender, told.recipients, message
        )

    def hook(self, content: Mapping[str, Any], now: float) -> Hook:
        """A call of the webhook."""
        body = msgspec.json.encode({"host": self.host, "at": int(now), **content})
        return Hook(self.told.url, signed(self.told.secret, int(now), body), body)


class _Retry:
    """When a way that failed is tried again."""

    def __init__(self) -> None:
        self.next = 0.0
        self._pause = FIRST_RETRY

    def failed(self, now: float) -> None:
        self.next, self._pause = now + self._pause, min(self._pause * 2, LONGEST_RETRY)

    def worked(self) -> None:
        self.next, self._pause = 0.0, FIRST_RETRY


class Notifier:
    """Tells of alarms as they come and go, on a thread of its own.

    ``setup`` gives what is set now; ``daily`` makes the daily mail where one is due, as subject, parts and the day.
    """

    def __init__(
        self,
        alarms: Alarms,
        setup: Callable[[], Setup | None],
        *,
        clock: Callable[[], float],
        daily: Callable[[Setup], tuple[str, list[letters.Part], str] | None] = lambda _setup: None,
        deliver: Callable[[Delivery], str] = deliver,
    ) -> None:
        self._alarms = alarms
        self._setup = setup
        self._clock = clock
        self._daily = daily
        self._deliver = deliver
        self._retries = {way: _Retry() for way in WAYS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifying", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End. A delivery on its way is given up and tried again after the next start."""
        self._stop.set()

    def try_again(self) -> None:
        """Wait no longer for what failed, since it was set anew."""
        for retry in self._retries.values():
            retry.worked()

    def round(self) -> None:
        """Tell what there is to tell now."""
        setup = self._setup()
        if setup is None:
            return
        for way in WAYS:
            if not setup.uses(way):
                self._withdraw(way)
            elif self._retries[way].next <= self._clock():
                self._tell(way, setup)
        if setup.uses("mail") and self._retries["mail"].next <= self._clock():
            self._tell_how_it_is(setup)

    def _run(self) -> None:
        while not self._stop.wait(ROUND_SECONDS):
            try:
                self.round()
            except Exception:  # a thread that has ended would not tell of anything any more
                log.exception("nobody could be told of the alarms")

    def _tell(self, way: str, setup: Setup) -> None:
        now, book = self._clock(), self._alarms.book
        least = RANK[setup.told.level]
        waiting = [
            one
            for one in (*book.standing, *book.over)
            if one.untold(way, setup.since)
            and (RANK[one.level] >= least or way in one.told)
            and one.key != ("undelivered", way)
        ]
        if not waiting or now - min(map(_changed, waiting)) < GROUP_SECONDS:
            return
        if way == "mail":
            subject, parts = letters.about_alarms(waiting, now, host=setup.host, language=setup.told.language)
            delivery: Delivery = setup.mail(subject, parts, now)
        else:
            delivery = setup.hook({"event": "alarms", "alarms": [in_json(one) for one in waiting]}, now)
        if self._hand_over(way, delivery, now):
            self._alarms.tell(way, {one.id: how(one) for one in waiting})

    def _tell_how_it_is(self, setup: Setup) -> None:
        made = self._daily(setup)
        if made is None:
            return
        subject, parts, day = made
        if self._hand_over("mail", setup.mail(subject, parts, self._clock()), self._clock()):
            self._alarms.told_today(day)

    def _hand_over(self, way: str, delivery: Delivery, now: float) -> bool:
        try:
            told = self._deliver(delivery)
        except UnavailableError as error:
            log.warning("alarms cannot be told by %s; it is tried again", way)
            self._retries[way].failed(now)
            self._alarms.report("undelivered", _undelivered(way, error.message), way)
            return False
        self._retries[way].worked()
        if told:
            self._alarms.report("undelivered", _undelivered(way, told), way)
        else:
            self._withdraw(way)
        return True

    def _withdraw(self, way: str) -> None:
        if any(one.key == ("undelivered", way) for one in self._alarms.book.reported):
            self._alarms.report("undelivered", None, way)


def in_json(alarm: Alarm) -> dict[str, Any]:
    """One alarm as a webhook is told of it; texts in English."""
    with speaking("en"):
        return {
            "id": alarm.id, "kind": alarm.kind, "about": alarm.about, "level": alarm.level,
            "state": "standing" if alarm.until is None else "over", "since": alarm.since, "until": alarm.until,
            "title": words.title(alarm.kind), "text": words.sentence(alarm.kind, alarm.figures),
        }  # fmt: skip


def _changed(alarm: Alarm) -> float:
    """When there first was something to tell that is not told yet: a lower bound is enough, a minute is not long."""
    return alarm.since if alarm.until is None or not alarm.told else alarm.until


def _undelivered(way: str, why: str) -> Trouble:
    return Trouble("undelivered", "warning", way, {"way": way, "why": why})
