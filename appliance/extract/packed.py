"""ZIP files read with a budget, and the text of the XML in office documents (ECMA-376, ISO/IEC 26300)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable
from xml.parsers import expat

from appliance.extract.limits import ATTACHMENT_TEXT, MOST_MEMBERS, UNPACKED, EncryptedError, TooLargeError

_CHUNK = 64 * 1024
_ENCRYPTED_FLAG = 0x1  # APPNOTE.TXT section 4.4.4
_NUMBER = re.compile(r"\d+")


class Archive:
    """A ZIP file of which no more than ``UNPACKED`` bytes are ever unpacked."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except zipfile.BadZipFile:
            if data[6:7] and data[6] & _ENCRYPTED_FLAG:  # the first file's flags; the directory may be encrypted too
                raise EncryptedError from None
            raise
        self._left = UNPACKED
        self.members = [member for member in self._zip.infolist() if not member.is_dir()]
        if len(self.members) > MOST_MEMBERS:
            raise TooLargeError

    def names(self, pattern: str) -> list[str]:
        """Names that match wholly, ordered as people count: slide2 before slide10."""
        found = [member.filename for member in self.members if re.fullmatch(pattern, member.filename)]
        return sorted(found, key=lambda name: ([int(number) for number in _NUMBER.findall(name)], name))

    def read(self, name: str) -> bytes:
        """A whole member. Raises EncryptedError or TooLargeError."""
        return b"".join(self.chunks(name))

    def chunks(self, name: str) -> Iterable[bytes]:
        """A member piece by piece. Raises EncryptedError or TooLargeError."""
        member = self._zip.getinfo(name)
        if member.flag_bits & _ENCRYPTED_FLAG:
            raise EncryptedError
        with self._zip.open(member) as stream:
            while chunk := stream.read(_CHUNK):
                self._left -= len(chunk)
                if self._left < 0:
                    raise TooLargeError
                yield chunk


class _EnoughError(Exception):
    """All the text that is wanted has been read."""


def xml_text(chunks: Iterable[bytes], wanted: frozenset[str], breaks: frozenset[str]) -> str:
    """The character data inside ``wanted`` elements (local names), a new line at the end of each in ``breaks``.

    A document type declaration is refused: office formats have none, entity bombs do.
    """
    pieces: list[str] = []
    depth = size = 0

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth
        local = name.rpartition("}")[2]
        if local in wanted:
            depth += 1
        elif local in ("tab", "s"):
            pieces.append(" ")

    def end(name: str) -> None:
        nonlocal depth
        local = name.rpartition("}")[2]
        if local in wanted:
            depth -= 1
        if local in breaks:
            pieces.append("\n")

    def characters(data: str) -> None:
        nonlocal size
        if depth:
            pieces.append(data)
            size += len(data)
            if size > ATTACHMENT_TEXT:
                raise _EnoughError

    def doctype(*_: object) -> None:
        raise ValueError("office documents have no document type")

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except _EnoughError:
        pass
    return "".join(pieces)


_PARAGRAPHS = frozenset({"p", "br", "cr", "tr", "h"})


def word(data: bytes) -> str:
    """WordprocessingML: body, headers, footers, notes and comments."""
    return _office(data, (r"word/document\d*\.xml", r"word/(?:header|footer|footnotes|endnotes|comments)\d*\.xml"))


def presentation(data: bytes) -> str:
    """PresentationML: slides in order, then speaker's notes."""
    return _office(data, (r"ppt/slides/slide\d+\.xml", r"ppt/notesSlides/notesSlide\d+\.xml"))


def spreadsheet(data: bytes) -> str:
    """SpreadsheetML: the shared strings, then the values that stand in the cells."""
    archive = Archive(data)
    shared = _joined(archive, (r"xl/sharedStrings\.xml",), frozenset({"t"}), frozenset({"si"}))
    # A cell's v is a number or the number of a shared string; both are digits, and searching digits is wanted.
    cells = _joined(archive, (r"xl/worksheets/sheet\d+\.xml",), frozenset({"t", "v"}), frozenset({"c"}))
    return f"{shared}\n{cells}"


def open_document(data: bytes) -> str:
    """OpenDocument text, spreadsheet or presentation."""
    archive = Archive(data)
    if archive.names(r"META-INF/manifest\.xml") and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise EncryptedError
    return _joined(archive, (r"content\.xml",), frozenset({"p", "h"}), _PARAGRAPHS)


def archived(data: bytes, read: Callable[[str, bytes], str]) -> str:
    """A plain ZIP: every member's name, and what ``read(name, content)`` makes of it."""
    archive = Archive(data)
    pieces: list[str] = []
    size = locked = 0
    for member in archive.members:
        pieces.append(member.filename)
        try:
            text = read(member.filename, archive.read(member.filename))
        except EncryptedError:
            locked += 1
            continue
        pieces.append(text)
        size += len(text)
        if size > ATTACHMENT_TEXT:
            break
    if locked and locked == len(archive.members):
        raise EncryptedError
    return "\n".join(pieces)


def _office(data: bytes, patterns: tuple[str, ...]) -> str:
    return _joined(Archive(data), patterns, frozenset({"t"}), _PARAGRAPHS)


def _joined(archive: Archive, patterns: tuple[str, ...], wanted: frozenset[str], breaks: frozenset[str]) -> str:
    names = [name for pattern in patterns for name in archive.names(pattern)]
    return "\n".join(xml_text(archive.chunks(name), wanted, breaks) for name in names)
