"""TLS for STARTTLS: a self-signed certificate at first start, and certificates changed without a restart."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from appliance import files
from appliance.errors import UsageError
from appliance.mail.published import TlsFiles

log = logging.getLogger(__name__)

_LOOK_EVERY = 2.0  # seconds between two looks at the files
_LIFETIME = datetime.timedelta(days=3652)  # ten years


def ensure_certificate(directory: Path, hostname: str) -> tuple[Path, Path]:
    """The paths of certificate and key in ``directory`` (``certificate.pem``, ``key.pem``); made where
    missing.

    What is made is self-signed: ECDSA P-256, the host's name as subject and subject alternative name, ten
    years. Mail servers that send to a journal address encrypt without checking who they talk to unless
    told otherwise, so it serves until an administrator brings another. Raises OSError, or UsageError for a
    key that cannot be used.
    """
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    if certificate_path.exists():
        return certificate_path, key_path
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A key without a certificate is what a crash between the two leaves, or an administrator's: it is used.
    if not key_path.exists():
        files.replace_file(files.FILES, key_path, _new_key())
    certificate = _self_signed(_load_key(key_path), hostname)
    files.replace_file(files.FILES, certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_path, key_path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A context for TLS 1.2 and later (RFC 8996). Raises OSError (ssl.SSLError is one) where the pair is
    no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    return context


class TlsKeeper:
    """The context for new handshakes; follows the files. A new pair that does not work leaves the old one
    in use."""

    def __init__(self, data: Path, clock: Callable[[], float]) -> None:
        self._data = data
        self._clock = clock
        self._next_look = float("-inf")
        self._seen: object = None
        self._context: ssl.SSLContext | None = None
        self._problem = ""

    def context(self, pair: TlsFiles) -> ssl.SSLContext | None:
        """The context, or None while there never was a pair that works."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look(pair)
        return self._context

    def _look(self, pair: TlsFiles) -> None:
        certificate, key = self._data / pair.certificate, self._data / pair.key
        try:
            seen = (pair, _identity(certificate), _identity(key))
            if seen == self._seen:
                return
            self._seen = seen
            self._context = server_context(certificate, key)
            log.info("certificate in use: %s", certificate)
            self._problem = ""
        except OSError as error:
            if str(error) == self._problem:
                return  # said before
            self._problem = str(error)
            kept = "the one before stays in use" if self._context else "STARTTLS is not offered"
            log.error("certificate cannot be used, %s: %s", kept, error)


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _new_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        message = f"{path} is not a private key in PEM without a passphrase; replace or remove it."
        raise UsageError(message) from error
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise UsageError(f"{path} is neither an ECDSA nor an RSA key; replace or remove it.")
    return key


def _self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, hostname: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname))
    except ValueError:
        return x509.DNSName(hostname)
