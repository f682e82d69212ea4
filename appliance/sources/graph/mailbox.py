"""One mailbox, asked through Microsoft Graph: requests below its address, refusals in words.

https://learn.microsoft.com/en-us/graph/api/resources/mail-api-overview
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from appliance.errors import MailkeepError, RemoteDeniedError
from appliance.language import later
from appliance.sources.graph.options import ME, user_name
from appliance.vendor.graph import Reply, batch
from appliance.vendor.web import Api, Http, Patience, RefusedError, Stream, Token

T = TypeVar("T")

AT_ONCE: Final = 4
"""Requests under way at a time for one mailbox (https://learn.microsoft.com/en-us/graph/throttling-limits#outlook-
service-limits)."""
PAGE: Final = 200
"""Messages listed at a time: a run that breaks off goes on behind the last page."""
READ: Final = "Mail.Read"
WRITE: Final = "Mail.ReadWrite"
USERS: Final = "User.Read.All"
"""Permissions, as Microsoft Graph calls them."""

_PREFER: Final = 'IdType="ImmutableId"'
"""Ids that stay when a message is moved to another folder (https://learn.microsoft.com/en-us/graph/outlook-immutable-
id); it has to be asked for each time."""
LASTING: Final = frozenset(
    {
        "ErrorContentConversionFailed",
        "ErrorCorruptData",
        "ErrorMessageSizeExceeded",
        "ErrorMimeContentConversionFailed",
        "ErrorMimeContentInvalid",
        "ErrorPropertyRequestFailed",
        "ErrorQuotaExceeded",
    }
)
"""What is said, with whatever status, and stays so: mostly of one message that cannot be given (EWS' response codes:
https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/responsecode)."""
_NOBODY: Final = frozenset({"errorinvaliduser", "request_resourcenotfound", "resourcenotfound"})


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Ids(msgspec.Struct, frozen=True):
    value: tuple[_Id, ...]


class Mailbox:
    """The mailbox of a user who is named by id, user name or address, or ``ME``. May be used by several threads."""

    def __init__(
        self, http: Http, root: str, token: Token, user: str, *, patience: Patience, sleep: Callable[[float], None]
    ) -> None:
        self.user = user
        self._patience = patience
        self._sleep = sleep
        headers = {"Prefer": f"{_PREFER}, odata.maxpagesize={PAGE}"}
        self._api = Api(http, f"{root}/v1.0", token, headers=headers)
        self.own = _own(user)

    def find(self) -> None:
        """Make sure that there is a mailbox: an address that is no user name is looked up, where that is allowed.
        Raises RemoteDeniedError in words, and UnavailableError."""
        try:
            self._answers()
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND or error.reason.lower() not in _NOBODY or "@" not in self.user:
                raise self.in_words(error) from error
            found = self._looked_up()
            if found is None:
                raise self.in_words(error) from error
            self.own = _own(found)
            with self.refusing():
                self._answers()

    def answers(self) -> bool:
        """Whether the mailbox can be asked at all, whatever it says of one message."""
        try:
            self._answers()
        except MailkeepError:
            return False
        return True

    def may_look_up(self) -> bool:
        """Whether mailboxes are found by any of their addresses. Raises RefusedError where the answer says neither,
        UnavailableError."""
        try:
            self._api.get("/users", _Ids, {"$select": "id", "$top": "1"})
        except RefusedError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return False
            raise
        return True

    def get(self, path: str, type: type[T], params: Mapping[str, str] | None = None) -> T:
        """What is at a path below the mailbox. Raises RefusedError, UnavailableError."""
        return self._api.get(self.own + path, type, params)

    def follow(self, link: str, type: type[T]) -> T:
        """What is at an address that an answer named."""
        return self._api.follow(link, type)

    def stream(self, path: str) -> Stream:
        """The bytes at a path below the mailbox."""
        return self._api.stream(self.own + path)

    def act(self, path: str) -> None:
        """Have something done in the mailbox."""
        self._api.act(self.own + path)

    def batch(self, paths: Sequence[tuple[str, Mapping[str, str]]]) -> list[Reply]:
        """What is at each path with its parameters, refusals too; asked ``AT_ONCE`` at a time, for more is refused."""
        urls = [f"{self.own}{path}?{urlencode(params, quote_via=quote)}" for path, params in paths]
        replies: list[Reply] = []
        for begin in range(0, len(urls), AT_ONCE):
            some = urls[begin : begin + AT_ONCE]
            headers = {"Prefer": _PREFER}
            replies += batch(self._api, some, patience=self._patience, sleep=self._sleep, headers=headers)
        return replies

    @contextmanager
    def refusing(self, permission: str = READ) -> Iterator[None]:
        """What a refusal in here means, in words: ``permission`` is what it takes."""
        try:
            yield
        except RefusedError as error:
            raise self.in_words(error, permission) from error

    def in_words(self, error: RefusedError, permission: str = READ) -> RemoteDeniedError:
        """What a refusal means, and what is to be done."""
        reason = error.reason.lower()
        said = error.reason or error.status
        if error.status == HTTPStatus.NOT_FOUND and reason == "mailboxnotenabledforrestapi":
            return RemoteDeniedError(
                later(
                    "{user} has no mailbox in Exchange Online: a licence is missing, the mailbox is being removed, or "
                    "it is on a server of your own."
                ),
                user=self.user,
            )
        if error.status == HTTPStatus.NOT_FOUND and reason in _NOBODY:
            return RemoteDeniedError(
                later(
                    "Microsoft 365 knows no user {user}. Give the user name, or the application the permission "
                    "User.Read.All, so that mailboxes can be found by any of their addresses."
                ),
                user=self.user,
            )
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return RemoteDeniedError(
                later(
                    "The mailbox of {user} may not be read so ({reason}). It takes Microsoft Graph's permission "
                    "{permission}: in the Microsoft Entra admin center, under App registrations, open the application, "
                    "API permissions, Add a permission, Microsoft Graph, {permission}; then Grant admin consent. Where "
                    "Exchange Online limits the application to some mailboxes, this one has to be among them. A change "
                    "can take an hour or two to count."
                ),
                user=self.user,
                reason=said,
                permission=permission,
            )
        return error

    def _answers(self) -> None:
        self.get("/mailFolders/inbox", _Id, {"$select": "id"})

    def _looked_up(self) -> str | None:
        """The id of the one user who has the address; None where that is not to be known."""
        address = user_name(self.user).replace("'", "''")  # OData 4.01, part 2, section 5.1.1.14.1
        has = f"proxyAddresses/any(one:one eq 'smtp:{address}')"
        try:
            found = self._api.get("/users", _Ids, {"$filter": has, "$select": "id"}).value
        except RefusedError:
            return None
        return found[0].id if len(found) == 1 else None


def _own(user: str) -> str:
    return "/me" if user == ME else f"/users/{quote(user_name(user), safe='@')}"
