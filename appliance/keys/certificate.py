"""The self-signed certificate that gateway and web start with, until an administrator brings another."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from appliance import files
from appliance.errors import UsageError

_LIFETIME = datetime.timedelta(days=3652)  # ten years
_MODE = 0o640  # for the group of the folder: those who talk TLS under users of their own


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
        files.replace_file(files.FILES, key_path, _new_key(), _MODE)
    certificate = self_signed(_load_key(key_path), (hostname,))
    files.replace_file(files.FILES, certificate_path, certificate.public_bytes(serialization.Encoding.PEM), _MODE)
    return certificate_path, key_path


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


def self_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, hosts: Sequence[str]) -> x509.Certificate:
    """A certificate of ``key`` for hosts or addresses, the first of which is its subject; ten years, from yesterday."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, hosts))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


def _general_name(hostname: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(hostname))
    except ValueError:
        return x509.DNSName(hostname)
