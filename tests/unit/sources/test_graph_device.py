"""Microsoft 365's mailboxes for one person who signs in by a code, and by IMAP with the application's tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import RemoteDeniedError, UsageError
from appliance.sources.base import Account, Item
from appliance.sources.graph.by_imap import ImapByToken
from appliance.sources.graph.options import ME, open_source, ways_of
from appliance.sources.graph.signing_in import Ways
from appliance.sources.graph.source import GraphSession, GraphSource
from tests.doubles.graph import CLIENT, SECRET, TENANT, denied
from tests.doubles.graph_mail import MailDouble
from tests.doubles.https import on, serving
from tests.unit.sources import imap_double

ADELE = "adele@contoso.com"


class Remembering:
    """A source's memory, for as long as the test."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key: str) -> str:
        return self.kept.get(key, "")

    def put(self, key: str, value: str) -> None:
        self.kept[key] = value


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[MailDouble]:
    """A tenant, whose Graph found nothing to complain about."""
    double = MailDouble(tmp_path / "graph")
    with serving(double):
        yield double
    assert double.complaints == []


def options(graph: MailDouble, **more: str) -> dict[str, str]:
    places = {"authority": graph.url, "graph": graph.url}
    return {"tenant": TENANT, "client": CLIENT, "sign_in": "device", **places, **more}


def ways(graph: MailDouble, **more: str) -> Ways:
    return ways_of(options(graph, **more), tls=graph.tls)


def source(graph: MailDouble, memory: Remembering | None, **more: str) -> GraphSource:
    found = open_source(options(graph, **more), memory, tls=graph.tls)
    assert isinstance(found, GraphSource)
    return found


def signed_in(graph: MailDouble, **more: str) -> Remembering:
    """What is kept once Adele has signed in."""
    memory = Remembering()
    told(graph, memory, **more)
    enter(graph, ADELE)
    assert told(graph, memory, **more) == f"ok: “{ADELE}” has signed in."
    return memory


def told(graph: MailDouble, memory: Remembering | None, **more: str) -> str:
    """What a test says of the sign-in."""
    [found] = [one for one in source(graph, memory, **more).check([]) if one.what == "sign-in"]
    return f"{found.state}: {found.text}"


def enter(graph: MailDouble, name: str) -> None:
    """Somebody enters the code that was given last."""
    graph.sign_in([*graph.codes.values()][-1]["user_code"], name)


def subject(session: GraphSession, id: str) -> bytes:
    [one] = list(session.fetch(session.folders()[0], [Item(id)]))
    return b"".join(one.chunks)  # type: ignore[union-attr]


def test_a_person_signs_in_by_a_code_that_the_test_shows(graph: MailDouble) -> None:
    one = graph.box(ADELE).add(b"Subject: hello\r\n\r\n")
    memory = Remembering()
    asked = told(graph, memory)
    [code] = graph.codes.values()
    assert asked.startswith("problem: Nobody has signed in to the mailbox yet. Open https://microsoft.com/devicelogin")
    assert f"enter the code {code['user_code']}," in asked
    assert told(graph, memory) == asked  # one code, however often somebody looks
    enter(graph, ADELE)
    assert told(graph, memory) == f"ok: “{ADELE}” has signed in."

    [account] = source(graph, memory).accounts()
    assert (account.id, account.address) == (ME, ADELE)
    with source(graph, memory).open(account) as session:
        assert subject(session, one.id) == b"Subject: hello\r\n\r\n"


def test_a_run_takes_what_came_of_the_code_too(graph: MailDouble) -> None:
    one = graph.box(ADELE).add(b"Subject: hello\r\n\r\n")
    memory = Remembering()
    told(graph, memory)
    begun = source(graph, memory)
    with pytest.raises(RemoteDeniedError, match="Nobody has signed in"):
        begun.open(Account(ME, ""))
    enter(graph, ADELE)
    with begun.open(Account(ME, "")) as session:
        assert subject(session, one.id) == b"Subject: hello\r\n\r\n"


def test_a_sign_in_that_a_test_finished_is_there_for_the_run_that_waits(graph: MailDouble) -> None:
    graph.box(ADELE)
    memory = Remembering()
    begun = source(graph, memory)
    memory.kept |= signed_in(graph).kept
    begun.open(Account(ME, "")).close()


def test_only_what_is_needed_is_asked_for(graph: MailDouble) -> None:
    for more in ({}, {"deleting": "yes"}, {"user": "info@contoso.com"}):
        told(graph, Remembering(), **more)
    scopes = [{one for one in code["scopes"] if "/" in one} for code in graph.codes.values()]
    assert scopes == [
        {f"{graph.url}/Mail.Read"},
        {f"{graph.url}/Mail.ReadWrite"},
        {f"{graph.url}/Mail.Read", f"{graph.url}/Mail.Read.Shared"},
    ]


def test_a_shared_mailbox_is_opened_by_who_may(graph: MailDouble) -> None:
    one = graph.box("info@contoso.com").add(b"Subject: shared\r\n\r\n")
    memory = signed_in(graph, user="info@contoso.com")
    [account] = source(graph, memory, user="info@contoso.com").accounts()
    with source(graph, memory, user="info@contoso.com").open(account) as session:
        assert subject(session, one.id) == b"Subject: shared\r\n\r\n"
    with pytest.raises(RemoteDeniedError, match="may not be read"):
        source(graph, signed_in(graph)).open(account)


