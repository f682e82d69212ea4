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
from typing import NamedTuple

import msgspec

from appliance.mail.published import VERSION, GatewaySettings, decode_settings, settings_path
from appliance.mail.published import address_key as key_of

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # seconds between two looks at the settings file

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Door(NamedTuple):
    """An open or suspended mailbox as RCPT needs it; ``mailbox_id`` is 16 bytes."""

    mailbox_id: bytes
    public_key: bytes
    suspended: bool
    networks: tuple[_Network, ...]
    tls_required: bool


class Answer(NamedTuple):
    """What RCPT is answered: ``door`` only with 250; ``reason`` is the name it is counted under."""

    reply: str
    reason: str = ""
    door: Door | None = None
    alarm: bool = False  # mail for a published address is waiting on the other side


_ACCEPTED = "250 2.1.5 OK"
_UNREADABLE = Answer("451 4.3.5 The settings cannot be read just now, try again later", "settings-unreadable")
_UNKNOWN = Answer("550 5.1.1 No such mailbox here", "unknown-recipient")
_RETIRED = Answer("451 4.2.1 This mailbox was closed lately, try again later", "retired", alarm=True)
_SUSPENDED = Answer("450 4.2.1 Closed for maintenance, try again later", "suspended", alarm=True)
_NETWORK = Answer("451 4.7.1 Not from this network; an administrator has been told", "network", alarm=True)
_NEEDS_TLS = Answer("451 4.7.0 Must issue a STARTTLS command first", "tls-required", alarm=True)


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
                suspended=mailbox.state != "active",
                networks=tuple(ipaddress.ip_network(network, strict=False) for network in mailbox.networks),
                tls_required=mailbox.tls_required,
            )
            for address in mailbox.addresses:
                self._doors[key_of(address)] = door
        for retired in settings.retired:
            self._retired[key_of(retired.address)] = retired.until

    def answer(self, address: str, *, peer: str, tls: bool, now: int) -> Answer:
        """What a recipient is answered. ``peer`` is the client's IP address, ``now`` microseconds since
        1970."""
        key = key_of(address)
        door = self._doors.get(key)
        if door is None:
            return _RETIRED if self._retired.get(key, 0) > now else _UNKNOWN
        if door.suspended:
            return _SUSPENDED
        if door.networks and not _within(peer, door.networks):
            return _NETWORK
        if door.tls_required and not tls:
            # Not RFC 3207's 530: that ends a sender that does not try again with TLS, and its mail with it.
            return _NEEDS_TLS
        return Answer(_ACCEPTED, door=door)


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
            self._look()
        return self._doors

    def answer(self, address: str, *, peer: str, tls: bool, now: int) -> Answer:
        """``Doors.answer``, or 451 while there are none.

        Before an address is refused for good the file is looked at again: its mailbox may have been made since.
        """
        doors = self.doors()
        found = _UNREADABLE if doors is None else doors.answer(address, peer=peer, tls=tls, now=now)
        if found is _UNKNOWN and self._look():
            return self.answer(address, peer=peer, tls=tls, now=now)
        return found

    def _look(self) -> bool:
        """Read the file where it is another one; whether it was."""
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


def _within(peer: str, networks: tuple[_Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in networks)
