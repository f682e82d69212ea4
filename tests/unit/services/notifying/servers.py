"""Real servers for the tests: mail by aiosmtpd with TLS and signing in, a webhook over HTTPS, a silent port."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port

USER, PASSWORD = "mailkeep", "a long password"


class Tls:
    """A certificate for this machine; ``file`` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / "server.pem"
        self.key = folder / "server.key"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server(self) -> ssl.SSLContext:
        """What a server shows it with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context


class MailServer:
    """Takes mail; ``refuse`` are recipients that it does not know, ``answer`` what it says to a message."""

    def __init__(self, tls: Tls | None, *, starttls: bool = True, sign_in: bool = True) -> None:
        self.received: list[EmailMessage] = []
        self.refuse: set[str] = set()
        self.answer = "250 OK"
        self.signed_in: list[str] = []
        secured: dict[str, Any] = {}
        if tls is not None and starttls:
            secured = {"tls_context": tls.server(), "require_starttls": True}
        if sign_in:
            secured |= {
                "authenticator": self._check,
                "auth_required": True,
                "auth_require_tls": tls is not None and starttls,
            }
        self.port = free_port()
        context = None if starttls or tls is None else tls.server()
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, ssl_context=context, ready_timeout=30.0, **secured
        )

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(self, *_given: object) -> None:
        self._controller.stop(no_assert=True)

    def _check(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        self.signed_in.append(data.login.decode())
        return AuthResult(success=(data.login.decode(), data.password.decode()) == (USER, PASSWORD), handled=False)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refuse:
            return "550 5.1.1 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.answer.startswith("250"):
            self.received.append(BytesParser(policy=default).parsebytes(envelope.content))
        return self.answer


class Hooks:
    """Takes webhook calls: path, headers and body of each; answers ``status``."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        self.url = ""


@contextmanager
def hooks(tls: Tls) -> Iterator[Hooks]:
    """A webhook over HTTPS."""
    told = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.calls.append((self.path, dict(self.headers), body))
            self.send_response(told.status)
            if told.status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_given: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = tls.server().wrap_socket(server.socket, server_side=True)
    told.url = f"https://localhost:{server.server_address[1]}/hook?token=very-secret"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
