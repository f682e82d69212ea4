"""What mail programs write into the header of a message that they keep: read, answered, deleted, which labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from appliance.mail import headers
from appliance.mail.folders import Role, role_by_name

_FIELDS = re.compile(
    rb"^(x-mozilla-status2?|x-gmail-labels|status|x-status|content-length)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_SOME = (b"\nx-mozilla-status", b"\nx-gmail-labels", b"\nstatus", b"\nx-status", b"\ncontent-length")

# nsMsgMessageFlags.idl of Thunderbird; X-Mozilla-Status has the lower half, X-Mozilla-Status2 the whole.
_READ, _REPLIED, _MARKED, _EXPUNGED, _PARTIAL, _FORWARDED, _IMAP_DELETED = 1, 2, 4, 8, 0x400, 0x1000, 0x20_0000
_MOZILLA: Final = ((_READ, "seen"), (_REPLIED, "answered"), (_MARKED, "flagged"), (_FORWARDED, "forwarded"),
                   (_IMAP_DELETED, "deleted"))  # fmt: skip

_STATUS: Final = {"R": "seen", "A": "answered", "F": "flagged", "D": "deleted", "T": "draft"}
"""Letters of Status and X-Status, as mutt, Dovecot and UW-IMAP write them."""

_UNREAD: Final = frozenset({"unread", "ungelesen"})
_STARRED: Final = frozenset({"starred", "markiert"})
_INBOX: Final = frozenset({"inbox", "posteingang"})
_NO_FOLDERS: Final = frozenset({"opened", "geöffnet", "important", "wichtig", "archived", "archiviert"})
_NO_FOLDER_BEGINS: Final = ("category ", "kategorie", "imap_")
_FIRST: Final[Mapping[Role, int]] = {"inbox": 0, "sent": 1, "drafts": 2, "junk": 3, "trash": 4, "": 5}


class Marks(NamedTuple):
    """What a header says of how the message was kept. ``folders`` (of Gmail) are None where it says nothing of them."""

    flags: tuple[str, ...] = ()
    folders: tuple[tuple[tuple[str, ...], Role], ...] | None = None
    expunged: bool = False
    partial: bool = False
    length: int | None = None  # of the body, in bytes, as Content-Length says


def read(head: bytes) -> Marks:
    """The marks in a header; what comes after the first blank line of ``head`` is not looked at. Never raises."""
    end = _BLANK_LINE.search(head)
    lower = b"\n" + head[: end.start() if end else None].lower()
    if not any(name in lower for name in _SOME):  # ten times as fast as the expression, and true of most mail
        return Marks()
    fields = {found[1].lower(): found[2] for found in _FIELDS.finditer(head, 0, end.start() + 1 if end else len(head))}
    flags = dict.fromkeys(_status(fields))
    bits = _number(fields.get(b"x-mozilla-status"), 16) | _number(fields.get(b"x-mozilla-status2"), 16)
    flags |= dict.fromkeys(flag for bit, flag in _MOZILLA if bits & bit)
    folders = None
    if b"x-gmail-labels" in fields:
        labels = _labels(fields[b"x-gmail-labels"])
        known = {label.casefold() for label in labels}
        flags |= dict.fromkeys(["seen"] if not known & _UNREAD else [])
        flags |= dict.fromkeys(["flagged"] if known & _STARRED else [])
        folders = tuple(sorted(_folders(labels), key=lambda folder: _FIRST.get(folder[1], 5)))
    length = fields.get(b"content-length", b"").strip()
    return Marks(
        tuple(flags),
        folders,
        expunged=bool(bits & _EXPUNGED),
        partial=bool(bits & _PARTIAL),
        length=int(length) if length.isdigit() and len(length) < 16 else None,
    )


def _status(fields: Mapping[bytes, bytes]) -> Iterator[str]:
    for name in (b"status", b"x-status"):
        letters = fields.get(name, b"").strip().decode("latin-1")
        if len(letters) <= 8:  # other fields of that name say something else
            yield from (_STATUS[letter] for letter in letters if letter in _STATUS)


def _number(value: bytes | None, base: int) -> int:
    try:
        return int((value or b"0").strip()[:16], base)
    except ValueError:
        return 0


def _labels(value: bytes) -> list[str]:
    """Google Takeout's labels: a line of comma-separated values, encoded as a whole (RFC 2047)."""
    line = headers.text(value)
    try:
        labels = next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:
        labels = line.split(",")
    return [label.strip() for label in labels if label.strip()]


def _folders(labels: list[str]) -> Iterator[tuple[tuple[str, ...], Role]]:
    for label in labels:
        folded = label.casefold()
        if folded in _UNREAD | _STARRED | _NO_FOLDERS or folded.startswith(_NO_FOLDER_BEGINS):
            continue
        path = tuple(name for name in label.split("/") if name.strip())
        if folded in _INBOX:
            yield path, "inbox"
        elif path:
            role = role_by_name(label)
            yield path, role if role in _FIRST else ""
