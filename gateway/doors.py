"""Which addresses this gateway takes mail for, and what it answers for those it does not take now.

The rule behind every answer: a 5xx makes the sender give up, and a journal report given up is lost. So 550
is for addresses that never were; whatever an administrator can mend is 4xx, counted, and shown as an alarm
(docs/decisions/0021).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from appliance.mail.published import ALL_OF, VERSION, GatewaySettings, decode_settings, settings_path
from appliance.mail.published import address_key as key_of

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # seconds between two looks at the settings file

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Door(NamedTuple):
    """A mailbox as RCPT needs it; ``mailbox_id`` is 16 bytes."""

    mailbox_id: bytes
    public_key: bytes
    state: Literal["active", "suspended", "disabled"]
    networks: tuple[_Network, ...]
    tls_required: bool


class Answer(NamedTuple):
    """What RCPT is answered: ``door`` only with 250; ``reason`` is the name it is counted under."""

    reply: str
    reason: str = ""
    door: Door | None = None
    alarm: str = ""  # the published address for which mail is waiting on the other side


_ACCEPTED = "250 2.1.5 OK"
_UNREADABLE = Answer("451 4.3.5 The settings cannot be read just now, try again later", "settings-unreadable")
_UNKNOWN = Answer("550 5.1.1 No such mailbox here", "unknown-recipient")
_RETIRED = "451 4.2.1 This mailbox was closed lately, try again later"
_CLOSED = "450 4.2.1 Closed for maintenance, try again later"
_NETWORK = "451 4.7.1 Not from this network; an administrator has been told"
_NEEDS_TLS = "451 4.7.0 Must issue a STARTTLS command first"


class Doors:
    """Look-ups made once from one published state of the settings. Raises ValueError for settings that
    make no sense."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._doors: dict[str, Door] = {}
        self._retired: dict[str, int] = {}
        for mailbox in settings.mailboxes:
            door = Door(
                mailbox_id=_mailbox_id(mailbox.id),
                public_key=mailbox.public_key,
                state=mailbox.state,
                networks=tuple(ipaddress.ip_network(network, strict=False) for network in mailbox.networks),
                tls_required=mailbox.tls_required,
            )
            for address in (*mailbox.addresses, *(ALL_OF + domain for domain in mailbox.catch_all)):
                self._doors[key_of(address)] = door
        for retired in settings.retired:
            self._retired[key_of(retired.address)] = retired.until

    def answer(self, address: str, *, peer: str, tls: bool, now: int) -> Answer:
        """What a recipient is answered. ``peer`` is the client's IP address, ``now`` microseconds since
        1970.

        An address of its own goes before a retired one, and that before one of a caught domain: mail for a mailbox
        deleted by mistake must not end in another's. Alarms name the domain, so that made-up addresses in it cannot
        fill the counters.
        """
        key = key_of(address)
        _, at, where = key.rpartition("@")
        for published in (key, ALL_OF + where if at else key):
            door = self._doors.get(published)
            if door is not None:
                return _at(door, published, peer, tls=tls)
            if self._retired.get(published, 0) > now:
                return Answer(_RETIRED, "retired", alarm=published)
        return _UNKNOWN


class DoorKeeper:
    """The doors as last published: looks at the file at most twice a second and reads it when it is
    another one.

    A file that is gone or unreadable closes every door for the time being: an old state could accept mail
    for a mailbox whose key has gone.
    """

    def __init__(self, data: Path, clock: Callable[[], float]) -> None:
        self._path = settings_path(data)
        self._clock = clock
        self._next_look = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._doors: Doors | None = None
        self._settings = GatewaySettings(version=VERSION, hostname="mailkeep.invalid")
        self._problem = ""

    @property
    def settings(self) -> GatewaySettings:
        """Host name, limits and so on as last read, also while the file cannot be read."""
        self.doors()
        return self._settings

    def doors(self) -> Doors | None:
        """The doors, or None while the settings cannot be read."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self.look()
        return self._doors

    def answer(self, address: str, *, peer: str, tls: bool, now: int) -> Answer:
        """``Doors.answer``, or 451 while there are none.

        Before an address is refused for good the file is looked at again: its mailbox may have been made since.
        """
        doors = self.doors()
        found = _UNREADABLE if doors is None else doors.answer(address, peer=peer, tls=tls, now=now)
        if found is _UNKNOWN and self.look():
            return self.answer(address, peer=peer, tls=tls, now=now)
        return found

    def look(self) -> bool:
        """Read the file now, where it is another one or cannot be read; whether it is so."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return False
            self._seen = None
            doors = Doors(decode_settings(self._path.read_bytes()))
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self._doors = None
            if str(error) != self._problem:  # once, not at every look
                self._problem = str(error)
                log.error("settings cannot be read, mail is deferred: %s", error)
            return True
        self._doors, self._settings, self._seen, self._problem = doors, doors.settings, seen, ""
        log.info("settings of generation %d in use", doors.settings.generation)
        return True


def _mailbox_id(text: str) -> bytes:
    mailbox_id = bytes.fromhex(text)
    if len(mailbox_id) != 16:
        raise ValueError(f"a mailbox id has 16 bytes, not {len(mailbox_id)}")
    return mailbox_id


def _at(door: Door, published: str, peer: str, *, tls: bool) -> Answer:
    """What is answered for a mailbox that there is, by the address that leads to it."""
    if door.state != "active":
        return Answer(_CLOSED, door.state, alarm=published)
    if door.networks and not _within(peer, door.networks):
        return Answer(_NETWORK, "network", alarm=published)
    if door.tls_required and not tls:
        # Not RFC 3207's 530: that ends a sender that does not try again with TLS, and its mail with it.
        return Answer(_NEEDS_TLS, "tls-required", alarm=published)
    return Answer(_ACCEPTED, door=door)


def _within(peer: str, networks: tuple[_Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)
