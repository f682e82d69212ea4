"""A connection to an LDAP server: TLS, bind, paged search; every wait has an end, every answer a size (RFC 4511).

The protocol itself is sansldap's, which does no input or output. Referrals are not followed: who administers the other
server is not known, and the password would go there.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import msgspec
import sansldap
from sansldap import LDAPFilter, LDAPResultCode, SearchScope

from appliance.directory.ldap_options import Server
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from appliance.language import later

_Message = TypeVar("_Message", bound=sansldap.LDAPMessage)

_CHUNK: Final = 256 * 1024
_WRONG_PASSWORD: Final = frozenset(
    {
        LDAPResultCode.INVALID_CREDENTIALS,
        LDAPResultCode.INAPPROPRIATE_AUTHENTICATION,  # the entry has no password
        LDAPResultCode.INSUFFICIENT_ACCESS_RIGHTS,
        LDAPResultCode.CONSTRAINT_VIOLATION,  # too many tries (389 Directory Server)
        LDAPResultCode.UNWILLING_TO_PERFORM,  # switched off (389 Directory Server)
        LDAPResultCode.NO_SUCH_OBJECT,
    }
)
_LIMITS: Final = frozenset(
    {
        LDAPResultCode.SIZE_LIMIT_EXCEEDED,
        LDAPResultCode.TIME_LIMIT_EXCEEDED,
        LDAPResultCode.ADMIN_LIMIT_EXCEEDED,
    }
)
_ENCRYPT: Final = (RemoteDeniedError, later("{server} wants an encrypted connection{said}."))
_NOT_ALLOWED: Final = (RemoteDeniedError, later("{server} does not allow the account to read “{dn}”{said}."))
_MEANINGS: Final[Mapping[int, tuple[type[MailkeepError], str]]] = {
    LDAPResultCode.STRONG_AUTH_REQUIRED: _ENCRYPT,
    LDAPResultCode.CONFIDENTIALITY_REQUIRED: _ENCRYPT,
    LDAPResultCode.INSUFFICIENT_ACCESS_RIGHTS: _NOT_ALLOWED,
    LDAPResultCode.OPERATIONS_ERROR: _NOT_ALLOWED,  # Active Directory, when nobody has signed in
    LDAPResultCode.REFERRAL: (
        UsageError,
        later("“{dn}” lies on another server ({others}). Set the directory up with that one."),
    ),
    LDAPResultCode.NO_SUCH_OBJECT: (UsageError, later("{server} has no “{dn}”, or the account may not see it.")),
    LDAPResultCode.INVALID_DN_SYNTAX: (
        UsageError,
        later("“{dn}” is not a DN. One looks like OU=Staff,DC=example,DC=com."),
    ),
    LDAPResultCode.UNAVAILABLE_CRITICAL_EXTENSION: (
        UsageError,
        later("{server} cannot give entries page by page (RFC 2696), which is needed{said}."),
    ),
}
# Active Directory gives at most 1000 entries a page and OpenLDAP as many as `limits` says; the latter refuses more.
_PAGES: Final = (500, 100, 20)
_MOST: Final = 10  # times as much as was asked for is taken of a server that does not count


class Limits(msgspec.Struct, frozen=True):
    """How long is waited, in seconds, and how much is taken, in bytes."""

    connect: float = 5.0
    """For one server: its name, the connection, TLS."""
    answer: float = 130.0
    """For all of an answer; a page of a search is one. Active Directory ends a search itself after 120."""
    search: float = 3600.0
    """For all pages."""
    message: int = 8 * 1024 * 1024
    """For one entry."""


class Entry(msgspec.Struct, frozen=True):
    """An entry that was found. ``values`` are by the attribute's name in lower case."""

    dn: str
    values: Mapping[str, tuple[bytes, ...]]

    def first(self, attribute: str) -> bytes:
        """The attribute's first value, empty where it has none."""
        return next(iter(self.values.get(attribute, ())), b"")


class Referral(msgspec.Struct, frozen=True):
    """What was found instead of entries: they lie on another server."""

    urls: tuple[str, ...]


class WrongPasswordError(RemoteDeniedError):
    """The server knows no such account with that password."""


