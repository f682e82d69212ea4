"""Mailboxes and public folders of Exchange: every message comes, once, whatever happens in between."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError, UsageError
from appliance.sources import kinds
from appliance.sources.base import Account, CursorLostError, Failed, Fetched, Folder, Item, Page
from appliance.sources.ews.options import KIND, open_source
from appliance.sources.ews.soap import Reader
from appliance.sources.ews.source import PUBLIC, EwsSession, EwsSource
from tests.doubles.ews import PASSWORD, PATH, USER, Box, EwsDouble, at, busy, fault, message, response, whole
from tests.doubles.graph import CLIENT, SECRET, TENANT, GraphDouble
from tests.doubles.https import Asked, Said, serving

ANNA, BERT, SHARED = "anna@contoso.com", "bert@contoso.com", "info@contoso.com"


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EwsDouble]:
    """A server, which found nothing to complain about."""
    double = EwsDouble(tmp_path / "exchange")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "exchange" / "users"))
    with serving(double):
        yield double
    assert double.complaints == []


@pytest.fixture
def box(exchange: EwsDouble) -> Box:
    """The mailbox of who signs in."""
    return exchange.box(ANNA)


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that were waited, without waiting."""
    return []


def made(exchange: EwsDouble, pauses: list[float] | None = None, **more: str) -> EwsSource:
    """A source of the double."""
    given = {"user": USER, "password": PASSWORD, "sign_in": "basic", "ca": exchange.trusted.read_text()}
    server = f"{exchange.url}/EWS/Exchange.asmx"
    return open_source({"server": server, **given, **more}, sleep=(pauses if pauses is not None else []).append)


def own(source: EwsSource) -> EwsSession:
    """The first account."""
    return source.open(next(source.accounts()))


def inbox(session: EwsSession) -> Folder:
    return next(one for one in session.folders() if one.role == "inbox")


def mail(subject: object, size: int = 20) -> bytes:
    """A message."""
    return b"Subject: %b\r\n\r\n%b\r\n" % (str(subject).encode(), b"x" * size)


def run(session: EwsSession, cursor: bytes = b"") -> tuple[list[Page], bytes]:
    """One run through the inbox; its pages and its last cursor."""
    pages = list(session.changes(inbox(session), cursor))
    return pages, pages[-1].cursor


def ids(pages: list[Page]) -> list[str]:
    return sorted(item.id for page in pages for item in page.items)


def fetched(session: EwsSession, items: list[Item]) -> dict[str, bytes | Failed]:
    """What came of each item."""
    found: dict[str, bytes | Failed] = {}
    for one in session.fetch(Folder("", ()), items):
        assert one.item.id not in found
        found[one.item.id] = one if isinstance(one, Failed) else b"".join(one.chunks)
    return found


def failed(one: bytes | Failed) -> Failed:
    assert isinstance(one, Failed)
    return one


# -- folders ------------------------------------------------------------------------------------------------------


def test_folders_have_their_paths_and_what_they_are_for(exchange: EwsDouble, box: Box) -> None:
    below = box.folder("Kunden", box.inbox)
    box.folder("Müller & <Söhne>", below)
    box.folder("Kalender", kind="IPF.Appointment", element="CalendarFolder")
    box.folder("Suche", element="SearchFolder")
    box.folder("Notizen", kind="IPF.StickyNote")
    box.folder("Alt", kind="")
    with own(made(exchange)) as session:
        found = {one.path: (one.role, one.holds_mail) for one in session.folders()}
    assert found == {
        ("Posteingang",): ("inbox", True),
        ("Posteingang", "Kunden"): ("", True),
        ("Posteingang", "Kunden", "Müller & <Söhne>"): ("", True),
        ("Gesendete Elemente",): ("sent", True),
        ("Entwürfe",): ("drafts", True),
        ("Kalender",): ("", False),
        ("Suche",): ("", False),
        ("Notizen",): ("", False),
        ("Alt",): ("", True),
    }


def test_a_folder_name_with_a_character_that_xml_does_not_have(exchange: EwsDouble, box: Box) -> None:
    said = response(
        "FindFolder",
        inner='<m:RootFolder IncludesLastItemInRange="true"><t:Folders><t:Folder><t:FolderId Id="one"/>'
        '<t:ParentFolderId Id="top"/><t:DisplayName>Bell&#x7; &#65;</t:DisplayName></t:Folder></t:Folders>'
        "</m:RootFolder>",
    )
    exchange.faults += at("FindFolder", said)
    with own(made(exchange)) as session:
        assert [one.path for one in session.folders()] == [("Bell\N{REPLACEMENT CHARACTER} A",)]


