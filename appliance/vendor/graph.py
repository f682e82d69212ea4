"""Microsoft Graph: whole collections page by page, and many small questions in one request.

    with Graph(application) as graph:
        users = graph.every("/users", User, {"$select": "id,mail", "$top": "999"})

A collection is read whole or not at all: where the place in it is lost on the way, it is read from its beginning.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

from appliance.errors import ThrottledError, UnavailableError
from appliance.language import later
from appliance.vendor.clouds import GRAPHS
from appliance.vendor.microsoft import SIGN_IN, Application, Tokens
from appliance.vendor.web import AGAIN, Api, Http, Patience, RefusedError

T = TypeVar("T")

TITLE: Final = "Microsoft Graph"
BATCH: Final = 20
"""Requests in one batch, at most (https://learn.microsoft.com/en-us/graph/json-batching)."""

_READINGS = 3  # of a collection whose place is lost again and again
_LOST = frozenset({"Directory_ExpiredPageToken", "Directory_InvalidPageToken"})


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of a collection, and where the rest of it is (https://learn.microsoft.com/en-us/graph/paging)."""

    value: list[T]
    next: str | None = msgspec.field(name="@odata.nextLink", default=None)


class Reply(msgspec.Struct, frozen=True):
    """The answer to one request of a batch. ``body`` is JSON as it came."""

    id: str
    status: int
    headers: Mapping[str, str] | None = None
    body: Any = None

    @property
    def reason(self) -> str:
        """Graph's own code for why it refused, "" where there is none."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return str(error.get("code", "")) if isinstance(error, dict) else ""


class _Replies(msgspec.Struct, frozen=True):
    responses: list[Reply]


class Graph:
    """Microsoft Graph, asked by an application. May be used by several threads. ``root`` is of the same cloud as the
    application's authority; ``tls`` and ``patience`` are as for ``Http``."""

    def __init__(
        self,
        application: Application,
        *,
        root: str = GRAPHS[0],
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience or Patience()
        self._sleep = sleep
        self._sign_in = Http(SIGN_IN, tls=tls, patience=patience, sleep=sleep)
        self._http = Http(TITLE, tls=tls, patience=patience, sleep=sleep)
        self._token = Tokens(application, self._sign_in).of(f"{root}/.default")
        self._api = Api(self._http, f"{root}/v1.0", self._token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sign_in.close()
        self._http.close()

    @property
    def skew(self) -> float | None:
        """Seconds that Microsoft's clock is ahead of ours; None before the first answer."""
        return self._sign_in.skew if self._http.skew is None else self._http.skew

    def sign_in(self) -> None:
        """Get a token. Raises RemoteDeniedError and UnavailableError."""
        self._token()

    def get(self, path: str, type: type[T], params: Mapping[str, str] | None = None) -> T:
        """What is at ``path``. Raises RefusedError, RemoteDeniedError, UnavailableError."""
        return self._api.get(path, type, params)

    def every(
        self, path: str, type: type[T], params: Mapping[str, str], seen: Callable[[int], None] = lambda _count: None
    ) -> list[T]:
        """All of a collection; ``seen`` is told how many there are so far."""
        for _ in range(_READINGS):
            found = self._read(path, type, params, seen)
            if found is not None:
                return found
        raise UnavailableError(
            later(
                "{title} lost its place in a long list again and again. Nothing was changed; it is tried again later."
            ),
            title=TITLE,
        )

    def batch(self, urls: Sequence[str]) -> list[Reply]:
        """As ``batch``."""
        return batch(self._api, urls, patience=self._patience, sleep=self._sleep)

    def _read(self, path: str, type: type[T], params: Mapping[str, str], seen: Callable[[int], None]) -> list[T] | None:
        """All of a collection, or None where the place in it was lost."""
        page: Page[T] = self._api.get(path, Page[type], params)  # type: ignore[valid-type]
        found = list(page.value)
        been: set[str] = set()
        seen(len(found))
        while page.next is not None:
            if page.next in been:
                raise UnavailableError(
                    later("{title} leads round in circles in a long list. Nothing was changed."), title=TITLE
                )
            been.add(page.next)
            try:
                page = self._api.follow(page.next, Page[type])  # type: ignore[valid-type]
            except RefusedError as error:
                if error.status == HTTPStatus.GONE or error.reason in _LOST:
                    return None
                raise
            found.extend(page.value)
            seen(len(found))
        return found


def batch(
    api: Api,
    urls: Sequence[str],
    *,
    patience: Patience,
    sleep: Callable[[float], None],
    headers: Mapping[str, str] | None = None,
) -> list[Reply]:
    """The replies to ``BATCH`` GET requests or fewer, in their order, each asked with ``headers``; those that Graph was
    too busy for are asked again."""
    more = {"headers": headers} if headers else {}
    replies: dict[str, Reply] = {}
    waited = 0.0
    for attempt in range(patience.tries):
        open_ones = [str(number) for number in range(len(urls)) if str(number) not in replies]
        body = {"requests": [{"id": one, "method": "GET", "url": urls[int(one)], **more} for one in open_ones]}
        answered = {one.id: one for one in api.post("/$batch", _Replies, body).responses}
        if answered.keys() != set(open_ones):
            raise UnavailableError(
                later("Microsoft Graph did not answer every request of a batch. Nothing was changed.")
            )
        replies |= {number: one for number, one in answered.items() if one.status not in AGAIN}
        if len(replies) == len(urls):
            break
        pause = max(_named_pause(one) for one in answered.values() if one.status in AGAIN) or 2.0**attempt
        waited += pause
        if attempt + 1 == patience.tries or waited > patience.waiting:
            raise ThrottledError(
                later("Microsoft Graph is busy and asks for patience. Nothing was changed; it is tried again later."),
                pause,
            )
        sleep(pause)
    return [replies[str(number)] for number in range(len(urls))]


def _named_pause(reply: Reply) -> float:
    """Retry-After in seconds; 0 where it is not given."""
    named = {key.lower(): value for key, value in (reply.headers or {}).items()}.get("retry-after", "")
    return float(named[:9]) if named.isascii() and named.isdigit() else 0.0
