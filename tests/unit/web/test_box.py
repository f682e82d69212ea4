"""The pages about the box: its certificate, and what the doctor finds. Administrators only."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.web.box_double import TERMS
from tests.unit.web.browse import ADMIN, USER, signed_in, visible

CERTIFICATE, DOCTOR = "/admin/certificate", "/admin/doctor"


@pytest.mark.parametrize("page", [CERTIFICATE, DOCTOR])
def test_who_is_no_administrator_sees_neither_page(page: str) -> None:
    browser = signed_in(USER)
    assert browser.get(page).status_code in (403, 404)


def test_the_certificate_in_use_is_shown_with_what_is_wrong_with_it() -> None:
    browser = signed_in(ADMIN)
    assert "3,651 days left" in browser.text(CERTIFICATE)
    browser.archive.shown = msgspec.structs.replace(
        browser.archive.shown, source="own", days_left=-3.0, problems=("It ended on 2026-11-17.",)
    )
    words = browser.text(CERTIFICATE)
    assert "This certificate does not do" in words
    assert "It ended on 2026-11-17." in words
    assert "Renew now" not in words  # one that was brought is renewed where it came from


def test_the_terms_of_an_authority_come_before_anything_is_asked_of_it() -> None:
    browser = signed_in(ADMIN)
    typed = {"contact": "it@example.org", "directory": "https://authority.example/dir", "names": "mail.example.org"}
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/acme", typed)
    assert answer.status_code == 200
    assert TERMS in answer.text
    assert browser.calls("certificate_acme") == []
    assert 'value="it@example.org"' in answer.text
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/acme", {**typed, "agree": "1"})
    assert answer.status_code == 303
    (asked,) = browser.calls("certificate_acme")
    assert (asked["agree"], asked["contact"], asked["names"]) == (True, "it@example.org", ("mail.example.org",))
    assert "hx-get" in browser.get(CERTIFICATE).text


def test_an_authority_that_is_not_reached_is_told_of_on_the_page() -> None:
    browser = signed_in(ADMIN)
    browser.archive.refused = "The authority cannot be reached."
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/acme", {"directory": "https://authority.example/dir"})
    assert answer.status_code == 503
    assert "The authority cannot be reached." in visible(answer)


def test_the_page_is_loaded_anew_when_the_certificate_is_there() -> None:
    browser = signed_in(ADMIN)
    browser.archive.add_job("certificate", "running")
    live = browser.get(CERTIFICATE, **{"HX-Request": "true"})
    assert "The authority looks at port 80" in live.text
    assert "hx-refresh" not in live.headers
    browser.archive.state.jobs.clear()
    browser.archive.add_job("certificate", "failed", message="The authority refused: no.")
    live = browser.get(CERTIFICATE, **{"HX-Request": "true"})
    assert live.headers["hx-refresh"] == "true"
    assert "The authority refused: no." in browser.text(CERTIFICATE)


def test_files_are_handed_on_as_they_are_and_what_is_wrong_with_them_is_said() -> None:
    browser = signed_in(ADMIN)
    files = {"certificate": ("a.pem", b"-----BEGIN CERTIFICATE-----"), "key": ("k.pem", b"-----BEGIN PRIVATE KEY-----")}
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/own", {"password": "of the key"}, files=files)
    assert answer.status_code == 303
    (given,) = browser.calls("certificate_own")
    assert list(given["content"]) == [b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PRIVATE KEY-----"]
    assert given["password"] == "of the key"
    browser.archive.refused = "The certificate is for a.example, not for b.example. Nothing was changed."
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/own", {}, files={"certificate": ("a.p12", b"0\x82")})
    assert answer.status_code == 422 or answer.status_code == 400
    assert "Nothing was changed" in visible(answer)


def test_a_file_that_is_no_certificate_by_its_size_goes_nowhere() -> None:
    browser = signed_in(ADMIN)
    files = {"certificate": ("movie.mp4", b"x" * (1024 * 1024 + 1))}
    answer = browser.post(CERTIFICATE, f"{CERTIFICATE}/own", {}, files=files)
    assert "too large" in visible(answer)
    assert browser.calls("certificate_own") == []


def test_self_signed_and_renewed_ones_are_asked_for() -> None:
    browser = signed_in(ADMIN)
    assert browser.post(CERTIFICATE, f"{CERTIFICATE}/self-signed").status_code == 303
    assert browser.post(CERTIFICATE, f"{CERTIFICATE}/renew").status_code == 303
    assert len(browser.calls("certificate_self_signed")) == len(browser.calls("certificate_renew")) == 1


def test_the_doctor_looks_when_asked_and_tells_the_worst_first_with_how_to_mend_it() -> None:
    browser = signed_in(ADMIN)
    assert "Nothing was looked at yet" in browser.text(DOCTOR)
    assert browser.post(DOCTOR, DOCTOR).status_code == 303
    assert "Looking" in browser.text(DOCTOR)
    browser.post(DOCTOR, DOCTOR)
    assert len(browser.calls("doctor_begin")) == 1  # one is under way
    browser.archive.state.jobs.clear()
    browser.archive.add_job("doctor", "done")
    words = browser.text(DOCTOR)
    assert words.index("exim4 listens") < words.index("mx.provider.example") < words.index("There is none, or")
    assert "systemctl disable --now exim4" in words
    assert "2 things to look at" in words