# -- changes ------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_once_and_then_what_has_changed(exchange: EwsDouble, box: Box) -> None:
    first = [box.put(mail(number)) for number in range(5)]
    with own(made(exchange)) as session:
        pages, cursor = run(session)
        assert len(pages) == 3
        assert ids(pages) == sorted(one.id for one in first)
        pages, cursor = run(session, cursor)
        assert ids(pages) == []
        late = box.put(mail("late"))
        box.drop(first[0])
        first[1].read = True
        box.inbox.log.append(("ReadFlagChange", first[1].id))
        pages, _ = run(session, cursor)
    assert ids(pages) == [late.id]
    assert [id for page in pages for id in page.gone] == [first[0].id]
    assert [(one.id, one.flags) for page in pages for one in page.changed] == [(first[1].id, ("seen",))]


def test_a_run_goes_on_behind_the_page_that_was_dealt_with(exchange: EwsDouble, box: Box) -> None:
    letters = [box.put(mail(number)) for number in range(5)]
    source = made(exchange)
    with own(source) as session:
        begun = next(session.changes(inbox(session), b""))
    with own(source) as session:
        pages, _ = run(session, begun.cursor)
    assert ids([begun, *pages]) == sorted(one.id for one in letters)


def test_what_there_is_to_know_of_a_message(exchange: EwsDouble, box: Box) -> None:
    tags = {"0x1081": "102", "0x1090": "2"}
    more = "".join(
        f'<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag="{tag}" PropertyType="Integer"/>'
        f"<t:Value>{value}</t:Value></t:ExtendedProperty>"
        for tag, value in tags.items()
    )
    letter = box.put(mail("one"), read=True, received="2026-05-04T10:20:30Z", more=more)
    box.put(mail("nobody"), kind="Contact")
    with own(made(exchange)) as session:
        pages, _ = run(session)
    [item] = [item for page in pages for item in page.items]
    assert item == Item(letter.id, len(letter.mime), 1_777_890_030_000_000, ("seen", "answered", "flagged"))


def test_a_place_that_exchange_has_forgotten_is_lost(exchange: EwsDouble, box: Box) -> None:
    box.put(mail("one"))
    with own(made(exchange)) as session:
        _, cursor = run(session)
        exchange.generation += 1
        with pytest.raises(CursorLostError):
            run(session, cursor)
        assert len(ids(run(session)[0])) == 1
        exchange.faults += at(
            "SyncFolderItems", fault("ErrorInvalidSyncStateData", "Synchronization state data is corrupt.")
        )
        with pytest.raises(CursorLostError):
            run(session, cursor)
        with pytest.raises(CursorLostError):
            run(session, b"of another source")


def test_a_list_that_does_not_end_is_not_read_for_ever(exchange: EwsDouble, box: Box) -> None:
    inner = (
        "<m:SyncState>c2FtZQ==</m:SyncState><m:IncludesLastItemInRange>false</m:IncludesLastItemInRange><m:Changes/>"
    )
    exchange.faults += at("SyncFolderItems", response("SyncFolderItems", inner=inner), times=5)
    with own(made(exchange)) as session, pytest.raises(UnavailableError, match="where a list goes on"):
        run(session)


def test_a_folder_that_exchange_refuses_is_told_in_its_words(exchange: EwsDouble, box: Box) -> None:
    exchange.faults += at("SyncFolderItems", response("SyncFolderItems", "ErrorCorruptData"))
    # Denied, not unavailable: one folder keeps nobody from the others.
    with own(made(exchange)) as session, pytest.raises(RemoteDeniedError, match="ErrorCorruptData"):
        run(session)


# -- messages -----------------------------------------------------------------------------------------------------


def test_every_message_comes_with_its_bytes(exchange: EwsDouble, box: Box) -> None:
    exchange.page = 500
    letters = [box.put(mail(number, size)) for number, size in enumerate([0, 1, 2, 3, 29_999, 30_001, 400_000] * 7)]
    with own(made(exchange)) as session:
        pages, _ = run(session)
        found = fetched(session, [item for page in pages for item in page.items])
    assert found == {one.id: one.mime for one in letters}
    assert exchange.operations.count("GetItem") == 3


