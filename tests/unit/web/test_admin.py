"""What an administrator can do, and what the pages say when it does not work."""

from __future__ import annotations

import pytest

from appliance.services import api
from tests.unit.web.browse import ADMIN, AUDITOR, USER, signed_in, visible


@pytest.mark.parametrize(
    "path", ["/admin", "/admin/mailboxes", "/admin/users", "/oversight/audit", "/oversight/approvals"]
)
def test_administration_is_for_administrators(path: str) -> None:
    answer = signed_in(USER).get(path)
    assert answer.status_code == 403
    assert "an administrator can give it" in visible(answer)


def test_all_is_well_is_said_only_when_it_is() -> None:
    browser = signed_in(ADMIN)
    assert "All is well" in browser.text("/admin")
    for numbers, said in (
        ({"agrees": False}, "The counts do not agree"),
        ({"unlocked": False}, "The archive is locked"),
        ({"backlog": 7, "oldest_unsearchable_seconds": 125.0}, "7 messages on the way"),
        ({"alarms": (api.Alarm("error", "The disk is nearly full.", 0),)}, "The disk is nearly full."),
    ):
        browser.archive.numbers = numbers
        text = browser.text("/admin")
        assert said in text
        assert "All is well" not in text


def test_the_status_page_renews_only_its_numbers() -> None:
    piece = signed_in(ADMIN).get("/admin", **{"HX-Request": "true"})
    assert "<html" not in piece.text
    assert "All is well" in visible(piece)


def test_a_new_mailbox_shows_its_address_and_what_to_do_with_it() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post(
        "/admin/mailboxes/new",
        "/admin/mailboxes/new",
        {
            "name": "Journal",
            "address": "@archive.example.org",
            "unknown": "create",
            "networks": "192.0.2.0/24\n",
            "tls_required": "1",
        },
    )
    page = browser.text(answer.headers["location"])
    assert "sends journal reports to j-7f3k9q2m@archive.example.org" in page
    made = browser.archive.state.mailboxes["b-3"]
    assert (made.unknown, made.networks, made.tls_required) == ("create", ("192.0.2.0/24",), True)


def test_a_mailbox_that_cannot_be_made_leaves_what_was_typed() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/mailboxes/new", "/admin/mailboxes/new", {"name": "Journal", "address": "nonsense"})
    assert answer.status_code == 400
    assert "is not a mail address" in visible(answer)
    assert 'value="nonsense"' in answer.text


def test_a_mailbox_is_suspended_and_resumed() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-1"
    browser.post(page, f"{page}/suspend")
    assert browser.archive.state.mailboxes["b-1"].state == "suspended"
    browser.post(page, f"{page}/resume")
    assert browser.archive.state.mailboxes["b-1"].state == "active"


def test_settings_of_a_mailbox_can_be_taken_back() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-1"
    browser.post(page, page, {"name": "J", "unknown": "ignore", "networks": "192.0.2.1", "tls_required": "1"})
    browser.post(page, page, {"name": "J", "unknown": "keep", "networks": ""})
    box = browser.archive.state.mailboxes["b-1"]
    assert (box.unknown, box.networks, box.tls_required) == ("keep", (), False)


def test_a_mailbox_with_mail_is_not_deleted() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/mailboxes/b-1", "/admin/mailboxes/b-1/delete")
    assert answer.status_code == 409
    assert "holds mail" in visible(answer)
    assert browser.post("/admin/mailboxes/b-2", "/admin/mailboxes/b-2/delete").status_code == 303
    assert list(browser.archive.state.mailboxes) == ["b-1"]


def test_users_are_found_and_edited() -> None:
    browser = signed_in(ADMIN)
    assert "Tomás Ferreira" not in browser.text("/admin/users?find=priya")
    browser.post(
        "/admin/users/u-2",
        "/admin/users/u-2",
        {"name": "Priya R.", "primary": USER, "aliases": "a@example.org; b@example.org\nc@example.org"},
    )
    changed = browser.archive.state.accounts["u-2"].user
    assert changed.name == "Priya R."
    assert changed.aliases == ("a@example.org", "b@example.org", "c@example.org")


def test_all_further_addresses_can_be_taken_away() -> None:
    browser = signed_in(ADMIN)
    browser.post("/admin/users/u-2", "/admin/users/u-2", {"name": "Priya", "primary": USER, "aliases": ""})
    assert browser.archive.state.accounts["u-2"].user.aliases == ()


def test_an_address_that_is_taken_is_said_in_words() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/users/new", "/admin/users/new", {"name": "X", "primary": USER})
    assert answer.status_code == 409
    assert "belongs to somebody already" in visible(answer)


def test_an_import_says_what_is_wrong_line_by_line() -> None:
    browser = signed_in(ADMIN)
    csv = b"primary,aliases,name\nnew@example.org,,New\nnonsense,,X\n"
    answer = browser.post("/admin/users/import", "/admin/users/import", files={"file": ("users.csv", csv, "text/csv")})
    text = visible(answer)
    assert "1 created" in text
    assert "3 “nonsense,,X” has no address" in text


def test_invitations_are_shown_once() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/users", "/admin/users/invite")
    text = visible(answer)
    assert "3 invitations" in text
    assert "http://archive.example.org/welcome#KEEP-U-3-4821" in text
    assert "KEEP-" not in browser.text("/admin/users/u-3")


def test_a_person_can_be_kept_out_and_let_in_again() -> None:
    browser = signed_in(ADMIN)
    browser.post("/admin/users/u-2", "/admin/users/u-2/disable")
    assert browser.archive.state.accounts["u-2"].user.state == "disabled"
    assert "cannot sign in" in browser.text("/admin/users/u-2")
    browser.post("/admin/users/u-2", "/admin/users/u-2/enable")
    assert browser.archive.state.accounts["u-2"].user.state == "active"


def test_a_role_needs_a_reason() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/users/u-2", "/admin/users/u-2/grant", {"role": "admin", "reason": " "})
    assert answer.status_code == 400
    assert "Give a reason" in visible(answer)
    assert browser.archive.state.accounts["u-2"].user.roles == ("user",)


def test_an_auditor_is_appointed_by_two_people() -> None:
    browser = signed_in(ADMIN)
    browser.post("/admin/users/u-2", "/admin/users/u-2/grant", {"role": "auditor", "reason": "case 12"})
    assert "auditor" not in browser.archive.state.accounts["u-2"].user.roles
    assert "Approve" not in browser.text("/oversight/approvals").replace("Approvals", "")
    browser.post("/oversight/approvals", "/sign-out")
    browser.sign_in(AUDITOR)
    assert "case 12" in browser.text("/oversight/approvals")
    browser.post("/oversight/approvals", "/oversight/approvals/q-1/approve")
    assert "auditor" in browser.archive.state.accounts["u-2"].user.roles


def test_a_role_can_be_taken_away() -> None:
    browser = signed_in(ADMIN)
    browser.post("/admin/users/u-0", "/admin/users/u-0/revoke", {"role": "auditor"})
    assert browser.archive.state.accounts["u-0"].user.roles == ("user",)


def test_the_audit_trail_can_be_searched_and_paged() -> None:
    browser = signed_in(ADMIN)
    assert "1–50 of 120" in browser.text("/oversight/audit")
    assert "priya" not in browser.text("/oversight/audit?find=anna")
