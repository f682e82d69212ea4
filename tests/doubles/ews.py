"""Exchange Web Services: SOAP as Microsoft documents it, begun from the examples of each operation's page.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/findfolder-operation, …/getfolder-
operation, …/syncfolderitems-operation, …/finditem-operation, …/getitem-operation-email-message, …/deleteitem-operation;
https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/ews-throttling-in-exchange for what a
busy server says.

A request that the schema does not allow is complained about.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import spnego

from tests.doubles.https import Asked, Double, Fault, RefusalError, Said

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
TYPES = "{http://schemas.microsoft.com/exchange/services/2006/types}"
MESSAGES = "{http://schemas.microsoft.com/exchange/services/2006/messages}"
PATH = "/EWS/Exchange.asmx"
USER, PASSWORD = r"CONTOSO\archive", "pässword"
T = TypeVar("T")
XML = {"Content-Type": "text/xml; charset=utf-8"}
_WELL_KNOWN = ("inbox", "sentitems", "drafts", "deleteditems", "junkemail")


@dataclass
class Letter:
    """A message. ``code`` is what Exchange says in place of its content."""

    id: str
    mime: bytes
    kind: str = "Message"
    read: bool = False
    draft: bool = False
    received: str = "2026-05-04T10:20:30Z"
    more: str = ""
    code: str = "NoError"
    encoded: Iterator[str] | None = None
    """What stands in MimeContent in place of the bytes."""
    claims: str = ""
    """The id that the answer says it is, in place of its own."""


@dataclass
class Shelf:
    """A folder; ``log`` is what has happened in it, in order."""

    id: str
    name: str
    parent: str
    kind: str = "IPF.Note"
    element: str = "Folder"
    known: str = ""
    letters: dict[str, Letter] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)


class Box:
    """A mailbox, or the tree of public folders."""

    def __init__(self, double: EwsDouble, address: str) -> None:
        self._double = double
        self.address = address
        self.root = f"root:{address}"
        self.shelves: dict[str, Shelf] = {}

    def folder(
        self, name: str, above: Shelf | None = None, *, kind: str = "IPF.Note", element: str = "Folder", known: str = ""
    ) -> Shelf:
        """A folder, at the top or in another one."""
        shelf = Shelf(self._double.id("folder"), name, above.id if above else self.root, kind, element, known)
        self.shelves[shelf.id] = shelf
        return shelf

    @property
    def inbox(self) -> Shelf:
        """The folder that is called so in every language."""
        return next(one for one in self.shelves.values() if one.known == "inbox")

    def put(self, mime: bytes, shelf: Shelf | None = None, **given: object) -> Letter:
        """A message that arrives."""
        shelf = shelf or self.inbox
        letter = Letter(self._double.id("item"), mime, **given)  # type: ignore[arg-type]
        shelf.letters[letter.id] = letter
        shelf.log.append(("Create", letter.id))
        return letter

    def drop(self, letter: Letter) -> None:
        """A message that somebody deletes."""
        for shelf in self.shelves.values():
            if shelf.letters.pop(letter.id, None) is not None:
                shelf.log.append(("Delete", letter.id))


class EwsDouble(Double):
    """A server. ``ways`` are those in which one may sign in; ``own`` is the mailbox of who does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ways = ("Basic",)
        self.tokens: set[str] = set()
        self.boxes: dict[str, Box] = {}
        self.own = ""
        self.may_impersonate: set[str] = set()
        self.may_open: set[str] = set()
        self.operations: list[str] = []
        self.page = 2
        """Folders, messages, changes that are told at a time, at most."""
        self.generation = 0
        """Of sync states: those of another one are not known any more."""
        self._ids = itertools.count(1)
        self._ntlm: spnego.ContextProxy | None = None
        self._ntlm_users = folder / "users"
        self._ntlm_users.write_text(f"CONTOSO:archive:{PASSWORD}\n")
        self.public = Box(self, "public")

    def id(self, what: str) -> str:
        """An id: base64, and long, with what has to be escaped in a URL but not in XML."""
        return base64.b64encode(f"{what}+/{next(self._ids):04}{'=' * 20}".encode()).decode()

    def box(self, address: str) -> Box:
        """A mailbox with the folders that every one has."""
        box = self.boxes[address] = Box(self, address)
        for name, known in zip(("Posteingang", "Gesendete Elemente", "Entwürfe"), _WELL_KNOWN, strict=False):
            box.folder(name, known=known)
        self.own = self.own or address
        return box

    # -- signing in -----------------------------------------------------------------------------------------------

    def _let_in(self, asked: Asked) -> None:
        given = asked.headers.get("authorization", "")
        scheme, _, token = given.partition(" ")
        if scheme == "Basic" and "Basic" in self.ways:
            if base64.b64decode(token).decode() == f"{USER}:{PASSWORD}":
                return
        elif scheme == "Bearer" and "Bearer" in self.ways:
            if token in self.tokens:
                return
        elif "NTLM" in self.ways:
            if scheme == "NTLM":
                self._negotiate(base64.b64decode(token))
                return
            if self._ntlm is not None and self._ntlm.complete:
                return
        raise RefusalError(Said(401, b"", {"WWW-Authenticate": ", ".join(self.ways)}))

    def _negotiate(self, token: bytes) -> None:
        """MS-NLMP, as its own implementation has it; the connection is signed in at its end."""
        if self._ntlm is None or self._ntlm.complete:
            self._ntlm = spnego.server(protocol="ntlm")
        try:
            answer = self._ntlm.step(token)
        except spnego.exceptions.SpnegoError:
            self._ntlm = None
            raise RefusalError(Said(401, b"", {"WWW-Authenticate": "NTLM"})) from None
        if not self._ntlm.complete:
            said = base64.b64encode(answer or b"").decode()
            raise RefusalError(Said(401, b"", {"WWW-Authenticate": f"NTLM {said}"}))

    # -- operations -----------------------------------------------------------------------------------------------

    def answer(self, asked: Asked) -> Said:
        if (asked.method, asked.path) != ("POST", PATH):
            return Said(404, b"")
        self._let_in(asked)
        if not asked.headers.get("content-type", "").startswith("text/xml"):
            raise self.complain(f"content type {asked.headers.get('content-type')}")
        envelope = ElementTree.fromstring(asked.body)
        header, body = envelope.find(f"{SOAP}Header"), envelope.find(f"{SOAP}Body")
        if envelope.tag != f"{SOAP}Envelope" or header is None or body is None or len(body) != 1:
            raise self.complain("no envelope")
        if [one.tag for one in header][:1] != [f"{TYPES}RequestServerVersion"]:
            raise self.complain("no version")
        operation = body[0]
        name = operation.tag.removeprefix(MESSAGES)
        self.operations.append(name)
        box = self._whose(asked, header)
        does: dict[str, Callable[[ElementTree.Element, Box], Said]] = {
            "FindFolder": self._find_folder,
            "GetFolder": self._get_folder,
            "SyncFolderItems": self._sync,
            "FindItem": self._find_item,
            "GetItem": self._get_item,
            "DeleteItem": self._delete,
        }
        if name not in does:
            raise self.complain(f"unknown operation {operation.tag}")
        return does[name](operation, box)

    def _whose(self, asked: Asked, header: ElementTree.Element) -> Box:
        path = f"{TYPES}ExchangeImpersonation/{TYPES}ConnectingSID/{TYPES}PrimarySmtpAddress"
        as_whom = header.findtext(path)
        if as_whom is None:
            return self.boxes[self.own]
        if asked.headers.get("x-anchormailbox") != as_whom:
            self.complaints.append("X-AnchorMailbox is not the mailbox that is impersonated")
        if as_whom not in self.boxes:
            raise RefusalError(fault("ErrorNonExistentMailbox", "No mailbox with such guid."))
        if as_whom not in self.may_impersonate:
            said = "The account does not have permission to impersonate the requested user."
            raise RefusalError(fault("ErrorImpersonateUserDenied", said))
        return self.boxes[as_whom]

    def _folder_of(self, given: ElementTree.Element, box: Box) -> tuple[Box, str]:
        """The box and the id of a folder that is named in a request."""
        if given.tag == f"{TYPES}FolderId":
            id = given.get("Id", "")
            for one in (*self.boxes.values(), self.public):
                if id in one.shelves:
                    return one, id
            raise RefusalError(response("FindFolder", "ErrorFolderNotFound"))
        name = given.get("Id", "")
        if name == "publicfoldersroot":
            return self.public, self.public.root
        mailbox = given.findtext(f"{TYPES}Mailbox/{TYPES}EmailAddress")
        if mailbox is not None:
            if mailbox not in self.may_open:
                raise RefusalError(response("FindFolder", "ErrorAccessDenied"))
            box = self.boxes[mailbox]
        if name == "msgfolderroot":
            return box, box.root
        return box, next((one.id for one in box.shelves.values() if one.known == name), "")

    def _find_folder(self, asked: ElementTree.Element, box: Box) -> Said:
        self._order(asked, "FolderShape", "IndexedPageFolderView", "ParentFolderIds")
        [parent] = asked.findall(f"{MESSAGES}ParentFolderIds/*")
        box, id = self._folder_of(parent, box)
        deep = asked.get("Traversal") == "Deep"
        if deep and box is self.public:
            self.complaints.append("deep traversal of public folders")
        found = [one for one in box.shelves.values() if deep or one.parent == id]
        some, attributes = self._some(found, asked.find(f"{MESSAGES}IndexedPageFolderView"))
        inner = "".join(_folder(one, box) for one in some)
        return response("FindFolder", inner=f"<m:RootFolder {attributes}><t:Folders>{inner}</t:Folders></m:RootFolder>")

    def _get_folder(self, asked: ElementTree.Element, box: Box) -> Said:
        self._order(asked, "FolderShape", "FolderIds")
        messages = ""
        for one in asked.findall(f"{MESSAGES}FolderIds/*"):
            found, id = self._folder_of(one, box)
            inner = f"<m:Folders>{_folder(found.shelves[id], found)}</m:Folders>" if id else ""
            messages += message("GetFolder", "NoError" if id else "ErrorFolderNotFound", inner)
        return whole("GetFolder", messages)

    def _sync(self, asked: ElementTree.Element, box: Box) -> Said:
        names = ["ItemShape", "SyncFolderId", "SyncState", "MaxChangesReturned", "SyncScope"]
        given = asked.find(f"{MESSAGES}SyncState")
        self._order(asked, *(one for one in names if one != "SyncState" or given is not None))
        [id] = asked.findall(f"{MESSAGES}SyncFolderId/*")
        box, folder = self._folder_of(id, box)
        if box is self.public:
            raise self.complain("public folders cannot be synchronised")
        most = int(asked.findtext(f"{MESSAGES}MaxChangesReturned") or 0)
        if not 1 <= most <= 512:
            raise self.complain(f"MaxChangesReturned {most}")
        begin = 0
        if given is not None:
            generation, _, place = base64.b64decode(given.text or "").decode().partition(":")
            if generation != str(self.generation):
                return response("SyncFolderItems", "ErrorInvalidSyncStateData")
            begin = int(place)
        shelf = box.shelves[folder]
        end = min(len(shelf.log), begin + min(most, self.page))
        changes = "".join(_change(shelf, what, id) for what, id in shelf.log[begin:end])
        state = base64.b64encode(f"{self.generation}:{end}".encode()).decode()
        last = "true" if end == len(shelf.log) else "false"
        inner = f"<m:SyncState>{state}</m:SyncState><m:IncludesLastItemInRange>{last}</m:IncludesLastItemInRange>"
        return response("SyncFolderItems", inner=f"{inner}<m:Changes>{changes}</m:Changes>")

    def _find_item(self, asked: ElementTree.Element, box: Box) -> Said:
        self._order(asked, "ItemShape", "IndexedPageItemView", "SortOrder", "ParentFolderIds")
        [id] = asked.findall(f"{MESSAGES}ParentFolderIds/*")
        box, folder = self._folder_of(id, box)
        [order] = asked.findall(f"{MESSAGES}SortOrder/{TYPES}FieldOrder")
        letters = sorted(
            box.shelves[folder].letters.values(),
            key=lambda one: one.received,
            reverse=order.get("Order") == "Descending",
        )
        some, attributes = self._some(letters, asked.find(f"{MESSAGES}IndexedPageItemView"))
        inner = "".join(_letter(one) for one in some)
        return response("FindItem", inner=f"<m:RootFolder {attributes}><t:Items>{inner}</t:Items></m:RootFolder>")

    def _get_item(self, asked: ElementTree.Element, box: Box) -> Said:
        self._order(asked, "ItemShape", "ItemIds")
        ids = [one.get("Id", "") for one in asked.findall(f"{MESSAGES}ItemIds/{TYPES}ItemId")]
        if asked.findtext(f"{MESSAGES}ItemShape/{TYPES}IncludeMimeContent") == "true":
            return Said(200, self._messages(ids), XML)
        fields = asked.findall(f"{MESSAGES}ItemShape/{TYPES}AdditionalProperties/{TYPES}FieldURI")
        if [one.get("FieldURI") for one in fields] != ["item:IsDraft"]:
            raise self.complain("neither MIME content is asked for nor what is a draft")
        messages = ""
        for id in ids:
            if (letter := self._letter(id)) is None:
                messages += message("GetItem", "ErrorItemNotFound", "<m:Items/>")
            else:
                messages += message("GetItem", "NoError", f"<m:Items>{_draft(letter)}</m:Items>")
        return whole("GetItem", messages)

    def _messages(self, ids: list[str]) -> Iterator[bytes]:
        """An answer with messages, in pieces that fall anywhere."""
        head, tail = whole("GetItem", "\0").body.split(b"\0")
        yield head
        for id in ids:
            letter = self._letter(id)
            if letter is None or letter.code != "NoError":
                code = letter.code if letter else "ErrorItemNotFound"
                yield message("GetItem", code, "<m:Items/>").encode()
                continue
            before, after = message("GetItem", "NoError", f"<m:Items>{_whole(letter)}</m:Items>").split("\0")
            yield before.encode()
            for piece in letter.encoded or _encoded(letter.mime):
                yield piece.encode()
            yield after.encode()
        yield tail

    def _delete(self, asked: ElementTree.Element, box: Box) -> Said:
        if asked.get("DeleteType") != "HardDelete":
            raise self.complain(f"DeleteType {asked.get('DeleteType')}")
        messages = ""
        for one in asked.findall(f"{MESSAGES}ItemIds/{TYPES}ItemId"):
            letter = self._letter(one.get("Id", ""))
            code = letter.code if letter else "ErrorItemNotFound"
            if letter is not None and code == "NoError":
                for some in (*self.boxes.values(), self.public):
                    some.drop(letter)
            messages += message("DeleteItem", code)
        return whole("DeleteItem", messages)

    def _letter(self, id: str) -> Letter | None:
        shelves = (one for box in (*self.boxes.values(), self.public) for one in box.shelves.values())
        return next((one.letters[id] for one in shelves if id in one.letters), None)

    def _order(self, asked: ElementTree.Element, *names: str) -> None:
        """The schema has its elements in one order only."""
        if [one.tag for one in asked] != [f"{MESSAGES}{name}" for name in names]:
            raise self.complain(f"{asked.tag} has {[one.tag for one in asked]}")

    def _some(self, found: list[T], view: ElementTree.Element | None) -> tuple[list[T], str]:
        """A page, and what its RootFolder says of it."""
        if view is None or view.get("BasePoint") != "Beginning":
            raise self.complain("no view")
        begin = int(view.get("Offset", "0"))
        end = begin + min(self.page, int(view.get("MaxEntriesReturned", "0")))
        last = "true" if end >= len(found) else "false"
        attributes = f'IndexedPagingOffset="{end}" TotalItemsInView="{len(found)}" IncludesLastItemInRange="{last}"'
        return found[begin:end], attributes


