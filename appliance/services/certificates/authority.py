"""Asking an authority for a certificate (ACME, RFC 8555), by a process that lives for one order.

The archiver itself stays off the network. ``child`` has neither the archive's keys nor the certificate's, only a
request signed with the latter.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError, UsageError
from appliance.language import _

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

ORDER_SECONDS = 240.0
"""How long one order may take altogether."""
LOOK_SECONDS = 30.0

_HANDED_ON = frozenset({"PATH", "LANG", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"})
_READABLE = 0o644


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
    for line in _child(Look(check_directory(directory)), LOOK_SECONDS):
        if isinstance(line, Seen):
            return line.terms
    raise UnavailableError(_("The authority did not answer. Try again later."))


def order(wanted: Order, report: Callable[[int, int], None], stopped: Callable[[], bool]) -> Issued:
    """Get a certificate. Raises UnavailableError with what the authority says against it, UsageError."""
    for line in _child(wanted, ORDER_SECONDS, stopped):
        match line:
            case Step():
                report(line.done, line.total)
            case Issued():
                return line
    raise UnavailableError(_("The authority gave no certificate. The one in use stays; it is tried again later."))


def _child(asked: Look | Order, seconds: float, stopped: Callable[[], bool] = bool) -> Iterator[Step | Seen | Issued]:
    # Isolated: the folder it is started in, which could be anybody's, is not looked into for modules.
    command = [sys.executable, "-I", "-m", "appliance.services.certificates.child"]
    environment = {
        name: value for name, value in os.environ.items() if name.lower() in _HANDED_ON or name in _HANDED_ON
    }
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert child.stdin and child.stdout and child.stderr
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(child, seconds, stopped, ended), daemon=True)
    watch.start()
    try:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(msgspec.json.encode(asked))
        for line in child.stdout:
            yield decoding.from_json(line, Step | Seen | Issued)
        told = child.stderr.read().decode("utf-8", "replace").strip().splitlines()
        if child.wait() != 0:
            fallback = _("The authority did not finish in time. The certificate in use stays; it is tried again later.")
            raise UnavailableError(told[-1] if told and child.returncode == 1 else fallback)
    finally:
        ended.set()
        child.kill()
        child.wait()
        watch.join()
        child.stdout.close()
        child.stderr.close()


def _watch(child: subprocess.Popen[bytes], seconds: float, stopped: Callable[[], bool], ended: threading.Event) -> None:
    waited = 0.0
    while not ended.wait(0.2):
        waited += 0.2
        if waited > seconds or stopped():
            child.kill()
            return
