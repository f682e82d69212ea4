"""What an administrator can do, and what the pages say when it does not work."""

from __future__ import annotations

import pytest

from appliance.services import api
from tests.unit.web.browse import ADMIN, AUDITOR, USER, signed_in, visible
from tests.unit.web.double import MAILBOX_PASSWORD, MAILBOX_TOKEN


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
        ({"alarms": (api.Alarm(level="error", text="The disk is nearly full.", since=0),)}, "The disk is nearly full."),
    ):
        browser.archive.numbers = numbers
        text = browser.text("/admin")
        assert said in text
        assert "All is well" not in text


def test_the_status_page_renews_only_its_numbers() -> None:
    piece = signed_in(ADMIN).get("/admin", **{"HX-Request": "true"})
    assert "<html" not in piece.text
    assert "All is well" in visible(piece)


NEW = "/admin/mailboxes/new"


def test_a_new_mailbox_shows_its_password_once() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post(
        NEW,
        NEW,
        {
            "name": "Journal",
            "address": "@archive.example.org",
            "unknown": "create",
            "aliases": "one@archive.example.org\ntwo@archive.example.org",
            "catch_all": "old.example.org",
            "networks": "192.0.2.0/24\n",
            "tls_required": "1",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    text = visible(answer)
    assert MAILBOX_PASSWORD in text and "j-7f3k9q2m@archive.example.org" in text
    assert "opens all mail of the mailbox" in text
    made = browser.archive.state.mailboxes["b-4"]
    assert (made.unknown, made.networks, made.tls_required) == ("create", ("192.0.2.0/24",), True)
    assert made.aliases == ("one@archive.example.org", "two@archive.example.org")
    assert made.catch_all == ("old.example.org",)
    page = browser.text("/admin/mailboxes/b-4")
    assert MAILBOX_PASSWORD not in page
    assert "sends journal reports to j-7f3k9q2m@archive.example.org" in page


def test_a_sealed_mailbox_is_made_with_a_warning() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post(NEW, NEW, {"name": "Council", "address": "c@archive.example.org", "sealed": "1"})
    assert "If it is lost, the mail is lost" in visible(answer)
    assert browser.archive.state.mailboxes["b-4"].sealed
    assert "sealed" in browser.text("/admin/mailboxes")


def test_a_sealed_mailbox_erases_what_is_pulled_or_old() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-3"
    assert "Delete after pull" in browser.text(page)
    assert "Delete after pull" not in browser.text("/admin/mailboxes/b-1")
    browser.post(page, page, {"name": "Council", "retention_days": "30"})
    box = browser.archive.state.mailboxes["b-3"]
    assert (box.delete_after_pull, box.retention_days) == (False, 30)
    wrong = browser.post(page, page, {"name": "Council", "retention_days": "soon"})
    assert wrong.status_code == 400
    assert "Enter the days as a number" in visible(wrong)
    assert browser.archive.state.mailboxes["b-3"].retention_days == 30


def test_how_a_mailbox_is_pulled_stands_on_its_page() -> None:
    page = signed_in(ADMIN).text("/admin/mailboxes/b-1")
    assert "995" in page and "POP3" in page and "j-4c91f0aa27@archive.example.org" in page


def test_a_new_password_is_written_down_before_it_counts() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-3/password"
    assert MAILBOX_PASSWORD in browser.text(page)
    fields = {"proposed": "A" * 24, "old": MAILBOX_PASSWORD}
    unkept = browser.post(page, page, fields)
    assert unkept.status_code == 400
    assert "Write the new password down first" in visible(unkept)
    assert browser.archive.state.mailbox_passwords == {}
    wrong = browser.post(page, page, {**fields, "kept": "1", "old": "something else"})
    assert wrong.status_code == 401
    assert "A" * 24 in wrong.text, "what was written down stays the same"
    assert "something else" not in wrong.text
    done = browser.post(page, page, {**fields, "kept": "1"})
    assert done.headers["location"] == "/admin/mailboxes/b-3?note=mailbox-password"
    assert browser.archive.state.mailbox_passwords == {"b-3": "A" * 24}


def test_a_token_is_shown_once_and_taken_away() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-2/tokens/new"
    assert browser.post(page, page, {"name": " "}).status_code == 400
    made = browser.post(page, page, {"name": "backup"})
    assert MAILBOX_TOKEN in visible(made)
    assert made.headers["cache-control"] == "no-store"
    mailbox = browser.text("/admin/mailboxes/b-2")
    assert "backup" in mailbox and MAILBOX_TOKEN not in mailbox
    browser.post("/admin/mailboxes/b-2", "/admin/mailboxes/b-2/tokens/00000001/remove")
    assert "backup" not in browser.text("/admin/mailboxes/b-2")


def test_a_mailbox_that_cannot_be_made_leaves_what_was_typed() -> None:
    browser = signed_in(ADMIN)
    answer = browser.post("/admin/mailboxes/new", "/admin/mailboxes/new", {"name": "Journal", "address": "nonsense"})
    assert answer.status_code == 400
    assert "is not a mail address" in visible(answer)
    assert 'value="nonsense"' in answer.text


def test_a_mailbox_is_suspended_disabled_and_resumed() -> None:
    browser = signed_in(ADMIN)
    page = "/admin/mailboxes/b-1"
    browser.post(page, f"{page}/suspend")
    assert browser.archive.state.mailboxes["b-1"].state == "suspended"
    browser.post(page, f"{page}/disable")
    assert browser.archive.state.mailboxes["b-1"].state == "disabled"
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
    assert list(browser.archive.state.mailboxes) == ["b-1", "b-3"]


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