def test_a_message_is_fetched_by_its_id_alone(exchange: EwsDouble, box: Box) -> None:
    letter = box.put(mail("one"))
    with own(made(exchange)) as session:
        assert fetched(session, [Item(letter.id)]) == {letter.id: letter.mime}
        [one] = session.fetch(Folder("", ()), [Item(letter.id)])
        assert isinstance(one, Fetched)
        assert not one.exact


def test_a_message_that_cannot_be_given_does_not_hold_up_the_others(exchange: EwsDouble, box: Box) -> None:
    good, bad, late = box.put(mail(1)), box.put(mail(2), code="ErrorMimeContentConversionFailed"), box.put(mail(3))
    with own(made(exchange)) as session:
        found = fetched(session, [Item(id, 10) for id in (good.id, bad.id, "moved", late.id)])
    assert (found[good.id], found[late.id]) == (good.mime, late.mime)
    assert "ErrorMimeContentConversionFailed" in failed(found[bad.id]).why
    assert not failed(found[bad.id]).gone
    assert failed(found["moved"]).gone


def test_bytes_left_unread_are_not_the_next_messages(exchange: EwsDouble, box: Box) -> None:
    first, second = box.put(mail(1, 500_000)), box.put(mail(2))
    with own(made(exchange)) as session:
        answers = session.fetch(Folder("", ()), [Item(first.id, 10), Item(second.id, 10)])
        next(answers)
        one = next(answers)
        assert isinstance(one, Fetched)
        assert b"".join(one.chunks) == second.mime


@pytest.mark.parametrize("text", ["QUJD!UJD", "QUJD!!!!", "QUJ", "QU=DQUJD", "é"])
def test_bytes_that_are_no_base64_are_never_taken_for_a_message(exchange: EwsDouble, box: Box, text: str) -> None:
    good, bad, late = box.put(mail(1)), box.put(mail(2)), box.put(mail(3))
    source = made(exchange)
    items = [Item(one.id, 10) for one in (good, bad, late)]
    for _try in range(2):
        bad.encoded = iter([text])
        found = {}
        with own(source) as session, pytest.raises(UnavailableError):
            for one in session.fetch(Folder("", ()), items):
                assert isinstance(one, Fetched)
                found[one.item.id] = b"".join(one.chunks)
        assert found == {good.id: good.mime}
    with own(source) as session:  # it is not for ever that it holds up the others
        third = fetched(session, items)
    assert (third[good.id], third[late.id]) == (good.mime, late.mime)
    assert not failed(third[bad.id]).gone


def test_bytes_behind_the_padding_are_no_base64_however_they_come() -> None:
    head, tail = soap_with_mime()
    reader = Reader()
    list(reader.feed(head))
    assert list(reader.feed(b"QUI=")) == [b"AB"]
    with pytest.raises(UnavailableError):
        list(reader.feed(b"QUJD" + tail, last=True))


@pytest.mark.parametrize("piece", [b"<a/>", b"<a>b</a>", b"b" * 500])
def test_an_answer_that_does_not_end_is_not_held(piece: bytes) -> None:
    head, _tail = soap_with_mime()
    endless = itertools.chain([head, b"</t:MimeContent>"], itertools.repeat(piece * 100))
    assert refused_after(endless) < 1_000_000_000


def test_a_tag_that_does_not_end_is_not_held() -> None:
    head, _tail = soap_with_mime()
    endless = itertools.chain([head, b'</t:MimeContent><a b="'], itertools.repeat(b"c" * 65_536))
    assert refused_after(endless) < 100_000_000


def test_document_types_are_refused() -> None:
    head, _, body = response("FindFolder").body.partition(b"?>")
    with pytest.raises(UnavailableError, match="DOCTYPE"):
        list(Reader().feed(head + b"?><!DOCTYPE Envelope [<!ENTITY a 'b'>]>" + body, last=True))


def soap_with_mime() -> tuple[bytes, bytes]:
    """An answer, without the bytes of the message in it."""
    content = whole("GetItem", message("GetItem", inner="<t:MimeContent>\0</t:MimeContent>")).body
    head, tail = content.split(b"\0")
    return head, tail


