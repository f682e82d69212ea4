"""Exchange Online's mailboxes in Microsoft Graph, and Entra ID's sign-in by a code, as their documentation shows them.

https://learn.microsoft.com/en-us/graph/api/user-list-mailfolders · …/mailfolder-list-childfolders
https://learn.microsoft.com/en-us/graph/delta-query-messages · …/api/message-delta · …/delta-query-overview
https://learn.microsoft.com/en-us/graph/outlook-get-mime-message · …/outlook-immutable-id
https://learn.microsoft.com/en-us/graph/api/message-permanentdelete · …/api/user-list-messages
https://learn.microsoft.com/en-us/graph/api/singlevaluelegacyextendedproperty-get
https://learn.microsoft.com/en-us/graph/auth-limit-mailbox-access#handling-api-errors
https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-device-code
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.graph import CLIENT, TENANT, GraphDouble, denied, refused
from tests.doubles.https import Asked, RefusalError, Said

_PARTS = re.compile(r"([A-Za-z]+)\('([^']*)'\)")
_SELECTABLE = {"receivedDateTime", "isRead", "isDraft", "flag", "parentFolderId"}
_EXPAND = re.compile(
    r"singleValueExtendedProperties\(\$filter=id eq '(\w+ 0x[0-9A-F]{4})'(?: or id eq '(\w+ 0x[0-9A-F]{4})')?\)"
)
_KNOWN_NAMES = {"inbox", "sentitems", "drafts", "deleteditems", "junkemail", "archive"}
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_LOOKED_UP = re.compile(r"proxyAddresses/any\(one:one eq 'smtp:([^']*)'\)")

_numbers = itertools.count(1)


@dataclass
class Message:
    """A message; ``mime`` is made anew for each request, as Exchange does it."""

    folder: str
    mime: bytes
    received: str = "2026-03-01T08:00:00Z"
    is_read: bool = False
    is_draft: bool = False
    flag: str = "notFlagged"
    verb: str = ""
    id: str = field(default_factory=lambda: f"AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{next(_numbers):06}AAA=")
    refused: Said | None = None
    """Given in place of the MIME."""
    large: int = 0
    """Further bytes, of which there is no more than a piece at a time in memory."""


@dataclass
class MailFolder:
    """A folder; ``known`` is Outlook's name for it."""

    name: str
    parent: str = ""
    known: str = ""
    kind: str = "IPF.Note"
    hidden: bool = False
    search: bool = False
    id: str = field(default_factory=lambda: f"AQMkADYAAAIBX{next(_numbers):06}AAAA==")


class Box:
    """A mailbox, and all that has happened in it."""

    def __init__(self) -> None:
        self.folders: dict[str, MailFolder] = {}
        self.messages: dict[str, Message] = {}
        self.happened: list[tuple[str, str]] = []
        """In which folder to which message."""
        self.full = False
        """No room for what a delta query has to remember."""
        for name, known in (("Posteingang", "inbox"), ("Gesendete Elemente", "sentitems"), ("Entwürfe", "drafts")):
            self.folder(name, known=known)
        self.folder("Gelöschte Elemente", known="deleteditems")
        self.folder("Junk-E-Mail", known="junkemail")

    def folder(self, name: str, parent: str = "", **more: Any) -> str:
        """A folder's id."""
        one = MailFolder(name, parent, **more)
        self.folders[one.id] = one
        return one.id

    @property
    def inbox(self) -> str:
        return next(one.id for one in self.folders.values() if one.known == "inbox")

    def add(self, mime: bytes, folder: str = "", **more: Any) -> Message:
        """A message comes."""
        one = Message(folder or self.inbox, mime, **more)
        self.messages[one.id] = one
        self.happened.append((one.folder, one.id))
        return one

    def change(self, one: Message, **more: Any) -> None:
        """Somebody reads it, flags it, and so on."""
        for key, value in more.items():
            setattr(one, key, value)
        self.happened.append((one.folder, one.id))

    def move(self, one: Message, folder: str) -> None:
        """Somebody moves it; its immutable id stays."""
        self.happened.append((one.folder, one.id))
        one.folder = folder
        self.happened.append((folder, one.id))

    def remove(self, one: Message) -> None:
        """Somebody deletes it for good."""
        del self.messages[one.id]
        self.happened.append((one.folder, one.id))


