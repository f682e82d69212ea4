"""What is known of a message: frozen values that the reading side makes and every projection takes.

Nothing here reads or writes; the readers are ``mail.message`` and ``mail.journal``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RecipientKind = Literal["to", "cc", "bcc", "recipient"]
ReadingKind = Literal["journal", "plain", "unparsed"]
TextStatus = Literal["none", "ok", "empty", "encrypted", "too-large", "failed"]


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the receiver knew when the bytes came in; stored, encrypted, with them."""

    source: str = "smtp"  # smtp, import, sync
    received_at: int = 0  # microseconds since 1970-01-01 UTC
    mail_from: str = ""  # SMTP reverse-path (RFC 5321 section 4.1.1.2), without angle brackets
    rcpt_to: tuple[str, ...] = ()  # forward-paths that this mailbox accepted
    peer: str = ""  # client's IP address
    helo: str = ""
    tls: str = ""  # protocol and cipher, empty without TLS
    note: str = ""
    belongs_to: tuple[str, ...] = ()  # of imported mail: addresses whose holders it belongs to, as if it had come in


class Mailbox(msgspec.Struct, frozen=True, omit_defaults=True):
    """One address as a header gives it: display name (decoded) and address (lower case, no brackets)."""

    name: str = ""
    address: str = ""


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """One leaf part that is not the message's own text. ``text`` is what could be read of it, for searching."""

    part: int  # number of the leaf in document order, counted from 0 over all leaves of the original
    name: str = ""
    content_type: str = "application/octet-stream"
    size: int = 0  # decoded bytes
    digest: bytes = b""  # SHA-256 of the decoded bytes
    inline: bool = False
    content_id: str = ""
    text: str = ""
    text_status: TextStatus = "none"
    within: int | None = None  # the TNEF part that it lies in; ``part`` then goes on after the original's own leaves


class MessageFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What can be read of one message. Every field has a value whatever the bytes were; nothing raises."""

    message_id: str = ""  # without angle brackets, at most 998 characters kept
    references: tuple[str, ...] = ()  # References then In-Reply-To, each id once, newest 100 kept
    subject: str = ""
    date: int | None = (
        None  # seconds since 1970-01-01 UTC as the Date header says (may be negative), None if unreadable
    )
    from_: tuple[Mailbox, ...] = ()
    sender: tuple[Mailbox, ...] = ()
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    delivered: tuple[str, ...] = ()  # Delivered-To, X-Envelope-To, X-Original-To, X-Gm-Original-To, Resent-*: addresses
    text: str = ""  # the body as text (text/plain, else HTML as text), at most 1 MiB of characters
    has_html: bool = False
    attachments: tuple[Attachment, ...] = ()
    size: int = 0  # bytes of the original
    defects: tuple[str, ...] = ()  # what was wrong, in a few words each
    identity: bytes = b""  # SHA-256 over Message-ID, Date, From, To, Cc, Subject, decoded text, attachment digests


class JournalRecipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """One recipient line of a journal report (MS-XJRNL section 2.1); addresses in lower case."""

    address: str
    kind: RecipientKind = "recipient"
    expanded: str = ""  # the distribution group the recipient was reached through
    forwarded: str = ""  # the mailbox that forwarded


class JournalReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """The envelope part of a journal report."""

    sender: str = ""
    on_behalf_of: str = ""
    subject: str = ""
    message_id: str = ""
    label: str = ""
    mailbox: str = ""
    sent: str = ""
    received: str = ""
    recipients: tuple[JournalRecipient, ...] = ()


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """How received bytes are to be understood.

    ``original`` is the journaled message's place in the received bytes as (start, end), or None where it had
    to be decoded and ``decoded_original`` holds it. For plain and unparsed mail the original is all of it.
    ``extra`` are the places of further journaled forms (Exchange's decrypted copy).
    """

    kind: ReadingKind
    report: JournalReport | None = None
    original: tuple[int, int] | None = None
    decoded_original: bytes = b""
    extra: tuple[tuple[int, int], ...] = ()
    reason: str = ""  # why it is unparsed, in a sentence
    outer: tuple[str, ...] = ()  # of a report inside a non-delivery report: whom that was addressed to
