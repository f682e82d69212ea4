"""What a profile wants: whose mail, which folders, which messages. No input or output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Final

import msgspec

from appliance.errors import UsageError
from appliance.language import _, later
from appliance.mail import message
from appliance.mail.addresses import normalise
from appliance.mail.folders import Choice, Selection
from appliance.services.collector.told import Person
from appliance.settings.events import ProfilePut
from appliance.sources.base import Account, Folder, Item

DAY: Final = 86_400_000_000
"""Microseconds."""


class Chosen(msgspec.Struct, frozen=True):
    """An account, and the archive (a user's id) that its mail goes to; without one ``why`` says so."""

    account: Account
    archive: str
    why: str = ""


def accounts(profile: ProfilePut, listed: Sequence[Account], people: Sequence[Person]) -> tuple[Chosen, ...]:
    """With which accounts a run has to do, those too that have to be left out.

    ``listed`` are those that the source knows by itself; where it knows none, every user whom the profile wants has one
    there by the user's primary address.
    """
    if not listed:
        found = [Account(one.addresses[0], one.addresses[0], one.name) for one in people if one.addresses]
    else:
        found = list(listed)
    users = {address: one.user for one in people for address in one.addresses}
    chosen = []
    for account in found:
        user = users.get(normalise(account.address), "")
        if not _is_wanted(profile, user):
            continue
        if archive := profile.archive or user:
            chosen.append(Chosen(account, archive))
        else:
            why = _("Nobody here has the address {address}: add it to a user, or give the profile an archive.")
            chosen.append(Chosen(account, "", why.format(address=account.address or account.id)))
    return tuple(chosen)


def _is_wanted(profile: ProfilePut, user: str) -> bool:
    if profile.users == "only":
        return user in profile.chosen
    return profile.users == "all" or user not in profile.chosen


class Folders:
    """Which of an account's folders a profile wants."""

    def __init__(self, profile: ProfilePut, listed: Iterable[Folder]) -> None:
        """Raises UsageError for a pattern that is none."""
        known = tuple(listed)
        self._choice = Choice(Selection(profile.include, profile.exclude), {one.path: one.role for one in known})
        a_label = any(self._choice.takes(one.path) for one in known if not one.holds_mail)
        wanted = (
            one for one in known if one.holds_mail and (self._choice.takes(one.path) or (one.by_labels and a_label))
        )
        self.wanted = tuple(sorted(wanted, key=lambda one: one.role != "inbox"))
        """Those that are to be read: they hold mail. The inbox comes first."""

    def takes(self, folder: Folder, item: Item) -> bool:
        """Whether a message of one of these folders is wanted for where it lies."""
        return not folder.by_labels or self._choice.takes_message(folder.path, item.labels)


class Filter:
    """Which messages a profile wants, as of one moment."""

    def __init__(self, profile: ProfilePut, now: int) -> None:
        """``now`` in microseconds. Raises UsageError for dates that are none."""
        self._profile = profile
        self._since = _moment(profile.since)
        befores = [_moment(profile.before)] if profile.before else []
        if profile.older_than_days:
            befores.append(now - profile.older_than_days * DAY)
        self._before = min(befores, default=None)
        self.reads_headers = bool(profile.sender or profile.subject)
        """Whether a message's header decides, too."""

    @property
    def rules(self) -> bytes:
        """What a message's bytes have to say: equal for filters that decide alike by them."""
        return msgspec.msgpack.encode([self._profile.sender, self._profile.subject, self._profile.largest])

    def wants(self, item: Item) -> bool:
        """Whether the message may be wanted, by what the source says of it without its bytes."""
        if item.received is not None and not self._since <= item.received:
            return False
        if item.received is not None and self._before is not None and item.received >= self._before:
            return False
        if self._profile.only_read and "seen" not in item.flags:
            return False
        return self.wants_size(item.size)

    def wants_size(self, size: int | None) -> bool:
        """Whether a message of that many bytes is not too large."""
        return size is None or not self._profile.largest or size <= self._profile.largest

    def wants_header(self, raw: bytes) -> bool:
        """Whether sender and subject are as wanted; ``raw`` begins with the message's header."""
        if not self.reads_headers:
            return True
        facts = message.read_head(raw)
        senders = [text for one in (*facts.from_, *facts.sender) for text in (one.name, one.address)]
        return _within(self._profile.sender, senders) and _within(self._profile.subject, [facts.subject])


def _within(wanted: str, texts: Iterable[str]) -> bool:
    return not wanted or any(wanted.casefold() in text.casefold() for text in texts)


def day_of(text: str) -> date:
    """The day that a profile means. Raises UsageError for text that is none (ISO 8601)."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(later("“{text}” is no date such as 2026-01-31."), text=text) from error


def _moment(text: str) -> int:
    """The beginning of a day (UTC) in microseconds; 0 for none."""
    if not text:
        return 0
    day = day_of(text)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def places(folder: Folder, item: Item) -> Iterator[tuple[str, ...]]:
    """The folders that a message lies in, by path: the one it was found in, and those that its labels name."""
    yield from dict.fromkeys((folder.path, *item.labels))