def refused_after(endless: Iterator[bytes]) -> int:
    """The bytes that were read before they were no longer taken."""
    reader = Reader()
    octets = 0
    with pytest.raises(UnavailableError, match="cannot be read"):
        for piece in endless:
            octets += len(piece)
            list(reader.feed(piece))
    return octets


def test_a_message_that_is_another_one_is_refused(exchange: EwsDouble, box: Box) -> None:
    letter = box.put(mail(1), claims="another")
    with own(made(exchange)) as session, pytest.raises(UnavailableError, match="another message"):
        fetched(session, [Item(letter.id)])


def test_an_answer_that_breaks_off_is_no_message(exchange: EwsDouble, box: Box) -> None:
    letter = box.put(mail(1, 100_000))

    def broken(asked: Asked) -> Said | None:
        if b"<m:GetItem" not in asked.body:
            return None
        said = exchange._messages([letter.id])
        return Said(200, iter(list(itertools.islice(said, 3))), {"Content-Type": "text/xml"}, cut=True)

    exchange.faults.append(broken)
    with own(made(exchange)) as session, pytest.raises(UnavailableError):
        fetched(session, [Item(letter.id)])
    with own(made(exchange)) as session:
        assert fetched(session, [Item(letter.id)]) == {letter.id: letter.mime}