@dataclass
class _Place:
    """What a state token stands for: the messages still to be told of, and how much had happened at the beginning."""

    box: Box
    folder: str
    left: list[str]
    happened: int
    expand: str


class MailDouble(GraphDouble):
    """A tenant with mailboxes, by user name. ``page`` is the most of a list of messages given at a time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.permissions = {"Mail.Read"}
        self.boxes: dict[str, Box] = {}
        self.aliases: dict[str, str] = {}
        """User names by an address that is none."""
        self.limited_to: set[str] | None = None
        """The mailboxes that a policy of Exchange Online's lets the application into."""
        self.expands = True
        """Whether extended properties can be asked for in a delta query."""
        self.scope = ""
        """Of the tokens that are given, where it is not that of Graph."""
        self.granted: list[str] = []
        """All tokens, in order."""
        self.codes: dict[str, dict[str, Any]] = {}
        """By device code: the scopes asked for, and who has signed in."""
        self.declined = False
        self.refresh_tokens: dict[str, dict[str, Any]] = {}
        self.at_once = 0
        self.most_at_once = 0
        self.slow = 0.0
        """Seconds that giving a message takes."""
        self._states: dict[str, _Place] = {}
        self._persons: dict[str, dict[str, Any]] = {}
        self._busy = threading.Lock()
        self._asking = threading.local()

    def box(self, user: str) -> Box:
        """A new mailbox."""
        self.boxes[user] = Box()
        return self.boxes[user]

    def forget(self) -> None:
        """All state tokens have expired."""
        self._states.clear()

    def expire(self) -> None:
        super().expire()
        self._persons.clear()

    def sign_in(self, user_code: str, name: str) -> None:
        """A person enters the code."""
        next(one for one in self.codes.values() if one["user_code"] == user_code)["name"] = name

    def answer(self, asked: Asked) -> Said:
        match asked.path.strip("/").split("/"):
            case [tenant, "oauth2", "v2.0", "devicecode"] if asked.method == "POST" and tenant == TENANT:
                return self._device_code(asked)
            case [_, "oauth2", "v2.0", "token"] if asked.form.get("grant_type") in {_DEVICE, "refresh_token"}:
                return self._person(asked)
        return super().answer(asked)

    # -- signing in -------------------------------------------------------------------------------------------

    def _configuration(self, tenant: str) -> Said:
        said = super()._configuration(tenant)
        if said.status == 200:
            said.body["device_authorization_endpoint"] = f"{self.url}/{tenant}/oauth2/v2.0/devicecode"
        return said

    def _token(self, asked: Asked, tenant: str) -> Said:
        if self.scope and asked.form.get("scope") == self.scope:
            token = f"eyJ0eXAiOiJKV1QiLCJub25jZSI6.{secrets.token_urlsafe(24)}"
            self.granted.append(token)
            return Said(body={"token_type": "Bearer", "expires_in": 3599, "access_token": token})
        said = super()._token(asked, tenant)
        if isinstance(said.body, dict) and "access_token" in said.body:
            self.granted.append(said.body["access_token"])
        return said

    def _device_code(self, asked: Asked) -> Said:
        form = asked.form
        if form.keys() != {"client_id", "scope"}:
            raise self.complain(f"a code is asked for with {sorted(form)}")
        if form["client_id"] != CLIENT:
            return denied(700016, f"Application with identifier '{form['client_id']}' was not found.")
        code = secrets.token_urlsafe(40)
        user_code = secrets.token_hex(4).upper()
        self.codes[code] = {"user_code": user_code, "scopes": form["scope"].split(), "name": ""}
        address = "https://microsoft.com/devicelogin"
        return Said(
            body={
                "user_code": user_code,
                "device_code": code,
                "verification_uri": address,
                "expires_in": 900,
                "interval": 5,
                "message": f"To sign in, open the page {address} and enter the code {user_code} to authenticate.",
            }
        )

    def _person(self, asked: Asked) -> Said:
        form = asked.form
        if form.get("client_id") != CLIENT or "client_secret" in form:
            raise self.complain("a public client has no secret")
        if form["grant_type"] == _DEVICE:
            person = self.codes.get(form.get("device_code", ""))
            if person is None:
                return denied(70000, "The provided value for the 'device_code' is not valid.", "bad_verification_code")
            if self.declined:
                return denied(70013, "The user declined.", "authorization_declined")
            if not person["name"]:
                return denied(70016, "OAuth 2.0 device flow error. Authorization is pending.", "authorization_pending")
        else:
            person = self.refresh_tokens.get(form.get("refresh_token", ""))
            if person is None:
                return denied(700082, "The refresh token has expired due to inactivity.", "invalid_grant")
            asked_for = set(form["scope"].split()) - {"openid", "profile", "offline_access"}
            if not asked_for <= set(person["scopes"]):
                return denied(65001, "The user or administrator has not consented to use it.", "invalid_grant")
        return self._signed_in(person)

    def _signed_in(self, person: dict[str, Any]) -> Said:
        scopes = [one for one in person["scopes"] if one not in {"openid", "profile", "offline_access"}]
        token, refresh = f"EwBgA8l6BAAU{secrets.token_urlsafe(24)}", f"M.C5{secrets.token_urlsafe(24)}"
        self._persons[token] = {"name": person["name"], "rights": {one.rpartition("/")[2] for one in scopes}}
        self.refresh_tokens[refresh] = person
        self.granted.append(token)
        claims = {
            "aud": CLIENT, "iss": f"{self.url}/{TENANT}/v2.0", "iat": int(time.time()), "exp": int(time.time()) + 3600,
            "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "tid": TENANT, "oid": "person-1",
            "preferred_username": person["name"], "name": "Adele Vance",
        }  # fmt: skip
        return Said(
            body={
                "token_type": "Bearer",
                "scope": " ".join(scopes),
                "expires_in": 3599,
                "access_token": token,
                "refresh_token": refresh,
                "id_token": f"{_packed({'alg': 'none'})}.{_packed(claims)}.",
                "client_info": _packed({"uid": "person-1", "utid": TENANT}),
            }
        )

    # -- mail -------------------------------------------------------------------------------------------------

    def _graph(self, asked: Asked, rest: list[str]) -> Said:
        person = self._persons.get(asked.bearer)
        if person is not None:
            self._tokens.add(asked.bearer)
        self._asking.person = person
        if rest == ["$batch"] or asked.bearer not in self._tokens:
            return super()._graph(asked, rest)
        if rest == ["users"] and "$filter" in asked.query:
            return self._found(asked)
        if rest == ["users"]:
            return super()._graph(asked, rest)
        return self._mail(asked, [_PARTS.sub(r"\1/\2", one) for one in rest], person)

    def _part(self, request: dict[str, Any]) -> dict[str, Any]:
        url = urlsplit(request["url"])
        if request.keys() != {"id", "method", "url", "headers"} or request["method"] != "GET":
            raise self.complain(f"a batch with {request}")
        headers = {key.lower(): value for key, value in request["headers"].items()}
        part = Asked("GET", f"/v1.0{unquote(url.path)}", dict(parse_qsl(url.query, strict_parsing=True)), headers, b"")
        self.asked.append(part)
        said = self.fault(part)
        if said is None:
            try:
                said = self._mail(part, part.path.strip("/").split("/")[1:], self._asking.person)
            except RefusalError as refusal:
                said = refusal.said
        return {"id": request["id"], "status": said.status, "headers": dict(said.headers), "body": said.body}

    def _found(self, asked: Asked) -> Said:
        self._need("User.Read.All")
        self._only(asked, {"$filter", "$select"})
        match = _LOOKED_UP.fullmatch(asked.query["$filter"])
        if match is None:
            raise self.complain(f"$filter={asked.query['$filter']}")
        user = self.aliases.get(match[1])
        return Said(body={"value": [{"id": user}] if user else []})

    def _mail(self, asked: Asked, rest: list[str], person: dict[str, Any] | None) -> Said:
        parts = "/".join(rest).split("/")
        if 'IdType="ImmutableId"' not in asked.headers.get("prefer", ""):
            raise self.complain(f"{asked.path} is asked without immutable ids")
        if parts[0] == "me" and person is not None:
            user, parts = person["name"], parts[1:]
        elif parts[0] == "users" and len(parts) > 2:
            user, parts = parts[1], parts[2:]
        else:
            raise self.complain(f"there is nothing at {asked.path}", 404)
        box = self._box(user, person, write=asked.method == "POST")
        if asked.method == "POST":
            match parts:
                case ["messages", id, "permanentDelete"] if not asked.body:
                    return self._delete(box, id)
            raise self.complain(f"there is nothing at POST {asked.path}", 405)
        match [one.lower() if number % 2 == 0 else one for number, one in enumerate(parts)]:
            case ["mailfolders"]:
                return self._folders(asked, box, "")
            case ["mailfolders", id]:
                return self._folder(asked, box, id)
            case ["mailfolders", id, "childfolders"]:
                return self._folders(asked, box, id)
            case ["mailfolders", id, "messages"]:
                return self._messages(asked, box, id)
            case ["mailfolders", id, "messages", "delta"]:
                return self._delta(asked, box, id)
            case ["messages", id]:
                self._check_selected(asked)
                return Said(body=self._told(self._message(box, id), asked.query))
            case ["messages", id, "$value"]:
                return self._value(asked, box, id)
        raise self.complain(f"there is nothing at {asked.path}", 404)

    def _box(self, user: str, person: dict[str, Any] | None, *, write: bool) -> Box:
        box = self.boxes.get(user)
        if person is not None:
            rights, suffix = person["rights"], "" if user == person["name"] else ".Shared"
        else:
            rights, suffix = self.permissions, ""
        read = {f"Mail.ReadWrite{suffix}"} if write else {f"Mail.Read{suffix}", f"Mail.ReadWrite{suffix}"}
        if not rights & read:
            raise RefusalError(refused(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."))
        if self.limited_to is not None and user not in self.limited_to:
            raise RefusalError(refused(403, "ErrorAccessDenied", "Access to OData is disabled."))
        if box is None:
            if any(one["userPrincipalName"] == user for one in self.users):
                message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise."
                raise RefusalError(refused(404, "MailboxNotEnabledForRESTAPI", message))
            raise RefusalError(refused(404, "ErrorInvalidUser", f"The requested user '{user}' is invalid."))
        return box

    def _folder(self, asked: Asked, box: Box, id: str) -> Said:
        self._only(asked, {"$select"})
        one = self._folder_of(box, id)
        return Said(body={"@odata.context": f"{self.url}/v1.0/$metadata#x", "id": one.id})

    def _folder_of(self, box: Box, id: str) -> MailFolder:
        found = box.folders.get(id) or next((one for one in box.folders.values() if id and one.known == id), None)
        if found is None:
            raise RefusalError(refused(404, "ErrorItemNotFound", "The specified object was not found in the store."))
        return found

    def _folders(self, asked: Asked, box: Box, parent: str) -> Said:
        self._only(asked, {"includeHiddenFolders", "$select", "$expand", "$top", "$skip"})
        if _EXPAND.fullmatch(asked.query.get("$expand", "")) is None:
            raise self.complain(f"$expand={asked.query.get('$expand')}")
        if parent:
            self._folder_of(box, parent)
        hidden = asked.query.get("includeHiddenFolders") == "true"
        below = [one for one in box.folders.values() if one.parent == parent and (hidden or not one.hidden)]
        begin, size = int(asked.query.get("$skip", 0)), min(int(asked.query.get("$top", 10)), self.page)
        body: dict[str, Any] = {"value": [self._folder_told(box, one) for one in below[begin : begin + size]]}
        if below[begin + size :]:
            query = "&".join(f"{key}={value}" for key, value in asked.query.items() if key != "$skip")
            body["@odata.nextLink"] = f"{self.url}{asked.path}?{query}&$skip={begin + size}"
        return Said(body=body)

    def _folder_told(self, box: Box, one: MailFolder) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": one.id,
            "displayName": one.name,
            "childFolderCount": sum(other.parent == one.id for other in box.folders.values()),
            "totalItemCount": sum(other.folder == one.id for other in box.messages.values()),
        }
        if one.search:
            told["@odata.type"] = "#microsoft.graph.mailSearchFolder"
        if one.kind:
            told["singleValueExtendedProperties"] = [{"id": "String 0x3613", "value": one.kind}]
        return told

    def _messages(self, asked: Asked, box: Box, folder: str) -> Said:
        self._only(asked, {"$select", "$expand", "$orderby", "$top", "$skip"})
        self._check_selected(asked)
        folder = self._folder_of(box, folder).id
        inside = sorted((one for one in box.messages.values() if one.folder == folder), key=lambda one: one.received)
        if asked.query.get("$orderby") == "receivedDateTime desc":
            inside.reverse()
        begin, size = int(asked.query.get("$skip", 0)), min(int(asked.query.get("$top", 10**6)), self._page(asked))
        body: dict[str, Any] = {
            "value": [self._told(one, asked.query) for one in inside[begin : begin + size]],
        }
        if inside[begin + size :]:
            query = "&".join(f"{key}={value}" for key, value in asked.query.items() if key != "$skip")
            body["@odata.nextLink"] = f"{self.url}{asked.path}?{query}&$skip={begin + size}"
        return Said(body=body)

    def _delta(self, asked: Asked, box: Box, folder: str) -> Said:
        folder = self._folder_of(box, folder).id
        if box.full:
            return refused(507, "ErrorQuotaExceeded", "The mailbox has exceeded its quota.")
        token = asked.query.get("$skiptoken") or asked.query.get("$deltatoken")
        if token is None:
            self._only(asked, {"$select", "$expand"})
            self._check_selected(asked)
            if "$expand" in asked.query and not self.expands:
                return refused(500, "InternalServerError", "Value cannot be null.\r\nParameter name: type")
            # In no order that means anything.
            inside = [one.id for one in reversed(box.messages.values()) if one.folder == folder]
            place = _Place(box, folder, inside, len(box.happened), asked.query.get("$expand", ""))
        else:
            self._only(asked, {"$skiptoken", "$deltatoken"})
            state = self._states.get(token)
            if state is None:
                return refused(410, "SyncStateNotFound", "The sync state generation is not found; generation=518.")
            place = state
            if place.box is not box or place.folder != folder:
                raise self.complain("a state token is used for another folder")
            if "$deltatoken" in asked.query:
                touched = [id for where, id in box.happened[place.happened :] if where == folder]
                place = _Place(box, folder, touched, len(box.happened), place.expand)
        size = self._page(asked)
        value = [self._delta_told(place, id) for id in place.left[:size]]
        left = place.left[size:]
        token = secrets.token_urlsafe(30)
        self._states[token] = _Place(box, folder, left, place.happened, place.expand)
        user = re.sub(r"/users/([^/(]+)/", r"/users('\1')/", asked.path)
        path = re.sub(r"/mailFolders/([^/(]+)/", r"/mailfolders('\1')/", user)
        kind, name = ("nextLink", "$skiptoken") if left else ("deltaLink", "$deltatoken")
        context = f"{self.url}/v1.0/$metadata#Collection(message)"
        return Said(
            body={"@odata.context": context, f"@odata.{kind}": f"{self.url}{path}?{name}={token}", "value": value}
        )

    def _delta_told(self, place: _Place, id: str) -> dict[str, Any]:
        one = place.box.messages.get(id)
        if one is None or one.folder != place.folder:
            return {"@odata.type": "#microsoft.graph.message", "id": id, "@removed": {"reason": "deleted"}}
        return self._told(one, {"$expand": place.expand})

    def _told(self, one: Message, query: Any) -> dict[str, Any]:
        told: dict[str, Any] = {
            "@odata.type": "#microsoft.graph.message",
            "@odata.etag": 'W/"CQAAABYAAAARn2vdzPFjSbaPPxzjlzOTAAASsKZz"',
            "id": one.id,
            "receivedDateTime": one.received,
            "isRead": one.is_read,
            "isDraft": one.is_draft,
            "flag": {"flagStatus": one.flag},
        }
        if query.get("$select") == "parentFolderId,isDraft":
            return {"id": one.id, "parentFolderId": one.folder, "isDraft": one.is_draft}
        if query.get("$expand"):
            told["singleValueExtendedProperties"] = [{"id": "Integer 0xe08", "value": str(len(one.mime) + one.large)}]
            if one.verb:
                told["singleValueExtendedProperties"].append({"id": "Integer 0x1081", "value": one.verb})
        return told

    def _message(self, box: Box, id: str) -> Message:
        found = box.messages.get(id)
        if found is None:
            raise RefusalError(refused(404, "ErrorItemNotFound", "The specified object was not found in the store."))
        return found

    def _value(self, asked: Asked, box: Box, id: str) -> Said:
        self._only(asked, set())
        if asked.headers.get("accept-encoding") != "identity":
            raise self.complain("a message is asked for in any number of bytes at once")
        with self._busy:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.slow)
            one = self._message(box, id)
            if one.refused is not None:
                return one.refused
            if one.large:
                return Said(body=_much(one.mime, one.large), headers={"Content-Type": "text/plain"})
            return Said(body=one.mime, headers={"Content-Type": "text/plain"})
        finally:
            with self._busy:
                self.at_once -= 1

    def _delete(self, box: Box, id: str) -> Said:
        if re.fullmatch(r"AAkA[A-Za-z0-9_=-]+", id) is None:
            return refused(400, "ErrorInvalidIdMalformed", "Id is malformed.")
        box.remove(self._message(box, id))
        return Said(204, b"")

    def _page(self, asked: Asked) -> int:
        wanted = re.search(r"odata\.maxpagesize=(\d+)", asked.headers.get("prefer", ""))
        if wanted is None:
            raise self.complain("messages are listed without a page size")
        return min(int(wanted[1]), self.page)

    def _check_selected(self, asked: Asked) -> None:
        selected = set(asked.query.get("$select", "").split(","))
        if not selected <= _SELECTABLE:
            raise self.complain(f"$select={asked.query.get('$select')}")
        if "$expand" in asked.query and _EXPAND.fullmatch(asked.query["$expand"]) is None:
            raise self.complain(f"$expand={asked.query['$expand']}")


def at(seconds: int) -> str:
    """A time as Graph writes it."""
    return datetime.fromtimestamp(1_772_352_000 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _packed(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _much(head: bytes, more: int) -> Iterator[bytes]:
    yield head
    piece = b"x" * 77 + b"\n"
    piece *= 1000
    while more > 0:
        yield piece[:more]
        more -= len(piece)
