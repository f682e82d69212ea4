"""Whose a message is: from the envelope, through the addresses that people held when it came in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from appliance.services import users
from tests.scratch import BOX, ScratchArchive, mail, report


def test_every_known_person_of_the_envelope_owns_it_and_nobody_else(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "carla", "dora", "emil", "frieda"):
        box.user(f"{name}@example.com", f"{name}.alias@example.com")
    box.receive(
        report(
            mail("Quarterly figures"),
            "To: ben.alias@example.com",
            "Bcc: carla@example.com",
            "To: dora@example.com, Expanded: sales@example.com",
            "To: partner@vendor.example, Forwarded: emil@example.com",
            sender="ANNA@example.com",
        )
    )
    box.project()
    owners = {
        name for name in ["anna", "ben", "carla", "dora", "emil", "frieda"] if box.total("*", f"{name}@example.com")
    }
    assert owners == {"anna", "ben", "carla", "dora", "emil"}
    assert box.total("*") == 1


def test_mail_of_nobody_is_unassigned_until_somebody_holds_the_address(box: ScratchArchive) -> None:
    box.receive(report(mail("Late"), "To: later@example.com", sender="x@elsewhere.example"))
    box.project()
    assert box.archive.catalogue.counts().unassigned == 1
    box.user("someone@example.com", "later@example.com")
    box.project()
    assert box.total("subject:late", "someone@example.com") == 1
    assert box.archive.catalogue.counts().unassigned == 0


def test_nobody_inherits_the_mail_of_an_address_held_by_another_then(box: ScratchArchive) -> None:
    first = box.user("info@example.com", "first@example.com")
    box.receive(report(mail("For the first"), "To: info@example.com", sender="a@b.example"), at=time.time())
    box.project()
    users.user_change(box.archive, BOX, id=first, primary="first@example.com", aliases=())
    box.user("second@example.com", "info@example.com")
    box.receive(report(mail("For the second"), "To: info@example.com", sender="a@b.example"), at=time.time() + 1)
    box.project()
    assert [hit.subject for hit in box.search("*", "first@example.com").hits] == ["For the first"]
    assert [hit.subject for hit in box.search("*", "second@example.com").hits] == ["For the second"]


def test_an_unknown_colleague_is_seen_by_the_administrator_even_where_others_own_the_mail(box: ScratchArchive) -> None:
    box.user("anna@example.com")
    box.receive(report(mail(), "To: nobody-yet@example.com"), report(mail("Outside"), "To: x@vendor.example"))
    box.project()
    assert box.archive.catalogue.counts().unassigned == 1


def test_the_rule_create_makes_users_of_the_companys_own_domains_only(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path, unknown="create", domains=["example.com"])
    box.receive(report(mail(), "To: ben@example.com", "To: x@vendor.example", sender="anna@example.com"))
    box.project()
    found = {one.primary for one in users.users(box.archive, BOX).users}
    assert found == {"admin", "anna@example.com", "ben@example.com"}
    assert box.total("*", "ben@example.com") == 1
    box.close()


def test_the_rule_ignore_keeps_the_mail(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path, unknown="ignore")
    box.receive(report(mail("Kept"), "To: nobody@example.com", sender="x@y.example"))
    box.project()
    assert box.total("kept") == 1
    box.close()


def test_the_journal_mailbox_is_nobodys_address(box: ScratchArchive) -> None:
    box.user("anna@example.com")
    box.receive(mail("Plain copy", to="journal@archive.test"))
    box.project()
    assert box.total("*", "anna@example.com") == 1
    assert box.total("participant:journal@archive.test") == 0


@pytest.fixture(scope="module")
def reports(corpora: Path, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    generator = [sys.executable, str(tools / "journalgen.py"), str(corpora / "eml"), str(folder), "--count", "2000"]
    subprocess.run([*generator, "--users", "60"], check=True, timeout=120, capture_output=True)
    return folder


def test_two_thousand_reports_are_assigned_exactly_as_the_truth_says(box: ScratchArchive, reports: Path) -> None:
    users.user_import(box.archive, BOX, csv=(reports / "users.csv").read_bytes())
    truth = [json.loads(line) for line in (reports / "truth.jsonl").read_text().splitlines()]
    people = {}
    for line in (reports / "users.csv").read_text().splitlines()[1:]:
        primary, aliases, _ = line.split(",")
        people.update(dict.fromkeys([primary, *filter(None, aliases.split(";"))], primary))
    expected: dict[str, set[str]] = defaultdict(set)
    for one in truth:
        addresses = [one["sender"], one["on_behalf_of"]]
        for recipient in one["recipients"]:
            addresses += [recipient["address"], recipient["forwarded_from"]]
        for address in filter(None, addresses):
            if address in people:
                expected[people[address]].add(one["original_sha256"])
    records = box.receive(*((reports / one["file"]).read_bytes() for one in truth))
    box.project()
    message_of = {
        one["original_sha256"]: box.archive.catalogue.message_of_record(record)
        for one, record in zip(truth, records, strict=True)
    }
    for address in sorted(set(people.values())):
        found = {hit.id for start in range(0, 2000, 500) for hit in _page(box, address, start)}
        assert found == {message_of[digest] for digest in expected[address]}, address
        assert box.total("*", address) == len(found)


def _page(box: ScratchArchive, address: str, start: int):  # type: ignore[no-untyped-def]
    from appliance.services.searching import search_view

    return search_view(box.archive, box.view(address), query="*", offset=start, limit=500).hits
