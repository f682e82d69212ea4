"""A private key with its certificate and the certificates that lead to an authority, from whatever files they came in.

Sources: RFC 5280 (certificates), RFC 7468 (PEM), RFC 7292 (PKCS #12), RFC 9525 section 6.3 (names of a service).
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from appliance.errors import UsageError
from appliance.language import _, later

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

SMALLEST_RSA = 2048  # bits
LONGEST_CHAIN = 10

_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Pair:
    """``chain`` begins with the certificate of ``key``, each one issued by the next, without the authority's root."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key itself."""
        return self.chain[0]

    def chain_pem(self) -> bytes:
        """All certificates, in order."""
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self.chain)

    def key_pem(self) -> bytes:
        """The key, PKCS #8, not encrypted."""
        return private_pem(self.key)


def read_pair(contents: Iterable[bytes], password: str = "") -> Pair:
    """The pair in one or more files: PEM in any order, DER, or PKCS #12. Raises UsageError in words."""
    certificates: list[x509.Certificate] = []
    keys: list[PrivateKey] = []
    for content in contents:
        found, its_keys = _read_pem(content, password) if b"-----BEGIN " in content else _read_binary(content, password)
        certificates += found
        keys += its_keys
    if not keys:
        raise UsageError(_("There is no private key in what was given. Nothing was changed."))
    if not certificates:
        raise UsageError(_("There is no certificate in what was given. Nothing was changed."))
    for key in keys:
        for one in certificates:
            if _belong(one, key):
                return Pair(_in_order(one, certificates), key)
    raise UsageError(
        _("The private key belongs to none of these certificates. Nothing was changed. Give the two that go together.")
    )


def require_usable(pair: Pair, host_name: str, now: datetime.datetime) -> None:
    """Raises UsageError where mail servers and browsers could not use it for ``host_name`` today."""
    one = pair.certificate
    if one.not_valid_after_utc <= now:
        text = later("The certificate ended on {date}. Nothing was changed. Give a newer one.")
        raise UsageError(text, date=f"{one.not_valid_after_utc:%Y-%m-%d}")
    if one.not_valid_before_utc > now:
        text = later("The certificate begins only on {date}. Nothing was changed. Is this machine's clock right?")
        raise UsageError(text, date=f"{one.not_valid_before_utc:%Y-%m-%d}")
    if not fits(names_of(one), host_name):
        text = later("The certificate is for {names}, not for {host}. Nothing was changed.")
        raise UsageError(text, names=", ".join(names_of(one)) or "–", host=host_name)
    if isinstance(pair.key, rsa.RSAPrivateKey) and pair.key.key_size < SMALLEST_RSA:
        text = later("The key has {bits} bits, which is too little: {least} are needed. Nothing was changed.")
        raise UsageError(text, bits=pair.key.key_size, least=SMALLEST_RSA)
    if isinstance(one.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        raise UsageError(_("The certificate is signed in a way that is not safe any more. Nothing was changed."))


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The host names and addresses that a certificate is for (subject alternative names), lower case."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))


def fits(names: Sequence[str], host_name: str) -> bool:
    """Whether one of a certificate's names is the host's; a star stands for its first label (RFC 9525 section 6.3)."""
    host = host_name.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        behind = host.partition(".")[2]
        return host in names or (bool(behind) and f"*.{behind}" in names)


def is_self_signed(certificate: x509.Certificate) -> bool:
    """Whether nobody but its own key vouches for it."""
    return certificate.issuer == certificate.subject


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key: ECDSA P-256, which every mail server of this century takes."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: PrivateKey) -> bytes:
    """A private key in PEM (PKCS #8), not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def chain_of(pem: bytes, key: PrivateKey) -> tuple[x509.Certificate, ...]:
    """The certificate of ``key`` and those that lead on from it. Raises UsageError."""
    return read_pair([pem, private_pem(key)]).chain


def signing_request(key: PrivateKey, names: Sequence[str]) -> bytes:
    """A request for a certificate (RFC 2986), PEM, without anything but the names: authorities ignore the rest."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return (
        builder.add_extension(wanted, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def _read_pem(content: bytes, password: str) -> tuple[list[x509.Certificate], list[PrivateKey]]:
    try:
        certificates = x509.load_pem_x509_certificates(content) if _CERTIFICATE in content else []
    except ValueError as error:
        raise UsageError(_("A certificate in what was given cannot be read. Nothing was changed.")) from error
    return certificates, [_key(found[0], password) for found in _KEY.finditer(content)]


def _key(pem: bytes, password: str) -> PrivateKey:
    encrypted = b"ENCRYPTED" in pem
    try:
        # A password for a key that has none is an error to the library, and to nobody else.
        key = serialization.load_pem_private_key(pem, password.encode() if encrypted and password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise UsageError(_("The password does not open the private key. Nothing was changed.")) from error
        raise UsageError(_("The private key cannot be read. Nothing was changed.")) from error
    return _supported(key)


def _read_binary(content: bytes, password: str) -> tuple[list[x509.Certificate], list[PrivateKey]]:
    try:
        return [x509.load_der_x509_certificate(content)], []
    except ValueError:
        pass
    try:
        key, certificate, more = pkcs12.load_key_and_certificates(content, password.encode() or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        text = later("The file is neither PEM nor PKCS #12, or the password does not open it. Nothing was changed.")
        raise UsageError(text) from error
    return [one for one in (certificate, *more) if one is not None], [_supported(key)] if key is not None else []


def _supported(key: object) -> PrivateKey:
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise UsageError(_("The private key is neither ECDSA nor RSA. Nothing was changed. Ask for one that is."))
    return key


def _belong(certificate: x509.Certificate, key: PrivateKey) -> bool:
    kind = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        return certificate.public_key().public_bytes(*kind) == key.public_key().public_bytes(*kind)
    except (ValueError, UnsupportedAlgorithm):  # a certificate of a key that the library does not know
        return False


def _in_order(first: x509.Certificate, certificates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    chain = [first]
    while not is_self_signed(chain[-1]) and len(chain) < LONGEST_CHAIN:
        issuer = next((one for one in certificates if _issued(chain[-1], one)), None)
        if issuer is None or is_self_signed(issuer):  # a root counts for those only who have it already
            break
        chain.append(issuer)
    return tuple(chain)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject or certificate == issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
