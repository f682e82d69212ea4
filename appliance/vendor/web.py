"""HTTPS to a vendor's API: asked with patience, answered in JSON, errors in words.

    with Http("Microsoft Graph") as http:
        api = Api(http, "https://graph.microsoft.com/v1.0", token)
        page = api.get("/users", Page, {"$top": "999"})
        page = api.follow(page.next, Page)

``Http`` asks once more where the other side is busy (429, 503 …, RFC 9110 section 10.2.3) or the line breaks, so that
only what may safely be asked twice goes through it. No redirect is followed: a token goes where it was meant to go.
"""

from __future__ import annotations

import email.utils
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Annotated, Final, Protocol, Self, TypeVar

import httpx
import msgspec

from appliance.decoding import from_json
from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError, UsageError
from appliance.language import later

T = TypeVar("T")

# It would write each address that is asked, with whom it is about, into the log.
logging.getLogger("httpx").setLevel(logging.WARNING)

_ITS_OWN_TROUBLE: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_THROTTLED: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        509,  # "Bandwidth Limit Exceeded", of Microsoft Graph
    }
)
AGAIN: Final = _ITS_OWN_TROUBLE | _THROTTLED
"""Statuses after which the same request may well be answered a little later."""
_HOST = re.compile(rb"[a-z0-9][a-z0-9.-]*")
_LAST_PORT = 65535
_LONGEST_PAUSE = 60.0  # seconds between two tries, where the other side names no time
_SHOWN = 300  # characters of what the other side says that an error repeats


class Patience(msgspec.Struct, frozen=True):
    """How long something is waited for, in seconds, and how often it is tried."""

    connect: float = 15.0
    silence: float = 60.0  # nothing comes from the other side
    request: float = 300.0  # one try, from its beginning to the last byte of the answer
    tries: int = 6
    waiting: float = 900.0  # all pauses between the tries of one request together


BRIEF: Final = Patience(connect=10.0, silence=20.0, request=30.0, tries=3, waiting=20.0)
"""For somebody who waits at a screen."""


class Answer(msgspec.Struct, frozen=True):
    """What the other side said; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def well(self) -> bool:
        """Whether the request was done."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


