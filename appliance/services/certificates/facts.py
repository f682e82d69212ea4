"""What the certificate in use says, and what is wrong with it, in words; needs neither keys nor a running archive."""

from __future__ import annotations

import contextlib
import re
import ssl
import time
import warnings
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from appliance.language import _
from appliance.services import api
from appliance.services.certificates.pair import Pair, fits, is_self_signed, names_of
from appliance.services.certificates.stored import load

DAY = 24 * 3600.0

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def read(tls: Path, host_name: str, *, now: float | None = None) -> api.Certificate:
    """The certificate in ``tls`` as it is for a host of that name. Raises NotFoundError, DamageError, StorageError."""
    return describe(load(tls), host_name, time.time() if now is None else now)


def describe(pair: Pair, host_name: str, now: float) -> api.Certificate:
    """The facts of a pair."""
    one = pair.certificate
    end = one.not_valid_after_utc.timestamp()
    return api.Certificate(
        source="self-signed" if is_self_signed(one) else "issued",
        names=names_of(one),
        subject=_called(one.subject),
        issuer=_called(one.issuer),
        not_before=int(one.not_valid_before_utc.timestamp()),
        not_after=int(end),
        days_left=(end - now) / DAY,
        key=f"{'RSA' if isinstance(pair.key, rsa.RSAPrivateKey) else 'ECDSA'} {pair.key.key_size}",
        fingerprint=one.fingerprint(hashes.SHA256()).hex(":").upper(),
        chain=len(pair.chain),
        host_name=host_name,
        problems=tuple(_problems(pair, host_name, datetime.fromtimestamp(now, UTC))),
    )


def is_due(certificate: x509.Certificate, now: float) -> bool:
    """Whether it is to be renewed: less than a third of its time, or less than 30 days of a very long one, is left."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    left = end - datetime.fromtimestamp(now, UTC)
    return left < min((end - begin) / 3, timedelta(days=30))


def _problems(pair: Pair, host_name: str, now: datetime) -> list[str]:
    one, found = pair.certificate, []
    date = f"{one.not_valid_after_utc:%Y-%m-%d}"
    if one.not_valid_after_utc <= now:
        found.append(_("It ended on {date}: servers that check certificates do not send any more.").format(date=date))
    elif one.not_valid_before_utc > now:
        found.append(_("It is not valid yet. Is this machine's clock right?"))
    if not fits(names_of(one), host_name):
        text = _("It is for {names}, not for {host}.")
        found.append(text.format(names=", ".join(names_of(one)) or "–", host=host_name))
    if not found and not is_self_signed(one) and (reason := _not_trusted(pair, host_name, now)):
        text = _(
            "No authority that this machine knows vouches for it ({reason}). Is a certificate of the chain missing?"
        )
        found.append(text.format(reason=reason))
    return found


def _not_trusted(pair: Pair, host_name: str, now: datetime) -> str:
    """Why a program with this machine's list of authorities would refuse it; empty where it would not."""
    authorities = Path(ssl.get_default_verify_paths().cafile or "")
    try:
        store = _authorities(authorities, authorities.stat().st_mtime_ns)
        verifier = PolicyBuilder().store(store).time(now).build_server_verifier(x509.DNSName(host_name))
    except (OSError, ValueError):
        return ""  # no list, or a name that is an address: nothing to go by
    try:
        verifier.verify(pair.certificate, list(pair.chain[1:]))
    except VerificationError as error:
        return str(error).partition("(")[0].strip().rstrip(".")
    return ""


@lru_cache(maxsize=2)
def _authorities(file: Path, _changed: int) -> Store:
    """The authorities in a file, without those that the library takes exception to (odd serial numbers of old)."""
    roots = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for found in _PEM.finditer(file.read_bytes()):
            with contextlib.suppress(ValueError):
                roots.append(x509.load_pem_x509_certificate(found[0]))
    return Store(roots)


def _called(name: x509.Name) -> str:
    """The name that people know a subject or an issuer by."""
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        if values := name.get_attributes_for_oid(kind):
            return str(values[0].value)
    return name.rfc4514_string()
