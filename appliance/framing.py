"""Length-prefixed MessagePack frames, and errors as they cross a socket.

A frame is a 4-byte big-endian length and a MessagePack value. Who speaks which values over it is said where they are
defined: ``services.wire`` for the archiver, ``keys.agent_wire`` for the key agent.
"""

from __future__ import annotations

import struct
from typing import Protocol

import msgspec

from appliance import errors, language

LENGTH = struct.Struct(">I")


class Readable(Protocol):
    """A stream of bytes that waits for as many as it is asked for, and gives fewer only at its end."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes."""
        ...


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it crosses a socket: its sentence in English, and, where that has places for ``fields``, the text
    with the places, by which it is found in another language."""

    code: str
    message: str
    position: int = -1
    text: str = ""
    fields: dict[str, str] = {}


_BY_CODE: dict[str, type[errors.MailkeepError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.MailkeepError)
} | {errors.ThrottledError.code: errors.UnavailableError}  # how long to wait is known to who asked, not to others


def failure_of(error: errors.MailkeepError) -> Failure:
    """The form of an error that is sent."""
    position = getattr(error, "position", -1)
    return Failure(error.code, str(error), position, error.text if error.fields else "", error.fields)


def error_of(failure: Failure) -> errors.MailkeepError:
    """The error that was sent, in the language in use where that has its sentence."""
    if failure.code == errors.QueryError.code:
        return errors.QueryError(failure.message, failure.position)
    error = _BY_CODE.get(failure.code, errors.MailkeepError)(failure.message)
    if failure.text:
        error.text, error.fields = failure.text, failure.fields
    error.message = _translated(error) or failure.message
    return error


def in_words(error: errors.MailkeepError) -> str:
    """An error's sentence, in the language in use."""
    return error_of(failure_of(error)).message


def words_of(message: str, failure: Failure | None) -> str:
    """What was said of work that may have failed, in the language in use where that has the sentence."""
    if failure is not None:
        return error_of(failure).message
    return language._(message) if message else ""


def _translated(error: errors.MailkeepError) -> str:
    """Its sentence in the language in use; empty where there is none."""
    if not error.text or language.current() == "en":  # of nothing gettext gives its catalogue's head
        return ""
    text = language._(error.text)
    if text == error.text:
        return ""
    try:
        return text.format(**error.fields) if error.fields else text
    except KeyError:  # another version had other fields for it
        return ""


def pack(value: msgspec.Struct, largest: int) -> bytes:
    """A frame. Raises UsageError where the value takes more than ``largest`` bytes."""
    body = msgspec.msgpack.encode(value)
    if len(body) > largest:
        raise errors.UsageError("That is too much for one answer.")
    return LENGTH.pack(len(body)) + body


def read(stream: Readable, largest: int) -> bytes | None:
    """The next frame's value, still encoded; None at the end of the stream, also in the middle of a frame.

    Raises ValueError for a frame longer than ``largest`` bytes.
    """
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > largest:
        raise ValueError(f"a frame of {length} bytes; at most {largest} are taken")
    body = stream.read(length)
    return body if len(body) == length else None
