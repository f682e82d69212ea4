"""Mailboxes of Microsoft 365 through Microsoft Graph: every message comes, once, whatever happens in between."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import RemoteDeniedError, ThrottledError, UnavailableError, UsageError
from appliance.sources import kinds
from appliance.sources.base import CHUNK, Account, CursorLostError, Failed, Fetched, Folder, Item, Page, Source
from appliance.sources.graph.bodies import HELD
from appliance.sources.graph.options import KIND, open_source
from appliance.sources.graph.source import GraphSession, GraphSource
from tests.doubles.graph import CLIENT, SECRET, TENANT, refused, user
from tests.doubles.graph_mail import Box, MailDouble, at
from tests.doubles.https import Asked, Fault, Said, on, serving
from tests.unit.directory.test_entra import certificate

ANNA = "anna@contoso.com"


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[MailDouble]:
    """A tenant, whose Graph found nothing to complain about."""
    double = MailDouble(tmp_path / "graph")
    with serving(double):
        yield double
    assert double.complaints == []


@pytest.fixture
def box(graph: MailDouble) -> Box:
    """Anna's mailbox."""
    return graph.box(ANNA)


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that were waited, without waiting."""
    return []


@pytest.fixture
def source(graph: MailDouble, pauses: list[float]) -> GraphSource:
    return made(graph, pauses)


def options(graph: MailDouble, **more: str) -> dict[str, str]:
    places = {"authority": graph.url, "graph": graph.url}
    return {"tenant": TENANT, "client": CLIENT, "secret": SECRET, **places, **more}


def made(graph: MailDouble, pauses: list[float], **more: str) -> GraphSource:
    """A source of the double."""
    found = open_source(options(graph, **more), tls=graph.tls, sleep=pauses.append)
    assert isinstance(found, GraphSource)
    return found


def anna(source: Source) -> GraphSession:
    session = source.open(Account(ANNA, ANNA))
    assert isinstance(session, GraphSession)
    return session


def inbox(session: GraphSession) -> Folder:
    return next(one for one in session.folders() if one.role == "inbox")


def mail(subject: object, size: int = 20) -> bytes:
    """A message."""
    return b"Subject: %b\r\n\r\n%b\r\n" % (str(subject).encode(), b"x" * size)


def run(source: GraphSource, cursor: bytes = b"") -> tuple[list[Page], bytes]:
    """One run through the inbox in a session of its own; its pages and its last cursor."""
    with anna(source) as session:
        pages = list(session.changes(inbox(session), cursor))
    return pages, pages[-1].cursor


def ids(pages: list[Page]) -> list[str]:
    return sorted(item.id for page in pages for item in page.items)


def gone(pages: list[Page]) -> list[str]:
    return [id for page in pages for id in page.gone]


def fetched(session: GraphSession, items: list[Item]) -> dict[str, bytes | Failed]:
    """What came of each item."""
    found: dict[str, bytes | Failed] = {}
    for one in session.fetch(inbox(session), items):
        assert one.item.id not in found
        found[one.item.id] = one if isinstance(one, Failed) else b"".join(one.chunks)
    return found


# -- folders ------------------------------------------------------------------------------------------------------


def test_folders_have_their_paths_and_what_they_are_for(box: Box, source: GraphSource) -> None:
    below = box.folder("Kunden", box.inbox)
    box.folder("Müller / Söhne", below)
    box.folder("Clutter", hidden=True)
    box.folder("Archiv", known="archive")
    box.folder("Old", kind="")
    with anna(source) as session:
        found = {one.path: (one.role, one.holds_mail) for one in session.folders()}
    assert found == {
        ("Posteingang",): ("inbox", True),
        ("Posteingang", "Kunden"): ("", True),
        ("Posteingang", "Kunden", "Müller / Söhne"): ("", True),
        ("Gesendete Elemente",): ("sent", True),
        ("Entwürfe",): ("drafts", True),
        ("Gelöschte Elemente",): ("trash", True),
        ("Junk-E-Mail",): ("junk", True),
        ("Clutter",): ("", True),
        ("Archiv",): ("archive", True),
        ("Old",): ("", True),
    }


def test_what_holds_no_mail_of_its_own_is_told_apart(box: Box, source: GraphSource) -> None:
    box.folder("Kalender", kind="IPF.Appointment")
    box.folder("Kontakte", kind="IPF.Contact.MOC.QuickContacts")
    box.folder("Weekly digests", box.inbox, search=True)
    box.folder("Umfragen", kind="IPF.Note.Survey")
    with anna(source) as session:
        found = {one.path[-1]: one.holds_mail for one in session.folders()}
    assert {name for name, holds in found.items() if not holds} == {"Kalender", "Kontakte", "Weekly digests"}


def test_hundreds_of_folders_come_page_by_page(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.page = 7
    for number in range(40):
        top = box.folder(f"{number}")
        box.folder(f"{number} below", top)
    for number in range(20):
        box.folder(f"deep {number}", top)
    with anna(source) as session:
        paths = [one.path for one in session.folders()]
    assert len(paths) == len(set(paths)) == 5 + 80 + 20


def test_a_folder_that_is_deleted_meanwhile_is_no_trouble(graph: MailDouble, box: Box, source: GraphSource) -> None:
    top = box.folder("Top")
    box.folder("Below", top)
    lost = refused(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    graph.faults = [on(f"/{top}/childFolders", lost)]
    with anna(source) as session:
        assert ("Top",) in [one.path for one in session.folders()]


# -- changes ------------------------------------------------------------------------------------------------------


def test_a_round_tells_of_everything_and_the_next_of_what_has_changed(box: Box, source: GraphSource) -> None:
    first, second, third = (box.add(mail(number), received=at(number)) for number in range(3))
    pages, cursor = run(source)
    assert ids(pages) == sorted([first.id, second.id, third.id])

    pages, cursor = run(source, cursor)
    assert (ids(pages), gone(pages)) == ([], [])

    box.change(first, is_read=True)
    box.remove(second)
    fourth = box.add(mail("new"))
    pages, cursor = run(source, cursor)
    assert ids(pages) == sorted([first.id, fourth.id])
    assert [item.flags for page in pages for item in page.items if item.id == first.id] == [("seen",)]
    assert gone(pages) == [second.id]

    pages, _ = run(source, cursor)
    assert (ids(pages), gone(pages)) == ([], [])


def test_a_message_that_is_moved_leaves_one_folder_and_comes_in_another(box: Box, source: GraphSource) -> None:
    target = box.folder("Projekte")
    one = box.add(mail("moved"))
    with anna(source) as session:
        folders = {folder.path[-1]: folder for folder in session.folders()}
        cursors = {name: [*session.changes(folders[name], b"")][-1].cursor for name in ("Posteingang", "Projekte")}
        box.move(one, target)
        left = [*session.changes(folders["Posteingang"], cursors["Posteingang"])]
        came = [*session.changes(folders["Projekte"], cursors["Projekte"])]
    assert (gone(left), ids(left)) == ([one.id], [])
    assert (gone(came), ids(came)) == ([], [one.id])
    assert [item.same for page in came for item in page.items] == [one.id]


def test_moved_away_and_back_within_a_round_it_is_there(box: Box, source: GraphSource) -> None:
    one = box.add(mail("to and fro"))
    _, cursor = run(source)
    box.move(one, box.folder("Projekte"))
    box.move(one, box.inbox)
    pages, _ = run(source, cursor)
    assert (ids(pages), gone(pages)) == ([one.id], [])


def test_what_is_told_of_a_message(box: Box, source: GraphSource) -> None:
    box.add(mail("read", 1000), received="2026-03-01T08:15:30Z", is_read=True, flag="flagged", verb="103")
    draft = box.add(mail("draft"), is_draft=True, verb="104")
    items = {item.id: item for page in run(source)[0] for item in page.items}
    one = next(item for item in items.values() if item.id != draft.id)
    assert one.received == 1_772_352_930_000_000
    assert (one.size, one.flags) == (len(mail("read", 1000)), ("seen", "answered", "flagged"))
    # What is sent at last is not taken for the draft.
    assert (items[draft.id].flags, items[draft.id].same) == (("draft", "forwarded"), "")


def test_a_run_that_breaks_off_goes_on_behind_the_last_page(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.page = 3
    expected = sorted(box.add(mail(number), received=at(number)).id for number in range(10))
    with anna(source) as session:
        changes = session.changes(inbox(session), b"")
        begun = [next(changes), next(changes)]
    pages, _ = run(source, begun[-1].cursor)
    assert len(pages) == 2
    assert sorted(ids(begun) + ids(pages)) == expected


def test_a_cursor_that_exchange_has_forgotten_lists_the_folder_anew(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    """By the same ids as before, so that who knows them fetches nothing again."""
    one = box.add(mail("still there"))
    _, cursor = run(source)
    graph.forget()
    two = box.add(mail("new"))
    pages, cursor = run(source, cursor)
    assert ids(pages) == sorted([one.id, two.id])
    assert ids(run(source, cursor)[0]) == []


def test_a_place_lost_in_the_midst_is_looked_for_from_the_beginning(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    graph.page = 2
    expected = {box.add(mail(number)).id for number in range(5)}
    with anna(source) as session:
        changes = session.changes(inbox(session), b"")
        pages = [next(changes)]
        graph.forget()
        pages += changes
    assert set(ids(pages)) == expected


def test_a_place_lost_again_and_again_is_given_up(graph: MailDouble, box: Box, source: GraphSource) -> None:
    box.add(mail("one"))
    graph.faults = [on("/delta", refused(410, "SyncStateNotFound", "The sync state is not found.")) for _ in range(3)]
    with pytest.raises(UnavailableError, match="again and again"):
        run(source)


@pytest.mark.parametrize("cursor", [b"\x93\x07\x08", b"\xff\xfe", b"17"])
def test_a_cursor_of_another_service_leads_nowhere(box: Box, source: GraphSource, cursor: bytes) -> None:
    with pytest.raises(CursorLostError):
        run(source, cursor)


def test_a_cursor_that_exchange_does_not_take_lists_the_folder_anew(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    one = box.add(mail("one"))
    _, cursor = run(source)
    graph.faults = [on("/delta", refused(400, "BadRequest", "Badly formed token."))]
    assert ids(run(source, cursor)[0]) == [one.id]


def test_a_cursor_does_not_say_whose_mailbox_it_is_of(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.page = 1
    box.add(mail("one"))
    box.add(mail("two"))
    for page in run(source)[0]:
        assert page.cursor.startswith((b"$skiptoken=", b"$deltatoken="))
        assert b"anna" not in page.cursor


def test_a_link_to_another_host_is_not_followed(graph: MailDouble, box: Box, source: GraphSource) -> None:
    box.add(mail("one"))
    body = {"value": [], "@odata.nextLink": "https://evil.example/v1.0/users/x/messages/delta?$skiptoken=1"}
    graph.faults = [on("/delta", Said(body=body))]
    with pytest.raises(UnavailableError, match="another address"):
        run(source)


@pytest.mark.parametrize("body", [{"value": []}, {"value": [{"id": 7}]}, {"value": None}, []])
def test_an_answer_that_makes_no_sense_ends_the_round(
    graph: MailDouble, box: Box, source: GraphSource, body: object
) -> None:
    _, cursor = run(source)
    graph.faults = [on("/delta", Said(body=body))]
    with pytest.raises(UnavailableError):
        run(source, cursor)


def test_a_token_that_expires_between_two_pages_is_renewed(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.page = 2
    expected = sorted(box.add(mail(number)).id for number in range(5))
    found: list[Page] = []
    with anna(source) as session:
        for page in session.changes(inbox(session), b""):
            found.append(page)
            graph.expire()
        items = [item for page in found for item in page.items]
        assert set(fetched(session, items)) == set(expected)
    assert ids(found) == expected


def test_who_is_busy_is_asked_again_after_the_time_it_named(
    graph: MailDouble, box: Box, source: GraphSource, pauses: list[float]
) -> None:
    one = box.add(mail("one"))
    busy = refused(429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
    graph.faults = [
        on("/delta", Said(429, busy.body, {"Retry-After": "17"})),
        on("/delta", Said(503, {"error": {"code": "ServiceUnavailable"}}, {"Retry-After": "5"})),
        on("/$value", Said(429, busy.body, {"Retry-After": "3"})),
    ]
    with anna(source) as session:
        pages = list(session.changes(inbox(session), b""))
        assert fetched(session, list(pages[0].items)) == {one.id: mail("one")}
    assert pauses == [17.0, 5.0, 3.0]


@pytest.mark.parametrize("where", ["/delta", "/$value", "/childFolders"])
def test_who_asks_for_more_patience_than_a_stop_may_take_is_left_alone_by_the_caller(
    graph: MailDouble, box: Box, source: GraphSource, pauses: list[float], where: str
) -> None:
    box.folder("Kunden", box.inbox)
    box.add(mail("one"))
    graph.faults = [on(where, Said(429, {"error": {"code": "ApplicationThrottled"}}, {"Retry-After": "120"}))]
    with pytest.raises(ThrottledError) as told:
        _everything(source)
    assert told.value.seconds == 120
    assert pauses == []


def test_sizes_are_done_without_where_exchange_cannot_tell_them(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    graph.expands = False
    one = box.add(mail("one"))
    pages, cursor = run(source)
    assert [(item.id, item.size) for page in pages for item in page.items] == [(one.id, None)]
    two = box.add(mail("two"))
    assert ids(run(source, cursor)[0]) == [two.id]


def test_a_change_told_in_part_is_asked_for_as_a_whole(graph: MailDouble, box: Box, source: GraphSource) -> None:
    """ "Updated instances are represented by their id with at least the properties that have been updated.\""""
    one, two = box.add(mail("one"), received=at(5), flag="flagged"), box.add(mail("two"))
    _, cursor = run(source)
    box.change(one, is_read=True)
    box.remove(two)
    body = {
        "@odata.deltaLink": f"{graph.url}/v1.0/users/x/mailFolders/y/messages/delta?$deltatoken=1",
        "value": [{"id": one.id, "isRead": True}, {"id": two.id, "isRead": True}],
    }
    graph.faults = [on("/delta", Said(body=body))]
    pages, _ = run(source, cursor)
    assert [(item.id, item.flags) for item in pages[0].items] == [(one.id, ("seen", "flagged"))]


