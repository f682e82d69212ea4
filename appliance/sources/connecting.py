"""A mail server's address and its certificate, and what goes wrong on the way to it, in words."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from appliance.errors import UnavailableError, UsageError
from appliance.language import _, later

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


def server_of(given: Mapping[str, str], ports: Mapping[Security, int]) -> Server:
    """A server of what an administrator gave (``host``, ``port``, ``security``, ``ca``, ``timeout``); ``ports`` are
    those that are meant where none is given. Raises UsageError."""
    if not given.get("host"):
        raise UsageError(later("It needs a server (host)."))
    security: Security = next((one for one in ports if one == given.get("security")), "tls")
    if given.get("security", "tls") not in ("", *ports):
        text = later("“{security}” is no encryption. It is tls, starttls or none.")
        raise UsageError(text, security=given["security"])
    return Server(
        host=given["host"],
        port=_number(given, "port", ports[security], 65_535),
        security=security,
        ca=given.get("ca", ""),
        timeout=_number(given, "timeout", 180, 3600),
    )


def tls_context(ca: str) -> ssl.SSLContext:
    """Verifies the server's certificate and its name. Raises UsageError for a CA that is none."""
    try:
        return ssl.create_default_context(cadata=ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(later("The CA certificate is none: give it as PEM (-----BEGIN CERTIFICATE-----).")) from error


def encryption(connection: socket.socket) -> str:
    """How a connection is encrypted, in a sentence; "" if it is not."""
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
def in_words(server: Server) -> Iterator[None]:
    """What connecting and encrypting raise, as UnavailableError."""
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


def _number(given: Mapping[str, str], key: str, otherwise: int, most: int) -> int:
    text = given.get(key, "")
    if not text:
        return otherwise
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise UsageError(later("“{value}” is no {key}: it is a number up to {most}."), value=text, key=key, most=most)
    return int(text)
