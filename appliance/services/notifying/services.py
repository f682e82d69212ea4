"""Telling of alarms as services: how it is set, trying it, and the notifier of an open archive."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from appliance.errors import MailkeepError, UnavailableError, UsageError
from appliance.language import LANGUAGES, _, speaking
from appliance.services import api
from appliance.services.alarms.working_time import zone_of
from appliance.services.archive import Archive
from appliance.services.looking import Looking
from appliance.services.mailboxes import hostname
from appliance.services.notifying import daily
from appliance.services.notifying.delivery import Delivery, check_url, deliver, is_loopback
from appliance.services.notifying.letters import Part
from appliance.services.notifying.locked_setup import write_setup
from appliance.services.notifying.notifier import WAYS, Notifier, Setup
from appliance.services.principal import Principal
from appliance.services.service_key import keys_of, stored_keys
from appliance.settings.events import NotifyingSet, WatchSet
from appliance.store.failures import storage_error

SHORTEST_SECRET = 16
MOST_RECIPIENTS = 50
_ADDRESS = re.compile(r"[^\s@<>,;\"\\]+@[^\s@<>,;\"\\]+")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[?[0-9A-Fa-f:.]{2,45}\]?")


class Notifications:
    """The services of one open archive, and its notifier."""

    def __init__(self, archive: Archive, looking: Looking, *, deliver: Callable[[Delivery], str] = deliver) -> None:
        self._archive = archive
        self._looking = looking
        self._deliver = deliver
        self.notifier = Notifier(archive.alarms, self._setup, clock=archive.clock, daily=self._daily, deliver=deliver)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"notifying": self.get, "notifying_set": self.set, "notify_test": self.test}

    def start(self) -> None:
        """Begin to tell."""
        self.publish()
        self.notifier.start()

    def close(self) -> None:
        """End."""
        self.notifier.close()

    def publish(self) -> None:
        """Lay down what is set for the time in which the archive is locked. Raises StorageError."""
        archive = self._archive
        try:
            write_setup(archive.paths, keys_of(archive.keyring), self._setup())
        except OSError as error:
            raise storage_error(error) from error

    def get(self, principal: Principal) -> api.NotifyingSettings:
        """How alarms are told."""
        principal.require("admin")
        put, _since = self._archive.settings.notifying()
        try:
            while_locked = stored_keys(self._archive.paths) is not None
        except MailkeepError:
            while_locked = False
        return api.NotifyingSettings(
            host=put.host, port=put.port, security=put.security, user=put.user, has_password=bool(put.password),
            sender=put.sender, recipients=put.recipients, language=put.language, level=put.level,
            daily_hour=put.daily_hour, url=put.url, has_secret=bool(put.secret), while_locked=while_locked,
        )  # fmt: skip

    def set(
        self, principal: Principal, *, host: str | None = None, port: int | None = None,
        security: Literal["starttls", "tls", "none"] | None = None, user: str | None = None,
        password: str | None = None, sender: str | None = None, recipients: Sequence[str] | None = None,
        language: str | None = None, level: Literal["warning", "error"] | None = None,
        daily_hour: int | None = None, url: str | None = None, secret: str | None = None,
    ) -> api.NotifyingSettings:  # fmt: skip
        """Change what is given; an empty host or URL ends that way of telling, a ``daily_hour`` of -1 the daily mail.

        A server or user that changes needs its password anew, a URL its secret: neither goes to another place than it
        was given for. Raises UsageError.
        """
        principal.require("admin")
        before, _since = self._archive.settings.notifying()
        given: dict[str, Any] = {
            "host": host, "port": port, "security": security, "user": user, "password": password, "sender": sender,
            "recipients": None if recipients is None else tuple(recipients), "language": language, "level": level,
            "url": url, "secret": secret,
        }  # fmt: skip
        changes = {name: value for name, value in given.items() if value is not None}
        if (
            password is None
            and before.password
            and any(given[name] not in (None, "", getattr(before, name)) for name in ("host", "user"))
        ):
            raise UsageError("The password goes to no other server or user than it was given for: type it again.")
        if secret is None and url not in (None, before.url):
            changes["secret"] = ""
        if daily_hour is not None:
            changes["daily_hour"] = None if daily_hour < 0 else daily_hour
        put = check(msgspec.structs.replace(before, **changes))
        if put != before:
            self._archive.record(principal, put)
            self.publish()
            self.notifier.try_again()
        return self.get(principal)

    def test(self, principal: Principal, *, way: Literal["", "mail", "webhook"] = "") -> tuple[api.NotifyTested, ...]:
        """Really tell somebody, by one way or all that are set. Raises UsageError where none is."""
        principal.require("admin")
        setup, now = self._setup(), time.time()
        tested = tuple(self._tested(one, setup, now) for one in WAYS if way in ("", one) and setup.uses(one))
        if not tested:
            raise UsageError("Nothing is set up yet: enter a mail server or a webhook, and save.")
        self._archive.note(principal, "notifying.test", " ".join(f"{one.way}={one.passed}" for one in tested))
        return tested

    def _tested(self, way: str, setup: Setup, now: float) -> api.NotifyTested:
        if way == "mail":
            with speaking(setup.told.language):
                subject = _("[{host}] This is a test").format(host=setup.host)
                part = Part(_("It works"), [("good", line) for line in _what_is_told(setup.told)])
            delivery: Delivery = setup.mail(subject, [part], now)
        else:
            delivery = setup.hook({"event": "test"}, now)
        try:
            words = self._deliver(delivery)
        except UnavailableError as error:
            return api.NotifyTested(way, False, error.message)
        return api.NotifyTested(way, not words, words or _taken(way, setup.told))

    def _setup(self) -> Setup:
        put, since = self._archive.settings.notifying()
        return Setup(put, since, hostname(self._archive) or "mailkeep")

    def _daily(self, setup: Setup) -> tuple[str, list[Part], str] | None:
        archive, now = self._archive, self._archive.clock()
        zone = zone_of((archive.settings.watches().get(b"") or WatchSet()).zone)
        day = daily.due(archive.alarms.book.daily, setup.told.daily_hour, now, setup.since, zone)
        if day is None:
            return None
        numbers = self._looking.recent().status
        received = sum(archive.catalogue.per_minute(int(now), 1440)) + sum(archive.sealed.per_minute(int(now), 1440))
        newest, book = archive.seals.newest(), archive.alarms.book
        about = daily.Day(
            now=now,
            status=numbers,
            received=received,
            head=None if newest is None else (newest.number, newest.hash.hex()),
            standing=book.standing,
            over=[one for one in book.over if (one.until or 0) > daily.yesterday(now)],
            timestamps=bool(archive.settings.timestamping()),
            rehearsal=archive.settings.replication().rehearsal,
        )
        return *daily.letter(about, host=setup.host, language=setup.told.language), day


def _what_is_told(put: NotifyingSet) -> Iterator[str]:
    """What comes by mail, for the test."""
    if put.level == "error":
        yield _("Errors of this mail archive will come like this: when they begin, and when they are over.")
    else:
        yield _(
            "Warnings and errors of this mail archive will come like this: when they begin, when they get worse, and "
            "when they are over."
        )
    if put.daily_hour is not None:
        yield _("Every day at {hour}:00 a mail says how the archive is. If it stays away, look after the box.").format(
            hour=f"{put.daily_hour:02d}"
        )


def _taken(way: str, put: NotifyingSet) -> str:
    if way == "mail":
        return _("The mail server took it for {who}. Look whether it arrives.").format(who=", ".join(put.recipients))
    return _("{place} took it.").format(place=put.url.partition("?")[0])


def check(put: NotifyingSet) -> NotifyingSet:
    """``put`` if somebody can be told that way. Raises UsageError."""
    if put.language not in LANGUAGES:
        raise UsageError(f"Mails are written in one of these languages: {', '.join(LANGUAGES)}.")
    if put.daily_hour is not None and not 0 <= put.daily_hour <= 23:
        raise UsageError("The daily mail goes out at an hour from 0 to 23.")
    if put.host:
        _check_mail(put)
    if put.url:
        check_url(put.url)
        if len(put.secret) < SHORTEST_SECRET:
            raise UsageError(
                f"Give the webhook a secret of at least {SHORTEST_SECRET} characters: calls are signed by it."
            )
    return put


def _check_mail(put: NotifyingSet) -> None:
    if not _HOST.fullmatch(put.host):
        raise UsageError("The mail server is a host name or an address, such as smtp.example.com.")
    if not 0 < put.port < 65536:
        raise UsageError("The port of the mail server is a number from 1 to 65535; usual are 587, 465 and 25.")
    if not put.recipients:
        raise UsageError("Enter at least one address that mails go to.")
    if len(put.recipients) > MOST_RECIPIENTS:
        raise UsageError(f"Mails go to {MOST_RECIPIENTS} addresses at most. Make a list for more.")
    for address in (put.sender, *put.recipients):
        if not _ADDRESS.fullmatch(address) or not address.isascii() or not address.isprintable():
            raise UsageError(f"“{address[:80]}” is no address of somebody: write it as anna@example.com.")
    if put.user and put.security == "none" and not is_loopback(put.host):
        raise UsageError("A user name and password are sent over TLS only. Choose STARTTLS or TLS.")
