"""One mailbox of Exchange, asked by EWS: operations, patience, refusals in words.

https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/responsecode
https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/ews-throttling-in-exchange
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from http import HTTPStatus
from typing import Final, TypeVar

import httpx
import msgspec

from appliance.errors import MailkeepError, RemoteDeniedError, ThrottledError, UnavailableError
from appliance.language import later
from appliance.sources.base import CHUNK
from appliance.sources.ews import soap
from appliance.sources.ews.soap import Began, Element, Reader
from appliance.vendor.web import AGAIN, Answer, Http, Patience, Stream

T = TypeVar("T")

TITLE: Final = "Exchange"
ONLINE: Final = frozenset({"outlook.office365.com", "outlook.office.com"})
"""Exchange Online."""
STATUSES: Final = AGAIN - {HTTPStatus.INTERNAL_SERVER_ERROR}
"""After which a request is sent again; with a 500 comes a fault (SOAP 1.1 section 6.2), which says why."""
GRANT: Final = (
    "New-ManagementRoleAssignment -Name mailkeep -Role ApplicationImpersonation -User {user} "
    "-CustomRecipientWriteScope {scope}"
)
FINE: Final = "NoError"
GONE: Final = frozenset({"ErrorItemNotFound", "ErrorMessageDeleted"})
LOST: Final = frozenset({"ErrorInvalidSyncStateData", "ErrorSyncFolderNotFound"})

_BUSY: Final = frozenset(
    {
        "ErrorServerBusy",
        "ErrorExceededConnectionCount",
        "ErrorExceededSubscriptionCount",
        "ErrorInternalServerTransientError",
        "ErrorMailboxMoveInProgress",
        "ErrorMailboxStoreUnavailable",
        "ErrorTimeoutExpired",
        "ErrorTooManyObjectsOpened",
    }
)
_NOT_ALLOWED: Final = frozenset({"ErrorImpersonateUserDenied", "ErrorImpersonationDenied", "ErrorImpersonationFailed"})
_NOBODY: Final = frozenset({"ErrorNonExistentMailbox", "ErrorMissingEmailAddress"})
_OUT_OF_ORDER: Final = "ErrorInternalServerError"
_PAUSE: Final = 10.0  # seconds, where Exchange names no time
_LONGEST_PAUSE: Final = 3600.0


class CodeError(RemoteDeniedError):
    """Exchange understood and gave something else than what was asked for; ``reason`` is its own code."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(
            later("Exchange refused what it was asked ({reason}: {said}). Nothing was changed."),
            reason=reason,
            said=said or "?",
        )
        self.reason = reason


