"""Metrics: each is documented, nothing documented is missing, no address is in them, and a locked box tells some."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.errors import SignInError
from appliance.mail.published import WorkerStats, encode, stats_path
from appliance.services import api, metrics
from appliance.services.alarms.conditions import Certificate
from appliance.services.dispatch import Dispatcher
from appliance.services.locked import Locked
from appliance.services.looking import Looking
from appliance.services.metrics import MailboxCount, Measured, exposition
from appliance.services.wire import Call
from tests.scratch import BOX, DOOR, ScratchArchive, mail
from tests.unit.services.test_locked import FakeAgent

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "monitoring.md"


def everything() -> Measured:
    """An archive of which all can be told."""
    replica = api.ReplicaState(
        name="nas", state="current", last_at=1, checked_at=2, rehearsed_at=3, free=4, waiting=5, objects=6,
    )  # fmt: skip
    status = api.Status(
        version="1", started_at=1, unlocked=True, unlocks_itself=True, records=9, projected=8, messages=7, indexed=6,
        unassigned=1, unparsed=1, users=2, mailboxes=1, volumes=3, volumes_signed=2, backlog=1,
        oldest_unsearchable_seconds=4.5, last_message_at=5, per_minute=(), log_bytes=10, index_bytes=11, disk_free=12,
        disk_total=13, accepted=1, refused=1, deferred=1, replicas=(replica,),
        alarms=(api.Alarm(level="error", text="", since=1, kind="disk"),),
    )  # fmt: skip
    return Measured(
        status=status, now=10.0, disk_used=0.5, processes={"archiver": True, "agent": False},
        workers=(
            WorkerStats(0, 1, 0, 0, accepted=5, reasons={"unknown": 2}, turned_away={"door@archive.test": 3}),
        ),
        doors={"door@archive.test": "ab" * 16},
        certificate=Certificate(12.5, 365), wrong_tries=4, mailboxes=(MailboxCount("ab" * 16, 9, 100, 5.0),),
        jobs=(api.JobInfo("1", "export", "x", "done"),),
    )  # fmt: skip


def families(text: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by name and labels, as a real reader of the format understands them."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_what_is_documented_is_there_and_what_is_there_is_documented() -> None:
    documented = set(re.findall(r"^\| `(mailkeep_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    told = {name for name in families(exposition(everything())) if not name.endswith("_created")}
    assert told == documented
    assert len(documented) > 40


def test_no_address_and_no_person_is_in_a_label(box: ScratchArchive) -> None:
    assert b"archive.test" not in exposition(everything())
    box.user("anna@example.com", name="Anna Berg")
    box.receive(mail("A subject of its own"))
    box.project()
    text = metrics.Metrics(box.archive, box.dispatcher.jobs, Looking(box.archive)).text()
    for word in ("example.com", "archive.test", "Anna", "subject", DOOR):
        assert word not in text
    assert box.mailbox.id in text


def test_the_figures_are_those_of_the_archive(box: ScratchArchive) -> None:
    box.receive(mail("One"), mail("Two"))
    box.project()
    box.receive(mail("Three"))
    worker = WorkerStats(0, 1, 0, int(box.archive.clock() * 1e6), accepted=3, bytes=999)
    stats_path(box.paths.data, 0).parent.mkdir(parents=True, exist_ok=True)
    stats_path(box.paths.data, 0).write_bytes(encode(worker))
    found = families(box.dispatcher.from_web(Call(method="metrics", params={"on_the_box": True})))
    assert found["mailkeep_records"] == {(): 3} and found["mailkeep_backlog_records"] == {(): 1}
    assert found["mailkeep_messages_searchable"] == {(): 2} and found["mailkeep_unlocked"] == {(): 1}
    assert found["mailkeep_gateway_accepted_total"] == {(("worker", "0"),): 3}
    assert found["mailkeep_mailbox_records"] == {(("mailbox", box.mailbox.id),): 3}
    up = {dict(labels)["process"]: value for labels, value in found["mailkeep_process_up"].items()}
    assert up["archiver"] == 1 and up["gateway-0"] == 1 and up["agent"] == 0
    assert up["projector"] == 1, "this process holds the index"
    assert found["mailkeep_only_here_records"] == {(): 3}


def test_metrics_are_for_who_has_the_token_or_sits_at_the_box(box: ScratchArchive) -> None:
    dispatcher = box.dispatcher

    def read(dispatcher: Dispatcher | Locked = dispatcher, **given: object) -> bytes:
        answer: bytes = dispatcher.from_web(Call(method="metrics", params=given))
        return answer

    assert read(on_the_box=True)
    with pytest.raises(SignInError, match="metrics token"):
        read()
    token = dispatcher.from_box(Call(method="metrics_token_make"), BOX)
    assert read(secret=token)
    for wrong in ({"on_the_box": True}, {"secret": token[:-1]}, {"secret": "x", "on_the_box": True}, {}):
        with pytest.raises(SignInError):
            read(**wrong)
    assert token not in str(box.paths.settings.read_bytes())
    locked = Locked(box.paths, FakeAgent())  # type: ignore[arg-type]
    assert b"mailkeep_unlocked 0.0" in read(locked, secret=token)
    with pytest.raises(SignInError):
        read(locked, on_the_box=True)
    second = dispatcher.from_box(Call(method="metrics_token_make"), BOX)
    with pytest.raises(SignInError):
        read(secret=token)
    dispatcher.from_box(Call(method="metrics_token_remove"), BOX)
    with pytest.raises(SignInError):
        read(secret=second)
    assert read(on_the_box=True) and read(locked, on_the_box=True)


def test_a_locked_archive_leaves_out_what_it_cannot_know(box: ScratchArchive) -> None:
    box.receive(mail("One"))
    found = families(Locked(box.paths, FakeAgent()).from_web(Call(method="metrics", params={"on_the_box": True})))  # type: ignore[arg-type]
    assert found["mailkeep_unlocked"] == {(): 0} and found["mailkeep_backlog_records"] == {(): 1}
    assert (("kind", "locked"), ("level", "warning")) in found["mailkeep_alarms"]
    assert not {"mailkeep_messages_searchable", "mailkeep_users", "mailkeep_mailbox_records"} & set(found)
