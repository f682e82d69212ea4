"""What a Google Workspace's directory says, asked of a strict double of Google's services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.directory import kinds
from appliance.directory.base import Listing, Person
from appliance.directory.google import open_directory
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from tests.doubles.google import ADMIN, CLIENT, MEMBERS, USERS, GoogleDouble, error, user
from tests.doubles.https import Asked, Said, on, serving


@pytest.fixture
def google(tmp_path: Path) -> Iterator[GoogleDouble]:
    """A Workspace, whose API found nothing to complain about."""
    double = GoogleDouble(tmp_path / "google")
    with serving(double):
        yield double
    assert double.complaints == []


class Workspace:
    """The directory of the double, with these options; ``pauses`` are the seconds that were waited, without waiting."""

    def __init__(self, google: GoogleDouble) -> None:
        self.google = google
        self.key = google.key()
        self.pauses: list[float] = []

    def options(self, **options: str) -> dict[str, str]:
        return {"key": self.key, "admin": ADMIN, **options}

    def people(self, **options: str) -> Listing:
        google = self.google
        directory = open_directory(self.options(**options), host=google.url, tls=google.tls, sleep=self.pauses.append)
        return directory.people(lambda _done, _total: None)

    def check(self, **options: str) -> dict[str, str]:
        """State and sentence of each thing that was looked at."""
        google = self.google
        directory = open_directory(self.options(**options), host=google.url, tls=google.tls, sleep=self.pauses.append)
        return {one.what: f"{one.state}: {one.text}" for one in directory.check()}


@pytest.fixture
def workspace(google: GoogleDouble) -> Workspace:
    return Workspace(google)


def test_a_person_has_the_workspaces_addresses_and_no_private_ones(google: GoogleDouble, workspace: Workspace) -> None:
    anna = user("anna.berg", "Anna@Example.com", nonEditableAliases=["anna.berg@xn--mnchen-3ya.example"])
    google.users = [anna]
    assert workspace.people().people == (
        Person(
            id=anna["id"],
            name="Anna Berg",
            addresses=("anna.berg@example.com", "anna@example.com", "anna.berg@münchen.example"),
        ),
    )


def test_a_user_of_the_fewest_fields(google: GoogleDouble, workspace: Workspace) -> None:
    google.users = [{"id": "1", "primaryEmail": "anna@example.com"}]
    assert workspace.people().people == (Person("1", "anna@example.com", ("anna@example.com",)),)


def test_suspended_and_archived_accounts_are_disabled(google: GoogleDouble, workspace: Workspace) -> None:
    google.users = [user("anna"), user("bob", suspended=True), user("carl", archived=True)]
    assert [one.state for one in workspace.people().people] == ["active", "disabled", "disabled"]


def test_deleted_accounts_are_marked_and_do_not_keep_what_others_have_now(
    google: GoogleDouble, workspace: Workspace
) -> None:
    new, old = user("anna"), user("anna", "former@example.com", nonEditableAliases=[])
    google.users, google.deleted = [new], [old]
    assert [(one.id, one.state, one.addresses) for one in workspace.people().people] == [
        (new["id"], "active", ("anna@example.com", "anna@example.com.test-google-a.com")),
        (old["id"], "deleted", ("former@example.com",)),
    ]


def test_who_is_deleted_while_the_list_is_read_is_deleted(google: GoogleDouble, workspace: Workspace) -> None:
    anna, bob = user("anna"), user("bob")
    google.users, google.deleted = [anna, bob], [bob]
    found = workspace.people()
    assert [(one.name, one.state) for one in found.people] == [("Anna", "active"), ("Bob", "deleted")]
    assert found.excluded == 0


def test_only_what_is_needed_is_asked_for(google: GoogleDouble, workspace: Workspace) -> None:
    google.delegated = {USERS}
    google.users = [user("anna")]
    assert len(workspace.people().people) == 1
    asked = next(one for one in google.asked if one.path.endswith("/users"))
    assert asked.query["fields"] == (
        "kind,nextPageToken,users(id,primaryEmail,name/fullName,aliases,nonEditableAliases,suspended,archived,orgUnitPath)"
    )


class TestSelecting:
    """Groups and organizational units."""

    def test_members_of_groups(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.users = [user(f"user{number}") for number in range(9)]
        google.group("sales@example.com", *google.users[:4])
        google.group("board@example.com", *google.users[3:5])
        google.groups["board@example.com"].append({"email": "guest@fabrikam.example", "type": "EXTERNAL"})
        google.page = 2
        found = workspace.people(groups="sales@example.com\nboard@example.com")
        assert [one.id for one in found.people] == [one["id"] for one in google.users[:5]]
        assert found.excluded == 4

    def test_a_group_of_everybody(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.users = [user("anna"), user("bob")]
        google.groups["all@example.com"] = [{"id": "C01abcdef", "type": "CUSTOMER"}]
        assert len(workspace.people(groups="all@example.com").people) == 2

    def test_units_with_all_below_them(self, google: GoogleDouble, workspace: Workspace) -> None:
        units = ("/", "/Sales", "/Sales/Europe", "/Salesforce", "/Support")
        google.users = [user(f"user{number}", unit=unit) for number, unit in enumerate(units)]

        def selected(text: str) -> list[str]:
            return [one.name for one in workspace.people(units=text).people]

        assert selected("/Sales") == ["User1", "User2"]
        assert selected("sales/europe/; /Support") == ["User2", "User4"]
        assert len(selected("/")) == 5

    def test_both_have_to_fit(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.users = [user("anna", unit="/Sales"), user("bob", unit="/Sales"), user("carl")]
        google.group("staff@example.com", google.users[1], google.users[2])
        found = workspace.people(groups="staff@example.com", units="/Sales")
        assert [one.name for one in found.people] == ["Bob"]
        assert found.excluded == 2

    def test_deleted_accounts_are_in_no_group_and_listed_all_the_same(
        self, google: GoogleDouble, workspace: Workspace
    ) -> None:
        google.users, google.deleted = [user("anna"), user("bob")], [user("gone")]
        google.group("staff@example.com", google.users[0])
        assert [one.name for one in workspace.people(groups="staff@example.com").people] == ["Anna", "Gone"]

    def test_what_selects_nobody_is_an_error_and_no_empty_list(
        self, google: GoogleDouble, workspace: Workspace
    ) -> None:
        google.users = [user("anna")]
        google.group("empty@example.com")
        with pytest.raises(UsageError, match=r"There is no group “staff@example\.com”"):
            workspace.people(groups="staff@example.com")
        with pytest.raises(UsageError, match="No user of the Workspace is in the group"):
            workspace.people(groups="empty@example.com")
        with pytest.raises(UsageError, match="No user is in the organizational unit “/Sals”"):
            workspace.people(units="/Sals")


class TestManyAndBroken:
    """Long lists, and what goes wrong in the middle of them: all or an error."""

    @pytest.fixture(autouse=True)
    def thousand(self, google: GoogleDouble) -> None:
        google.users = [user(f"user{number:04}") for number in range(1000)]
        google.page = 300

    def everybody(self, workspace: Workspace) -> None:
        found = workspace.people()
        assert [one.addresses[0] for one in found.people] == [f"user{number:04}@example.com" for number in range(1000)]

    def test_a_thousand(self, workspace: Workspace) -> None:
        self.everybody(workspace)

    def test_five_thousand_tell_how_far_they_are(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.users = [user(f"user{number:04}") for number in range(5000)]
        google.page = 500
        told: list[tuple[int, int | None]] = []
        directory = open_directory(workspace.options(), host=google.url, tls=google.tls)
        assert len(directory.people(lambda done, total: told.append((done, total))).people) == 5000
        assert told[0] == (500, None)
        assert told[-1] == (5000, 5000)

    def test_busy(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.faults = [
            on("/users", Said(429, headers={"Retry-After": "9"}), after=1),
            on("/users", error(403, "quotaExceeded", "Quota exceeded for quota metric 'Queries'"), after=2),
            on("/users", error(403, "userRateLimitExceeded", "User Rate Limit Exceeded."), after=3),
            on("/users", Said(503), after=4),
        ]
        self.everybody(workspace)
        assert workspace.pauses[0] == 9.0
        assert len(workspace.pauses) >= 2

    def test_the_token_expires_in_the_middle(self, google: GoogleDouble, workspace: Workspace) -> None:
        def expiring(asked: Asked) -> Said | None:
            if "pageToken" in asked.query:
                google.expire()
                google.faults.remove(expiring)
            return None

        google.faults = [expiring]
        self.everybody(workspace)
        assert google.paths().count("/token") == 2

    def test_the_key_is_deleted_in_the_middle(self, google: GoogleDouble, workspace: Workspace) -> None:
        def deleted(asked: Asked) -> Said | None:
            if "pageToken" in asked.query:
                google.expire()
                google.withdraw_keys()
            return None

        google.faults = [deleted]
        with pytest.raises(RemoteDeniedError, match="does not accept the service account's key"):
            workspace.people()

    @pytest.mark.parametrize("status", [400, 410])
    def test_a_place_that_is_lost_begins_the_list_again(
        self, google: GoogleDouble, workspace: Workspace, status: int
    ) -> None:
        google.faults = [on("/users", error(status, "invalid", "Invalid Input: page_token"), after=3)]
        self.everybody(workspace)

    def test_a_place_that_is_lost_for_ever_is_an_error(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.faults = [
            on("/users", error(410, "updatedMinTooLongAgo", "Gone"), after=number) for number in (1, 2, 3, 4)
        ]
        with pytest.raises(UnavailableError, match="lost its place"):
            workspace.people()

    def test_a_cut_connection(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.faults = [on("/users", Said(body={"kind": "admin#directory#users"}, cut=True), after=1)]
        self.everybody(workspace)

    @pytest.mark.parametrize("body", [b"<html>", {}, {"kind": "admin#directory#groups"}, {"users": []}, []])
    def test_an_answer_of_something_else(self, google: GoogleDouble, workspace: Workspace, body: object) -> None:
        google.faults = [on("/users", Said(body=body), after=1)]
        with pytest.raises(UnavailableError, match="cannot be read"):
            workspace.people()

    def test_pages_in_circles_end(self, google: GoogleDouble, workspace: Workspace) -> None:
        circle = Said(body={"kind": "admin#directory#users", "nextPageToken": "x"})
        google.faults = [on("/users", circle) for _ in range(3)]
        with pytest.raises(UnavailableError, match="circles"):
            workspace.people()

    def test_no_user_at_all_is_an_error(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.users = []
        with pytest.raises(UnavailableError, match="no user at all"):
            workspace.people()


class TestChecking:
    """The test button."""

    @pytest.fixture(autouse=True)
    def somebody(self, google: GoogleDouble) -> None:
        google.users = [user("anna", unit="/Sales")]
        google.group("staff@example.com", *google.users)

    def test_all_is_well(self, workspace: Workspace) -> None:
        said = workspace.check(groups="staff@example.com", units="/Sales")
        assert list(said) == ["sign-in", "users", "deleted accounts", "groups", "organizational units"]
        assert all(one.startswith("ok: ") for one in said.values())

    @pytest.mark.parametrize(("scope", "what"), [(USERS, "sign-in"), (MEMBERS, "groups")])
    def test_a_scope_that_was_not_delegated_is_named(
        self, google: GoogleDouble, workspace: Workspace, scope: str, what: str
    ) -> None:
        google.delegated.remove(scope)
        said = workspace.check(groups="staff@example.com")
        assert said[what].startswith("problem: ")
        assert scope in said[what]
        assert CLIENT in said[what]
        with pytest.raises(RemoteDeniedError, match="Domain-wide delegation"):
            workspace.people(groups="staff@example.com")

    def test_an_administrator_of_nowhere(self, workspace: Workspace) -> None:
        assert "There is no boss@elsewhere.example" in workspace.check(admin="boss@elsewhere.example")["sign-in"]

    def test_somebody_who_is_no_administrator(self, workspace: Workspace) -> None:
        said = workspace.check(admin="anna@example.com")
        assert said["sign-in"].startswith("ok: ")
        assert "may not read this (forbidden)" in said["users"]

    def test_an_api_that_is_not_enabled(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.faults = [on("/users", error(403, "accessNotConfigured", "Admin SDK API has not been used"))]
        assert "Admin SDK API is not enabled" in workspace.check()["users"]

    def test_a_key_that_was_deleted(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.withdraw_keys()
        said = workspace.check()
        assert list(said) == ["sign-in"]
        assert "does not accept the service account's key" in said["sign-in"]

    def test_a_clock_that_is_wrong(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.ahead = 1800
        assert workspace.check()["clock"].startswith(
            "warning: This machine's clock is 30 minutes behind that of Google."
        )
        google.ahead = 7200
        assert "Set this machine's clock" in workspace.check()["sign-in"]

    def test_a_group_that_is_empty_or_not_there(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.group("empty@example.com")
        assert "has no members" in workspace.check(groups="empty@example.com")["groups"]
        assert "There is no group" in workspace.check(groups="none@example.com")["groups"]
        assert "No user is in" in workspace.check(units="/Sals")["organizational units"]

    def test_an_unknown_authority_is_not_trusted(self, google: GoogleDouble, workspace: Workspace) -> None:
        directory = open_directory(workspace.options(), host=google.url, sleep=workspace.pauses.append)
        assert "cannot be trusted" in next(iter(directory.check())).text
        assert google.asked == []

    def test_the_token_service_is_busy(self, google: GoogleDouble, workspace: Workspace) -> None:
        google.faults = [on("/token", Said(503)), on("/token", Said(429, headers={"Retry-After": "3"}))]
        assert len(workspace.people().people) == 1
        assert workspace.pauses == [1.0, 3.0]

    @pytest.mark.parametrize("body", [b"<html>", {}, [], {"access_token": 5}])
    def test_the_token_service_answers_something_else(
        self, google: GoogleDouble, workspace: Workspace, body: object
    ) -> None:
        google.faults = [on("/token", Said(body=body))]
        with pytest.raises(MailkeepError) as told:
            workspace.people()
        assert "PRIVATE KEY" not in repr(told.value)


def test_options_that_make_no_sense(google: GoogleDouble) -> None:
    key = google.key()
    kinds.check_options("google", {"key": key, "admin": ADMIN})
    read = json.loads(key)
    for change, words in (
        ({"key": "{"}, "whole JSON file"),
        ({"key": json.dumps({**read, "type": "authorized_user"})}, "no service account's key"),
        ({"key": json.dumps({**read, "private_key": "x"})}, "cannot be read"),
        ({"key": json.dumps({**read, "token_uri": "http://oauth2.example/token"})}, "https"),
        ({"admin": "boss"}, "mail address"),
        ({"admin": ""}, "needs: Administrator"),
        ({"domain": "x"}, "has no option"),
    ):
        with pytest.raises(UsageError, match=words):
            kinds.check_options("google", {"key": key, "admin": ADMIN, **change})
