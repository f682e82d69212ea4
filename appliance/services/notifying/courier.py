"""Delivers one mail or calls one webhook: ``python -m appliance.services.notifying.courier``, told by standard input.

A child that lives for one delivery: without keys, and where the kernel has Landlock, without any file but code,
certificates and the resolver's settings. Where it fails a sentence is on standard error and the exit code is 1.
"""

from __future__ import annotations

import smtplib
import ssl
import sys
import sysconfig
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from appliance import decoding
from appliance.confine import die_with_parent, restrict_filesystem, undumpable
from appliance.errors import MailkeepError, UnavailableError
from appliance.services.notifying.delivery import Delivery, Hook, Mail, check_url, is_loopback, place_of

SECONDS = 20.0
"""How long one answer may take."""
LARGEST_ANSWER = 64 * 1024

_SYSTEM = ("/etc", "/usr/lib", "/usr/share", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf")


def main() -> int:
    """Deliver what standard input says."""
    delivery = decoding.from_msgpack(sys.stdin.buffer.read(), Delivery)
    die_with_parent()
    undumpable()
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _confine()
    try:
        told = _send(delivery, context) if isinstance(delivery, Mail) else _call(delivery, context)
    except (OSError, HTTPException, ValueError, smtplib.SMTPException, MailkeepError) as error:
        print(_sentence(delivery, error), file=sys.stderr)
        return 1
    print(told)
    return 0


def _send(mail: Mail, context: ssl.SSLContext) -> str:
    """Hand the message to the server; who of several recipients was refused."""
    with _connected(mail, context) as server:
        if mail.user:
            if mail.security == "none" and not is_loopback(mail.host):
                raise UnavailableError("A password is sent over TLS only. Set STARTTLS or TLS for the mail server.")
            server.login(mail.user, mail.password)
        refused = server.sendmail(mail.sender, mail.recipients, mail.message)
    return f"Refused for {', '.join(sorted(refused))}." if refused else ""


def _connected(mail: Mail, context: ssl.SSLContext) -> smtplib.SMTP:
    if mail.security == "tls":
        return smtplib.SMTP_SSL(mail.host, mail.port, timeout=SECONDS, context=context)
    server = smtplib.SMTP(mail.host, mail.port, timeout=SECONDS)
    try:
        if mail.security == "starttls":
            # RFC 3207 section 4.1: a server that does not offer it is refused, it may be somebody between.
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A webhook that has moved is to be set anew: what is told goes to no other place than was set."""

    def redirect_request(self, *_given: object) -> None:
        """Never."""


def _call(hook: Hook, context: ssl.SSLContext) -> str:
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())
    asked = urllib.request.Request(check_url(hook.url), hook.body, hook.headers)  # noqa: S310 - checked
    with opener.open(asked, timeout=SECONDS) as answer:
        answer.read(LARGEST_ANSWER)
    return ""


def _sentence(delivery: Delivery, error: Exception) -> str:
    place = place_of(delivery)
    match error:
        case UnavailableError():
            return error.message
        case smtplib.SMTPAuthenticationError():
            return f"{place} does not accept the user name or the password."
        case smtplib.SMTPRecipientsRefused():
            return f"{place} takes mail for none of the recipients ({_answer(error)})."
        case smtplib.SMTPNotSupportedError():
            return f"{place} does not offer what is needed ({error})."
        case smtplib.SMTPResponseException():
            return f"{place} refused the mail: {error.smtp_code} {_text(error.smtp_error)}"
        case urllib.error.HTTPError():
            return f"{place} answered {error.code} {error.reason}."
        case ssl.SSLCertVerificationError():
            return f"The certificate of {place} is not to be trusted ({error.verify_message})."
        case urllib.error.URLError() if isinstance(error.reason, ssl.SSLCertVerificationError):
            return f"The certificate of {place} is not to be trusted ({error.reason.verify_message})."
    reason = getattr(error, "reason", None) or error
    return f"{place} cannot be reached ({reason})."


def _answer(error: smtplib.SMTPRecipientsRefused) -> str:
    code, text = next(iter(error.recipients.values()))
    return f"{code} {_text(text)}"


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return " ".join(text.split())[:300]


def _confine() -> bool:
    """Give up all other files; whether the kernel can do that."""
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    code.append(Path(__file__).parents[2])
    return restrict_filesystem(read=[*code, *map(Path, _SYSTEM)], write=())


if __name__ == "__main__":
    sys.exit(main())
