"""HTTPS to a vendor's API: patience, limits, and what is said when it does not work."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError, UsageError
from appliance.vendor.graph import Graph
from appliance.vendor.microsoft import application
from appliance.vendor.web import Api, Http, Patience, RefusedError, https
from tests.doubles.graph import CLIENT, SECRET, TENANT, GraphDouble, user
from tests.doubles.https import Asked, Double, Said, on, serving


class Thing(msgspec.Struct):
    """What the service has."""

    name: str


class Identified(msgspec.Struct):
    """Something of Graph's."""

    id: str


class Service(Double):
    """Takes one token after the other, and gives a thing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.taken = {"token-1", "token-2"}

    def answer(self, asked: Asked) -> Said:
        if asked.bearer not in self.taken:
            return Said(401, {"error": {"code": "expired", "message": "The token has expired."}})
        return Said(body={"name": asked.path})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    double = Service(tmp_path / "service")
    with serving(double):
        yield double
    assert double.complaints == []


class Client:
    """An API, and what its client waited for and how many tokens it asked for."""

    def __init__(self, service: Service, **more: object) -> None:
        self.pauses: list[float] = []
        self.tokens = 0
        self.http = Http("The service", tls=service.tls, sleep=self.pauses.append, **more)  # type: ignore[arg-type]
        self.api = Api(self.http, service.url, self.token)

    def token(self, refused: str = "") -> str:
        if refused == f"token-{self.tokens}" or not self.tokens:
            self.tokens += 1
        return f"token-{self.tokens}"

    def get(self) -> str:
        return self.api.get("/thing", Thing).name


def test_a_thing(service: Service) -> None:
    assert Client(service).get() == "/thing"


def test_a_date_says_how_long_to_wait(service: Service) -> None:
    client = Client(service)
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    service.faults = [on("/thing", Said(503, headers={"Retry-After": date}))]
    assert client.get() == "/thing"
    assert 20 < client.pauses[0] <= 30


@pytest.mark.parametrize("value", ["0", "-5", "soon", "", "1e3", "Wed, 21 Oct 2015 07:28:00 GMT", "²"])
def test_without_a_time_the_pauses_grow(service: Service, value: str) -> None:
    client = Client(service)
    header = {"Retry-After": email.utils.quote(value)} if value.isascii() else {}
    service.faults = [on("/thing", Said(503, headers=header)) for _ in range(3)]
    assert client.get() == "/thing"
    assert client.pauses == [1.0, 2.0, 4.0]


def test_more_patience_than_there_is(service: Service) -> None:
    """The caller is told at once, and for how long nothing is to be asked."""
    client = Client(service)
    service.faults = [on("/thing", Said(429, headers={"Retry-After": "7200"}))]
    with pytest.raises(ThrottledError) as told:
        client.get()
    assert told.value.seconds == 7200
    assert client.pauses == []


def test_pauses_together_have_an_end(service: Service) -> None:
    client = Client(service, patience=Patience(waiting=100, tries=99))
    service.faults = [on("/thing", Said(503, headers={"Retry-After": "40"})) for _ in range(9)]
    with pytest.raises(ThrottledError):
        client.get()
    assert client.pauses == [40.0, 40.0]


def test_a_token_that_is_refused_is_asked_for_once_more(service: Service) -> None:
    client = Client(service)
    service.taken = {"token-2"}
    assert client.get() == "/thing"
    service.taken = set()
    with pytest.raises(RefusedError, match="401") as told:
        client.get()
    assert (told.value.status, told.value.reason) == (401, "expired")
    assert client.tokens == 3


def test_a_403_means_patience_only_for_named_reasons(service: Service) -> None:
    busy = Said(403, {"error": {"code": 403, "message": "Slower.", "errors": [{"reason": "quotaExceeded"}]}})
    client = Client(service, busy=frozenset({"quotaExceeded"}))
    service.faults = [on("/thing", busy)]
    assert client.get() == "/thing"
    service.faults = [on("/thing", Said(403, {"error": {"code": "accessDenied", "message": "No."}}))]
    with pytest.raises(RemoteDeniedError, match=r"403 accessDenied: No\."):
        client.get()
    service.faults = [on("/thing", busy)]
    with pytest.raises(RefusedError, match="quotaExceeded"):
        Client(service).get()


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'{"error": 5}', b'{"error": {"code": []}}', b"[]"])
def test_a_refusal_without_a_reason(service: Service, body: bytes) -> None:
    service.faults = [on("/thing", Said(403, body))]
    with pytest.raises(RefusedError) as told:
        Client(service, busy=frozenset({"quotaExceeded"})).get()
    assert (told.value.status, told.value.reason) == (403, "")


def test_more_than_any_answer_can_have(service: Service) -> None:
    service.faults = [on("/thing", Said(body={"name": "x" * 2000}))]
    with pytest.raises(UnavailableError, match="more than any"):
        Client(service, largest=1000).get()
    assert len(service.asked) == 1


def test_an_answer_that_drips(service: Service) -> None:
    client = Client(service, patience=Patience(request=0.0, tries=2))
    with pytest.raises(UnavailableError, match="does not answer in time"):
        client.get()
    assert len(service.asked) == 2


def test_silence(service: Service) -> None:
    def silent(_asked: Asked) -> Said:
        service.faults.clear()
        time.sleep(1.0)
        return Said(body={"name": "late"})

    client = Client(service, patience=Patience(silence=0.2))
    service.faults = [silent]
    assert client.get() == "/thing"
    assert client.pauses == [1.0]


def test_a_line_that_breaks_is_tried_again(service: Service) -> None:
    client = Client(service)
    service.faults = [on("/thing", Said(body={"name": "half"}, cut=True)) for _ in range(2)]
    assert client.get() == "/thing"
    service.faults = [on("/thing", Said(cut=True)) for _ in range(9)]
    with pytest.raises(UnavailableError, match="connection to The service"):
        client.get()


def test_trouble_of_its_own_is_no_throttling(service: Service) -> None:
    service.faults = [on("/thing", Said(502)) for _ in range(9)]
    with pytest.raises(UnavailableError, match=r"out of order \(502\)") as told:
        Client(service).get()
    assert not isinstance(told.value, ThrottledError)


def test_the_other_clock(service: Service) -> None:
    client = Client(service)
    assert client.http.skew is None
    service.ahead = -600
    client.get()
    assert client.http.skew == pytest.approx(-600, abs=30)


def test_addresses() -> None:
    assert https(" https://graph.microsoft.com/ ") == "https://graph.microsoft.com"
    assert https("https://localhost:8443/base/") == "https://localhost:8443/base"
    for wrong in (
        *("", "graph.microsoft.com", "http://graph.microsoft.com", "https://", "https://a:b@graph.microsoft.com"),
        *("https://graph.microsoft.com?x=1", "https://graph.microsoft.com#x", "https://[", "https://x:99999999"),
    ):
        with pytest.raises(UsageError, match="no address"):
            https(wrong)


def test_a_batch_that_is_not_answered_whole(tmp_path: Path) -> None:
    double = GraphDouble(tmp_path / "graph")
    with serving(double):
        app = application(TENANT, CLIENT, secret=SECRET, authority=double.url)
        with Graph(app, root=double.url, tls=double.tls) as graph:
            double.faults = [on("/$batch", Said(body={"responses": [{"id": "0", "status": 200, "body": {}}]}))]
            with pytest.raises(UnavailableError, match="every request of a batch"):
                graph.batch(["/users/a", "/users/b"])


def test_a_batch_that_stays_busy(tmp_path: Path) -> None:
    double = GraphDouble(tmp_path / "graph")
    double.mailbox_faults = [(429, {"Retry-After": "5"}, "TooManyRequests")] * 99
    pauses: list[float] = []
    url = "/users/4d0ef681-e88f-42a3-a2db-e6bf1e249e10/mailboxSettings/userPurpose"
    with serving(double):
        app = application(TENANT, CLIENT, secret=SECRET, authority=double.url)
        patience = Patience(tries=3)
        with (
            Graph(app, root=double.url, tls=double.tls, patience=patience, sleep=pauses.append) as graph,
            pytest.raises(ThrottledError) as told,
        ):
            graph.batch([url])
    assert told.value.seconds == 5
    assert pauses == [5.0, 5.0]
    assert double.complaints == []


def test_threads_share_one_new_token(tmp_path: Path) -> None:
    double = GraphDouble(tmp_path / "graph")
    double.users = [user(f"user{number}") for number in range(5)]
    with serving(double):
        app = application(TENANT, CLIENT, secret=SECRET, authority=double.url)
        with Graph(app, root=double.url, tls=double.tls) as graph, ThreadPoolExecutor(8) as pool:

            def count(_number: int) -> int:
                return len(graph.every("/users", Identified, {"$select": "id"}))

            assert set(pool.map(count, range(24))) == {5}
            double.expire()
            assert set(pool.map(count, range(24))) == {5}
    assert double.complaints == []
    assert len([one for one in double.asked if one.path.endswith("/token")]) == 2


def test_an_authority_that_describes_itself_badly(tmp_path: Path) -> None:
    double = GraphDouble(tmp_path / "graph")
    with serving(double):
        app = application(TENANT, CLIENT, secret=SECRET, authority=double.url)
        elsewhere = {"token_endpoint": "nowhere", "authorization_endpoint": "nowhere"}
        for body in ({}, [], b"<html>", {"token_endpoint": 5}, elsewhere):
            with Graph(app, root=double.url, tls=double.tls) as graph:
                double.faults = [on("/openid-configuration", Said(body=body))]
                with pytest.raises(UnavailableError, match=r"cannot be read|makes no sense"):
                    graph.sign_in()


def streamed(client: Client) -> bytes:
    """A body, piece by piece."""
    return b"".join(client.api.stream("/thing").pieces(1000))


def test_a_body_comes_in_pieces_of_any_number(service: Service) -> None:
    client = Client(service, largest=10)
    service.faults = [on("/thing", Said(body=b"x" * 70_000))]
    found = client.api.stream("/thing")
    assert found.size == 70_000
    pieces = list(found.pieces(1000))
    assert (b"".join(pieces), max(map(len, pieces))) == (b"x" * 70_000, 1000)
    service.faults = [on("/thing", Said(body=iter([b"a" * 5, b"b" * 5])))]
    assert streamed(client) == b"a" * 5 + b"b" * 5


def test_nothing_is_unpacked_that_comes_in_pieces(service: Service) -> None:
    """A few bytes could become any number."""
    streamed(Client(service))
    assert service.asked[-1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("body", [b"x" * 5000, iter([b"x" * 5000])])
def test_a_body_that_breaks_off_is_never_taken_for_whole(service: Service, body: object) -> None:
    service.faults = [on("/thing", Said(body=body, cut=True))]
    with pytest.raises(UnavailableError, match="broke"):
        streamed(Client(service))


def test_who_is_busy_before_a_body_is_asked_again(service: Service) -> None:
    client = Client(service)
    service.taken = {"token-2"}
    service.faults = [on("/thing", Said(429, headers={"Retry-After": "9"}))]
    assert streamed(client) == b'{"name": "/thing"}'
    assert client.pauses == [9.0]
    assert client.tokens == 2


def test_a_refusal_in_place_of_a_body_says_why(service: Service) -> None:
    service.faults = [on("/thing", Said(404, {"error": {"code": "ErrorItemNotFound", "message": "Not there."}}))]
    with pytest.raises(RefusedError, match=r"Not there\.") as told:
        streamed(Client(service))
    assert (told.value.status, told.value.reason) == (404, "ErrorItemNotFound")


def test_trouble_that_lasts_is_not_waited_for(service: Service) -> None:
    client = Client(service, lasting=frozenset({"ErrorContentConversionFailed"}))
    lasts = Said(500, {"error": {"code": "ErrorContentConversionFailed", "message": "No."}})
    service.faults = [on("/thing", lasts), on("/thing", Said(500, {"error": {"code": "Other"}}))]
    with pytest.raises(RefusedError):
        streamed(client)
    assert client.pauses == []
    assert streamed(client) == b'{"name": "/thing"}'
    assert client.pauses == [1.0]
