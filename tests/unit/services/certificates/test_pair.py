"""Certificates as people bring them: in any number of files and order, checked before anything changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from appliance.errors import UsageError
from appliance.services.certificates import facts
from appliance.services.certificates.pair import (
    Pair,
    PrivateKey,
    fits,
    names_of,
    new_key,
    private_pem,
    read_pair,
    require_usable,
    signing_request,
)

HOST = "archive.example.com"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM


class Authority:
    """A root, an intermediate certificate, and what they issue."""

    def __init__(self) -> None:
        self.root_key, self.key = new_key(), new_key()
        self.root = _made("Test root", "Test root", self.root_key, self.root_key)
        self.intermediate = _made("Test intermediate", "Test root", self.key, self.root_key)

    def issue(
        self, key: PrivateKey, *names: str, begin: datetime = NOW - 10 * DAY, end: datetime = NOW + 80 * DAY
    ) -> x509.Certificate:
        """A certificate for these names."""
        return _made(names[0] if names else "none", "Test intermediate", key, self.key, names, begin, end)


def _made(
    subject: str, issuer: str, key: PrivateKey, signer: PrivateKey, names: Sequence[str] = (),
    begin: datetime = NOW - 100 * DAY, end: datetime = NOW + 3000 * DAY,
) -> x509.Certificate:  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(PEM) for one in certificates)


def test_files_in_any_order_give_the_chain_in_order_without_the_root(authority: Authority) -> None:
    key = new_key()
    leaf = authority.issue(key, HOST)
    for contents in (
        (private_pem(key) + pem(leaf, authority.intermediate, authority.root),),
        (pem(authority.root, authority.intermediate), pem(leaf), private_pem(key)),
        (b"Bag Attributes\n" + private_pem(key) + b"subject=...\n" + pem(authority.intermediate, leaf),),
        (leaf.public_bytes(serialization.Encoding.DER), pem(authority.intermediate), private_pem(key)),
    ):
        pair = read_pair(contents)
        assert pair.chain == (leaf, authority.intermediate)
        assert pair.key_pem() == private_pem(key)


def test_a_certificate_of_somebody_else_in_the_files_is_left_out(authority: Authority) -> None:
    key = new_key()
    leaf, other = authority.issue(key, HOST), authority.issue(new_key(), "other.example.com")
    assert read_pair([pem(other, leaf), private_pem(key)]).chain == (leaf,)


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_pkcs12_is_read_with_its_password(authority: Authority, password: str) -> None:
    key = new_key()
    leaf = authority.issue(key, HOST)
    kept = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    packed = pkcs12.serialize_key_and_certificates(b"mail", key, leaf, [authority.intermediate], kept)
    assert read_pair([packed], password).chain == (leaf, authority.intermediate)
    if password:
        with pytest.raises(UsageError, match="password"):
            read_pair([packed], "wrong horse")


def test_an_encrypted_key_is_opened_with_its_password_only(authority: Authority) -> None:
    key = new_key()
    kept = serialization.BestAvailableEncryption(b"correct horse")
    locked = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, kept)
    contents = (locked, pem(authority.issue(key, HOST)))
    assert read_pair(contents, "correct horse").key_pem() == private_pem(key)
    for wrong in ("", "wrong horse"):
        with pytest.raises(UsageError, match="password"):
            read_pair(contents, wrong)


def test_what_is_no_pair_is_said_to_be_none(authority: Authority) -> None:
    key = new_key()
    leaf = authority.issue(key, HOST)
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for contents, words in (
        ([pem(leaf)], "no private key"),
        ([private_pem(key)], "no certificate"),
        ([pem(leaf), private_pem(new_key())], "belongs to none of these"),
        ([b"a photograph"], "neither PEM nor PKCS"),
        ([b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", private_pem(key)], "cannot be read"),
        ([pem(leaf), edwards], "neither ECDSA nor RSA"),
        ([], "no private key"),
    ):
        with pytest.raises(UsageError, match=words) as told:
            read_pair(contents)
        assert "PRIVATE" not in told.value.message


def test_one_that_nobody_could_use_is_refused_with_the_reason(authority: Authority) -> None:
    key = new_key()
    small = rsa.generate_private_key(65537, 1024)
    for given, leaf, words in (
        (key, authority.issue(key, HOST, end=NOW - DAY), "ended on 2026-11-19"),
        (key, authority.issue(key, HOST, begin=NOW + DAY), "begins only on 2026-11-21"),
        (key, authority.issue(key, "other.example.com"), "for other.example.com, not for archive.example.com"),
        (key, authority.issue(key), "not for archive.example.com"),
        (small, authority.issue(small, HOST), "1024 bits"),
    ):
        with pytest.raises(UsageError, match=words):
            require_usable(Pair((leaf,), given), HOST, NOW)
    require_usable(Pair((authority.issue(key, HOST),), key), HOST, NOW)


@pytest.mark.parametrize(
    ("names", "host", "expected"),
    [
        (("archive.example.com",), "archive.example.com", True),
        (("archive.example.com",), "ARCHIVE.example.com.", True),
        (("*.example.com",), "archive.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), "a.b.example.com", False),
        (("*",), "localhost", False),
        (("example.com",), "archive.example.com", False),
        (("192.0.2.7",), "192.0.2.7", True),
        (("*.0.2.7",), "192.0.2.7", False),
        ((), "archive.example.com", False),
    ],
)
def test_names_fit_as_rfc_9525_says(names: tuple[str, ...], host: str, expected: bool) -> None:
    assert fits(names, host) is expected


def test_the_facts_tell_of_a_missing_certificate_of_the_chain(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path_factory.mktemp("trusted") / "roots.pem"
    trusted.write_bytes(pem(authority.root))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    key = new_key()
    leaf = authority.issue(key, HOST)
    alone = facts.describe(Pair((leaf,), key), HOST, NOW.timestamp())
    assert "chain missing" in alone.problems[0]
    assert (alone.source, alone.issuer, alone.names) == ("issued", "Test intermediate", (HOST,))
    assert round(alone.days_left) == 80
    ended = facts.describe(Pair((leaf,), key), HOST, (NOW + 81 * DAY).timestamp())
    assert "ended on 2027-02-08" in ended.problems[0]
    assert ended.days_left < 0


def test_it_is_due_with_a_third_of_its_time_left_or_thirty_days_of_a_long_one(authority: Authority) -> None:
    key = new_key()
    short = authority.issue(key, HOST, begin=NOW, end=NOW + 9 * DAY)
    assert not facts.is_due(short, (NOW + 5.9 * DAY).timestamp())
    assert facts.is_due(short, (NOW + 6.1 * DAY).timestamp())
    long = authority.issue(key, HOST, begin=NOW, end=NOW + 3650 * DAY)
    assert not facts.is_due(long, (NOW + 3619 * DAY).timestamp())
    assert facts.is_due(long, (NOW + 3621 * DAY).timestamp())


def test_a_request_names_the_hosts_and_nothing_else() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.load_pem_x509_csr(signing_request(key, (HOST, "mail.example.com")))
    assert request.is_signature_valid
    assert list(request.subject) == []
    wanted = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert wanted.get_values_for_type(x509.DNSName) == [HOST, "mail.example.com"]
    assert len(request.extensions) == 1


def test_names_of_a_certificate_are_lower_case(authority: Authority) -> None:
    assert names_of(authority.issue(new_key(), "Archive.Example.COM")) == (HOST,)
