"""A real authority for tests: Pebble, Let's Encrypt's ACME server (RFC 8555), whose every name leads to 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from appliance.keys.certificate import self_signed
from appliance.services.certificates.pair import new_key, private_pem
from tests.ports import free_port

START_SECONDS = 20.0


class Authority:
    """Its directory's address, and the file of certificates by which its own HTTPS is known."""

    def __init__(
        self, folder: Path, http_port: int, *, account_needed: bool = False, beside: Sequence[str] = ()
    ) -> None:
        """``http_port``: where it looks for the answers to its challenges, in place of port 80.

        ``beside``: what a command begins with that is to run in another network, without becoming another process.
        """
        folder.mkdir()
        self.trusted = folder / "authority.pem"
        self.port, self.management, self.dns = free_port(), free_port(), free_port()
        self.directory = f"https://localhost:{self.port}/dir"
        key = new_key()
        (folder / "key.pem").write_bytes(private_pem(key))
        self.trusted.write_bytes(self_signed(key, ("localhost",)).public_bytes(serialization.Encoding.PEM))
        configuration = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.trusted), "privateKey": str(folder / "key.pem"), "httpPort": http_port,
            "tlsPort": 1, "ocspResponderURL": "", "externalAccountBindingRequired": account_needed,
        }  # fmt: skip
        (folder / "pebble.json").write_text(json.dumps({"pebble": configuration}))
        self._folder = folder
        self._beside = tuple(beside)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it and the name server that it asks."""
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
        self._run(
            "pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns}",
            "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{free_port()}",
            environment=environment,
        )  # fmt: skip
        self._run(
            "pebble", "-config", str(self._folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self.dns}", "-strict",
            environment=environment,
        )  # fmt: skip
        _await(self._processes[-1], self.port)
        _await(self._processes[-1], self.management)

    def root(self) -> x509.Certificate:
        """The certificate that all it gives lead to."""
        context = ssl.create_default_context(cafile=str(self.trusted))
        with urllib.request.urlopen(f"https://localhost:{self.management}/roots/0", context=context) as answer:
            return x509.load_pem_x509_certificate(answer.read())

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)
        self._processes.clear()

    def _run(self, *command: str, environment: dict[str, str]) -> None:
        with (self._folder / f"{command[0]}.log").open("ab") as log:
            self._processes.append(subprocess.Popen((*self._beside, *command), stdout=log, stderr=log, env=environment))


@contextmanager
def authority(
    folder: Path, http_port: int, *, account_needed: bool = False, beside: Sequence[str] = ()
) -> Iterator[Authority]:
    """A running one; the test is skipped where Pebble is not installed."""
    if not (shutil.which("pebble") and shutil.which("pebble-challtestsrv")):
        pytest.skip("there is no pebble (Debian package pebble)")
    made = Authority(folder, http_port, account_needed=account_needed, beside=beside)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when something in the process's network listens there (proc(5), /proc/net/tcp: 0A is LISTEN)."""
    deadline = time.monotonic() + START_SECONDS
    sockets, place = Path(f"/proc/{process.pid}/net/tcp"), f"0100007F:{port:04X} 00000000:0000 0A"
    while place not in sockets.read_text():
        assert process.poll() is None and time.monotonic() < deadline, "the authority did not start"
        time.sleep(0.05)
