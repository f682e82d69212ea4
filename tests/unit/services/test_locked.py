"""What can be asked of a locked archive, by whom, how often, and what is written down about it."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from appliance.errors import KeyringError, LockedError, SignInError, UnavailableError
from appliance.host.units import LogLine, Unit, Units
from appliance.keys.agent_client import AgentState
from appliance.services import auditing, locked
from appliance.services.locked import Locked
from appliance.services.wire import Call
from tests.scratch import BOX, DOOR, ScratchArchive, mail

RIGHT, WRONG = "three words of four", "seven words of nine"


class FakeAgent:
    """An agent with one passphrase."""

    def __init__(self) -> None:
        self.unlocked = False
        self.tried: list[str] = []
        self.keyfiles: list[Path] = []
        self.clients: list[str] = []

    def state(self) -> AgentState:
        return AgentState(unlocked=self.unlocked, memory_locked=False)

    def is_unlocked(self) -> bool:
        return self.unlocked

    def unlock(
        self, *, passphrase: str = "", recovery_key: str = "", keyfile: Path | None = None, client: str = ""
    ) -> None:
        self.tried.append(passphrase or recovery_key)
        self.clients.append(client)
        if keyfile is not None:
            self.keyfiles.append(keyfile)
        elif passphrase != RIGHT:
            raise KeyringError("The passphrase is not right.")
        self.unlocked = True


@pytest.fixture
def agent() -> FakeAgent:
    return FakeAgent()


@pytest.fixture
def answers(box: ScratchArchive, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> Locked:
    monkeypatch.setattr(locked, "OPEN_SECONDS", 0.01)
    return Locked(box.paths, agent)  # type: ignore[arg-type]


def try_from(answers: Locked, client: str, **params: str) -> object:
    return answers.from_web(Call(method="unlock", client=client, params=params))


def test_the_web_can_ask_for_nothing_but_the_way_in(answers: Locked) -> None:
    for method in ("search", "sign_in", "first_run", "status", "caller", "slots", "lock", "mailboxes"):
        with pytest.raises(LockedError, match="mailkeep unlock"):
            answers.from_web(Call(method=method, token="x" * 43))
    assert not answers.from_web(Call(method="lock_state")).unlocked


def test_the_box_can_look_and_unlock_and_do_nothing_else(answers: Locked) -> None:
    for method in ("local_search", "verify", "mailbox_create", "slot_remove", "setup_code", "idle"):
        with pytest.raises(LockedError):
            answers.from_box(Call(method=method), BOX)
    assert not answers.from_box(Call(method="lock_state"), BOX).unlocked
    assert [one.kind for one in answers.from_box(Call(method="slots"), BOX)] == ["recovery", "keyfile"]


def test_nothing_is_erased_for_a_reader_while_it_is_locked(answers: Locked) -> None:
    with pytest.raises(LockedError):
        answers.from_pop3(Call(method="erase"))


def test_the_status_counts_what_waits(box: ScratchArchive, answers: Locked) -> None:
    box.receive(mail("One"))
    box.project()
    box.receive(mail("Two"), mail("Three"))
    status = answers.from_box(Call(method="status"), BOX)
    assert (status.unlocked, status.records, status.projected, status.backlog) == (False, 3, 1, 2)
    assert status.oldest_unsearchable_seconds >= 0
    assert status.last_message_at is not None and status.last_message_at >= status.started_at - 60
    assert "2 messages wait" in status.alarms[0].text


def test_guessing_is_slowed_down_for_who_guesses_and_nobody_else(answers: Locked, agent: FakeAgent) -> None:
    for _ in range(5):
        with pytest.raises(KeyringError):
            try_from(answers, "192.0.2.1", passphrase=WRONG)
    with pytest.raises(SignInError, match="Too many"):
        try_from(answers, "192.0.2.1", passphrase=RIGHT)
    assert len(agent.tried) == 5
    with pytest.raises(UnavailableError, match="being opened"):
        try_from(answers, "198.51.100.7", passphrase=RIGHT)
    assert agent.unlocked


def test_the_keyfile_is_for_the_box_and_not_for_the_web(answers: Locked, agent: FakeAgent, box: ScratchArchive) -> None:
    for client in ("192.0.2.1", ""):
        with pytest.raises(KeyringError):
            try_from(answers, client)
    assert not agent.tried
    with pytest.raises(UnavailableError):
        answers.from_box(Call(method="unlock"), BOX)
    assert agent.keyfiles == [box.paths.keyfile]


def test_the_agent_is_told_what_comes_over_the_network_and_what_from_the_box(answers: Locked, agent: FakeAgent) -> None:
    for client in ("192.0.2.1", "2001:db8::1", ""):
        with pytest.raises(KeyringError):
            try_from(answers, client, passphrase=WRONG)
    with pytest.raises(KeyringError):
        answers.from_box(Call(method="unlock", params={"passphrase": WRONG}), BOX)
    assert all(agent.clients[:3]) and agent.clients[3] == ""


def test_who_comes_while_it_is_being_opened_is_told_to_wait(answers: Locked, agent: FakeAgent) -> None:
    agent.unlocked = True
    with pytest.raises(UnavailableError, match="being opened"):
        answers.from_web(Call(method="first_run"))


def test_tries_are_in_the_audit_trail_once_there_is_one_and_secrets_are_not(
    answers: Locked, box: ScratchArchive
) -> None:
    with pytest.raises(KeyringError):
        try_from(answers, "192.0.2.1", passphrase=WRONG)
    with pytest.raises(UnavailableError):
        try_from(answers, "192.0.2.2", passphrase=RIGHT)
    answers.opened(box.archive)
    lines = auditing.audit(box.archive, BOX, find="unlock").lines
    assert [(line.action, line.what.split(" at ")[0]) for line in reversed(lines)] == [
        ("unlock.failed", "passphrase from 192.0.2.1"),
        ("unlock", "passphrase from 192.0.2.2"),
    ]
    everything = auditing.audit(box.archive, BOX, limit=1000).lines
    assert not any(WRONG in line.what or RIGHT in line.what for line in everything)


def test_a_support_bundle_of_a_locked_archive_tells_of_the_box_and_of_nobody(
    box: ScratchArchive, answers: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = LogLine(1_795_435_200_000_000, "gateway", "info", f"451 for <{DOOR}> from mx1.example.com [192.0.2.77]")
    monkeypatch.setattr(Units, "logs", lambda _self, part="", *, lines=0: (line,) if part == "gateway" else ())
    monkeypatch.setattr(Units, "states", lambda _self: (Unit("mailkeep-gateway@0.service", "gateway", "", "running"),))
    box.receive(mail("Xylophone"))
    made = answers.from_box(Call(method="support_write"), BOX)
    with zipfile.ZipFile(io.BytesIO(b"".join(made.chunks))) as bundle:
        files = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert {"README.txt", "status.json", "alarms.json", "metrics.txt", "files.csv", "doctor.json", "log.txt",
            "system.json", "services.json", "versions.json"} == set(files)  # fmt: skip
    assert json.loads(files["status.json"])["records"] == 1
    assert "The archive was locked" in files["README.txt"]
    assert "451 for <address-" in files["log.txt"]
    everything = "".join(files.values()).lower()
    for word in (DOOR, "example.com", "192.0.2.77", "xylophone", box.paths.keyfile.read_text().strip()):
        assert word.lower() not in everything, word


def test_that_a_bundle_was_taken_is_in_the_audit_trail_later(box: ScratchArchive, answers: Locked) -> None:
    answers.from_box(Call(method="support_write"), BOX)
    answers.opened(box.archive)
    assert auditing.audit(box.archive, BOX, limit=5).lines[0].action == "support.download"


def test_the_web_gets_no_support_bundle_of_a_locked_archive(answers: Locked) -> None:
    with pytest.raises(LockedError):
        answers.from_web(Call(method="support_write"))