def test_a_mailbox_without_room_for_delta_queries_is_listed(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.page = 2
    expected = [box.add(mail(number), received=at(number)).id for number in range(5)]
    box.full = True
    pages, cursor = run(source)
    assert [item.id for page in pages for item in page.items] == expected  # oldest first
    assert cursor == b""
    box.full = False
    pages, cursor = run(source, cursor)
    assert ids(pages) == sorted(expected)
    box.full = True
    box.add(mail("new"))
    pages, kept = run(source, cursor)
    assert len(ids(pages)) == 6
    assert kept == cursor


def test_a_folder_that_is_deleted_while_it_is_read(box: Box, source: GraphSource) -> None:
    folder = box.folder("Kurz")
    with anna(source) as session:
        found = next(one for one in session.folders() if one.id == folder)
        del box.folders[folder]
        with pytest.raises(UnavailableError, match="no longer there"):
            list(session.changes(found, b""))


# -- messages -----------------------------------------------------------------------------------------------------


def test_the_messages_come_a_few_requests_ahead_and_no_more_than_graph_allows(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    graph.slow = 0.01
    expected = {one.id: one.mime for one in (box.add(mail(number, number)) for number in range(40))}
    with anna(source) as session:
        items = [item for page in session.changes(inbox(session), b"") for item in page.items]
        assert fetched(session, items) == expected
    assert 2 <= graph.most_at_once <= 4


def test_messages_are_told_to_be_made_anew(box: Box, source: GraphSource) -> None:
    one = box.add(mail("one"))
    with anna(source) as session:
        [got] = list(session.fetch(inbox(session), [Item(one.id)]))
    assert isinstance(got, Fetched)
    assert (got.exact, got.size) == (False, len(mail("one")))


def test_a_message_that_is_gone_meanwhile_is_told_so(box: Box, source: GraphSource) -> None:
    one, two = box.add(mail("one")), box.add(mail("two"))
    with anna(source) as session:
        box.remove(one)
        found = fetched(session, [Item(one.id), Item(two.id)])
    assert isinstance(found[one.id], Failed)
    assert found[one.id].gone  # type: ignore[union-attr]
    assert found[two.id] == mail("two")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "ErrorMimeContentConversionFailed"),
        (500, "ErrorContentConversionFailed"),
        (400, "ErrorInvalidRecipients"),
        (413, "ErrorMessageSizeExceeded"),
    ],
)
def test_a_message_that_exchange_cannot_give_stops_no_other(
    box: Box, source: GraphSource, pauses: list[float], status: int, code: str
) -> None:
    broken = box.add(mail("broken"), refused=refused(status, code, "Content conversion failed."))
    well = [box.add(mail(number)) for number in range(6)]
    with anna(source) as session:
        found = fetched(session, [Item(one.id) for one in (well[0], broken, *well[1:])])
    failed = found.pop(broken.id)
    assert isinstance(failed, Failed)
    assert code in failed.why
    assert not failed.gone
    assert found == {one.id: one.mime for one in well}
    assert pauses == []


