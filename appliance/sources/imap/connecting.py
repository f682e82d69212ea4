"""From a server's address to a conversation with it: IMAPClient connects and encrypts, then the wire takes over."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import imapclient
import msgspec
from imapclient.exceptions import IMAPClientError

from appliance.errors import UnavailableError
from appliance.language import later
from appliance.sources.connecting import Security, Server, encryption, in_words, tls_context
from appliance.sources.imap.answers import greeting_refusal
from appliance.sources.imap.conversation import Conversation
from appliance.sources.imap.wire import Wire

__all__ = ["Connection", "Security", "Server", "connect"]


class Connection(msgspec.Struct, frozen=True):
    """Somebody connected, not signed in yet. ``tls`` says in words how it is encrypted, "" if it is not."""

    conversation: Conversation
    tls: str


def connect(server: Server) -> Connection:
    """Connect and encrypt. Raises UnavailableError, UsageError (a CA that is none)."""
    context = None if server.security == "none" else tls_context(server.ca)
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
        return Connection(Conversation(wire, capabilities), encryption(connection))
    except BaseException:
        with contextlib.suppress(OSError, IMAPClientError):
            client.shutdown()
        raise


@contextlib.contextmanager
def _in_words(server: Server) -> Iterator[None]:
    try:
        with in_words(server):
            yield
    except IMAPClientError as error:
        said = error.args[0] if error.args else ""
        raise greeting_refusal(server.host, said if isinstance(said, bytes) else str(said).encode()) from error
