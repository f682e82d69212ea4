"""TLS for STARTTLS: contexts that follow their certificate without a restart."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from appliance.mail.published import TlsFiles

log = logging.getLogger(__name__)

_LOOK_EVERY = 2.0  # seconds between two looks at the files


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
