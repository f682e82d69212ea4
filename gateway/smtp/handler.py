# ruff: noqa: N802 - the hooks have aiosmtpd's names
"""What the protocol asks of the program behind it: aiosmtpd's sessions, envelopes and hooks, no tasks.

Hooks have the names and arguments of aiosmtpd's handlers. They are plain functions, because every answer
but the last is a look-up in memory and a task for each would be most of the cost (docs/decisions/0020).
``handle_DATA`` comes when the message begins, not when it has ended: it returns a ``Content`` that takes
the octets as they arrive, so that a large message never has to be held whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from aiosmtpd.smtp import Envelope as AiosmtpdEnvelope
from aiosmtpd.smtp import Session as AiosmtpdSession

from gateway.doors import Door

if TYPE_CHECKING:
    from gateway.smtp.protocol import SmtpProtocol

Reply = Callable[[str], None]


class Session(AiosmtpdSession):
    """One connection. ``peer`` is the client's IP address, ``tls`` protocol and cipher or ""."""

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        super().__init__(loop)
        self.peer: str = peer
        self.tls = ""
        self.errors = 0  # commands answered 5xx
        self.messages = 0  # answered 250


class Envelope(AiosmtpdEnvelope):
    """One transaction. ``targets``: the doors that the accepted recipients lead to, and by which
    addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[bytes, tuple[Door, list[str]]] = {}


class Content(Protocol):
    """Where the octets of one message go. One of ``finish`` and ``abort`` is called, once.

    ``refusal`` is the reply once it is certain that the message cannot be taken, else None.
    """

    @property
    def refusal(self) -> str | None: ...

    def write(self, octets: bytes) -> None:
        """More of the message. May call the protocol's ``pause_content``, and later ``resume_content``."""

    def finish(self, reply: Reply) -> None:
        """The message is complete. ``reply`` is called once, later, when it is durable or has failed."""

    def abort(self) -> None:
        """The message will not be completed; nothing of it is kept."""


class Handler(Protocol):
    """The program behind the protocol; every hook returns the reply to send."""

    def handle_connect(self, server: SmtpProtocol, session: Session) -> str:
        """The greeting: 220, or 421 (the connection is closed after it)."""

    def handle_disconnect(self, server: SmtpProtocol, session: Session) -> None:
        """The connection is gone. Called once for every connection greeted with 220."""

    def handle_error(self, server: SmtpProtocol, session: Session) -> str | None:
        """A command was answered 5xx; a reply that is returned (421) ends the session."""

    def handle_EHLO(self, server: SmtpProtocol, session: Session, hostname: str) -> list[str]:
        """The host's name, then the extensions offered, a keyword line each."""

    def handle_MAIL(
        self, server: SmtpProtocol, session: Session, envelope: Envelope, address: str, size: int | None
    ) -> str:
        """A transaction begins; ``size`` in octets as the client declared it (RFC 1870)."""

    def handle_RCPT(self, server: SmtpProtocol, session: Session, envelope: Envelope, address: str) -> str:
        """A recipient."""

    def handle_DATA(self, server: SmtpProtocol, session: Session, envelope: Envelope) -> Content:
        """The content of the message begins."""
