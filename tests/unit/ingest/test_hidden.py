"""Who was hidden stays hidden: searches of everybody else answer as if the hidden person were not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ForbiddenError
from appliance.services import reading, users
from appliance.services.principal import Principal
from tests.scratch import BOX, ScratchArchive, mail, report


def _as(box: ScratchArchive, address: str) -> Principal:
    archives = box.view(address).archives
    assert archives is not None
    return Principal(id=next(iter(archives)), roles=frozenset({"user"}), archives=archives)


def _open(box: ScratchArchive, address: str):  # type: ignore[no-untyped-def]
    hit = box.search("*", address).hits[0].id
    return reading.message(box.archive, _as(box, address), id=hit)


def test_a_bcc_is_known_to_the_sender_the_recipient_and_an_auditor(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "boss"):
        box.user(f"{name}@example.com")
    box.receive(report(mail("Secret"), "To: ben@example.com", "Bcc: boss@example.com"))
    box.project()
    for query in ("bcc:boss@example.com", "participant:boss", "boss@example.com", "bos*", "bcc:example.com"):
        assert box.total(query, "anna@example.com") == 1, query
        assert box.total(query, "boss@example.com") == 1, query
        assert box.total(query) == 1, query
    for query in ("bcc:boss@example.com", "participant:boss", "boss@example.com", "bos*", "bcc:example.com"):
        assert box.total(query, "ben@example.com") == 0, query
    assert box.total("-boss", "ben@example.com") == 1

    def envelope(address: str) -> set[str]:
        view = _open(box, address)
        return {line.address for line in view.envelope.recipients} | {one.address for one in view.bcc}

    assert envelope("anna@example.com") == envelope("boss@example.com") == {"ben@example.com", "boss@example.com"}
    assert envelope("ben@example.com") == {"ben@example.com"}


def test_members_of_a_group_are_known_to_themselves_and_an_auditor_only(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "carla"):
        box.user(f"{name}@example.com")
    box.receive(
        report(
            mail("For the board", to="board@example.com"),
            "To: ben@example.com, Expanded: board@example.com",
            "To: carla@example.com, Expanded: board@example.com",
        )
    )
    box.project()
    assert box.total("participant:carla", "carla@example.com") == 1
    assert box.total("participant:carla") == 1
    assert box.total("participant:carla", "anna@example.com") == 0
    assert box.total("participant:carla", "ben@example.com") == 0
    assert box.total("participant:board@example.com", "anna@example.com") == 1


def test_the_sender_of_one_report_learns_nothing_of_anothers_bcc(box: ScratchArchive) -> None:
    for name in ("anna", "mallory", "boss", "zoe"):
        box.user(f"{name}@example.com")
    original = mail("Copied", to="mallory@example.com")
    box.receive(
        report(original, "To: mallory@example.com", "Bcc: boss@example.com"),
        report(original, "To: zoe@example.com", sender="mallory@example.com"),
    )
    box.project()
    assert box.total("bcc:boss", "mallory@example.com") == 0
    assert "boss" not in str(_open(box, "mallory@example.com"))
    assert box.total("bcc:boss", "anna@example.com") == 1


def test_the_header_of_a_plain_copy_does_not_tell_of_the_hidden(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "boss"):
        box.user(f"{name}@example.com")
    box.receive(mail("Copy", to="ben@example.com", headers="Bcc: boss@example.com\nDelivered-To: boss@example.com"))
    box.project()
    assert "boss" not in str(_open(box, "ben@example.com"))
    assert "boss" in str(_open(box, "boss@example.com"))
    assert box.total("boss", "ben@example.com") == 0


def test_for_every_bcc_of_the_truth_other_owners_find_what_they_would_find_without_it(
    tmp_path: Path, corpora: Path, tools: Path
) -> None:
    folder = tmp_path / "reports"
    generator = [sys.executable, str(tools / "journalgen.py"), str(corpora / "eml"), str(folder), "--count", "250"]
    subprocess.run([*generator, "--users", "30"], check=True, timeout=120, capture_output=True)
    truth = [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]
    with_bcc = ScratchArchive(tmp_path / "with")
    without = ScratchArchive(tmp_path / "without")
    hidden: dict[str, set[str]] = {}
    for box in (with_bcc, without):
        users.user_import(box.archive, BOX, csv=(folder / "users.csv").read_bytes())
    holder = {
        address: one.primary
        for one in users.users(with_bcc.archive, BOX, limit=100).users
        for address in (one.primary, *one.aliases)
    }
    records: dict[ScratchArchive, list[bytes]] = {with_bcc: [], without: []}
    for one in truth:
        raw = (folder / one["file"]).read_bytes()
        if one["variant"] in ("base64", "quoted-printable") or b"quoted-printable" in raw.partition(b"Sender: ")[0]:
            continue  # its envelope cannot be edited line by line
        envelope, mark, rest = raw.partition(b"message/rfc822")
        shown = [line for line in envelope.splitlines(keepends=True) if not line.startswith(b"Bcc: ")]
        records[with_bcc] += with_bcc.receive(raw)
        records[without] += without.receive(b"".join(shown) + mark + rest)
        for recipient in one["recipients"]:
            if recipient["kind"] == "bcc":
                knows = {recipient["address"], recipient["forwarded_from"], one["sender"], one["on_behalf_of"]}
                for address in filter(None, (recipient["address"], recipient["forwarded_from"])):
                    hidden.setdefault(address, set()).update(holder.get(one, "") for one in knows)
    for box in records:
        box.project()

    # Ids are keyed by archive: a message is compared by the first record that it came in with.
    first = {
        box: {box.archive.catalogue.message_of_record(record): n for n, record in reversed(list(enumerate(found)))}
        for box, found in records.items()
    }

    def found(box: ScratchArchive, query: str, user: str) -> set[int]:
        return {first[box][hit.id] for hit in box.search(query, user).hits}

    people = sorted({one for one in holder.values() if "@" in one})
    assert len(hidden) > 20
    compared = 0
    for address, knowing in sorted(hidden.items())[:25]:
        local = address.partition("@")[0]
        for other in [one for one in people if one not in knowing][:6]:
            # What somebody owns only as a Bcc recipient is theirs in one of the two archives: leave that out.
            common = found(without, "*", other)
            queries = [f"bcc:{address}", f"participant:{address}", f'"{address}"', f"-{address}"]
            if not any(other in others for one, others in hidden.items() if one.startswith(local[:-1])):
                queries.append(f"{local[:-1]}*")  # otherwise it finds somebody whom this user may know of
            for query in queries:
                assert found(with_bcc, query, other) & common == found(without, query, other), (query, other)
                compared += len(common)
    assert compared
    with_bcc.close()
    without.close()


def _everything(box: ScratchArchive, address: str) -> str:
    return str(_open(box, address))


def test_a_line_about_somebody_in_the_open_does_not_tell_who_was_behind_it(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "carla", "boss", "member"):
        box.user(f"{name}@example.com")
    box.receive(
        report(
            mail("Both ways", to="ben@example.com, carla@example.com"),
            "To: ben@example.com",
            "To: carla@example.com",
            "Bcc: ben@example.com, Expanded: board@example.com",
            "Bcc: ben@example.com, Forwarded: boss@example.com",
            "Cc: ben@example.com, Expanded: staff@example.com, Forwarded: member@example.com",
        )
    )
    box.project()
    for hidden in ("board", "boss", "member"):
        assert hidden not in _everything(box, "carla@example.com"), hidden
        assert box.total(hidden, "carla@example.com") == 0, hidden
        assert box.total(hidden) == 1, hidden
    assert box.total("participant:ben", "carla@example.com") == 1
    assert box.total("boss", "boss@example.com") == box.total("boss", "anna@example.com") == 1
    assert "bcc" not in {line.kind for line in _open(box, "carla@example.com").envelope.recipients}


def test_that_somebody_was_hidden_is_hidden_too(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "boss"):
        box.user(f"{name}@example.com")
    box.receive(
        report(mail("With"), "To: ben@example.com", "Bcc: boss@example.com"),
        report(mail("Without"), "To: ben@example.com"),
    )
    box.project()
    views = [
        reading.message(box.archive, _as(box, "ben@example.com"), id=hit.id)
        for hit in box.search("*", "ben@example.com").hits
    ]
    assert views[0].envelope == views[1].envelope


def test_no_header_names_the_hidden_whatever_it_is_called(box: ScratchArchive) -> None:
    for name in ("anna", "ben", "boss"):
        box.user(f"{name}@example.com")
    box.receive(
        report(
            mail(
                "Traced",
                to="ben@example.com",
                headers="Received: from a by b for <Boss@Example.com>; Fri, 20 Nov 2026 08:15:03 +0000\n"
                "X-Original-Recipient: rfc822;boss@example.com\nX-Kept: for ben@example.com",
            ),
            "To: ben@example.com",
            "Bcc: boss@example.com",
        )
    )
    box.project()
    assert "boss" not in _everything(box, "ben@example.com").lower()
    assert "X-Kept" in _everything(box, "ben@example.com")
    assert "X-Original-Recipient" in _everything(box, "anna@example.com")
    message = box.search("*", "ben@example.com").hits[0].id
    with pytest.raises(ForbiddenError):
        reading.original(box.archive, _as(box, "ben@example.com"), id=message)
    assert b"Boss" in b"".join(reading.original(box.archive, _as(box, "boss@example.com"), id=message).chunks)