def message(operation: str, code: str = "NoError", inner: str = "") -> str:
    """A response message."""
    how = "Success" if code == "NoError" else "Error"
    text = "" if code == "NoError" else f"<m:MessageText>What {code} means.</m:MessageText>"
    name = f"m:{operation}ResponseMessage"
    return f'<{name} ResponseClass="{how}">{text}<m:ResponseCode>{code}</m:ResponseCode>{inner}</{name}>'


def whole(operation: str, messages: str) -> Said:
    """An answer."""
    said = (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>'
        '<h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1544" MinorBuildNumber="4" '
        'xmlns:h="http://schemas.microsoft.com/exchange/services/2006/types"/></s:Header><s:Body>'
        f'<m:{operation}Response xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" '
        'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>'
        f"{messages}</m:ResponseMessages></m:{operation}Response></s:Body></s:Envelope>"
    )
    return Said(200, said.encode(), XML)


def response(operation: str, code: str = "NoError", inner: str = "") -> Said:
    """An answer with one response message."""
    return whole(operation, message(operation, code, inner))


def fault(code: str, text: str, more: str = "") -> Said:
    """What concerns the request as a whole, as a server says it: with status 500."""
    said = (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        '<s:Fault><faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">'
        f'a:{code}</faultcode><faultstring xml:lang="en-US">{escape(text)}</faultstring><detail>'
        f'<e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">{code}</e:ResponseCode>'
        f'<e:Message xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">{escape(text)}</e:Message>'
        f"{more}</detail></s:Fault></s:Body></s:Envelope>"
    )
    return Said(500, said.encode(), XML)


