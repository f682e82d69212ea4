"""What is to be delivered, and handing it to the child process that does so."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import subprocess
import sys
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from appliance import __version__
from appliance.errors import UnavailableError, UsageError

SECONDS = 60.0
"""How long one delivery may take altogether."""
SIGNATURE, TIMESTAMP = "X-Mailkeep-Signature", "X-Mailkeep-Timestamp"

_HANDED_ON = frozenset({"PATH", "LANG", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"})


class Mail(msgspec.Struct, frozen=True, tag=True):
    """A message (RFC 5322, CRLF) for a submission server (RFC 6409)."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str
    password: str
    sender: str
    recipients: tuple[str, ...]
    message: bytes

    def __repr__(self) -> str:
        return f"Mail({self.host}:{self.port}, …)"


class Hook(msgspec.Struct, frozen=True, tag=True):
    """JSON for a webhook, with the headers that prove where it is from."""

    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return "Hook(…)"


Delivery = Mail | Hook


def signed(secret: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a webhook call: HMAC-SHA256 over ``<timestamp>.<body>``, so that it cannot be sent again later."""
    told = str(timestamp)
    mac = hmac.new(secret.encode(), told.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json", "User-Agent": f"mailkeep/{__version__}", TIMESTAMP: told,
        SIGNATURE: f"sha256={mac}",
    }  # fmt: skip


def check_url(url: str) -> str:
    """``url`` if a webhook can be there: HTTPS, or plain HTTP on this box. Raises UsageError."""
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or any(sign.isspace() for sign in url):
        raise UsageError(f"{url!r} is not the address of a webhook: https://…")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise UsageError("A webhook is told over HTTPS only: whoever is on the way could read and change it otherwise.")
    return url


def is_loopback(host: str) -> bool:
    """Whether a host is this box itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def deliver(delivery: Delivery) -> str:
    """Have the child deliver it; what there is to say of it (recipients that were refused), mostly nothing.

    Raises UnavailableError with what went wrong.
    """
    # Isolated: the folder it is started in, which could be anybody's, is not looked into for modules.
    command = [sys.executable, "-I", "-m", "appliance.services.notifying.courier"]
    environment = {
        name: value for name, value in os.environ.items() if name in _HANDED_ON or name.lower() in _HANDED_ON
    }
    try:
        done = subprocess.run(
            command, input=msgspec.msgpack.encode(delivery), capture_output=True, timeout=SECONDS, env=environment,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{place_of(delivery)} did not answer within {SECONDS:.0f} seconds.") from error
    if done.returncode != 0:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(told[-1] if told else f"{place_of(delivery)} could not be reached.")
    return done.stdout.decode("utf-8", "replace").strip()


def place_of(delivery: Delivery) -> str:
    """Where it goes, without what is secret of it: addresses of webhooks often have a token in their path."""
    if isinstance(delivery, Mail):
        return f"{delivery.host}:{delivery.port}"
    return urlsplit(delivery.url).hostname or "the webhook"
