"""How much may be taken out of one message, and the errors that say that it was too much."""

from __future__ import annotations

ATTACHMENT_TEXT = 1024 * 1024  # characters
MESSAGE_TEXT = 4 * 1024 * 1024  # characters over all attachments
LARGEST_ATTACHMENT = 64 * 1024 * 1024  # decoded bytes; what is larger is listed, not read
UNPACKED = 64 * 1024 * 1024  # bytes that may come out of one archive or office document
MOST_MEMBERS = 10_000  # files in one archive

_READING_SECONDS = 2.0  # for the mail readers alone …
_READING_BYTES = 20_000_000  # … and a second more for each so many bytes


def reading_seconds(size: int) -> float:
    """How long reading a message of ``size`` bytes may take, without its attachments' text."""
    return _READING_SECONDS + size / _READING_BYTES


class TooLargeError(Exception):
    """A limit of this module is passed: most likely a bomb."""


class EncryptedError(Exception):
    """It cannot be read without a password."""