def test_a_message_that_never_comes_is_told_apart_from_an_outage(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    """Large messages may run into the time limit of a gateway in between, each time."""
    slow, well = box.add(mail("slow"), refused=Said(504, {"error": {"code": "UnknownError"}})), box.add(mail("well"))
    with anna(source) as session:
        found = fetched(session, [Item(slow.id), Item(well.id)])
        assert isinstance(found[slow.id], Failed)
        assert found[well.id] == mail("well")
        graph.faults = [on("", Said(504)) for _ in range(100)]
        with pytest.raises(UnavailableError):
            list(session.fetch(Folder(box.inbox, ("x",)), [Item(slow.id)]))
        graph.faults = []


def test_a_body_that_breaks_off_at_its_beginning_is_asked_for_again(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    one = box.add(mail("one", 5000))
    cut = [Said(body=one.mime[:100], cut=True), Said(body=iter([one.mime[:100]]), cut=True)]
    graph.faults = [on("/$value", said) for said in cut]
    with anna(source) as session:
        assert fetched(session, [Item(one.id)]) == {one.id: one.mime}


def test_a_large_message_whose_connection_ends_while_it_waits_is_asked_for_again(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    large = [box.add(mail(number, 2 * HELD)) for number in range(3)]
    graph.faults = [on(f"{one.id}/$value", Said(body=one.mime[:HELD], cut=True)) for one in large]
    with anna(source) as session:
        assert fetched(session, [Item(one.id) for one in large]) == {one.id: one.mime for one in large}


def test_a_large_message_that_breaks_off_each_time_is_one_failure(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    large, well = box.add(mail("large")), box.add(mail("well"))
    half = b"x" * (3 * 1024 * 1024)
    graph.faults = [on(f"{large.id}/$value", Said(body=half, cut=True)) for _ in range(2)]
    for _ in range(2):
        with anna(source) as session, pytest.raises(UnavailableError):
            fetched(session, [Item(large.id), Item(well.id)])
    with anna(source) as session:
        found = fetched(session, [Item(large.id), Item(well.id)])
    assert isinstance(found[large.id], Failed)
    assert found[well.id] == mail("well")
    with anna(source) as session:  # the next run tries again
        assert fetched(session, [Item(large.id)]) == {large.id: mail("large")}


def test_a_message_of_60_mb_is_as_much_memory_as_a_small_one(box: Box, source: GraphSource) -> None:
    size = 60 * 1024 * 1024
    large = [box.add(mail(number), large=size) for number in range(3)]
    with anna(source) as session:
        list(session.changes(inbox(session), b""))
        tracemalloc.start()
        got = []
        for one in session.fetch(inbox(session), [Item(large_one.id) for large_one in large]):
            assert isinstance(one, Fetched)
            longest = 0
            total = 0
            for chunk in one.chunks:
                longest, total = max(longest, len(chunk)), total + len(chunk)
            got.append((total, longest <= 5 * CHUNK))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert got == [(len(one.mime) + size, True) for one in large]
    assert peak < 24 * 1024 * 1024


_JUNK = Said(body=b"<html>A proxy in between answers itself.</html>")
_LOST = refused(410, "SyncStateNotFound", "The sync state generation is not found.")
_FAULTS = {
    "cut": Said(body=b'{"value": [', cut=True),
    "503": Said(503, {"error": {"code": "ServiceUnavailable", "message": "Try later."}}, {"Retry-After": "1"}),
    "401": Said(401, {"error": {"code": "InvalidAuthenticationToken", "message": "Lifetime validation failed."}}),
    "410": _LOST,
    "junk": _JUNK,
}


@pytest.mark.parametrize("kind", list(_FAULTS))
def test_whichever_request_fails_every_message_comes_as_it_is(
    graph: MailDouble, box: Box, source: GraphSource, kind: str
) -> None:
    """One after the other. Who gets an error opens the mailbox again and goes on behind the last page."""
    graph.page = 2
    below = box.folder("Kunden", box.inbox)
    expected = {one.id: one.mime for one in (box.add(mail(number), ("", below)[number % 2]) for number in range(6))}
    source.open(Account(ANNA, ANNA)).close()  # tokens are another matter
    for number in itertools.count():
        graph.faults = [_possible(on("", _FAULTS[kind], after=number), kind)]
        assert _everything(source) == expected, f"request {number}"
        if graph.faults:
            break  # there are no more requests
    assert number > 20


def _possible(fault: Fault, kind: str) -> Fault:
    """What is in place of a message is taken for one; that a message is gone is taken for true."""

    def wrapped(asked: Asked) -> Said | None:
        said = fault(asked)
        return None if kind in {"junk", "410"} and asked.path.endswith("$value") else said

    return wrapped


def _everything(source: GraphSource) -> dict[str, bytes]:
    """All messages of the mailbox, however often it has to be opened; none comes with other bytes."""
    cursors: dict[str, bytes] = {}
    found: dict[str, bytes] = {}
    for _ in range(4):
        try:
            with anna(source) as session:
                for folder in session.folders():
                    for page in session.changes(folder, cursors.get(folder.id, b"")):
                        for one in session.fetch(folder, [item for item in page.items if item.id not in found]):
                            assert isinstance(one, Fetched)
                            found[one.item.id] = b"".join(one.chunks)
                        cursors[folder.id] = page.cursor
            return found
        except ThrottledError:
            raise
        except (UnavailableError, RemoteDeniedError):
            continue
    raise AssertionError("it never comes to an end")


def test_who_stops_in_the_midst_leaves_nothing_behind(graph: MailDouble, box: Box, source: GraphSource) -> None:
    many = [box.add(mail(number, 2_000_000)) for number in range(8)]
    with anna(source) as session:
        fetching = session.fetch(inbox(session), [Item(one.id) for one in many])
        one = next(fetching)
        assert isinstance(one, Fetched)
        next(iter(one.chunks))
        fetching.close()
    assert sum(path.endswith("$value") for path in graph.paths()) <= 5


# -- who and where ------------------------------------------------------------------------------------------------


def test_a_mailbox_is_found_by_any_of_its_addresses_where_that_is_allowed(
    graph: MailDouble, box: Box, source: GraphSource
) -> None:
    graph.aliases["info@contoso.com"] = ANNA
    one = box.add(mail("one"))
    with pytest.raises(RemoteDeniedError, match=r"knows no user info@contoso\.com.*User\.Read\.All"):
        source.open(Account("info@contoso.com", "info@contoso.com"))
    graph.permissions.add("User.Read.All")
    with source.open(Account("info@contoso.com", "info@contoso.com")) as session:
        pages = list(session.changes(inbox(session), b""))
    assert ids(pages) == [one.id]


def test_a_user_name_with_odd_characters_is_asked_for_as_it_is(graph: MailDouble, source: GraphSource) -> None:
    name = "o'brien+x_fabrikam.com#EXT#@contoso.onmicrosoft.com"
    one = graph.box(name).add(mail("one"))
    with source.open(Account(name, "")) as session:
        assert fetched(session, [Item(one.id)]) == {one.id: mail("one")}


def test_a_domain_is_asked_for_as_microsoft_writes_it(graph: MailDouble, source: GraphSource) -> None:
    one = graph.box("info@xn--mnchen-3ya.example").add(mail("one"))
    with source.open(Account("info@münchen.example", "info@münchen.example")) as session:
        assert fetched(session, [Item(one.id)]) == {one.id: mail("one")}


def test_refusals_say_what_to_do(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.users = [user("ben")]
    with pytest.raises(RemoteDeniedError, match="has no mailbox in Exchange Online"):
        source.open(Account("ben@contoso.com", ""))
    graph.limited_to = {"ben@contoso.com"}
    with pytest.raises(RemoteDeniedError, match=r"Mail\.Read:.*limits the application"):
        anna(source)
    graph.limited_to = None
    graph.permissions = set()
    with pytest.raises(RemoteDeniedError, match=r"Mail\.Read:.*API permissions"):
        anna(source)


def test_accounts_are_a_directorys_to_name_unless_one_is_given(graph: MailDouble, pauses: list[float]) -> None:
    assert list(made(graph, pauses).accounts()) == []
    [one] = made(graph, pauses, user="Anna@Contoso.com").accounts()
    assert (one.id, one.address) == ("Anna@Contoso.com", ANNA)


# -- deleting -----------------------------------------------------------------------------------------------------


def test_nothing_is_deleted_but_what_was_named_and_lies_there(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.permissions = {"Mail.ReadWrite"}
    kept, deleted, vanished, moved, draft = (box.add(mail(name)) for name in "abcde")
    box.remove(vanished)
    box.move(moved, box.folder("Projekte"))
    box.change(draft, is_draft=True)
    with anna(source) as session:
        found = session.delete(inbox(session), [deleted.id, vanished.id, moved.id, draft.id])
    assert found == {deleted.id, vanished.id}
    assert set(box.messages) == {kept.id, moved.id, draft.id}


def test_deleting_takes_its_own_permission(box: Box, source: GraphSource) -> None:
    one = box.add(mail("one"))
    with anna(source) as session, pytest.raises(RemoteDeniedError, match=r"Mail\.ReadWrite"):
        session.delete(inbox(session), [one.id])
    assert one.id in box.messages


# -- the test button ----------------------------------------------------------------------------------------------


def checks(source: Source, *accounts: str) -> dict[str, str]:
    """State and sentence of each thing that was looked at."""
    return {one.what: f"{one.state}: {one.text}" for one in source.check([Account(one, one) for one in accounts])}


def test_a_test_finds_everything_well(graph: MailDouble, box: Box, source: GraphSource) -> None:
    box.add(mail("old"), received=at(1))
    box.add(mail("new", 1234), received=at(2))
    found = checks(source, ANNA)
    assert list(found) == ["sign-in", "folders", "Mail.Read", "Mail.ReadWrite", "User.Read.All"]
    assert found["folders"] == f"ok: “{ANNA}” has 5 folders with mail."
    assert found["Mail.Read"] == "ok: A message of 1,252 B was read from “Posteingang”."
    assert found["Mail.ReadWrite"].startswith("ok: Not granted, and not needed")
    assert found["User.Read.All"] == "ok: Not granted: mailboxes are found by their user names only."
    graph.permissions.add("User.Read.All")
    assert checks(source, ANNA)["User.Read.All"] == "ok: Mailboxes are found by any of their addresses."
    assert len(box.messages) == 2


def test_a_test_names_the_permission_that_is_missing(graph: MailDouble, box: Box, pauses: list[float]) -> None:
    graph.permissions = set()
    assert "takes Microsoft Graph's permission Mail.Read:" in checks(made(graph, pauses), ANNA)[ANNA]
    graph.permissions = {"Mail.Read"}
    wanted = made(graph, pauses, deleting="yes")
    assert checks(wanted, ANNA)["Mail.ReadWrite"].startswith("problem: Nothing can be deleted.")
    graph.permissions = {"Mail.ReadWrite"}
    assert checks(wanted, ANNA)["Mail.ReadWrite"] == "ok: Messages can be deleted."
    assert "is enough to read" in checks(made(graph, pauses), ANNA)["Mail.ReadWrite"]


def test_a_test_tells_of_what_is_wrong_with_the_sign_in(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.secret_expired = True
    found = checks(source, ANNA)
    assert list(found) == ["sign-in"]
    assert found["sign-in"].startswith("problem: The client secret has expired.")


def test_a_certificate_in_place_of_a_secret(graph: MailDouble, box: Box, pauses: list[float]) -> None:
    one = box.add(mail("one"))
    pem, graph.certificate = certificate(days=12)
    source = made(graph, pauses, secret="", certificate=pem)
    assert checks(source, ANNA)["certificate"].startswith("warning: The certificate expires on")
    with anna(source) as session:
        assert fetched(session, [Item(one.id)]) == {one.id: mail("one")}


def test_a_test_looks_at_each_mailbox_and_at_the_clock(graph: MailDouble, box: Box, source: GraphSource) -> None:
    graph.ahead = 1200
    found = checks(source, ANNA, "nobody@contoso.com")
    assert found["clock"].startswith("warning: This machine's clock is 20 minutes behind")
    assert "knows no user" in found["nobody@contoso.com"]
    assert "No mailbox was named" in checks(source)["mailbox"]


# -- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"secret": ""}, "either a client secret or a certificate"),
        ({"client": "x"}, "application .client. id"),
        ({"by": "ews"}, "one of graph, imap"),
        ({"sign_in": "device"}, "neither a secret nor a certificate"),
        ({"timeout": "soon"}, "no time-out"),
        ({"graph": "http://graph.example"}, "https"),
        ({"by": "imap", "graph": "https://graph.example"}, "IMAP server of this cloud"),
        ({"strange": "1"}, "no option “strange”"),
    ],
)
def test_options_that_make_no_sense(more: dict[str, str], says: str) -> None:
    given = {"tenant": TENANT, "client": CLIENT, "secret": SECRET, **more}
    with pytest.raises(UsageError, match=says):
        kinds.check_options("graph", given)


def test_the_kind_is_known_and_its_secrets_are_secret() -> None:
    kinds.check_options("graph", {"tenant": TENANT, "client": CLIENT, "secret": SECRET})
    kinds.check_options("graph", {"tenant": TENANT, "client": CLIENT, "sign_in": "device"})
    assert [one.key for one in KIND.fields if one.secret] == ["secret", "certificate"]
    assert [one.key for one in KIND.fields if one.place] == ["authority", "graph"]


def test_national_clouds_delete_nothing_for_good(graph: MailDouble) -> None:
    source = open_source({"tenant": TENANT, "client": CLIENT, "secret": SECRET, "graph": "https://graph.microsoft.us"})
    assert isinstance(source, GraphSource)
    session = GraphSession(
        Account(ANNA, ANNA), lambda refused="": "x", source._ways, patience=source._ways.patience,
        breaks=source._breaks, sleep=None,
    )  # fmt: skip
    with session, pytest.raises(UsageError, match="deletes nothing for good"):
        session.delete(Folder("x", ("x",)), ["1"])
