# ruff: noqa: N802, ARG002 - the hooks have aiosmtpd's names and arguments
"""The gateway's own handler: journal mail in, refused or deferred by the doors, archived by the intake."""

from __future__ import annotations

import logging
import time

from appliance.mail.facts import Provenance
from gateway.clients import Clients
from gateway.counters import Counters
from gateway.doors import Door, DoorKeeper
from gateway.intake import IncomingMessage, Intake, Target
from gateway.smtp.handler import Envelope, Session
from gateway.smtp.protocol import SmtpProtocol

log = logging.getLogger(__name__)

_MOST_RECIPIENTS = 1000  # RFC 5321 section 4.5.3.1.8 asks for 100 at least


class ArchivingHandler:
    """A ``gateway.smtp.handler.Handler``; one a worker, shared by all its connections."""

    def __init__(
        self, doors: DoorKeeper, intake: Intake, clients: Clients, counters: Counters, sessions: set[SmtpProtocol]
    ) -> None:
        self._doors = doors
        self._intake = intake
        self._clients = clients
        self._counters = counters
        self._sessions = sessions

    def handle_connect(self, server: SmtpProtocol, session: Session) -> str:
        """220, or 421 where the client or the worker has too many connections."""
        self._counters.connections += 1
        exceeded = self._clients.connect(session.peer, self._doors.settings.limits)
        if exceeded is not None:
            reply = "421 4.7.0 Too many connections or errors, try again later"
            self._counters.turn_away(reply, exceeded)
            log.info("client %s: %s", session.peer, exceeded)
            return reply
        self._sessions.add(server)
        self._counters.open = self._clients.open
        return f"220 {self._doors.settings.hostname} ESMTP mailkeep"

    def handle_disconnect(self, server: SmtpProtocol, session: Session) -> None:
        """Forget the connection; one line about it."""
        self._sessions.discard(server)
        self._clients.disconnect(session.peer)
        self._counters.open = self._clients.open
        log.info(
            "client %s: closed, %d archived, %d errors, %s",
            session.peer,
            session.messages,
            session.errors,
            session.tls or "no TLS",
        )

    def handle_error(self, server: SmtpProtocol, session: Session) -> str | None:
        """Count a 5xx; end a session that has had too many."""
        self._clients.error(session.peer)
        if session.errors < self._doors.settings.limits.errors_per_session:
            return None
        reply = "421 4.7.0 Too many errors"
        self._counters.turn_away(reply, "too-many-errors")
        return reply

    def handle_EHLO(self, server: SmtpProtocol, session: Session, hostname: str) -> list[str]:
        """Name and extensions."""
        return [
            self._doors.settings.hostname,
            "PIPELINING",
            f"SIZE {self._doors.settings.size_limit}",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
        ]

    def handle_MAIL(
        self, server: SmtpProtocol, session: Session, envelope: Envelope, address: str, size: int | None
    ) -> str:
        """Any sender will do, the null reverse-path too: reports come from it."""
        limit = self._doors.settings.size_limit
        if size is not None and size > limit:
            reply = f"552 5.3.4 Larger than {limit} octets"
            self._counters.turn_away(reply, "too-big")
            log.info("client %s: announces %d octets, %d are allowed", session.peer, size, limit)
            return reply
        return "250 2.1.0 OK"

    def handle_RCPT(self, server: SmtpProtocol, session: Session, envelope: Envelope, address: str) -> str:
        """A mailbox's address, or the reason why not."""
        if len(envelope.rcpt_tos) >= _MOST_RECIPIENTS:
            return "452 4.5.3 Too many recipients, send the rest separately"
        answer = self._doors.answer(address, peer=session.peer, tls=bool(session.tls), now=_now())
        if answer.door is None:
            self._counters.turn_away(answer.reply, answer.reason, answer.alarm or None)
            log.info("client %s: recipient turned away: %s", session.peer, answer.reason)
            log.debug("client %s: recipient <%s>: %s", session.peer, address, answer.reply)
            return answer.reply
        envelope.targets.setdefault(answer.door.mailbox_id, (answer.door, []))[1].append(address)
        return answer.reply

    def handle_DATA(self, server: SmtpProtocol, session: Session, envelope: Envelope) -> IncomingMessage:
        """The message goes to each mailbox addressed once, with the recipients that named it."""
        received_at = _now()
        targets = [
            _target(door, addresses, session, envelope, received_at) for door, addresses in envelope.targets.values()
        ]
        return self._intake.receive(server, targets, self._doors.settings.size_limit)


def _target(door: Door, addresses: list[str], session: Session, envelope: Envelope, received_at: int) -> Target:
    provenance = Provenance(
        source="smtp",
        received_at=received_at,
        mail_from=envelope.mail_from or "",
        rcpt_to=tuple(addresses),
        peer=session.peer,
        helo=session.host_name or "",
        tls=session.tls,
    )
    return Target(door.mailbox_id, door.public_key, provenance)


def _now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000
