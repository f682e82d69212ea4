"""What the pool and its children say to each other over a socket pair: a frame each way for a job.

A request is the lengths of its two parts, a MessagePack ``Job`` and the raw message; an answer is a length and a
MessagePack ``Answer``. The child speaks first, with ``Ready``.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from appliance.mail.facts import Attachment, MessageFacts, Reading

REQUEST = struct.Struct(">IQ")
ANSWER = struct.Struct(">Q")

Kind = Literal["describe", "list", "describe-without-attachments", "describe-head", "sanitise", "contents"]


class Described(msgspec.Struct, frozen=True):
    """Received bytes understood: how to read them, the facts of the original, and both fingerprints."""

    reading: Reading
    facts: MessageFacts
    received_sha256: bytes
    original_sha256: bytes


class Sanitised(msgspec.Struct, frozen=True):
    """HTML that is safe to show in a sandboxed frame; ``blocked`` counts remote things left out."""

    html: str
    blocked: int = 0


class Content(msgspec.Struct, frozen=True):
    """An attachment that lies in a TNEF part, with its decoded bytes."""

    about: Attachment
    content: bytes


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be done with the message that follows. ``seconds`` bounds reading its attachments.

    "describe" reads all of it, "list" all but the text of the attachments; the others are what is tried after that.
    "contents" takes the attachments with these ``parts`` as their numbers out of the message's TNEF parts.
    """

    kind: Kind
    seconds: float = 0.0
    remote: bool = False
    cid_base: str = ""
    parts: tuple[int, ...] = ()


class Ready(msgspec.Struct, frozen=True):
    """The child's first frame: which restrictions the kernel took."""

    filesystem: bool
    network: bool


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one job; no result is set where it failed. ``retiring``: the child ends after this."""

    described: Described | None = None
    sanitised: Sanitised | None = None
    contents: tuple[Content, ...] | None = None
    retiring: bool = False
