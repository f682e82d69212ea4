"""What protects the way to an LDAP server, and what is wrong with a certificate, in words."""

from __future__ import annotations

import contextlib
import ssl
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from appliance.checks import Check
from appliance.directory.ldap_connection import Connection, Limits, UntrustedError
from appliance.directory.ldap_options import Server
from appliance.errors import MailkeepError
from appliance.framing import in_words
from appliance.language import _

# OpenSSL's X509_V_ERR_* (x509_vfy.h).
_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY: Final = frozenset({2, 7, 18, 19, 20, 21})  # 7: another authority of the same name
_WRONG_NAME: Final = frozenset({62, 64})


def check_protection(connection: Connection) -> Check:
    """How this connection is encrypted, and until when its certificate is valid."""
    server = connection.server
    if server.encryption == "none":
        return Check(
            str(server),
            "warning",
            _("It answers, and nothing is encrypted: who can listen learns passwords. Use ldaps:// or StartTLS."),
        )
    certificate = _parsed(connection.certificate)
    if certificate is None:
        text = _("It answers, encrypted with {protocol}.").format(protocol=connection.protection)
    else:
        text = _("It answers, encrypted with {protocol}; its certificate is valid until {day}.").format(
            protocol=connection.protection, day=f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        )
    return Check(str(server), "ok", text)


def why_untrusted(server: Server, error: UntrustedError, limits: Limits) -> str:
    """What is wrong with the certificate, and what to do. The certificate is fetched for that over a connection that
    nothing is said on."""
    certificate = _parsed(_shown(server, limits))
    said = in_words(error)
    try:
        issuer = _name(certificate.issuer) if certificate else ""
    except ValueError:
        certificate = None  # a name that cannot be read
    if certificate is None:
        return said
    if error.number in _WRONG_NAME:
        text = _(
            "The certificate is for {names}, not for {host}. Name the server as its certificate does, or give it a "
            "certificate with that name."
        )
    elif error.number == _EXPIRED:
        text = _(
            "The certificate is valid until {end}, which is over. It has to be renewed, unless this box's clock is "
            "wrong."
        )
    elif error.number == _NOT_YET:
        text = _("The certificate is valid from {begin} on, which is to come. Look at the clocks.")
    elif error.number in _UNKNOWN_AUTHORITY:
        text = _(
            "The certificate was issued by “{issuer}”, which is not trusted here. If that is your own authority, give "
            "its certificate (PEM) as the certificate authority."
        )
    else:
        text = _("{said} It was issued by “{issuer}”.")
    return text.format(
        names=_names(certificate),
        host=server.host,
        end=f"{certificate.not_valid_after_utc:%Y-%m-%d}",
        begin=f"{certificate.not_valid_before_utc:%Y-%m-%d}",
        issuer=issuer,
        said=said,
    )


def _shown(server: Server, limits: Limits) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(MailkeepError), Connection(server, context, limits) as connection:
        return connection.certificate
    return b""


def _parsed(raw: bytes) -> x509.Certificate | None:
    with contextlib.suppress(ValueError):
        return x509.load_der_x509_certificate(raw)
    return None


def _names(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return _name(certificate.subject)
    return ", ".join(str(one.value) for one in names)[:300]


def _name(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(kind):
            return str(found[0].value)
    return name.rfc4514_string()
