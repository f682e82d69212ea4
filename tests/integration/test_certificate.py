"""The certificate of the running product: from an authority over port 80, in use at once, looked at by the doctor."""

from __future__ import annotations

import hashlib
import json
import smtplib
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.acme_authority import authority
from tests.ports import free_port
from tests.product import Product

pytestmark = pytest.mark.integration

HOST = "archive.example.org"
SECONDS = 30.0


def shown(product: Product) -> x509.Certificate:
    """What SMTP shows after STARTTLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=20) as client:
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return x509.load_der_x509_certificate(client.sock.getpeercert(binary_form=True) or b"")


def test_an_authoritys_certificate_is_in_use_without_a_restart(tmp_path: Path) -> None:
    port_80 = free_port()
    with authority(tmp_path / "authority", port_80) as pebble:
        product = Product(tmp_path / "data", environment={"SSL_CERT_FILE": str(pebble.trusted)})
        product.run("init", "--unattended", "--hostname", HOST)
        product.redirect = port_80
        product.start()
        try:
            before = shown(product)
            refused = product.attempt("tls", "acme", "--directory", pebble.directory)
            assert refused.returncode == 1
            assert b"--agree" in refused.stderr
            got = product.run("tls", "acme", "--agree", "--contact", "it@example.org", "--directory", pebble.directory)
            assert (got["source"], got["names"]) == ("acme", [HOST])
            until = time.monotonic() + SECONDS
            while (now := shown(product)) == before:
                assert time.monotonic() < until, "SMTP shows the certificate before"
                time.sleep(0.3)
            fingerprint = hashlib.sha256(now.public_bytes(Encoding.DER)).hexdigest()
            assert got["fingerprint"].replace(":", "").lower() == fingerprint
            renewed = product.run("tls", "renew")
            assert renewed["fingerprint"] != got["fingerprint"]
            told = looked_at(product)
            assert told[f"port {product.smtp}"] == "ok"
            assert told[f"port {port_80}"] == "ok"
            assert told["certificate"] == "problem"  # Pebble's root is known to nobody
        finally:
            product.stop()
        # Nothing runs now, and the command line works on the folder itself.
        again = product.run("tls", "self-signed")
        assert again["source"] == "self-signed"


def looked_at(product: Product) -> dict[str, str]:
    """What the doctor says, by what it looked at."""
    done: subprocess.CompletedProcess[bytes] = product.attempt("doctor", "--json")
    return {one["what"]: one["state"] for one in json.loads(done.stdout)}
