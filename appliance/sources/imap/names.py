"""Names of folders, between what a server says and what people read.

A folder's id is its name in modified UTF-7 (RFC 3501, section 5.1.3), an octet a character, so it is the same whether a
server says names so or in UTF-8 (RFC 6855, RFC 9051).
"""

from __future__ import annotations

from imapclient import imap_utf7

INBOX = "INBOX"


def from_wire(name: bytes, *, utf8: bool) -> str:
    """The id of the folder that the server calls so."""
    if utf8:
        name = imap_utf7.encode(name.decode("utf-8", "replace"))
    text = name.decode("latin-1")
    return INBOX if text.upper() == INBOX else text


def to_wire(folder: str, *, utf8: bool) -> bytes:
    """What the server calls the folder with that id."""
    return shown(folder).encode() if utf8 else folder.encode("latin-1")


def sayable(folder: str) -> bool:
    """Whether a command can name the folder: no line ends, which servers that allow them expect to be escaped."""
    return not any(char in folder for char in "\r\n\0")


def shown(folder: str) -> str:
    """The name as people read it; what is not modified UTF-7 is UTF-8, or else Latin-1, as some servers have it."""
    octets = folder.encode("latin-1")
    try:
        text: str = imap_utf7.decode(octets) if octets.isascii() else octets.decode()
        text.encode()  # half a character of UTF-16 is none
    except ValueError:
        return folder
    return text
