"""SOAP 1.1 as Exchange speaks it: requests made of text, answers read as they come.

An answer is read by expat, piece by piece. The bytes of messages, which are text in it (base64), are decoded on the way
and handed on; all else becomes elements. Document types are refused, and with them entities (SOAP 1.1 section 3).
"""

from __future__ import annotations

import binascii
import re
from collections import deque
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from appliance.errors import UnavailableError
from appliance.language import later

_ENVELOPE: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_TYPES: Final = "http://schemas.microsoft.com/exchange/services/2006/types"
_MESSAGES: Final = "http://schemas.microsoft.com/exchange/services/2006/messages"
_ERRORS: Final = "http://schemas.microsoft.com/exchange/services/2006/errors"
_OURS: Final = frozenset({_ENVELOPE, _TYPES, _MESSAGES, _ERRORS})
_VERSION: Final = "Exchange2010_SP2"
"""Of the schema: what is asked for here was in it, and every later server speaks it (https://learn.microsoft.com/en-us/
exchange/client-developer/exchange-web-services/ews-schema-versions-in-exchange)."""
_NO_CHARACTER: Final = re.compile(
    rb"&#(?:x(?:0*[0-8bcef]|0*1[0-9a-f])|0*(?:[0-8]|1[124-9]|2[0-9]|3[01]));", re.IGNORECASE
)
"""References to control characters, which XML 1.0 does not have (section 2.2) and Exchange writes."""
_DEEPEST: Final = 64
_LONGEST: Final = 16 * 1024 * 1024
"""Characters of an answer outside of messages, each element for ``_ELEMENT``; no tag may be as long either."""
_ELEMENT: Final = 64
_MIME: Final = "MimeContent"


class Element:
    """An element of an answer. ``name`` is without its namespace; of a message's content the text is left out."""

    __slots__ = ("_text", "attributes", "children", "name")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Element] = []
        self._text: list[str] = []

    @property
    def text(self) -> str:
        """What stands in it, without its children's."""
        return "".join(self._text).strip()

    def add(self, text: str) -> None:
        """More of its text."""
        self._text.append(text)

    def find(self, *path: str) -> Element | None:
        """The first element at a path of names below this one."""
        found: Element | None = self
        for name in path:
            found = next((one for one in found.children if one.name == name), None) if found is not None else None
        return found

    def said(self, *path: str) -> str:
        """The text at a path, "" where there is none."""
        found = self.find(*path)
        return found.text if found is not None else ""

    def every(self, name: str) -> Iterator[Element]:
        """All elements of a name below this one, in their order."""
        for one in self.children:
            if one.name == name:
                yield one
            yield from one.every(name)


class Began:
    """A message's bytes begin: ``bytes`` follow, then the ``Element`` of its response message."""


