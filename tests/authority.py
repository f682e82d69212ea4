"""A time-stamping authority for tests: openssl's, behind a small HTTP server on the loopback."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[stamping]
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = stamper
[stamper]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
"""


class Authority:
    """Its certificates and its answers. ``change`` alters each answer before it is sent; ``asked`` are the requests."""

    def __init__(self, folder: Path, *, key: tuple[str, ...] = ("rsa:2048",)) -> None:
        """``key`` is what openssl calls the stamping certificate's kind of key."""
        folder.mkdir()
        self.folder = folder
        self.url = ""
        self.asked: list[bytes] = []
        self.status = 200
        self.change: Callable[[bytes], bytes] = lambda answer: answer
        (folder / "serial").write_text("01\n")
        (folder / "openssl.cnf").write_text(_CONFIGURATION.format(folder=folder))
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-keyout", "ca.key", "-out", "ca.pem"),
            *("-config", "openssl.cnf", "-extensions", "authority"),
        )
        self._openssl(
            *("req", "-newkey", *key, "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-config", "openssl.cnf"),
            *("-subj", "/CN=Test stamper"),
        )
        self._openssl(
            *("x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"),
            *("-out", "tsa.pem", "-extfile", "openssl.cnf", "-extensions", "stamping"),
        )

    @property
    def certificates(self) -> Path:
        """What an auditor who trusts it has."""
        return self.folder / "ca.pem"

    def answer(self, request: bytes) -> bytes:
        """The answer to a request, both DER."""
        (self.folder / "request.tsq").write_bytes(request)
        self._openssl(
            *("ts", "-reply", "-queryfile", "request.tsq", "-config", "openssl.cnf", "-section", "stamper"),
            *("-out", "answer.tsr"),
        )
        return (self.folder / "answer.tsr").read_bytes()

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def serving(authority: Authority) -> Iterator[Authority]:
    """The authority, answering at ``authority.url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            authority.asked.append(request)
            fits = self.headers["Content-Type"] == "application/timestamp-query"
            content = authority.change(authority.answer(request)) if fits else b""
            self.send_response(authority.status if fits else 415)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_given: object) -> None:
            """Nothing into the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_port}/tsa"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
