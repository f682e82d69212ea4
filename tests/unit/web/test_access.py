"""Reading another's archive on the pages: the chooser, whose mail it is that is shown, and giving the right."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from appliance.services import api, users
from appliance.services.client import ArchiveClient
from tests.scratch import BOX, ScratchArchive, mail
from tests.unit.web.browse import ADMIN, AUDITOR, USER, Browser, signed_in, visible
from tests.unit.web.whole import administering

PRIYA, TOMAS, MEI = "u-2", "u-3", "u-4"


def _with_rights(address: str = USER, *whose: str) -> Browser:
    """A browser of somebody who may read these archives."""
    browser = signed_in(address)
    (id,) = (one.user.id for one in browser.archive.state.accounts.values() if one.user.primary == address)
    browser.archive.rights = {(id, other): "on leave" for other in whose or (TOMAS, MEI)}
    return browser


def _chooser(page: str) -> str:
    found = re.search(r'<nav[^>]*aria-label="Where to search">.*?</nav>', page, re.DOTALL)
    return found.group() if found else ""


def test_who_has_one_archive_sees_no_chooser() -> None:
    assert _chooser(signed_in(USER).get("/").text) == ""


def test_who_may_read_others_chooses_where_to_search() -> None:
    browser = _with_rights()
    chooser = _chooser(browser.get("/?q=budget").text)
    links = dict(re.findall(r'<a href="([^"]*)"[^>]*>([^<]+)', chooser))
    assert links == {
        "/?q=budget": "My mail",
        "/?q=budget&amp;archive=u-4": "Mei Lin",
        "/?q=budget&amp;archive=u-3": "Tomás Ferreira",
        "/?q=budget&amp;archive=all": "All I may read",
    }
    assert chooser.count("aria-current") == 1
    for path, whose in (("/", ""), ("/?archive=u-3", TOMAS), ("/?archive=all", api.ALL), ("/?archive=u-1", "")):
        browser.get(path)
        assert browser.calls("search")[-1]["whose"] == whose, path


def test_the_chosen_archive_is_kept_on_every_way_on() -> None:
    browser = _with_rights()
    page = browser.get("/?archive=u-3&limit=25").text
    assert '<input type="hidden" name="archive" value="u-3">' in page
    assert page.count('name="archive"') == 2, "for the next search and for an export"
    for link in re.findall(r'(?:href|data-pane)="(/(?:m/|\?)[^"]*)"', page):
        if link not in _chooser(page):
            assert "archive=u-3" in link
    theirs = browser.get("/?archive=u-3").text.split('value="m-')[1].split('"')[0]
    message = browser.get(f"/m/m-{theirs}?archive=u-3").text
    for link in re.findall(r'(?:href|src|hx-get)="(/m/[^"]+)"', message):
        assert "archive=u-3" in link
    for path in ("", "/original", "/html"):
        assert browser.get(f"/m/m-{theirs}{path}?archive=u-3").status_code == 200
        assert browser.get(f"/m/m-{theirs}{path}").status_code == 404, "it is not their own"


def test_the_page_says_whose_mail_it_is_and_that_looks_are_recorded() -> None:
    browser = _with_rights()
    text = browser.text("/?archive=u-3")
    assert "From the archive of Tomás Ferreira . Every look is recorded." in text
    assert "messages in the archive of Tomás Ferreira" in text
    assert "Every look is recorded" not in browser.text("/")
    assert "No message in the archive of Tomás Ferreira has all of this" in browser.text("/?archive=u-3&q=xyzzy")
    names = re.findall(r'<span class="hit-subject"><span class="tag[^"]*">([^<]+)<', browser.get("/?archive=all").text)
    assert len(names) == 25
    assert set(names) == {"My mail", "Mei Lin", "Tomás Ferreira"}
    own, theirs = (next(one.id for one in browser.archive.state.messages if id in one.owners) for id in (PRIYA, TOMAS))
    assert "Every look is recorded" not in browser.text(f"/m/{own}?archive=all")
    assert "From the archive of Tomás Ferreira" in browser.text(f"/m/{theirs}?archive=all")


def test_an_export_is_of_the_chosen_archive() -> None:
    browser = _with_rights()
    browser.post("/?archive=u-3", "/exports", {"every": "1", "q": "budget", "archive": "u-3"})
    assert browser.calls("export_begin")[-1]["whose"] == TOMAS
    browser.post("/", "/exports", {"every": "1", "q": "budget", "archive": "u-1"})
    assert browser.calls("export_begin")[-1]["whose"] == ""


def test_a_right_that_was_closed_is_gone_with_the_next_page() -> None:
    browser = _with_rights()
    theirs = next(one.id for one in browser.archive.state.messages if TOMAS in one.owners)
    assert browser.get(f"/m/{theirs}?archive=u-3").status_code == 200
    browser.archive.rights.clear()
    assert browser.get(f"/m/{theirs}?archive=u-3").status_code == 404
    assert "Tomás" not in _chooser(browser.get("/?archive=u-3").text)


def test_an_auditor_with_a_right_has_both_in_one_chooser() -> None:
    browser = _with_rights(AUDITOR, TOMAS)
    page = browser.get("/?archive=u-3&all=1").text
    assert "As an auditor" in _chooser(page)
    assert browser.calls("search")[-1] | {"everywhere": True, "whose": ""} == browser.calls("search")[-1]
    assert "as an auditor. Every look is recorded" in visible(browser.get("/?all=1"))


def _post(browser: Browser, page: str, **fields: str) -> httpx.Response:
    return browser.post(page, f"{page}/access", fields)


def test_an_administrator_opens_and_closes_archives_with_a_reason() -> None:
    browser = signed_in(ADMIN)
    browser.archive.rights.clear()
    page = "/admin/users/u-2"
    assert "Their own archive, and no other." in browser.text(page)
    opened = _post(browser, page, way="reads", address="mei.lin@example.org", reason="on leave")
    assert opened.headers["location"] == f"{page}?note=archive-opened"
    _post(browser, page, way="is-read", address="owen.clarke@example.org", reason="hand-over")
    assert browser.archive.rights == {(PRIYA, MEI): "on leave", ("u-5", PRIYA): "hand-over"}
    text = browser.text(page)
    assert "Mei Lin on leave · since" in text and "Owen Clarke hand-over · since" in text
    fields = {"user": PRIYA, "whose": MEI}
    closed = browser.post(page, f"{page}/access/close", fields)
    assert closed.headers["location"] == f"{page}?note=archive-closed"
    assert browser.archive.rights == {("u-5", PRIYA): "hand-over"}
    assert browser.post(page, f"{page}/access/close", fields).status_code == 404


@pytest.mark.parametrize(
    ("way", "address", "said", "status"),
    [
        ("is-read", "jonas.mueller@example.org", "Ask another administrator", 403),
        ("reads", "nobody@example.org", "No user has the address", 404),
        ("is-read", "mei.lin@example.org", "open to that user already", 409),
    ],
)
def test_what_cannot_be_opened_is_said_on_the_page(way: str, address: str, said: str, status: int) -> None:
    browser = signed_in(ADMIN)
    answer = _post(browser, "/admin/users/u-3", way=way, address=address, reason="because")
    assert answer.status_code == status
    assert said in visible(answer)


def test_an_administrator_finds_no_form_to_open_an_archive_to_themself() -> None:
    browser = signed_in(ADMIN)
    page = browser.get("/admin/users/u-1").text
    assert 'value="reads"' not in page
    assert "another administrator has to do it" in page


def test_opening_archives_is_not_for_others() -> None:
    browser = signed_in(USER)
    answer = browser.post("/", "/admin/users/u-2/access", {"way": "reads", "address": "a@b", "reason": "me"})
    assert answer.status_code == 403
    assert (PRIYA, TOMAS) not in browser.archive.rights


def test_people_see_on_their_account_who_may_read_their_archive() -> None:
    browser = signed_in(USER)
    assert "Nobody but you, and auditors" in browser.text("/account")
    browser.archive.rights = {(MEI, PRIYA): "a reason that is not theirs to know", (PRIYA, TOMAS): "on leave"}
    text = browser.text("/account")
    assert "Mei Lin mei.lin@example.org since" in text
    assert "a reason" not in text
    assert "Archives that you may read Tomás Ferreira" in text


def test_on_a_whole_archive_a_right_is_given_used_and_taken_away(tmp_path: Path) -> None:
    archive = ScratchArchive(tmp_path)
    try:
        anna, sales = archive.user("anna@example.com", name="Anna"), archive.user("sales@example.com", name="Sales")
        archive.receive(mail("An order", sender="x@elsewhere.example", to="sales@example.com"))
        archive.project()
        identity = archive.dispatcher.identity
        code = users.user_invite(archive.archive, BOX, identity, ids=[anna])[0].code
        token = identity.accept_invitation(code=code, password="long enough pass", client="").token
        with administering(archive) as admin:
            page = f"/admin/users/{anna}"
            fields = {"way": "reads", "address": "sales@example.com", "reason": "works in sales"}
            assert admin.post(page, f"{page}/access", fields).status_code == 303
            assert "Sales works in sales · since" in admin.text(page)
            reader = Browser(ArchiveClient(archive.paths.web_socket))
            with reader.client:
                reader.client.cookies.set("mailkeep", token)
                assert "An order" not in reader.text("/")
                found = reader.get(f"/?archive={sales}").text
                (message,) = re.findall(r'href="(/m/[^"]+)"', found)
                assert "From the archive of Sales . Every look is recorded." in reader.text(
                    message.replace("&amp;", "&")
                )
                assert 'class="tag tag-soft">Sales<' in reader.get("/?archive=all").text
                admin.post(page, f"{page}/access/close", {"user": anna, "whose": sales})
                assert reader.get(message.replace("&amp;", "&")).status_code == 404
                assert "An order" not in reader.text(f"/?archive={sales}")
            assert "access.open Sales to Anna reason: works in sales" in admin.text("/oversight/audit?find=access")
            assert "message.open.other Sales:" in admin.text("/oversight/audit?find=message")
    finally:
        archive.close()
