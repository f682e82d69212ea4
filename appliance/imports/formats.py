"""Which kinds of files mail is imported from, and how each is recognised."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from appliance.imports.base import Entry, FileError, Format, Options, Reader

HEAD: Final = 4096
"""Bytes from the beginning of a file by which it is recognised."""

_PST = b"!BDN"  # MS-PST section 2.2.2.6
_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # MS-CFB section 2.2
_TNEF = b"\x78\x9f\x3e\x22"  # MS-OXTNEF section 2.1.3.1
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # APPNOTE.TXT section 4.3
_PACKED = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, Zstandard
_FIELD = re.compile(rb"[!-9;-~]{1,100}[ \t]*:")
_EMLX = re.compile(rb"\d{1,12}[ \t]*\r?\n(?:>?From [^\n]*\n)?[!-9;-~]{1,100}[ \t]*:")
_BLANKS = b"\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NO_MAIL: Final = (
    (b"\xcf\xad\x12\xfe", "It is a folder of Outlook Express. Have a mail program make an mbox or EML files of it."),
    (b"7z\xbc\xaf\x27\x1c", "It is a 7-Zip archive, which is not read. Pack the files as ZIP or tar."),
    (b"Rar!\x1a\x07", "It is a RAR archive, which is not read. Pack the files as ZIP or tar."),
    (b"%PDF-", "It is a PDF document, not mail."),
)
_NOTHING_KNOWN = (
    "It is no kind of file that mail is imported from. Those are PST and OST, MSG, winmail.dat, mbox, EML, emlx, and"
    " ZIP and tar archives of them."
)


class UnknownError(FileError):
    """A file is of no kind that is known here."""


def _later(module: str) -> Reader:
    """A reader that is loaded when it is first needed: those who only recognise files need no C parser."""

    def read(file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
        reader: Reader = importlib.import_module(f"appliance.imports.{module}").read
        return reader(file, name, options)

    return read


def _is_mbox(head: bytes, _name: str) -> bool:
    return _begun(head).startswith(b"From ")


def _is_eml(head: bytes, _name: str) -> bool:
    return _FIELD.match(_begun(head)) is not None


def _begun(head: bytes) -> bytes:
    return head.removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANKS)


def _is_tar(head: bytes, name: str) -> bool:
    return head[257:262] == b"ustar" or (name.lower().endswith(".tar") and len(head) >= 512)


FORMATS: Final = (
    Format("pst", "Outlook (PST, OST)", lambda head, _: head.startswith(_PST), _later("pst")),
    Format("msg", "Outlook message (MSG)", lambda head, _: head.startswith(_COMPOUND), _later("msg")),
    Format("tnef", "winmail.dat (TNEF)", lambda head, _: head.startswith(_TNEF), _later("tnef")),
    Format("zip", "ZIP archive", lambda head, _: head.startswith(_ZIP), _later("zipped")),
    Format("packed", "compressed file or tar archive", lambda head, _: head.startswith(_PACKED), _later("packed")),
    Format("tar", "tar archive", _is_tar, _later("tarred")),
    Format("emlx", "Apple Mail (emlx)", lambda head, _: _EMLX.match(head) is not None, _later("emlx")),
    Format("mbox", "mbox", _is_mbox, _later("mbox")),
    Format("eml", "EML", _is_eml, _later("eml")),
)
"""In the order in which a file is asked."""
_MODULES: Final = ("eml", "emlx", "mbox", "msg", "packed", "pst", "tarred", "tnef", "zipped")
_SINGLE: Final = frozenset({"eml", "emlx", "msg", "tnef"})


def recognise(head: bytes, name: str) -> Format:
    """The format of a file that begins with ``head``, its first 4,096 bytes. Raises FileError."""
    for format in FORMATS:
        if format.recognises(head, name):
            return format
    if not head:
        raise FileError("It is empty.")
    for begins, words in _NO_MAIL:
        if head.startswith(begins):
            raise FileError(words)
    if not head.strip(b"\0"):
        raise FileError("It begins with nothing but zeros: it was not written to its end, or its disk is damaged.")
    raise UnknownError(_NOTHING_KNOWN)


def expected(format: Format) -> int | None:
    """How many entries a file of that format has, where all have the same number."""
    return 1 if format.name in _SINGLE else None


def load() -> None:
    """Load all readers, for a process that forks others to use them. Once they are loaded this does nothing."""
    for module in _MODULES:
        importlib.import_module(f"appliance.imports.{module}")
