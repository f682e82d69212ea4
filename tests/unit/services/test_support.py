"""The support bundle: what helps is in it, and nothing that is nobody's business, whatever the archive holds."""

from __future__ import annotations

import io
import json
import time
import zipfile

import pytest

from appliance.errors import ForbiddenError
from appliance.host.units import LogLine, Unit, Units
from appliance.services import auditing
from appliance.services.principal import Principal
from appliance.services.pseudonyms import Pseudonyms
from appliance.services.wire import Call
from appliance.settings import events
from tests.scratch import BOX, DOOR, ScratchArchive, mail, report

SECRETS = (
    "the-smtp-password", "the-webhook-secret-of-32-characters", "hooks-token-in-the-url", "wJalrXUtnFEMIK7MDENGbPx",
    "admin-passphrase-in-no-log",
)  # fmt: skip
NAMES = (
    "anna", "berg", "example.com", "example.org", "archive.test", "mail.internal", "minio.office", "192.0.2.77",
    "2001:db8::7", "bucket-of-acme", "sales department",
)  # fmt: skip
SUBJECTS = ("quarterly", "redundancies", "budget", "xylophone")


def bundle(box: ScratchArchive) -> dict[str, str]:
    """A bundle's files, made and fetched as the command line does it."""
    job = box.dispatcher.from_box(Call(method="support_begin"), BOX)
    while job.finished_at is None:
        time.sleep(0.02)
        job = box.dispatcher.jobs.get(BOX, id=job.id)
    assert job.state == "done", job.message
    answer = box.dispatcher.from_box(Call(method="support_download", params={"id": job.id}), BOX)
    content = b"".join(answer.chunks)
    assert len(content) == answer.head.size
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        return {name: made.read(name).decode() for name in made.namelist()}


def fill(box: ScratchArchive) -> None:
    """Mail, people, settings with secrets, searches: all that must not be handed on."""
    box.user("anna.berg@example.com", "anna@example.org", name="Anna Berg")
    box.receive(
        report(mail("Quarterly redundancies", "budget words", sender="anna.berg@example.com"), "To: ben@example.org"),
        mail("Xylophone"),
    )
    box.project()
    box.archive.record(
        BOX,
        events.RemotePut(
            "cellar", "s3", {"secret_access_key": SECRETS[3], "endpoint": "https://minio.office.example.com"},
            "bucket-of-acme/mail", paused=True,
        ),
    )  # fmt: skip
    box.archive.record(
        BOX,
        events.NotifyingSet(
            host="mail.internal", user="anna.berg@example.com", password=SECRETS[0], sender="archive@example.com",
            recipients=("anna@example.org",), url=f"https://hooks.example.org/{SECRETS[2]}", secret=SECRETS[1],
        ),
    )  # fmt: skip
    box.dispatcher.from_box(
        Call(method="mailbox_change", params={"id": box.mailbox.id, "name": "Sales department"}), BOX
    )
    box.dispatcher.from_box(Call(method="local_search", params={"query": "xylophone from:anna.berg@example.com"}), BOX)
    box.dispatcher.from_box(Call(method="export_begin", params={"query": "budget", "everywhere": True}), BOX)


