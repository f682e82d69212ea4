"""Who gets in, what the browser is told to keep, and that no other site can act for a person."""

from __future__ import annotations

import pytest

from tests.unit.web.browse import ADMIN, AUDITOR, USER, Browser, signed_in, visible
from tests.unit.web.double import PASSWORD, SETUP_CODE, TOTP_CODE, ArchiveDouble


def test_a_page_asks_for_sign_in_and_comes_back_to_itself() -> None:
    browser = Browser()
    answer = browser.get("/m/m-1?all=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fm%2Fm-1%3Fall%3D1"
    page = browser.get(answer.headers["location"])
    assert 'name="next" value="/m/m-1?all=1"' in page.text
    after = browser.sign_in(AUDITOR, next="/m/m-1?all=1")
    assert after.headers["location"] == "/m/m-1?all=1"


def test_signing_in_never_leads_to_another_site() -> None:
    assert Browser().sign_in(USER, next="https://evil.example/").headers["location"] == "/"


def test_the_session_cookie_is_out_of_reach_of_scripts() -> None:
    header = Browser().sign_in(USER).headers["set-cookie"].lower()
    assert header.startswith("mailkeep=")
    assert "httponly" in header
    assert "samesite=lax" in header


def test_under_tls_cookies_are_secure_and_belong_to_this_host_alone() -> None:
    browser = Browser(secure=True)
    first = browser.get("/sign-in")
    assert first.headers["set-cookie"].startswith("__Host-mailkeep-form=")
    assert "max-age=" in first.headers["strict-transport-security"]
    header = browser.sign_in(USER).headers["set-cookie"]
    assert header.startswith("__Host-mailkeep=")
    assert "Secure" in header
    assert "Domain" not in header


def test_a_wrong_password_is_said_in_words_and_opens_nothing() -> None:
    browser = Browser()
    answer = browser.sign_in(USER, "wrong")
    assert answer.status_code == 401
    assert "After ten tries there is a pause" in visible(answer)
    assert f'value="{USER}"' in answer.text
    assert "wrong" not in answer.text
    assert browser.get("/").status_code == 303


def test_the_second_step_is_passed_on() -> None:
    browser = Browser()
    browser.archive.state.accounts["u-2"].totp = True
    assert browser.sign_in(USER).status_code == 401
    assert browser.sign_in(USER, totp="123 456").status_code == 303


def test_guessing_is_counted_by_the_browsers_own_address() -> None:
    browser = Browser()
    browser.client.headers["x-forwarded-for"] = "203.0.113.9"
    browser.sign_in(USER, "wrong")
    assert browser.calls("sign_in") == [{"client": "testclient"}]


def test_signing_out_ends_the_session_at_the_archive() -> None:
    browser = signed_in(USER)
    assert browser.post("/", "/sign-out").status_code == 303
    assert browser.archive.state.sessions == {}
    assert browser.get("/").status_code == 303


def test_an_ended_session_leads_to_the_sign_in_page_and_its_cookie_goes() -> None:
    browser = signed_in(USER)
    browser.archive.state.sessions.clear()
    answer = browser.get("/exports")
    assert answer.headers["location"] == "/sign-in?next=%2Fexports"
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_a_piece_of_a_page_asked_for_without_a_session_leads_the_whole_page_to_sign_in() -> None:
    answer = Browser().get("/exports", **{"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/sign-in"


@pytest.mark.parametrize("path", ["/exports", "/sign-out", "/account/password", "/appearance", "/sign-in"])
def test_a_form_without_its_token_changes_nothing(path: str) -> None:
    browser = signed_in(USER)
    before = len(browser.archive.state.calls)
    answer = browser.client.post(path, data={"every": "1"}, follow_redirects=False)
    assert answer.status_code == 403
    assert "nothing was changed" in visible(answer)
    assert len(browser.archive.state.calls) == before


def test_a_token_of_another_session_is_refused() -> None:
    theirs, mine = signed_in(AUDITOR), signed_in(USER)
    page = theirs.get("/").text
    token = page.split('name="form_token" value="')[1][:64]
    answer = mine.client.post("/exports", data={"every": "1", "form_token": token}, follow_redirects=False)
    assert answer.status_code == 403


def test_a_form_sent_from_another_site_is_refused_even_with_its_token() -> None:
    browser = signed_in(USER)
    answer = browser.post("/", "/exports", {"every": "1"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert browser.calls("export_begin") == []


def test_forms_stay_good_when_the_web_process_is_started_anew() -> None:
    browser = signed_in(USER)
    page = browser.get("/").text
    token = page.split('name="form_token" value="')[1][:64]
    again = Browser(browser.archive)
    again.client.cookies.update(browser.client.cookies)
    answer = again.client.post("/exports", data={"every": "1", "form_token": token}, follow_redirects=False)
    assert answer.status_code == 303


def test_a_fresh_box_leads_to_its_set_up_page_and_makes_the_administrator() -> None:
    browser = Browser(ArchiveDouble(first=True))
    assert browser.get("/sign-in").headers["location"] == "/setup"
    fields = {
        "code": SETUP_CODE,
        "name": "Ada",
        "address": "ada@example.org",
        "password": "a long enough one",
        "again": "a long enough one",
    }
    wrong = browser.post("/setup", "/setup", {**fields, "code": "guess"})
    assert wrong.status_code == 401
    assert 'value="ada@example.org"' in wrong.text
    done = browser.post("/setup", "/setup", fields)
    assert done.headers["location"] == "/admin"
    assert browser.get("/admin").status_code == 200
    assert browser.get("/setup").headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    ("password", "again", "said"), [("short", "short", "too short"), ("x" * 12, "y" * 12, "not the same")]
)
def test_a_password_that_is_short_or_mistyped_is_not_taken(password: str, again: str, said: str) -> None:
    browser = Browser()
    answer = browser.post("/welcome", "/welcome", {"code": "KEEP-1", "password": password, "again": again})
    assert answer.status_code == 400
    assert said in visible(answer)
    assert browser.calls("accept_invitation") == []


def test_an_invitation_sets_a_password_once() -> None:
    browser = Browser()
    browser.archive.state.accounts["u-4"].invitation = "KEEP-1"
    fields = {"code": " KEEP-1 ", "password": "a long enough one", "again": "a long enough one"}
    assert browser.post("/welcome", "/welcome", fields).status_code == 303
    assert browser.get("/").status_code == 200
    assert Browser(browser.archive).post("/welcome", "/welcome", fields).status_code == 401


def test_who_needs_a_second_step_gets_nothing_else_before_it_is_set_up() -> None:
    browser = Browser()
    browser.archive.state.accounts["u-1"].totp_required = True
    browser.sign_in(ADMIN)
    for path in ("/", "/admin", "/exports", "/m/m-1"):
        assert browser.get(path).headers["location"] == "/account/two-step"
    page = browser.get("/account/two-step")
    assert "data:image/svg+xml;base64," in page.text
    assert browser.post("/account/two-step", "/account/two-step", {"code": "000000"}).status_code == 400
    assert browser.post("/account/two-step", "/account/two-step", {"code": TOTP_CODE}).status_code == 303
    assert browser.get("/admin").status_code == 200


def test_changing_the_password_needs_the_present_one() -> None:
    browser = signed_in(USER)
    new = {"password": "another long one", "again": "another long one"}
    assert browser.post("/account", "/account/password", {"old": "wrong", **new}).status_code == 400
    assert browser.post("/account", "/account/password", {"old": PASSWORD, **new}).status_code == 303
    assert Browser(browser.archive).sign_in(USER, "another long one").status_code == 303


def test_the_choice_of_dark_is_kept() -> None:
    browser = Browser()
    answer = browser.post("/sign-in", "/appearance", {"theme": "dark", "back": "/welcome"})
    assert answer.headers["location"] == "/welcome"
    assert 'data-theme="dark"' in browser.get("/welcome").text