def test_a_large_message_takes_no_more_memory_than_a_small_one(exchange: EwsDouble, box: Box) -> None:
    octets = 30 * 1024 * 1024
    piece = "QUJD" * 10_240
    letter = box.put(b"")
    letter.encoded = itertools.repeat(piece, octets // 30_720)
    with own(made(exchange)) as session:
        [one] = itertools.islice(session.fetch(Folder("", ()), [Item(letter.id)]), 1)
        assert isinstance(one, Fetched)
        tracemalloc.start()
        try:
            assert sum(map(len, one.chunks)) == octets
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


# -- deleting -----------------------------------------------------------------------------------------------------


def test_deleting_deletes_just_what_was_named(exchange: EwsDouble, box: Box) -> None:
    stays, goes, kept = box.put(mail(1)), box.put(mail(2)), box.put(mail(3), code="ErrorCannotDeleteObject")
    draft = box.put(mail(4), draft=True)
    with own(made(exchange)) as session:
        folder = inbox(session)
        assert session.delete(folder, [goes.id, kept.id, draft.id, "gone already"]) == {goes.id, "gone already"}
        assert session.delete(folder, [draft.id]) == frozenset(), "it may be another one by now than was fetched"
    assert set(box.inbox.letters) == {stays.id, kept.id, draft.id}


# -- signing in and rights ----------------------------------------------------------------------------------------


def test_ntlm_signs_a_connection_in(exchange: EwsDouble, box: Box) -> None:
    exchange.ways = ("Negotiate", "NTLM")
    letter = box.put(mail("one"))
    with own(made(exchange, sign_in="ntlm")) as session:
        pages, _ = run(session)
        assert fetched(session, [item for page in pages for item in page.items]) == {letter.id: letter.mime}
    signed = [one for one in exchange.asked if "authorization" in one.headers]
    assert len(signed) == 2
    assert len(exchange.asked) > 4


@pytest.mark.parametrize("sign_in", ["basic", "ntlm"])
def test_a_wrong_password_is_told(exchange: EwsDouble, box: Box, sign_in: str) -> None:
    exchange.ways = ("Basic", "NTLM")
    source = made(exchange, sign_in=sign_in, password="wrong")
    with own(source) as session, pytest.raises(RemoteDeniedError, match="user name or password is wrong"):
        session.folders()


class OnlineDouble(EwsDouble):
    """Exchange Online, with the tenant that gives tokens for it at the same address."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.tenant = GraphDouble(folder / "tenant")
        self.ways = ("Bearer",)
        self.tokens = self.tenant._tokens

    def answer(self, asked: Asked) -> Said:
        self.tenant.url = self.url
        return super().answer(asked) if asked.path == PATH else self.tenant.answer(asked)


def test_an_application_signs_in_by_token_and_impersonates(tmp_path: Path) -> None:
    online = OnlineDouble(tmp_path / "online")
    letter = online.box(ANNA).put(mail("one"))
    online.may_impersonate = {ANNA}
    application = {"sign_in": "oauth", "tenant": TENANT, "client": CLIENT, "secret": SECRET, "user": "", "password": ""}
    with serving(online):
        source = made(online, **application, authority=online.url)
        with source.open(Account(ANNA, ANNA)) as session:
            pages, cursor = run(session)
            assert ids(pages) == [letter.id]
            online.tenant.expire()  # a token may be withdrawn before its time
            assert ids(run(session, cursor)[0]) == []
        wrong = made(online, **{**application, "secret": "another"}, authority=online.url)
        with wrong.open(Account(ANNA, ANNA)) as session, pytest.raises(RemoteDeniedError, match="secret is wrong"):
            session.folders()
    assert online.complaints == online.tenant.complaints == []


def test_many_mailboxes_are_opened_by_impersonation(exchange: EwsDouble, box: Box) -> None:
    other = exchange.box(BERT).put(mail("to Bert"))
    exchange.may_impersonate = {BERT}
    source = made(exchange, impersonate="yes")
    assert list(source.accounts()) == []
    with source.open(Account(BERT, BERT)) as session:
        pages, _ = run(session)
        assert ids(pages) == [other.id]
    command = r"New-ManagementRoleAssignment .*-Role ApplicationImpersonation"
    with source.open(Account(ANNA, ANNA)) as session, pytest.raises(RemoteDeniedError, match=command):
        session.folders()
    nobody = Account("nobody@contoso.com", "")
    with source.open(nobody) as session, pytest.raises(RemoteDeniedError, match=f"no mailbox {nobody.id}"):
        session.folders()


def test_a_shared_mailbox_is_opened_by_the_users_own_right(exchange: EwsDouble, box: Box) -> None:
    letter = exchange.box(SHARED).put(mail("to all"))
    source = made(exchange, mailbox=SHARED.upper())
    assert [one.id for one in source.accounts()] == [SHARED]
    with own(source) as session:
        with pytest.raises(RemoteDeniedError, match=rf"Add-MailboxPermission -Identity {SHARED}"):
            session.folders()
        exchange.may_open = {SHARED}
        assert ids(run(session)[0]) == [letter.id]


def test_public_folders_are_an_account(exchange: EwsDouble, box: Box) -> None:
    top = exchange.public.folder("Vertrieb")
    below = exchange.public.folder("2026", top)
    exchange.public.folder("Termine", top, kind="IPF.Appointment", element="CalendarFolder")
    letters = [
        exchange.public.put(mail(number), below, received=f"2026-05-0{number}T00:00:00Z") for number in range(1, 6)
    ]
    posted = exchange.public.put(mail("posted"), top, kind="PostItem")
    source = made(exchange, public="yes")
    assert list(source.accounts()) == [PUBLIC]
    with own(source) as session:
        folders = {one.path: one for one in session.folders()}
        assert {path for path, one in folders.items() if one.holds_mail} == {("Vertrieb",), ("Vertrieb", "2026")}
        pages = list(session.changes(folders["Vertrieb", "2026"], b""))
        assert [item.id for page in pages for item in page.items] == [one.id for one in letters]
        pages = list(session.changes(folders["Vertrieb",], pages[-1].cursor))
        assert ids(pages) == [posted.id]
        assert fetched(session, [Item(posted.id)]) == {posted.id: posted.mime}


def test_public_folders_of_a_mailbox_that_is_named(exchange: EwsDouble, box: Box) -> None:
    exchange.public.folder("Vertrieb")
    with own(made(exchange, public="yes", public_mailbox="pf@contoso.com")) as session:
        session.folders()
    for header in ("x-anchormailbox", "x-publicfoldermailbox"):
        assert {one.headers.get(header) for one in exchange.asked} == {"pf@contoso.com"}


# -- a server that is busy, or none -------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["FindFolder", "SyncFolderItems", "GetItem"])
def test_a_busy_server_gets_the_time_that_it_asks_for(
    exchange: EwsDouble, box: Box, pauses: list[float], operation: str
) -> None:
    letter = box.put(mail("one"))
    exchange.faults += at(operation, busy(29_749), times=2)
    with own(made(exchange, pauses)) as session:
        pages, _ = run(session)
        assert fetched(session, [item for page in pages for item in page.items]) == {letter.id: letter.mime}
    assert pauses == [29.749, 29.749]


def test_a_server_that_stays_busy_is_left_alone(exchange: EwsDouble, box: Box, pauses: list[float]) -> None:
    exchange.faults += at("FindFolder", busy(297_749), times=20)
    with own(made(exchange, pauses)) as session, pytest.raises(ThrottledError) as caught:
        session.folders()
    assert caught.value.seconds == 297.749
    assert sum(pauses) <= 900


def test_a_message_that_is_refused_for_being_busy_is_not_failed(exchange: EwsDouble, box: Box) -> None:
    letter = box.put(mail("one"), code="ErrorServerBusy")
    with own(made(exchange)) as session, pytest.raises(ThrottledError):
        fetched(session, [Item(letter.id)])


@pytest.mark.parametrize(
    "said",
    [
        Said(200, b"<html><body>Sign in"),
        Said(200, b"<html/>"),
        Said(200, b""),
        Said(200, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
        Said(404, b"no"),
        Said(302, b"", {"Location": "https://elsewhere.example/"}),
        Said(500, b"<html/>"),
        fault("ErrorInternalServerError", "An internal server error occurred."),
    ],
)
def test_what_is_no_answer_is_an_error_in_words(exchange: EwsDouble, box: Box, said: Said) -> None:
    letter = box.put(mail("one"))
    with own(made(exchange)) as session:
        exchange.faults += [*at("FindFolder", said), *at("GetItem", said)]
        with pytest.raises(UnavailableError):
            session.folders()
        with pytest.raises(UnavailableError):
            fetched(session, [Item(letter.id)])


def test_exchange_online_that_blocks_says_so(exchange: EwsDouble, box: Box) -> None:
    exchange.faults += at("GetFolder", Said(403, b""))
    with own(made(exchange)) as session, pytest.raises(RemoteDeniedError, match="since 1 October 2026"):
        session.folders()


def test_a_certificate_is_verified_unless_somebody_says_otherwise(exchange: EwsDouble, box: Box) -> None:
    with own(made(exchange, ca="")) as session, pytest.raises(UnavailableError, match="certificate"):
        session.folders()
    assert exchange.asked == []
    with own(made(exchange, ca="", ignore_tls="yes")) as session:
        assert session.folders()


# -- the test, and options ----------------------------------------------------------------------------------------


def states(source: EwsSource, accounts: list[Account]) -> dict[str, str]:
    return {one.what: one.state for one in source.check(accounts)}


def test_the_test_tries_what_fetching_needs(exchange: EwsDouble, box: Box) -> None:
    box.put(mail("one"))
    source = made(exchange)
    assert states(source, list(source.accounts())) == {"sign-in": "ok", "folders": "ok", "message": "ok"}
    assert "SyncFolderItems" not in exchange.operations
    assert "DeleteItem" not in exchange.operations


def test_the_test_warns_of_certificates_that_are_not_verified(exchange: EwsDouble, box: Box) -> None:
    source = made(exchange, ca="", ignore_tls="yes")
    found = states(source, list(source.accounts()))
    assert (found["encryption"], found["sign-in"]) == ("warning", "ok")


def test_the_test_tells_how_to_give_the_right(exchange: EwsDouble, box: Box) -> None:
    source = made(exchange, impersonate="yes")
    found = list(source.check([Account(ANNA, ANNA)]))
    assert found[0].state == "problem"
    assert "New-ManagementRoleAssignment" in found[0].text


def test_the_test_says_how_it_stands_with_exchange_online(exchange: EwsDouble) -> None:
    application = {"tenant": "contoso.com", "client": "535fb089-9ff3-47b6-9bfb-4f1264799865", "secret": "s3cret"}
    source = open_source({"server": "outlook.office365.com", "sign_in": "oauth", **application})
    found = next(iter(source.check([])))
    assert found.state == "warning"
    assert "1 April 2027" in found.text


@pytest.mark.parametrize(
    "options",
    [
        {"server": ""},
        {"server": "http://mail.example.com/EWS/Exchange.asmx"},
        {"sign_in": "kerberos"},
        {"user": ""},
        {"password": ""},
        {"sign_in": "oauth"},
        {"mailbox": "nobody"},
        {"public": "yes", "mailbox": SHARED},
        {"public": "yes", "impersonate": "yes"},
        {"ignore_tls": "perhaps"},
        {"timeout": "0"},
        {"ca": "none"},
    ],
)
def test_options_that_make_no_sense(options: dict[str, str]) -> None:
    given = {"server": "mail.example.com", "user": USER, "password": PASSWORD}
    kinds.check_options(KIND.kind, given)
    with pytest.raises(UsageError):
        kinds.check_options(KIND.kind, {**given, **options})
