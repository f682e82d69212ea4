"""Asking a time-stamping authority, in a process of its own: ``python -m appliance.services.tsa URL``.

Standard input is a request (RFC 3161 section 2.4.1) in DER, standard output the authority's answer as it came; where
there is none, a sentence is on standard error and the exit code is 1. This is the archive's only way onto the network
but for mail, so it is a child that lives for one request: without keys, and where the kernel has Landlock, without any
file but code, certificates and the resolver's settings.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from appliance.confine import die_with_parent, restrict_filesystem, undumpable
from appliance.errors import UnavailableError, UsageError

SECONDS = 60
"""How long one request may take altogether."""
LARGEST_ANSWER = 1024 * 1024

_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"  # RFC 3161 section 3.4
_SYSTEM = ("/etc", "/usr/lib", "/usr/share", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf")
_HANDED_ON = frozenset({"PATH", "LANG", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"})


def check_url(url: str) -> str:
    """``url`` if an authority can be asked there. Raises UsageError."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc or any(character.isspace() for character in url):
        raise UsageError(f"{url!r} is not the address of a time-stamping authority: http://… or https://…")
    return url


def ask(url: str, request: bytes) -> bytes:
    """The authority's answer. Raises UnavailableError with what went wrong."""
    # Isolated: the folder it is started in, which could be anybody's, is not looked into for modules.
    command = [sys.executable, "-I", "-m", "appliance.services.tsa", url]
    environment = {
        name: value for name, value in os.environ.items() if name.lower() in _HANDED_ON or name in _HANDED_ON
    }
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{url} did not answer within {SECONDS} seconds. It is asked again later.") from error
    if done.returncode != 0:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnavailableError(told[-1] if told else f"{url} could not be asked for a timestamp.")
    return done.stdout


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An authority that has moved is to be set anew: what is asked goes to no other place than was set."""

    def redirect_request(self, *_given: object) -> None:
        """Never."""


def _fetch(url: str, request: bytes, context: ssl.SSLContext) -> bytes:
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirects())
    asked = urllib.request.Request(url, request, {"Content-Type": _QUERY, "Accept": _REPLY})  # noqa: S310 - checked
    with opener.open(asked, timeout=SECONDS / 2) as answer:
        content: bytes = answer.read(LARGEST_ANSWER + 1)
    if len(content) > LARGEST_ANSWER:
        raise ValueError("the answer is too large")
    return content


def _confine() -> None:
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    code.append(Path(__file__).parents[1])
    restrict_filesystem(read=[*code, *map(Path, _SYSTEM)], write=())


def main() -> int:
    """Ask, and hand on the answer."""
    (url,) = sys.argv[1:]
    request = sys.stdin.buffer.read()
    die_with_parent()
    undumpable()
    context = ssl.create_default_context()
    _confine()
    try:
        sys.stdout.buffer.write(_fetch(check_url(url), request, context))
    except (OSError, HTTPException, ValueError, UsageError) as error:
        reason = getattr(error, "reason", None) or error
        print(f"{url} did not give a timestamp ({reason}). It is asked again later.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