def test_a_token_that_expires_is_renewed_and_what_it_was_renewed_with_is_kept(graph: MailDouble) -> None:
    one = graph.box(ADELE).add(b"Subject: hello\r\n\r\n")
    memory = signed_in(graph)
    before = memory.get("tokens")
    with source(graph, memory).open(Account(ME, ADELE)) as session:
        graph.expire()
        assert subject(session, one.id) == b"Subject: hello\r\n\r\n"
    assert memory.get("tokens") != before
    # Another run, without the tokens of the first.
    graph.expire()
    with source(graph, memory).open(Account(ME, ADELE)) as session:
        assert subject(session, one.id) == b"Subject: hello\r\n\r\n"


def test_who_has_not_signed_in_is_told_so(graph: MailDouble) -> None:
    graph.box(ADELE)
    for memory in (None, Remembering()):
        with pytest.raises(RemoteDeniedError, match="Nobody has signed in"):
            source(graph, memory).open(Account(ME, ""))


def test_a_sign_in_that_is_over_asks_for_another(graph: MailDouble) -> None:
    graph.box(ADELE)
    memory = signed_in(graph)
    graph.expire()
    graph.refresh_tokens.clear()
    with pytest.raises(RemoteDeniedError, match=r"sign in once more.*inactivity"):
        source(graph, memory).open(Account(ME, ADELE))
    assert "enter the code" in told(graph, memory)
    enter(graph, ADELE)
    assert told(graph, memory).startswith("ok")


def test_a_code_that_is_declined_or_has_expired_is_followed_by_another(graph: MailDouble) -> None:
    memory = Remembering()
    told(graph, memory)
    graph.declined = True
    assert "The person has declined." in told(graph, memory)
    assert len(graph.codes) == 2
    graph.declined = False
    graph.codes.clear()
    assert "The code has expired" in told(graph, memory)
    assert len(graph.codes) == 1


def test_an_application_that_may_sign_nobody_in_by_a_code(graph: MailDouble) -> None:
    words = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    memory = Remembering()
    told(graph, memory)
    graph.faults = [on("/token", denied(7000218, words, "invalid_client"))]
    assert "allow public client flows" in told(graph, memory)


def test_what_was_kept_and_is_broken_says_so(graph: MailDouble) -> None:
    memory = Remembering()
    memory.put("tokens", "{")
    with pytest.raises(UsageError, match="Sign in once more"):
        source(graph, memory)


def test_nothing_secret_is_shown(graph: MailDouble) -> None:
    with ways(graph).sign_in() as http:
        code = ways(graph).person(http, None).code()
    assert json.loads(code.flow)["device_code"] not in repr(code)
    assert SECRET not in repr(ways_of({"tenant": TENANT, "client": CLIENT, "secret": SECRET}))


# -- by IMAP ------------------------------------------------------------------------------------------------------


def test_imap_is_spoken_with_the_applications_token_for_exchange(graph: MailDouble) -> None:
    graph.scope = "https://outlook.office365.com/.default"
    given = {"tenant": TENANT, "client": CLIENT, "secret": SECRET, "by": "imap", "authority": graph.url}
    server = imap_double.Double({1: b"Subject: one\r\n\r\n"}, capabilities="IMAP4rev1 SASL-IR AUTH=XOAUTH2 UIDPLUS")
    by_imap = ImapByToken(ways_of(given, tls=graph.tls), None, server=server.server)
    try:
        with by_imap.open(Account("info@contoso.com", "info@contoso.com")) as session:
            [folder] = session.folders()
            items = [item for page in session.changes(folder, b"") for item in page.items]
        found = {one.what: one.state for one in by_imap.check([Account("info@contoso.com", "info@contoso.com")])}
    finally:
        server.close()
    assert len(items) == 1
    said = next(one for one in server.heard if one.startswith(b"AUTHENTICATE XOAUTH2 "))
    user, token = base64.b64decode(said.split()[2]).decode().rstrip("\x01").split("\x01")
    assert (user, token) == ("user=info@contoso.com", f"auth=Bearer {graph.granted[0]}")
    assert found["sign-in"] == "ok"
    assert found["message"] == "ok"


def test_a_mailbox_that_lets_the_application_not_in_by_imap_says_what_is_missing(graph: MailDouble) -> None:
    graph.scope = "https://outlook.office365.com/.default"
    given = {"tenant": TENANT, "client": CLIENT, "secret": SECRET, "by": "imap", "authority": graph.url}
    refusing: dict[bytes, imap_double.Answer] = {rb"AUTHENTICATE.*": b"TAG NO AUTHENTICATE failed.\r\n"}
    server = imap_double.Double(answers=refusing, capabilities="IMAP4rev1 SASL-IR AUTH=XOAUTH2 UIDPLUS")
    by_imap = ImapByToken(ways_of(given, tls=graph.tls), None, server=server.server)
    try:
        found = {one.what: one for one in by_imap.check([Account("info@contoso.com", "info@contoso.com")])}
    finally:
        server.close()
    assert found["info@contoso.com"].state == "problem"
    assert "Add-MailboxPermission" in found["IMAP.AccessAsApp"].text


@pytest.mark.parametrize(
    ("root", "sign_in", "scope"),
    [
        ("https://graph.microsoft.com", "app", "https://outlook.office365.com/.default"),
        ("https://graph.microsoft.com", "device", "https://outlook.office.com/IMAP.AccessAsUser.All"),
        ("https://graph.microsoft.us", "app", "https://outlook.office365.us/.default"),
        ("https://microsoftgraph.chinacloudapi.cn", "app", "https://partner.outlook.cn/.default"),
    ],
)
def test_each_cloud_has_its_own_mail_server(root: str, sign_in: str, scope: str) -> None:
    secret = {"secret": SECRET} if sign_in == "app" else {}
    given = {"tenant": TENANT, "client": CLIENT, "sign_in": sign_in, "by": "imap", "graph": root, **secret}
    assert ways_of(given).scopes() == (scope,)
