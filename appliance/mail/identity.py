"""When two originals are the same message: one digest over what a reader would call the message.

Left out is all that changes on the way or when a server writes the mail anew: trace and X- fields, display names,
the order of recipients, boundaries, transfer encodings, charsets, blanks and line ends. A draft and the sent mail
differ in their text, so they differ here although they share a Message-ID.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from appliance.mail.facts import Mailbox

_BLANKS = b" \t\r\n\f\v"
_META_CHARSET = re.compile(r"<meta[^<>]{0,200}charset[^<>]{0,200}>", re.IGNORECASE)


class Content:
    """Collects the digests of a message's leaves in document order."""

    def __init__(self) -> None:
        self._leaves: list[bytes] = []

    def add_text(self, text: str, *, is_html: bool) -> None:
        """Text of the message itself; HTML without the charset it claims, which re-encoding changes."""
        if is_html:
            text = _META_CHARSET.sub("", text)
        written = text.encode("utf-8", "surrogatepass").translate(None, _BLANKS)
        if written:
            self._leaves.append(hashlib.sha256(written).digest())

    def add_chunks(self, chunks: Iterable[bytes]) -> None:
        """Decoded bytes of a leaf that is text: a large body, a text attachment, an enclosed message."""
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk.translate(None, _BLANKS))
        self._leaves.append(digest.digest())

    def add_digest(self, digest: bytes) -> None:
        """SHA-256 of any other leaf's decoded bytes."""
        self._leaves.append(digest)

    def digest(
        self, *, message_id: str, date: str, subject: str, correspondents: Iterable[tuple[Mailbox, ...]]
    ) -> bytes:
        """SHA-256 over everything; ``correspondents`` are From, To and Cc."""
        whole = hashlib.sha256()
        lists = ["\n".join(sorted({one.address or one.name for one in group})) for group in correspondents]
        for field in (message_id, date, "".join(subject.split()), *lists):
            written = field.encode("utf-8", "surrogatepass")
            whole.update(len(written).to_bytes(8, "big") + written)
        whole.update(b"".join(self._leaves))
        return whole.digest()
