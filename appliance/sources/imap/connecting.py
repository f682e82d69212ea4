"""From a server's address to a conversation with it: IMAPClient connects and encrypts, then the wire takes over."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import imapclient
import msgspec
from imapclient.exceptions import IMAPClientError

from appliance.errors import UnavailableError, UsageError
from appliance.language import _, later
from appliance.sources.imap.answers import greeting_refusal
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.wire import Wire

Security = Literal["tls", "starttls", "none"]


class Server(msgspec.Struct, frozen=True):
    """Where the mail is. ``ca`` is PEM, "" for the authorities that the system trusts; times in seconds."""

    host: str
    port: int
    security: Security = "tls"
    ca: str = ""
    connect_timeout: float = 30.0
    timeout: float = 180.0
    """That an answer may take; a search through a large mailbox takes its time."""


class Connection(msgspec.Struct, frozen=True):
    """Somebody connected, not signed in yet. ``tls`` says in words how it is encrypted, "" if it is not."""

    conversation: Conversation
    tls: str


def connect(server: Server) -> Connection:
    """Connect and encrypt. Raises UnavailableError, UsageError (a CA that is none)."""
    context = None if server.security == "none" else _tls_context(server.ca)
    with _in_words(server):
        client = imapclient.IMAPClient(
            server.host,
            server.port,
            ssl=server.security == "tls",
            ssl_context=context,
            timeout=server.connect_timeout,
        )
    try:
        with _in_words(server):
            if server.security == "starttls":
                if not client.has_capability("STARTTLS"):
                    text = later(
                        "{host} offers no STARTTLS on port {port}, so nothing was sent to it. Try tls on port 993."
                    )
                    raise UnavailableError(text, host=server.host, port=server.port)
                client.starttls(context)
            capabilities = frozenset(one.decode("ascii", "replace").upper() for one in client.capabilities())
        if client._imap.state != "NONAUTH":
            text = later("{host} asks nobody to sign in (PREAUTH), so it is not known whose mail it would give.")
            raise UnavailableError(text, host=server.host)
        connection: socket.socket = client.socket()
        connection.settimeout(server.timeout)
        wire = Wire(connection, client._imap.file, server.host)
        return Connection(Conversation(wire, capabilities), _encryption(connection))
    except BaseException:
        with contextlib.suppress(OSError, IMAPClientError):
            client.shutdown()
        raise


def _tls_context(ca: str) -> ssl.SSLContext:
    """Verifies the server's certificate and its name."""
    try:
        return ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(later("The CA certificate is none: give it as PEM (-----BEGIN CERTIFICATE-----).")) from error


def _encryption(connection: socket.socket) -> str:
    if not isinstance(connection, ssl.SSLSocket):
        return ""
    certificate: Mapping[str, Any] = connection.getpeercert() or {}
    issuer = {key: value for part in certificate.get("issuer", ()) for key, value in part}
    by = issuer.get("organizationName") or issuer.get("commonName") or "?"
    version = (connection.version() or "").replace("TLSv", "TLS ")
    until = certificate.get("notAfter", "?")
    return _("{version}; the certificate is from {by}, valid until {until}.").format(
        version=version, by=by, until=until
    )


@contextlib.contextmanager
def _in_words(server: Server) -> Iterator[None]:
    host, port = server.host, server.port
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        text = later(
            "The certificate of {host}, port {port}, cannot be trusted: {why}. Nothing was sent to it. Use the name "
            "that the certificate is for, or give the CA that made it."
        )
        raise UnavailableError(text, host=host, port=port, why=error.verify_message) from error
    except ssl.SSLError as error:
        text = later("{host}, port {port}, does not speak TLS: {why}. Try starttls, or another port.")
        raise UnavailableError(text, host=host, port=port, why=error.reason or error) from error
    except socket.gaierror as error:
        raise UnavailableError(
            later("The name “{host}” is not known: {why}."), host=host, why=error.strerror
        ) from error
    except TimeoutError as error:
        text = later("{host}, port {port}, does not answer. Check name, port and firewalls.")
        raise UnavailableError(text, host=host, port=port) from error
    except OSError as error:
        text = later("{host}, port {port}, cannot be reached: {why}.")
        raise UnavailableError(text, host=host, port=port, why=error.strerror or error) from error
    except IMAPClientError as error:
        said = error.args[0] if error.args else ""
        raise greeting_refusal(host, said if isinstance(said, bytes) else str(said).encode()) from error