def busy(milliseconds: int) -> Said:
    """What a server says that is asked too much."""
    more = (
        '<t:MessageXml xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">'
        f'<t:Value Name="BackOffMilliseconds">{milliseconds}</t:Value></t:MessageXml>'
    )
    return fault("ErrorServerBusy", "The server cannot service this request right now. Try again later.", more)


def at(operation: str, said: Said, *, times: int = 1) -> list[Fault]:
    """Faults at an operation."""

    def one(asked: Asked) -> Said | None:
        return said if f"<m:{operation}".encode() in asked.body else None

    return [lambda asked, _number=number: one(asked) for number in range(times)]


def _folder(shelf: Shelf, box: Box) -> str:
    below = sum(one.parent == shelf.id for one in box.shelves.values())
    return (
        f'<t:{shelf.element}><t:FolderId Id={quoteattr(shelf.id)} ChangeKey="AQAAAA=="/>'
        f'<t:ParentFolderId Id={quoteattr(shelf.parent)} ChangeKey="AQAAAA=="/>'
        f"<t:FolderClass>{shelf.kind}</t:FolderClass><t:DisplayName>{escape(shelf.name)}</t:DisplayName>"
        f"<t:TotalCount>{len(shelf.letters)}</t:TotalCount><t:ChildFolderCount>{below}</t:ChildFolderCount>"
        f"</t:{shelf.element}>"
    )


