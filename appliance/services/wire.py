"""The language spoken on the archiver's sockets: length-prefixed MessagePack frames, one call at a time.

A frame is a 4-byte big-endian length and a MessagePack map. The caller sends one ``Call``; the archiver answers
with any number of ``Reply`` frames that carry ``chunk`` (for downloads), then one that carries ``result`` or
``error``. A connection may be used for the next call after that.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from appliance import errors

LENGTH = struct.Struct(">I")
LARGEST_FRAME = 64 * 1024 * 1024
CHUNK = 256 * 1024


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. ``token`` is the session it is made with; ``client`` the browser's address, for the audit."""

    method: str
    token: str = ""
    client: str = ""
    params: dict[str, Any] = {}


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it crosses the socket."""

    code: str
    message: str
    position: int = -1


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer frame; exactly one field is set, but for an empty result."""

    result: msgspec.Raw = msgspec.Raw()
    error: Failure | None = None
    chunk: bytes | None = None


_BY_CODE: dict[str, type[errors.MailkeepError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.MailkeepError)
}


def failure_of(error: errors.MailkeepError) -> Failure:
    """The wire form of an error."""
    return Failure(code=error.code, message=error.message, position=getattr(error, "position", -1))


def error_of(failure: Failure) -> errors.MailkeepError:
    """The error that a wire form stands for."""
    if failure.code == errors.QueryError.code:
        return errors.QueryError(failure.message, failure.position)
    return _BY_CODE.get(failure.code, errors.MailkeepError)(failure.message)


def pack(value: msgspec.Struct) -> bytes:
    """A frame: length and MessagePack."""
    body = msgspec.msgpack.encode(value)
    if len(body) > LARGEST_FRAME:
        raise errors.UsageError("That is too much for one answer.")
    return LENGTH.pack(len(body)) + body