class Reader:
    """Reads one answer. What ``feed`` gives are, for each response message, ``Began`` and bytes where it holds a
    message, and then its ``Element`` (whose name ends in ResponseMessage); ``Fault`` comes as an element too."""

    def __init__(self) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        self._parser = parser
        self._open: list[Element] = []
        self._found: deque[Began | bytes | Element] = deque()
        self._held = ""
        self._padded = False
        self._fed = 0
        self._room = _LONGEST

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Began | bytes | Element]:
        """What has become whole by this piece. Raises UnavailableError where it is no answer of Exchange's."""
        trouble: UnavailableError | None = None
        self._fed += len(piece)
        try:
            self._parser.Parse(piece, last)
            if self._fed - self._parser.CurrentByteIndex > _LONGEST:  # a tag that does not end, which expat holds
                raise UnavailableError(_UNREADABLE, why=f"> {_LONGEST}")
        except expat.ExpatError as error:
            trouble = UnavailableError(_UNREADABLE, why=error)
        except UnavailableError as error:
            trouble = error
        while self._found:
            yield self._found.popleft()
        if trouble is not None:  # what stood before it is well
            raise trouble

    def _refuse(self, *_given: object) -> None:
        raise UnavailableError(_UNREADABLE, why="<!DOCTYPE>")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if not self._open and (space, local) != (_ENVELOPE, "Envelope"):
            raise UnavailableError(_UNREADABLE, why=f"<{local[:40]}>")
        if len(self._open) >= _DEEPEST:
            raise UnavailableError(_UNREADABLE, why="<<<")
        self._take(_ELEMENT + sum(map(len, attributes.values())))
        # Fault's own children have no namespace (SOAP 1.1 section 4.4).
        element = Element(local if space in _OURS or not space else name, attributes)
        if self._open and not _given_away(self._open[-1]):
            self._open[-1].children.append(element)
        self._open.append(element)
        if local == _MIME:
            self._held, self._padded = "", False
            self._found.append(Began())

    def _end(self, _name: str) -> None:
        element = self._open.pop()
        if element.name == _MIME:
            if self._held:
                self._decoded(self._held)
        elif element.name.endswith("ResponseMessage") or element.name == "Fault":
            self._found.append(element)

    def _characters(self, text: str) -> None:
        if self._open[-1].name != _MIME:
            self._take(len(text))
            self._open[-1].add(text)
            return
        whole = self._held + "".join(text.split())
        ready = len(whole) - len(whole) % 4
        self._held = whole[ready:]
        if ready:
            self._decoded(whole[:ready])

    def _take(self, room: int) -> None:
        self._room -= room
        if self._room < 0:
            raise UnavailableError(_UNREADABLE, why=f"> {_LONGEST}")

    def _decoded(self, text: str) -> None:
        if self._padded:  # nothing comes behind the padding (RFC 4648 section 3.3)
            raise UnavailableError(_WRONG)
        try:
            self._found.append(binascii.a2b_base64(text, strict_mode=True))
        except ValueError as error:
            raise UnavailableError(_WRONG) from error
        self._padded = text.endswith("=")


def _given_away(above: Element) -> bool:
    """Whether what is below is given away as it comes, so that an answer takes no more memory than a message."""
    return above.name == "ResponseMessages"


def read(content: bytes) -> list[Element]:
    """The response messages of a whole answer, or its Fault. Raises UnavailableError."""
    reader = Reader()
    found = reader.feed(_NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}".encode(), content), last=True)
    elements = [one for one in found if isinstance(one, Element)]
    if not elements:
        raise UnavailableError(_UNREADABLE, why="<Envelope/>")
    return elements


def envelope(operation: str, *, as_whom: str = "") -> bytes:
    """A request. ``as_whom`` is the address of the mailbox that is impersonated, "" for the caller's own rights
    (https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/exchangeimpersonation)."""
    impersonation = (
        f"<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{escape(as_whom)}</t:PrimarySmtpAddress>"
        "</t:ConnectingSID></t:ExchangeImpersonation>"
        if as_whom
        else ""
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{_ENVELOPE}" xmlns:t="{_TYPES}" xmlns:m="{_MESSAGES}">'
        f'<soap:Header><t:RequestServerVersion Version="{_VERSION}"/>{impersonation}</soap:Header>'
        f"<soap:Body>{operation}</soap:Body></soap:Envelope>"
    ).encode()


def folder_id(id: str) -> str:
    """A folder, by the id that Exchange gave it."""
    return f"<t:FolderId Id={quoteattr(id)}/>"


def item_id(id: str) -> str:
    """An item, by the id that Exchange gave it."""
    return f"<t:ItemId Id={quoteattr(id)}/>"


def distinguished(name: str, mailbox: str = "") -> str:
    """A folder that has the same name in every language, of the mailbox with an address or, "", the caller's own."""
    if not mailbox:
        return f'<t:DistinguishedFolderId Id="{name}"/>'
    whose = f"<t:Mailbox><t:EmailAddress>{escape(mailbox)}</t:EmailAddress></t:Mailbox>"
    return f'<t:DistinguishedFolderId Id="{name}">{whose}</t:DistinguishedFolderId>'


_UNREADABLE = later(
    "Exchange answered with something that cannot be read ({why}). Is there a proxy in between that answers itself? "
    "Nothing was changed."
)
_WRONG = later("Exchange gave a message in a form that cannot be read. It is asked for again.")