LOG = (
    "sign-in failed from 192.0.2.77",
    "a connection of [2001:db8::7]:4711 broke off",
    f"451 for <{DOOR}> from mx1.example.com (anna.berg@example.com)",
    "minio.office.example.com cannot be reached; mail.internal:587 refused",
    "appliance.services.status: a call failed in mailkeep-gateway@1.service at /usr/lib/mailkeep/x.py",
)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with what processes could say at worst."""
    lines = tuple(LogLine(1_795_435_200_000_000 + number, "gateway", "info", text) for number, text in enumerate(LOG))
    gateway = Unit("mailkeep-gateway@1.service", "gateway", "", "running")
    monkeypatch.setattr(Units, "logs", lambda _self, _part="", *, lines=0, _lines=lines: _lines)
    monkeypatch.setattr(Units, "states", lambda _self: (gateway,))


def test_nothing_of_mail_people_or_secrets_is_in_a_bundle(box: ScratchArchive, logs: None) -> None:
    fill(box)
    files = bundle(box)
    recovery = box.created.recovery_key
    for name, text in files.items():
        low = text.lower()
        for word in (
            *NAMES,
            *SUBJECTS,
            *map(str.lower, SECRETS),
            recovery.lower(),
            box.paths.keyfile.read_text().strip(),
        ):
            assert word not in low, f"{word} is in {name}"


def test_what_helps_is_in_a_bundle(box: ScratchArchive, logs: None) -> None:
    fill(box)
    files = bundle(box)
    assert {"README.txt", "versions.json", "status.json", "settings.json", "files.csv", "metrics.txt", "log.txt",
            "alarms.json", "jobs.json", "audit.csv", "doctor.json", "services.json", "system.json",
            "replication.json"} == set(files)  # fmt: skip
    assert json.loads(files["status.json"])["records"] == 2
    settings = json.loads(files["settings.json"])
    assert settings["remotes"][0]["kind"] == "s3" and settings["remotes"][0]["options"] == [
        "endpoint",
        "secret_access_key",
    ]
    assert settings["mailboxes"][0]["mailbox"] == box.mailbox.id
    assert "settings.db" in files["files.csv"] and f"volumes/{box.mailbox.id}/" in files["files.csv"]
    assert "mailbox.create" in files["audit.csv"]
    assert "appliance.services.status: a call failed in mailkeep-gateway@1.service" in files["log.txt"]
    assert "cryptography" in files["versions.json"]
    assert isinstance(json.loads(files["doctor.json"]), list)


def test_equal_names_look_equal_within_and_across_bundles(box: ScratchArchive, logs: None) -> None:
    fill(box)
    first, second = bundle(box), bundle(box)
    address = json.loads(first["settings.json"])["mailboxes"][0]["address"]
    assert address.startswith("address-") and address in first["log.txt"] and address in second["log.txt"]


def test_a_part_that_cannot_be_made_says_why_and_keeps_the_others(
    box: ScratchArchive, logs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Units, *_given: object, **_named: object) -> None:
        raise RuntimeError("the journal of box.example.com is gone")

    monkeypatch.setattr(Units, "logs", broken)
    files = bundle(box)
    assert files["log.txt"].startswith("RuntimeError: the journal of host-")
    assert "records" in files["status.json"]


def test_bundles_are_for_administrators_and_leave_a_line(box: ScratchArchive, logs: None) -> None:
    with pytest.raises(ForbiddenError):
        box.dispatcher.from_box(Call(method="support_begin"), Principal(id="u1", roles=frozenset({"auditor"})))
    bundle(box)
    actions = [line.action for line in auditing.audit(box.archive, BOX, find="support").lines]
    assert actions == ["support.download", "support.begin"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("127.0.0.1 and ::1 and 0.0.0.0", "127.0.0.1 and ::1 and 0.0.0.0"),
        ("at 12:30:45 in volume g0-00000001.mkv of 000102030405060708090a0b0c0d0e0f", None),
        ("version 3.11.2, SQLite 3.40.1", None),
        ("File /usr/lib/mailkeep/appliance/services/status.py, line 3", None),
    ],
)  # fmt: skip
def test_what_is_no_name_stays(text: str, kept: str | None) -> None:
    assert Pseudonyms(b"k").redact(text) == (kept or text)


@pytest.mark.parametrize(
    "text",
    ["Anna Berg signed in", "ANNA BERG", "mail to anna.berg+x@sub.example.com.", "host MX1.Example.COM:25",
     "from 203.0.113.9", "from 2001:db8:0:1::5", "user=anna.berg@example.com;", "grüße@exämple.de"],
)  # fmt: skip
def test_names_go_in_every_spelling(text: str) -> None:
    made = Pseudonyms(b"k", people=["Anna Berg"]).redact(text).lower()
    for part in ("anna", "berg", "example", "203.0.113.9", "2001:db8", "exämple", "grüße"):
        assert part not in made