class Connection:
    """One connection, used by one thread. Closing it is the caller's: it is a context manager."""

    def __init__(self, server: Server, context: ssl.SSLContext, limits: Limits) -> None:
        """Connected and, unless the server is plain, encrypted. Raises UnavailableError."""
        self.server = server
        self._limits = limits
        self._session = sansldap.LDAPClient()
        end = time.monotonic() + limits.connect
        with self._told():
            self._socket = socket.create_connection((server.host, server.port), limits.connect)
        try:
            if server.encryption == "starttls":
                self._start_tls(end)
            if server.encryption != "none":
                with self._told():
                    self._socket.settimeout(_left(end))
                    self._socket = context.wrap_socket(self._socket, server_hostname=server.host)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def protection(self) -> str:
        """TLS's version, empty where nothing is encrypted."""
        return (self._socket.version() or "") if isinstance(self._socket, ssl.SSLSocket) else ""

    @property
    def certificate(self) -> bytes:
        """The server's certificate (DER), empty where nothing is encrypted."""
        return (self._socket.getpeercert(binary_form=True) or b"") if isinstance(self._socket, ssl.SSLSocket) else b""

    def close(self) -> None:
        """Say goodbye if there is still somebody, and close."""
        with contextlib.suppress(OSError, sansldap.LDAPError):
            self._session.unbind()
            self._socket.settimeout(1)
            self._socket.sendall(self._session.data_to_send())
        self._socket.close()

    def bind(self, account: str, password: str) -> None:
        """Sign in. Raises WrongPasswordError; with an empty password too, which servers take for anonymous
        (RFC 4513 section 5.1.2) and answer with success."""
        if not account or not password:
            raise WrongPasswordError(later("Nobody signs in without a name or without a password."))
        self._session.bind_simple(account, password)
        answer = self._single(sansldap.BindResponse)
        if _code(answer.result) in _WRONG_PASSWORD:
            raise WrongPasswordError(
                later("{server} does not accept the account or its password{said}."),
                server=self.server,
                said=_said(answer.result),
            )
        self._check(answer.result, account)

    def search(
        self,
        base: str,
        sought: LDAPFilter,
        attributes: Sequence[str],
        *,
        scope: SearchScope = SearchScope.SUBTREE,
    ) -> Iterator[Entry | Referral]:
        """All that is found, page by page (RFC 2696). Raises UnavailableError, RemoteDeniedError or UsageError where
        the server does not give all, whatever it has given before."""
        end = time.monotonic() + self._limits.search
        for size in _PAGES:
            cookie, done = b"", False
            try:
                while not done:
                    if time.monotonic() > end:
                        raise UnavailableError(
                            later("{server} has not given all entries in time. Nothing was changed; try again later."),
                            server=self.server,
                        )
                    found, cookie = self._page(base, scope, sought, attributes, size, cookie)
                    yield from found
                    done = not cookie
            except _PageTooLargeError:
                if size == _PAGES[-1]:
                    raise
                continue
            return

    def _page(
        self,
        base: str,
        scope: SearchScope,
        sought: LDAPFilter,
        attributes: Sequence[str],
        size: int,
        cookie: bytes,
    ) -> tuple[list[Entry | Referral], bytes]:
        paging = sansldap.PagedResultControl(critical=True, size=size, cookie=cookie)
        self._session.search_request(
            base_object=base,
            scope=scope,
            filter=sought,
            attributes=list(attributes),
            controls=None if scope == SearchScope.BASE else [paging],
        )
        found: list[Entry | Referral] = []
        for message in self._messages():
            match message:
                case sansldap.SearchResultEntry():
                    found.append(self._entry(message))
                case sansldap.SearchResultReference():
                    found.append(Referral(tuple(message.uris)))
                case sansldap.SearchResultDone():
                    if _code(message.result) == LDAPResultCode.ADMIN_LIMIT_EXCEEDED and not cookie and not found:
                        raise self._limited(message.result, _PageTooLargeError)
                    self._check(message.result, base)
                    pages = [one for one in message.controls if isinstance(one, sansldap.PagedResultControl)]
                    return found, pages[0].cookie if pages else b""
                case _:
                    break
            if len(found) > _MOST * size:
                break
        raise self._strange()

    def _entry(self, message: sansldap.SearchResultEntry) -> Entry:
        values = {one.name.lower(): tuple(map(bytes, one.values)) for one in message.attributes}
        if cut := next((name for name in values if ";range=" in name), None):
            raise UnavailableError(
                later("{server} gives only a part of the values of {attribute} of {entry}. Nothing was changed."),
                server=self.server,
                attribute=in_short(cut.partition(";")[0]),
                entry=in_short(message.object_name),
            )
        return Entry(message.object_name, values)

    def _start_tls(self, end: float) -> None:
        """RFC 4511 section 4.14. What the server sends before the handshake and after its answer is not looked at."""
        self._session.extended_request(sansldap.ExtendedOperations.LDAP_START_TLS.value)
        answer = self._single(sansldap.ExtendedResponse, end)
        if _code(answer.result) != LDAPResultCode.SUCCESS:
            raise UnavailableError(
                later("{server} does not offer StartTLS{said}. Give it a certificate, or use ldaps://."),
                server=self.server,
                said=_said(answer.result),
            )
        self._session = sansldap.LDAPClient()

    def _single(self, kind: type[_Message], end: float | None = None) -> _Message:
        for message in self._messages(end):
            if isinstance(message, kind):
                return message
            break
        raise self._strange()

    def _messages(self, end: float | None = None) -> Iterator[sansldap.LDAPMessage]:
        """Send what waits to be sent; then what comes, until ``end``."""
        end = end or time.monotonic() + self._limits.answer
        with self._told():
            self._socket.settimeout(_left(end))
            self._socket.sendall(self._session.data_to_send())
        waiting = 0
        while True:
            with self._told():
                self._socket.settimeout(_left(end))
                data = self._socket.recv(_CHUNK)
            if not data:
                raise UnavailableError(
                    later(
                        "{server} closed the connection before it had answered. Nothing was changed; try again later."
                    ),
                    server=self.server,
                )
            try:
                messages = self._session.receive(data)
            except sansldap.ProtocolError as error:
                if isinstance(error.request, sansldap.ExtendedResponse):  # notice of disconnection, section 4.4.1
                    raise UnavailableError(
                        later("{server} ends the connection{said}. Nothing was changed; try again later."),
                        server=self.server,
                        said=_said(error.request.result),
                    ) from error
                raise self._strange() from error
            except Exception as error:  # bytes that the reader trips over are no answer either
                raise self._strange() from error
            waiting = 0 if messages else waiting + len(data)
            if waiting > self._limits.message:
                raise self._strange()
            yield from messages

    def _check(self, result: Any, about: str) -> None:
        """Raises what the result means unless it is success; ``about`` is the DN that was asked about."""
        code = _code(result)
        if code == LDAPResultCode.SUCCESS:
            return
        if code in _LIMITS:
            raise self._limited(result, RemoteDeniedError)
        kind, text = _MEANINGS.get(
            code, (UnavailableError, later("{server} answered with the result code {code}{said}. Try again later."))
        )
        others = in_short(", ".join(result.referrals or ()))
        raise kind(text, server=self.server, said=_said(result), dn=about, code=code, others=others)

    def _limited(self, result: Any, kind: type[RemoteDeniedError]) -> RemoteDeniedError:
        return kind(
            later(
                "{server} does not give this account all entries{said}. Nothing was changed; raise the account's "
                "limits there (OpenLDAP: limits … size=unlimited)."
            ),
            server=self.server,
            said=_said(result),
        )

    def _strange(self) -> UnavailableError:
        return UnavailableError(later("What {server} answers is not LDAP. Is it the right port?"), server=self.server)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Trouble with the connection, in words."""
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(
                later("The certificate of {server} is not to be trusted: {reason}."),
                error.verify_code,
                server=self.server,
                reason=error.verify_message,
            ) from error
        except ssl.SSLError as error:
            raise UnavailableError(
                later("There is no agreement with {server} about encryption ({reason}). Is it the right port?"),
                server=self.server,
                reason=error.reason or error,
            ) from error
        except TimeoutError as error:
            raise UnavailableError(later("{server} does not answer. Try again later."), server=self.server) from error
        except (OSError, ValueError) as error:  # ValueError: a name that the name system cannot hold
            reason = getattr(error, "strerror", None) or error
            raise UnavailableError(
                later("{server} cannot be reached: {reason}."), server=self.server, reason=reason
            ) from error


class UntrustedError(UnavailableError):
    """The server's certificate is not to be trusted; ``number`` is OpenSSL's for why."""

    def __init__(self, text: str, number: int, /, **fields: object) -> None:
        super().__init__(text, **fields)
        self.number = number


class _PageTooLargeError(RemoteDeniedError):
    """The server may give less at a time."""


def in_short(text: str, most: int = 256) -> str:
    """What a server says, fit to be shown: on one line, without control characters, no longer than that."""
    shown = "".join(one if one.isprintable() else " " for one in text[: 4 * most])
    return " ".join(shown.split())[:most]


def first_that_answers(servers: Sequence[Server], context: ssl.SSLContext, limits: Limits) -> Connection:
    """A connection to the first of the servers that is there. Raises what the first of them had to say."""
    failed: MailkeepError | None = None
    for server in servers:
        try:
            return Connection(server, context, limits)
        except UnavailableError as error:
            failed = failed or error
    assert failed is not None, "there is at least one server"
    raise failed


def _left(end: float) -> float:
    """Seconds until then; never none, which would be for ever."""
    if (left := end - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _code(result: Any) -> int:
    """The result code. As a member of sansldap's enumeration one that it does not know equals success (0.1.0)."""
    return int(result.result_code.value)


def _said(result: Any) -> str:
    """What the server said, in brackets."""
    text = in_short(result.diagnostics_message).rstrip(".")
    return f" (“{text}”)" if text else ""