class _BusyError(Exception):
    """Exchange asks for patience."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


class Whose(msgspec.Struct, frozen=True):
    """What is opened, and by which right.

    ``account`` names it in errors. ``mailbox`` is the address of a mailbox other than that of who signs in;
    ``as_whom`` of the one that is impersonated; ``anchor`` is the public folder mailbox that requests go to.
    """

    account: str
    mailbox: str = ""
    as_whom: str = ""
    public: bool = False
    anchor: str = ""


class Exchange:
    """Asks one server about one mailbox, one thing at a time."""

    def __init__(
        self, http: Http, url: str, whose: Whose, *, patience: Patience, sleep: Callable[[float], None]
    ) -> None:
        self.whose = whose
        self._http = http
        self._url = url
        self._patience = patience
        self._sleep = sleep

    def ask(self, operation: str) -> list[Element]:
        """The answer's response messages, errors too: see ``well``. Raises RemoteDeniedError, UnavailableError
        (ThrottledError, CodeError)."""
        return self._patiently(lambda: self._asked(operation))

    def stream(self, operation: str) -> Iterator[Began | bytes | Element]:
        """The same as it comes, bytes of messages before the response message that they belong to. It waits for a busy
        server as long as nothing of the answer has come. Raises as ``ask``."""
        reader = Reader()
        with closing(self._patiently(lambda: self._begun(operation))) as stream:
            for piece in stream.pieces(CHUNK):
                for one in reader.feed(piece):
                    if isinstance(one, Element) and one.name == "Fault":
                        fault = self._fault(one)
                        raise _throttled(fault) if isinstance(fault, _BusyError) else fault
                    yield one
        yield from reader.feed(b"", last=True)

    def well(self, message: Element) -> Element:
        """A response message that holds what was asked for. Raises RemoteDeniedError, CodeError."""
        reason = code(message)
        if reason == FINE:
            return message
        raise self.in_words(reason, message.said("MessageText"))

    def in_words(self, reason: str, said: str) -> MailkeepError:
        """What a refusal means, and what is to be done."""
        whose = self.whose
        if reason in _NOT_ALLOWED:
            return RemoteDeniedError(
                later(
                    "Who signs in may not open {account} by impersonation ({reason}). In the Exchange Management "
                    "Shell: {command}. Without the scope it counts for all mailboxes. A change takes some minutes to "
                    "count."
                ),
                account=whose.account,
                reason=reason,
                command=GRANT.format(user="USER", scope="SCOPE"),
            )
        if reason in _NOBODY:
            return RemoteDeniedError(
                later("Exchange knows no mailbox {account} ({reason}). Give its primary address."),
                account=whose.as_whom or whose.mailbox or whose.account,
                reason=reason,
            )
        if reason == "ErrorAccessDenied" or (reason == "ErrorFolderNotFound" and whose.mailbox):
            return RemoteDeniedError(
                later(
                    "Who signs in may not read {account} ({reason}). In the Exchange Management Shell: "
                    "Add-MailboxPermission -Identity {account} -User USER -AccessRights FullAccess -AutoMapping "
                    "$false; for public folders Add-PublicFolderClientPermission with -AccessRights Reviewer."
                ),
                account=whose.account,
                reason=reason,
            )
        return CodeError(reason, said)

    def trouble(self, message: Element) -> MailkeepError:
        """What a response message within a stream means, where it is about all that is asked for."""
        if code(message) in _BUSY:
            return _throttled(_BusyError(code(message), _pause(message)))
        return self.in_words(code(message), message.said("MessageText"))

    def _patiently(self, once: Callable[[], T]) -> T:
        waited = 0.0
        attempt = 0
        while True:
            try:
                return once()
            except _BusyError as busy:
                attempt += 1
                if attempt >= self._patience.tries or waited + busy.seconds > self._patience.waiting:
                    raise _throttled(busy) from busy
                self._sleep(busy.seconds)
                waited += busy.seconds

    def _asked(self, operation: str) -> list[Element]:
        answer = self._http.ask(self._request(operation))
        self._refuse(answer)
        found = soap.read(answer.content)
        for one in found:
            self._look(one)
        return found

    def _begun(self, operation: str) -> Stream:
        answer = self._http.stream(self._request(operation))
        if isinstance(answer, Stream):
            return answer
        self._refuse(answer)
        for one in soap.read(answer.content):
            self._look(one)
        raise UnavailableError(later("{title} answered with something else than was asked."), title=TITLE)

    def _request(self, operation: str) -> httpx.Request:
        headers = {"Content-Type": "text/xml; charset=utf-8", "Accept": "text/xml"}
        whose = self.whose
        # Which of its servers is to answer: https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-
        # services/how-to-maintain-affinity-between-group-of-subscriptions-and-mailbox-server, …/how-to-route-public-
        # folder-content-requests
        if anchor := whose.anchor or whose.as_whom or whose.mailbox:
            headers["X-AnchorMailbox"] = anchor
        if whose.anchor:
            headers["X-PublicFolderMailbox"] = whose.anchor
        content = soap.envelope(operation, as_whom=whose.as_whom)
        return self._http.request("POST", self._url, headers=headers, content=content)

    def _look(self, message: Element) -> None:
        """Raise what concerns all of the request."""
        if message.name == "Fault":
            raise self._fault(message)
        if code(message) in _BUSY:
            raise _BusyError(code(message), _pause(message))

    def _fault(self, fault: Element) -> Exception:
        reason = fault.said("detail", "ResponseCode") or fault.said("faultcode").rpartition(":")[2]
        if reason in _BUSY:
            return _BusyError(reason, _pause(fault))
        if reason == _OUT_OF_ORDER:
            return UnavailableError(later("Exchange is out of order ({reason}). Nothing was changed."), reason=reason)
        return self.in_words(reason, fault.said("faultstring"))

    def _refuse(self, answer: Answer) -> None:
        """Raise where an answer is not from EWS itself."""
        if answer.well or (answer.status == HTTPStatus.INTERNAL_SERVER_ERROR and b"Envelope" in answer.content[:2000]):
            return
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise RemoteDeniedError(
                later(
                    "Exchange does not let us in: user name or password is wrong, or it does not allow this way to "
                    "sign in. User names are name@example.com or DOMAIN\\name. Get-WebServicesVirtualDirectory tells "
                    "the ways (WindowsAuthentication is ntlm, BasicAuthentication is basic)."
                )
            )
        if answer.status == HTTPStatus.FORBIDDEN:
            raise RemoteDeniedError(
                later(
                    "Exchange does not allow EWS here (403). On a server of your own: Set-CASMailbox -EwsEnabled "
                    "$true, and the same in Set-OrganizationConfig. Exchange Online blocks it since 1 October 2026 "
                    "unless the tenant allows this application."
                )
            )
        raise UnavailableError(
            later(
                "There is no EWS at {url} (status {status}). It is https://SERVER/EWS/Exchange.asmx. Nothing was "
                "changed."
            ),
            url=self._url,
            status=answer.status,
        )


def code(message: Element) -> str:
    """What became of a response message: ``FINE``, or why not."""
    return message.said("ResponseCode") or "?"


def about_all(reason: str) -> bool:
    """Whether a refusal, though it is said of one message, is about all that is asked for."""
    return reason in _BUSY or reason in _NOT_ALLOWED or reason in _NOBODY or reason == "ErrorAccessDenied"


def _throttled(busy: _BusyError) -> ThrottledError:
    return ThrottledError(
        later("Exchange is busy and asks for patience ({reason}). Nothing was changed; it is tried again later."),
        busy.seconds,
        reason=busy.reason,
    )


def _pause(message: Element) -> float:
    """The seconds that a busy server asks for."""
    values: Iterable[Element] = message.every("Value")
    said = next((one.text for one in values if one.attributes.get("Name") == "BackOffMilliseconds"), "")
    return min(_LONGEST_PAUSE, max(1.0, int(said[:9]) / 1000)) if said.isdecimal() else _PAUSE