def _change(shelf: Shelf, what: str, id: str) -> str:
    if what == "Delete":
        return f'<t:Delete><t:ItemId Id={quoteattr(id)} ChangeKey="CQAAAA=="/></t:Delete>'
    letter = shelf.letters.get(id)
    if letter is None:
        return ""
    if what == "ReadFlagChange":
        read = str(letter.read).lower()
        return f"<t:ReadFlagChange><t:ItemId Id={quoteattr(id)}/><t:IsRead>{read}</t:IsRead></t:ReadFlagChange>"
    return f"<t:{what}>{_letter(letter)}</t:{what}>"


def _letter(letter: Letter) -> str:
    return (
        f'<t:{letter.kind}><t:ItemId Id={quoteattr(letter.id)} ChangeKey="CQAAAA=="/>'
        f"<t:DateTimeReceived>{letter.received}</t:DateTimeReceived><t:Size>{len(letter.mime)}</t:Size>"
        f"<t:IsDraft>{str(letter.draft).lower()}</t:IsDraft>{letter.more}<t:IsRead>{str(letter.read).lower()}</t:IsRead></t:{letter.kind}>"
    )


def _draft(letter: Letter) -> str:
    return (
        f'<t:{letter.kind}><t:ItemId Id={quoteattr(letter.id)} ChangeKey="CQAAAA=="/>'
        f"<t:IsDraft>{str(letter.draft).lower()}</t:IsDraft></t:{letter.kind}>"
    )


def _whole(letter: Letter) -> str:
    id = quoteattr(letter.claims or letter.id)
    return (
        f'<t:{letter.kind}><t:MimeContent CharacterSet="UTF-8">\0</t:MimeContent>'
        f'<t:ItemId Id={id} ChangeKey="CQAAAA=="/></t:{letter.kind}>'
    )


def _encoded(mime: bytes) -> Iterator[str]:
    for begin in range(0, len(mime), 30_000):
        yield base64.b64encode(mime[begin : begin + 30_000]).decode()
