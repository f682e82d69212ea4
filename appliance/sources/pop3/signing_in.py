"""Connecting to a POP3 server, encrypting, and signing in by user name and password (RFC 1939, 2595, 2449)."""

from __future__ import annotations

import re
import socket
from typing import Final

from appliance.errors import MailkeepError, RemoteDeniedError, ThrottledError, UnavailableError
from appliance.language import later
from appliance.sources.connecting import Server, in_words, tls_context
from appliance.sources.pop3.wire import RefusedError, Wire

_PATIENCE: Final = 60.0
_LONGEST_PATIENCE: Final = 3600.0
_PATIENT_CODES: Final = frozenset({"IN-USE", "LOGIN-DELAY"})
_PATIENT_WORDS: Final = re.compile(
    r"too many|lock(?:ed)?\b|in use|already|busy|throttl|rate limit|login delay|too (?:often|frequent)|try again later",
    re.IGNORECASE,
)


def connect(server: Server) -> Wire:
    """Connect and encrypt. Raises UnavailableError, UsageError (a CA that is none)."""
    context = None if server.security == "none" else tls_context(server.ca)
    with in_words(server):
        connection = socket.create_connection((server.host, server.port), server.connect_timeout)
    wire = Wire(connection, server.host)
    try:
        with in_words(server):
            if context is not None and server.security == "tls":
                wire.encrypt(context)
            _greeted(wire)
            if context is not None and server.security == "starttls":
                _begin_tls(wire, server)
                wire.encrypt(context)
        wire.socket.settimeout(server.timeout)
    except BaseException:
        wire.close()
        raise
    return wire


def sign_in(wire: Wire, user: str, password: str) -> None:
    """Sign in. Raises RemoteDeniedError, UnavailableError."""
    if any(char in user + password for char in "\0\r\n"):
        raise RemoteDeniedError(later("A user name or password with a line end or a NUL character is none."))
    try:
        wire.ask(b"USER " + user.encode())
        wire.ask(b"PASS " + password.encode())
    except RefusedError as error:
        raise _refused(wire, user, error) from error


def _greeted(wire: Wire) -> None:
    try:
        wire.greeting()
    except RefusedError as error:
        text = later("{host} takes no connection: “{words}”.")
        raise _impatient(wire, error) or UnavailableError(text, host=wire.host, words=error.message) from error


def _begin_tls(wire: Wire, server: Server) -> None:
    try:
        wire.ask(b"STLS")
    except RefusedError as error:
        text = later("{host} offers no STARTTLS on port {port}, so nothing was sent to it. Try tls on port 995.")
        raise UnavailableError(text, host=server.host, port=server.port) from error


def _refused(wire: Wire, user: str, error: RefusedError) -> MailkeepError:
    """RFC 3206: AUTH is about the credentials, SYS/TEMP and SYS/PERM are the server's own troubles."""
    if error.response_code == "SYS/TEMP":
        text = later("{host} cannot sign anybody in just now: “{words}”. It is tried again next time.")
        return UnavailableError(text, host=wire.host, words=error.message)
    if error.response_code not in ("AUTH", "SYS/PERM") and (impatient := _impatient(wire, error)) is not None:
        return impatient
    text = later(
        "{host} did not let “{user}” in: “{words}”. Check name and password, and whether POP3 is allowed there."
    )
    return RemoteDeniedError(text, host=wire.host, user=user, words=error.message)


def _impatient(wire: Wire, error: RefusedError) -> ThrottledError | None:
    """The error for a mailbox that another program has open (only one may), or that was opened too often."""
    if error.response_code not in _PATIENT_CODES and not _PATIENT_WORDS.search(error.message):
        return None
    named = re.search(r"(\d{1,5}) *(?:s\b|sec)", error.message)
    seconds = min(float(named[1]), _LONGEST_PATIENCE) if named else _PATIENCE
    text = later("{host} asks for patience: “{words}”. What was read before is kept.")
    return ThrottledError(text, max(seconds, 1.0), host=wire.host, words=error.message)