class Stream:
    """A request that was done, its answer's body to be read as it comes, once, and closed. ``size`` is the bytes that
    the other side announced."""

    def __init__(self, response: httpx.Response, trouble: Callable[[httpx.RequestError], UnavailableError]) -> None:
        self.status = response.status_code
        length = response.headers.get("content-length", "")
        self.size = int(length) if length.isdecimal() and "content-encoding" not in response.headers else None
        self._response = response
        self._trouble = trouble

    def pieces(self, size: int) -> Iterator[bytes]:
        """The body, ``size`` bytes at a time. Raises UnavailableError where it breaks off or comes no further."""
        try:
            yield from self._response.iter_bytes(size)
        except httpx.RequestError as error:
            raise self._trouble(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let the connection go; what has not been read is lost."""
        self._response.close()


_Given = TypeVar("_Given", Answer, Answer | Stream)


class Token(Protocol):
    """Where an access token comes from. ``refused`` is one that the other side did not take: it is not given again."""

    def __call__(self, refused: str = "") -> str: ...


class RefusedError(RemoteDeniedError):
    """The other side understood and refused. ``reason`` is its own code for why, "" where it gave none."""

    def __init__(self, status: int, reason: str, text: str, /, **fields: object) -> None:
        super().__init__(text, **fields)
        self.status = status
        self.reason = reason


class Http:
    """One client for one vendor's service; may be used by several threads. ``title`` names it in errors.

    ``tls`` is what certificates are checked against, by default what the system trusts (or SSL_CERT_FILE);
    ``busy`` are reasons for which a 403 means that there were too many requests; ``lasting`` those for which a 5xx is
    no passing trouble, but what there is to say of what was asked for; ``again`` are the statuses after which the same
    request is sent once more; ``auth`` signs requests in.
    """

    def __init__(
        self,
        title: str,
        *,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        busy: frozenset[str] = frozenset(),
        lasting: frozenset[str] = frozenset(),
        again: frozenset[int] = AGAIN,
        auth: httpx.Auth | None = None,
        largest: int = 64 * 1024 * 1024,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.title = title
        self.skew: float | None = None
        """Seconds that the other side's clock is ahead of ours, by its last answer."""
        self._patience = patience or Patience()
        self._busy = busy
        self._lasting = lasting
        self._again = again
        self._largest = largest
        self._sleep = sleep
        self._client = httpx.Client(
            verify=tls or ssl.create_default_context(),
            timeout=httpx.Timeout(self._patience.silence, connect=self._patience.connect),
            auth=auth,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def ask(self, request: httpx.Request) -> Answer:
        """The answer, a refusal too. Raises UnavailableError where there is none (ThrottledError where the other side
        asks for more patience than there is)."""
        return self._patiently(request, self._once)

    def stream(self, request: httpx.Request) -> Answer | Stream:
        """The answer to a request, its body as it comes; a refusal is whole. Raises as ``ask``; what goes wrong once
        the body has begun is the reader's to deal with."""
        # Unpacked here, a few bytes could become any number at once.
        request.headers["Accept-Encoding"] = "identity"
        return self._patiently(request, self._begun)

    def _patiently(self, request: httpx.Request, once: Callable[[httpx.Request], _Given]) -> _Given:
        waited = 0.0
        attempt = 0
        while True:
            trouble: UnavailableError
            try:
                answer = once(request)
            except httpx.RequestError as error:
                trouble = self._trouble(request, error)
                if _distrusted(error) is not None:
                    raise trouble from error
                pause = _pause(attempt)
            else:
                if isinstance(answer, Stream) or not self._is_busy(answer):
                    return answer
                pause = _named_pause(answer) or _pause(attempt)
                trouble = self._busy_with(answer.status, pause)
            attempt += 1
            if attempt >= self._patience.tries or waited + pause > self._patience.waiting:
                raise trouble
            self._sleep(pause)
            waited += pause

    def ask_for_token(self, request: httpx.Request) -> Answer:
        """The answer of a token service: a JSON object, a refusal too (RFC 6749 sections 5.1 and 5.2). The libraries
        that read it take that for granted. Raises UnavailableError."""
        answer = self.ask(request)
        self.read(answer, _Granted)
        return answer

    def read(self, answer: Answer, type: type[T]) -> T:
        """What an answer says. Raises UnavailableError where it is not of that type."""
        try:
            return from_json(answer.content.decode(), type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnavailableError(
                later(
                    "{title} answered with something that cannot be read ({error}). Is there a proxy in between that "
                    "answers itself? Nothing was changed."
                ),
                title=self.title,
                error=error,
            ) from error

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """A request, not sent yet."""
        return self._client.build_request(method, url, params=params, headers=headers, content=content, data=form)

    def _once(self, request: httpx.Request) -> Answer:
        until = time.monotonic() + self._patience.request
        return self._whole(request, self._client.send(request, stream=True), until)

    def _begun(self, request: httpx.Request) -> Answer | Stream:
        until = time.monotonic() + self._patience.request
        response = self._client.send(request, stream=True)
        if response.is_success:
            return Stream(response, lambda error: self._trouble(request, error))
        return self._whole(request, response, until)

    def _whole(self, request: httpx.Request, response: httpx.Response, until: float) -> Answer:
        try:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > self._largest:
                    raise UnavailableError(
                        later("{title} sent more than any of its answers can have. It was not read."), title=self.title
                    )
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer came too slowly", request=request)
        finally:
            response.close()
        if (date := _moment(response.headers.get("date", ""))) is not None:
            self.skew = (date - datetime.now(UTC)).total_seconds()
        return Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(content))

    def _is_busy(self, answer: Answer) -> bool:
        if answer.status == HTTPStatus.FORBIDDEN:
            return bool(self._busy) and told(answer)[0] in self._busy
        if answer.status not in self._again:
            return False
        return not self._lasting or told(answer)[0] not in self._lasting

    def _busy_with(self, status: int, pause: float) -> UnavailableError:
        if status in _ITS_OWN_TROUBLE:
            return UnavailableError(
                later("{title} is out of order ({status}). Nothing was changed; it is tried again later."),
                title=self.title,
                status=status,
            )
        return ThrottledError(
            later("{title} is busy and asks for patience ({status}). Nothing was changed; it is tried again later."),
            pause,
            title=self.title,
            status=status,
        )

    def _trouble(self, request: httpx.Request, error: httpx.RequestError) -> UnavailableError:
        where = f"{self.title} ({request.url.host})"
        if (distrusted := _distrusted(error)) is not None:
            return UnavailableError(
                later(
                    "The certificate of {where} cannot be trusted: {why}. Where a firewall looks into TLS, its "
                    "authority's certificate has to be among those that this machine trusts. Nothing was sent."
                ),
                where=where,
                why=distrusted,
            )
        if isinstance(error, httpx.TimeoutException):
            return UnavailableError(
                later("{where} does not answer in time. Nothing was changed; it is tried again later."), where=where
            )
        if isinstance(error, httpx.ConnectError | httpx.ProxyError):
            return UnavailableError(
                later(
                    "{where} cannot be reached: {error}. Nothing was changed; look at network, name server, firewall."
                ),
                where=where,
                error=error,
            )
        return UnavailableError(
            later("The connection to {where} broke: {error}. Nothing was changed; it is tried again later."),
            where=where,
            error=error,
        )


class Api:
    """Requests below one address, each with a token and the same ``headers``, answered in JSON."""

    def __init__(self, http: Http, base: str, token: Token, *, headers: Mapping[str, str] | None = None) -> None:
        """Raises UsageError where ``base`` is no https address."""
        self._http = http
        self._base = https(base)
        self._token = token
        self._headers = headers or {}

    def get(self, path: str, type: type[T], params: Mapping[str, str] | None = None) -> T:
        """What is at ``path``. Raises RefusedError, UnavailableError, and RemoteDeniedError where the token is not
        taken."""
        return self._read(self._http.request("GET", self._base + path, params=params), type)

    def post(self, path: str, type: type[T], body: object) -> T:
        """What the answer to ``body``, sent as JSON, is. The request may be sent twice."""
        headers = {"Content-Type": "application/json"}
        content = msgspec.json.encode(body)
        return self._read(self._http.request("POST", self._base + path, headers=headers, content=content), type)

    def act(self, path: str) -> None:
        """Have something done that is asked for by POST without a body and answered without one. The request may be
        sent twice."""
        self._well(self._http.request("POST", self._base + path, content=b""), self._http.ask)

    def stream(self, path: str) -> Stream:
        """The bytes at ``path``. Raises as ``get``, and as ``Stream.pieces``."""
        found = self._well(self._http.request("GET", self._base + path), self._http.stream, accept="*/*")
        if isinstance(found, Stream):
            return found
        raise UnavailableError(later("{title} answered with something else than was asked."), title=self._http.title)

    def follow(self, link: str, type: type[T]) -> T:
        """What is at an address that an answer named, which must be on the same host as everything else."""
        if _place(link) != _place(self._base):
            raise UnavailableError(
                later("{title} sends us on to another address than its own. It was not followed; nothing was changed."),
                title=self._http.title,
            )
        return self._read(self._http.request("GET", link), type)

    def _read(self, request: httpx.Request, type: type[T]) -> T:
        return self._http.read(self._well(request, self._http.ask), type)

    def _well(
        self, request: httpx.Request, ask: Callable[[httpx.Request], _Given], *, accept: str = "application/json"
    ) -> _Given:
        """The answer to a request that was done. Raises RefusedError."""
        request.headers.update({**self._headers, "Accept": accept})
        token = self._token()
        answer = self._asked(request, ask, token)
        if answer.status == HTTPStatus.UNAUTHORIZED:  # expired, or withdrawn, before its time
            answer = self._asked(request, ask, self._token(refused=token))
        if isinstance(answer, Stream) or answer.well:
            return answer
        reason, message = told(answer)
        words = ": ".join(one for one in (reason, message) if one)
        raise RefusedError(
            answer.status,
            reason,
            later("{title} refused what it was asked ({words}). Nothing was changed."),
            title=self._http.title,
            words=f"{answer.status} {words}".strip(),
        )

    def _asked(self, request: httpx.Request, ask: Callable[[httpx.Request], _Given], token: str) -> _Given:
        request.headers["Authorization"] = f"Bearer {token}"
        return ask(request)


def _place(address: str) -> tuple[str, str, int | None, bytes] | None:
    """Who an address leads to: scheme, host, port, and credentials in it."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return None
    return url.scheme, url.host, url.port, url.userinfo


def https(address: str) -> str:
    """An address of the form https://host[:port][/path], without a slash at its end. Raises UsageError."""
    try:
        url = httpx.URL(address.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    proper = _HOST.fullmatch(url.raw_host) and (url.port or 443) <= _LAST_PORT
    if url.scheme != "https" or not proper or url.userinfo or url.query or url.fragment:
        raise UsageError(later("“{address}” is no address of the form https://name.example."), address=address)
    return str(url).rstrip("/")


class _Granted(msgspec.Struct):
    access_token: str = ""
    expires_in: int | Annotated[str, msgspec.Meta(pattern="^[0-9]{1,9}$")] = 0


class _Said(msgspec.Struct):
    code: str | int = ""
    message: str = ""
    errors: list[dict[str, object]] = []


class _Refusal(msgspec.Struct):
    error: str | _Said = ""
    error_description: str = ""


def told(answer: Answer) -> tuple[str, str]:
    """The reason that an answer gives for a refusal, and its sentence; "" for what it does not give.

    Understands Graph's form (https://learn.microsoft.com/en-us/graph/errors), Google's
    (https://developers.google.com/workspace/admin/directory/v1/guides/troubleshoot-error-codes) and OAuth's (RFC 6749
    section 5.2).
    """
    try:
        refusal = from_json(answer.content.decode(), _Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", ""
    if isinstance(refusal.error, str):
        return refusal.error, _first_line(refusal.error_description)
    named = [str(one["reason"]) for one in refusal.error.errors if one.get("reason")]
    reason = named[0] if named else str(refusal.error.code)
    return reason, _first_line(refusal.error.message)


def _first_line(text: str) -> str:
    """Without the ids that Microsoft puts below or behind it."""
    line = text.strip().partition("\n")[0].strip().partition(" Trace ID:")[0].strip()
    return line[:_SHOWN]


def _distrusted(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, where that is what went wrong."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


def _pause(attempt: int) -> float:
    return min(_LONGEST_PAUSE, 2.0**attempt)


def _named_pause(answer: Answer) -> float | None:
    """Retry-After: seconds or a date (RFC 9110 section 10.2.3)."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    moment = _moment(value)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _moment(value: str) -> datetime | None:
    """An HTTP date."""
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
