"""A locked archive in the browser: every page says so, and whoever has the passphrase or recovery key unlocks it."""

from __future__ import annotations

import pytest

from tests.unit.web.browse import USER, Browser, signed_in, visible
from tests.unit.web.double import PASSPHRASE, RECOVERY_KEY, ArchiveDouble


@pytest.fixture
def locked() -> Browser:
    archive = ArchiveDouble()
    archive.locked = True
    return Browser(archive)


@pytest.mark.parametrize("path", ["/sign-in", "/setup", "/unlock"])
def test_a_page_that_needs_no_session_is_the_way_to_unlock(locked: Browser, path: str) -> None:
    said = visible(locked.get(path))
    assert "The archive is locked" in said
    assert "Mail is still received" in said


@pytest.mark.parametrize("path", ["/", "/?q=budget", "/m/m-1", "/exports", "/account", "/oversight/audit"])
def test_every_page_of_somebody_who_is_signed_in_says_that_it_is_locked(path: str) -> None:
    browser = signed_in(USER)
    browser.archive.locked = True
    answer = browser.get(path)
    assert answer.status_code == 503
    assert "The archive is locked" in visible(answer)
    assert "Retry-After" in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_piece_of_a_page_sends_the_whole_page_to_unlock() -> None:
    browser = signed_in(USER)
    browser.archive.locked = True
    assert browser.get("/?q=budget", **{"HX-Request": "true"}).headers["HX-Redirect"] == "/unlock"


def test_the_passphrase_unlocks_and_leads_back_to_where_one_was() -> None:
    browser = signed_in(USER)
    browser.archive.locked = True
    answer = browser.post("/?q=budget", "/unlock", {"passphrase": PASSPHRASE, "back": "/?q=budget"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=budget")
    assert browser.get("/?q=budget").status_code == 200
    assert browser.calls("unlock") == [{"client": "testclient"}]


def test_the_recovery_key_unlocks_too_and_who_is_not_signed_in_is_asked_to(locked: Browser) -> None:
    answer = locked.post("/unlock", "/unlock", {"recovery_key": f" {RECOVERY_KEY.lower()} ", "back": "/"})
    assert answer.headers["location"] == "/sign-in?note=unlocked"
    assert "The archive is unlocked" in locked.text("/sign-in?note=unlocked")


def test_a_wrong_passphrase_is_told_and_not_repeated_in_the_page(locked: Browser) -> None:
    answer = locked.post("/unlock", "/unlock", {"passphrase": "three words of five"})
    assert answer.status_code == 400
    assert "not right" in visible(answer)
    assert "three words of five" not in answer.text
    assert locked.archive.locked


def test_a_slip_in_the_recovery_key_shows_its_form_again(locked: Browser) -> None:
    answer = locked.post("/unlock", "/unlock", {"recovery_key": "nonsense"})
    assert "slip" in visible(answer)
    assert "<details" in answer.text and " open>" in answer.text


def test_without_a_passphrase_only_the_recovery_key_is_asked_for(locked: Browser) -> None:
    locked.archive.has_passphrase = False
    page = locked.get("/unlock").text
    assert 'name="recovery_key"' in page
    assert 'name="passphrase"' not in page


def test_nobody_is_sent_to_another_site(locked: Browser) -> None:
    answer = locked.post("/unlock", "/unlock", {"passphrase": PASSPHRASE, "back": "//evil.example"})
    assert answer.headers["location"].startswith("/sign-in")
    assert locked.get("/unlock?back=//evil.example").headers["location"] == "/"


def test_a_form_from_another_site_unlocks_nothing(locked: Browser) -> None:
    answer = locked.client.post("/unlock", data={"passphrase": PASSPHRASE}, follow_redirects=False)
    assert answer.status_code == 403
    assert locked.archive.locked


def test_an_open_page_goes_on_by_itself_when_somebody_else_unlocked(locked: Browser) -> None:
    assert "HX-Redirect" not in locked.get("/unlock/state?back=/exports").headers
    locked.archive.locked = False
    assert locked.get("/unlock/state?back=/exports").headers["HX-Redirect"] == "/exports"
    assert locked.get("/unlock").status_code == 303
