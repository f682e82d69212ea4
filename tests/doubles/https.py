"""A service over HTTPS on the loopback, with an authority made for the test.

A double answers what it knows and refuses the rest; whatever a client does that the real service would not take is kept
in ``complaints``, which a test finds empty at its end.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Asked:
    """A request; ``query`` holds each parameter once, header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The body of a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))

    @property
    def bearer(self) -> str:
        """The token that it came with."""
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Said:
    """An answer: JSON, or bytes as they are, or an iterator of bytes, whose length is not told. ``cut`` ends the
    connection in the middle of the body."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Fault = Callable[[Asked], Said | None]
"""Answers a request in place of the service; None where it is not for this one."""


class RefusalError(Exception):
    """What the service answers instead."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.status)
        self.said = said


class Double:
    """A service; ``answer`` is what it does."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.trusted = folder / "authority.pem"
        self._pair = folder / "server.pem"
        authority = _certificate(self.trusted, "Authority of a double", None)
        _certificate(self._pair, "localhost", authority)
        self.url = ""
        self.asked: list[Asked] = []
        self.complaints: list[str] = []
        self.faults: list[Fault] = []
        """Each is tried in its order and used once."""
        self.ahead = 0.0
        """Seconds that its clock is ahead."""

    @property
    def tls(self) -> ssl.SSLContext:
        """For a client that trusts it."""
        return ssl.create_default_context(cafile=str(self.trusted))

    @property
    def now(self) -> float:
        """Its time, in seconds."""
        return time.time() + self.ahead

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [one.path for one in self.asked]

    def answer(self, asked: Asked) -> Said:
        """What the service says."""
        raise NotImplementedError

    def complain(self, what: str, status: int = 400) -> RefusalError:
        """To be raised: what the real service would not take."""
        self.complaints.append(what)
        return RefusalError(Said(status, {"error": {"code": "BadRequest", "message": what}}))

    def fault(self, asked: Asked) -> Said | None:
        """What goes wrong with a request, if anything is to."""
        for fault in tuple(self.faults):
            if (said := fault(asked)) is not None:
                with suppress(ValueError):  # it took itself off
                    self.faults.remove(fault)
                return said
        return None

    def said(self, asked: Asked) -> Said:
        """The answer to a request, or a fault in its place."""
        self.asked.append(asked)
        if (said := self.fault(asked)) is not None:
            return said
        try:
            return self.answer(asked)
        except RefusalError as refused:
            return refused.said
        except Exception as error:
            self.complaints.append(repr(error))
            raise


def on(path: str, said: Said, *, after: int = 0) -> Fault:
    """A fault at a path (its end is enough), after so many requests for it went through."""
    passed = 0

    def fault(asked: Asked) -> Said | None:
        nonlocal passed
        if not asked.path.endswith(path):
            return None
        passed += 1
        return said if passed > after else None

    return fault


@contextmanager
def serving(*doubles: Double) -> Iterator[None]:
    """The doubles, answering at their ``url``."""
    servers = [_server(one) for one in doubles]
    threads = [threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True) for one in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def _server(double: Double) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are written apart

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def _do(self) -> None:
            url = urlsplit(self.path)
            pairs = parse_qsl(url.query, keep_blank_values=True)
            said = double.said(
                Asked(
                    self.command,
                    unquote(url.path),
                    dict(pairs),
                    {key.lower(): value for key, value in self.headers.items()},
                    self.rfile.read(int(self.headers.get("Content-Length", 0))),
                )
            )
            if len(pairs) != len(dict(pairs)):
                double.complaints.append(f"a parameter came twice: {url.query}")
            if isinstance(said.body, Iterator):
                self._stream(said)
                return
            content = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode()
            self.send_response_only(said.status)
            self.send_header("Date", email.utils.formatdate(double.now, usegmt=True))
            for key, value in {"Content-Type": "application/json", **said.headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content) + (100 if said.cut else 0)))
            self.end_headers()
            self.wfile.write(content)
            if said.cut:
                self.close_connection = True

        def _stream(self, said: Said) -> None:
            """In chunks (RFC 9112 section 7.1)."""
            self.send_response_only(said.status)
            for key, value in {**said.headers, "Transfer-Encoding": "chunked"}.items():
                self.send_header(key, value)
            self.end_headers()
            for piece in said.body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if said.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_given: object) -> None:
            """Nothing into the tests' output."""

    server = _Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(double._pair)
    server.context = context
    double.url = f"https://localhost:{server.server_port}"
    return server


class _Server(ThreadingHTTPServer):
    """TLS begins in each connection's own thread, so that one that does not greet holds up nobody."""

    context: ssl.SSLContext
    daemon_threads = True

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            """The client went away, or does not trust us."""

    def shutdown_request(self, request: Any) -> None:
        try:
            super().shutdown_request(request)
        except OSError:
            """It is gone already: TLS has taken the socket over."""


_Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _certificate(path: Path, name: str, issuer: _Issuer | None) -> _Issuer:
    """A certificate with its key in one file, signed by ``issuer``; an authority's own where there is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return certificate, key
