"""STARTTLS: what was said before does not count, and certificates change under a running worker."""

from __future__ import annotations

import datetime
import shutil
import smtplib
import ssl
import time
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import UsageError
from appliance.keys.certificate import ensure_certificate
from gateway.tls import server_context


@pytest.fixture
def secure(gateway):
    ensure_certificate(gateway.data / "tls", "gate.example")
    time.sleep(0.15)
    return gateway


def trusting(**limits) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in limits.items():
        setattr(context, name, value)
    return context


def encrypt(client, context: ssl.SSLContext | None = None) -> None:
    client.socket = (context or trusting()).wrap_socket(client.socket, server_hostname="gate.example")


def certificate_of(gateway) -> bytes:
    client = gateway.client()
    assert client.say("STARTTLS").startswith("220 ")
    encrypt(client)
    return client.socket.getpeercert(binary_form=True)


def test_without_a_certificate_starttls_is_not_offered(gateway) -> None:
    client = gateway.client(greet=False)
    client.reply()
    assert "STARTTLS" not in client.say("EHLO a.example")
    assert client.say("STARTTLS").startswith("454 4.7.0")


def test_mail_over_tls_is_archived_with_how_it_came(secure) -> None:
    with smtplib.SMTP("127.0.0.1", secure.port, timeout=20) as client:
        client.starttls(context=trusting())
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("a@b.example", ["secret@archive.example"], b"x\r\n" * 100_000)
    (stored,) = secure.log.stored
    assert stored.original == b"x\r\n" * 100_000
    assert stored.provenance.tls.startswith("TLSv1.3 ")


def test_a_certificate_that_the_host_name_verifies(secure) -> None:
    context = ssl.create_default_context(cafile=str(secure.data / "tls" / "certificate.pem"))
    client = secure.client()
    client.say("STARTTLS")
    client.socket = context.wrap_socket(client.socket, server_hostname="gate.example")
    assert client.say("EHLO a.example").startswith("250-")


def test_what_was_said_before_tls_is_forgotten(secure) -> None:
    client = secure.client()
    client.open_transaction()
    client.say("STARTTLS")
    encrypt(client)
    assert client.say("RCPT TO:<anna@archive.example>").startswith("503 5.5.1")
    assert client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1")
    assert client.say("EHLO a.example").startswith("250-")
    assert client.say("STARTTLS").startswith("503 5.5.1")


def test_commands_injected_behind_starttls_are_dropped(secure) -> None:
    client = secure.client()
    client.send(b"STARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<anna@archive.example>\r\n")
    assert client.reply().startswith("220 ")
    encrypt(client)
    assert client.say("DATA").startswith("503 5.5.1")
    assert client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1")


def test_nothing_older_than_tls_1_2(secure) -> None:
    client = secure.client()
    client.say("STARTTLS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = trusting(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError):
        encrypt(client, old)


def test_tls_1_2_is_spoken(secure) -> None:
    client = secure.client()
    client.say("STARTTLS")
    encrypt(client, trusting(maximum_version=ssl.TLSVersion.TLSv1_2))
    assert client.socket.version() == "TLSv1.2"


def test_a_handshake_that_fails_leaves_the_worker_well(secure) -> None:
    client = secure.client()
    client.say("STARTTLS")
    client.send(b"this is no handshake, this is no handshake\r\n")
    while client.socket.recv(4096):
        pass
    assert secure.client().say("NOOP").startswith("250 ")


def test_a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not(secure, tmp_path: Path) -> None:
    first = certificate_of(secure)
    ensure_certificate(tmp_path / "other", "other.example")
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(tmp_path / "other" / name, secure.data / "tls" / name)
    time.sleep(0.15)
    second = certificate_of(secure)
    (secure.data / "tls" / "key.pem").write_text("no key")
    time.sleep(0.15)
    third = certificate_of(secure)
    assert first != second == third


def test_the_certificate_made_at_first_start(tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path / "tls", "gate.example")
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gate.example"]
    assert isinstance(read.public_key(), ec.EllipticCurvePublicKey)
    assert read.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > datetime.timedelta(days=3600)
    assert key.stat().st_mode & 0o007 == 0
    assert key.parent.stat().st_mode & 0o077 == 0  # the group counts in an installed appliance only
    assert server_context(certificate, key).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_pair_that_is_there_is_left_alone(tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path, "gate.example")
    before = certificate.read_bytes(), key.read_bytes()
    ensure_certificate(tmp_path, "another.example")
    assert (certificate.read_bytes(), key.read_bytes()) == before


def test_a_key_without_a_certificate_gets_one(tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path, "gate.example")
    kept = key.read_bytes()
    certificate.unlink()
    ensure_certificate(tmp_path, "gate.example")
    assert key.read_bytes() == kept
    server_context(certificate, key)


def test_a_key_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nonsense")
    with pytest.raises(UsageError, match=r"key\.pem is not a private key"):
        ensure_certificate(tmp_path, "gate.example")
