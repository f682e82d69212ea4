"""Asking an authority for a certificate (ACME, RFC 8555), by a process that lives for one order.

The archiver itself stays off the network. ``child`` has neither the archive's keys nor the certificate's, only a
request signed with the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from appliance.errors import UnavailableError, UsageError
from appliance.language import _
from appliance.services import errand

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

ORDER_SECONDS = 240.0
"""How long one order may take altogether."""
LOOK_SECONDS = 30.0


class Look(msgspec.Struct, frozen=True, tag=True):
    """What are the terms of the authority whose directory is there?"""

    directory: str


class Order(msgspec.Struct, frozen=True, tag=True):
    """A certificate for what ``request`` (PEM) names.

    ``account`` is the account's private key (PEM); ``agree`` that its holder agrees to the authority's terms;
    ``challenges`` the folder that port 80 answers from.
    """

    directory: str
    account: str
    contact: str
    agree: bool
    request: str
    challenges: str


class Step(msgspec.Struct, frozen=True, tag=True):
    """How far the order is."""

    done: int
    total: int


class Seen(msgspec.Struct, frozen=True, tag=True):
    """Where the authority's terms are; empty where it has none."""

    terms: str


class Issued(msgspec.Struct, frozen=True, tag=True):
    """The certificate with its chain, PEM, and the terms that were agreed to."""

    chain: str
    terms: str


def check_directory(url: str) -> str:
    """``url`` if an authority's directory can be there. Raises UsageError."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "https" and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or any(character.isspace() for character in url):
        raise UsageError(_("“{url}” is not the address of an authority's directory: https://…").format(url=url))
    return url


def terms(directory: str) -> str:
    """Where the authority's terms are; empty where it has none. Raises UsageError, UnavailableError."""
    for line in _ask(Look(check_directory(directory)), LOOK_SECONDS):
        if isinstance(line, Seen):
            return line.terms
    raise UnavailableError(_("The authority did not answer. Try again later."))


def order(wanted: Order, report: Callable[[int, int], None], stopped: Callable[[], bool]) -> Issued:
    """Get a certificate. Raises UnavailableError with what the authority says against it, UsageError."""
    for line in _ask(wanted, ORDER_SECONDS, stopped):
        match line:
            case Step():
                report(line.done, line.total)
            case Issued():
                return line
    raise UnavailableError(_("The authority gave no certificate. The one in use stays; it is tried again later."))


def _ask(asked: Look | Order, seconds: float, stopped: Callable[[], bool] = bool) -> Iterator[Step | Seen | Issued]:
    late = _("The authority did not finish in time. The certificate in use stays; it is tried again later.")
    module = "appliance.services.certificates.child"
    return errand.ask(module, asked, Step | Seen | Issued, seconds=seconds, late=late, stopped=stopped)
