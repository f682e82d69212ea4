"""The language spoken on the archiver's sockets: length-prefixed MessagePack frames, one call at a time.

A frame (``appliance.framing``) holds a MessagePack map. The caller sends one ``Call``; the archiver answers with any
number of ``Reply`` frames that carry ``chunk`` (for downloads), then one that carries ``result`` or ``error``. A
connection may be used for the next call after that.
"""

from __future__ import annotations

from typing import Any

import msgspec

from appliance import framing
from appliance.framing import LENGTH, Failure, Readable, error_of, failure_of

__all__ = ["CHUNK", "LARGEST_FRAME", "LENGTH", "Call", "Failure", "Reply", "error_of", "failure_of", "pack", "read"]

LARGEST_FRAME = 64 * 1024 * 1024
CHUNK = 256 * 1024


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. ``token`` is the session it is made with; ``client`` the browser's address, for the audit.

    On the box's own sockets ``token`` is the secret beside the socket, and ``session`` that of who signed in at the
    console.
    """

    method: str
    token: str = ""
    client: str = ""
    session: str = ""
    params: dict[str, Any] = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer frame; exactly one field is set, but for an empty result."""

    result: msgspec.Raw = msgspec.Raw()
    error: Failure | None = None
    chunk: bytes | None = None


def read(stream: Readable) -> bytes | None:
    """The next frame's value, still encoded; None at the stream's end. Raises ValueError for one that is too long."""
    return framing.read(stream, LARGEST_FRAME)


def pack(value: msgspec.Struct) -> bytes:
    """A frame: length and MessagePack. Raises UsageError where that is too much for one."""
    return framing.pack(value, LARGEST_FRAME)
