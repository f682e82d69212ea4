"""The whole wizard on a bare screen (TERM=linux, 80×25), on a real product, up to the first journal report by swaks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.paths import Paths
from appliance.services.setup import progress
from tests.ports import free_port
from tests.product import MAILKEEP, await_gone
from tests.terminal import Terminal, words_of

pytestmark = [pytest.mark.console, pytest.mark.integration]

PASSPHRASE = "a few unrelated words"
PASSWORD = "another good password"
PATIENCE = 60.0
"""Seconds until a field takes what is typed, on a machine that does other things as well."""

STEPS = (
    "language", "host", "network", "time", "passphrase", "type_back", "administrator", "certificate", "mailbox",
    "instructions", "remote",
)  # fmt: skip
EVERYWHERE = os.environ.get("MAILKEEP_FAULT_STEP") == "1"
KILLED = {*STEPS, "finish"} - {"passphrase"} if EVERYWHERE else {"network", "type_back", "mailbox"}
"""Before which steps the console is killed."""

T = TypeVar("T")


class Wizard:
    """A person at the screen of a fresh box."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder / "data")
        self.smtp, self.http = free_port(), free_port()
        self.terminal = Terminal(f"mailkeep-{os.getpid()}-{self.smtp}")
        self.key = ""

    def begin(self) -> None:
        """Start set-up."""
        self.terminal.start(
            str(MAILKEEP), "--data", str(self.paths.data), "setup", "--smtp", f"127.0.0.1:{self.smtp}", "--http",
            f"127.0.0.1:{self.http}", "--allow-plain-swap",
            environment={name: value for name, value in os.environ.items() if name.startswith("MAILKEEP_")},
        )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the console."""
        os.kill(self.terminal.pid(), signal.SIGKILL)
        self.terminal.wait(lambda screen: "ENDED" in screen)
        self.terminal.stop()

    def end(self) -> None:
        """Stop the console and what it started."""
        self.terminal.stop()
        served = serving(self.paths.data)
        for pid in served:
            os.kill(pid, signal.SIGTERM)
        await_gone(served, 90)

    def on(self, title: str) -> str:
        """Wait until a step's page is shown."""
        screen = self.terminal.wait(lambda screen: title in screen.splitlines()[0])
        time.sleep(0.5)  # nobody types while the page is still being drawn
        return screen

    def fill(self, *answers: str) -> None:
        """Type into one field after the other, from the first; whatever stands there goes."""
        for place, answer in enumerate(answers):
            if place:
                self.terminal.press("Tab")
                time.sleep(0.5)  # what is typed while a page is being drawn is lost
            hidden = answer in (PASSPHRASE, PASSWORD)
            shown = f"(?<!•)•{{{len(answer)}}}(?!•)" if hidden else re.escape(answer)
            before = self._count(shown)
            deadline = time.monotonic() + PATIENCE
            while self._count(shown) <= before:
                assert time.monotonic() < deadline, f"{shown} cannot be typed:\n{self.terminal.screen()}"
                self.terminal.press("End", "C-u")
                self.terminal.type(answer)
                time.sleep(1.5)

    def _count(self, shown: str) -> int:
        return len(re.findall(shown, self.terminal.screen()))

    def go_on(self, next_title: str) -> None:
        """Continue, over warnings too (there is no DNS here), until the next page is shown."""
        self.terminal.press("F2")
        self.terminal.wait(lambda screen: next_title in screen.splitlines()[0] or "all the same" in screen)
        if next_title not in self.terminal.screen().splitlines()[0]:
            self.terminal.press("F2")
        self.on(next_title)

    # -- the steps --------------------------------------------------------------------------------------------

    def language(self) -> None:
        self.on("Language")
        self.go_on("Host name")

    def host(self) -> None:
        self.on("Host name")
        self.fill("box.example.com")
        self.go_on("Network")

    def network(self) -> None:
        self.on("Network")
        self.go_on("Time")

    def time(self) -> None:
        self.on("Time")
        self.go_on("Archive")

    def passphrase(self) -> None:
        self.on("Archive")
        self.fill(PASSPHRASE, PASSPHRASE)
        self.terminal.press("F2")
        screen = self.terminal.wait(lambda screen: len(_groups(screen)) == 8 and "I have written it down" in screen)
        self.key = "-".join(_groups(screen))

    def type_back(self) -> None:
        self.terminal.press("F2")
        self.terminal.wait("Type the recovery key from your paper")
        time.sleep(0.5)
        self.fill(self.key)
        self.go_on("Administrator")

    def administrator(self) -> None:
        self.on("Administrator")
        self.fill("Berta Box", "berta@example.com", PASSWORD, PASSWORD)
        self.go_on("Certificate")

    def certificate(self) -> None:
        self.on("Certificate")
        self.go_on("Journal mailbox")

    def mailbox(self) -> None:
        self.on("Journal mailbox")
        self.fill("journal.example.com")
        self.terminal.press("F2")
        self.terminal.wait("Its password")
        self.go_on("Mail server")

    def instructions(self) -> None:
        self.on("Mail server")
        self.terminal.wait("Exchange admin center")
        self.terminal.press("NPage")  # further down than a small screen shows
        self.terminal.wait("Microsoft Purview")
        self.go_on("Replica")

    def remote(self) -> None:
        self.on("Replica")
        self.go_on("First report")

    def killed_once(self) -> None:
        """kill -9 of the console while a page waits; then the next one, and what it shows first."""
        self.kill()
        self.begin()
        self.terminal.wait(lambda screen: "Set-up" in screen)

    def ask(self, method: str, kind: type[T]) -> T:
        """The running archive's answer."""
        box = RunningBox(self.paths.local_socket)
        try:
            return box.call(method, kind)
        finally:
            box.close()

    def address(self) -> str:
        return self.ask("mailboxes", tuple[api.MailboxInfo, ...])[0].address

    def send(self, subject: str) -> None:
        """A journal report by swaks."""
        report = (Path(__file__).parent / "first-report.eml").read_text().replace("SUBJECT", subject)
        done = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{self.smtp}", "--from", "exchange@example.com", "--to", self.address(),
             "--tls", "--data", "-", "--suppress-data"],
            input=report, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def wizard(tmp_path: Path) -> Iterator[Wizard]:
    if shutil.which("swaks") is None:
        pytest.skip("no swaks; the Debian package of that name has it")
    person = Wizard(tmp_path)
    yield person
    person.end()


@pytest.mark.timeout(1200)
def test_from_a_fresh_box_to_the_first_journal_report(wizard: Wizard) -> None:
    """With kill -9 of the console on some pages (all of them under ``make faults``): the next one goes on there."""
    wizard.begin()
    for name in STEPS:
        if name in KILLED:
            first = wizard.key
            wizard.killed_once()
            if name == "type_back":  # the recovery key was seen, and not typed back: the archive is made anew
                wizard.terminal.wait("made anew")
                wizard.passphrase()
                assert wizard.key != first
        getattr(wizard, name)()
    wizard.terminal.wait("Waiting for the first journal report")
    if "finish" in KILLED:
        wizard.killed_once()
        wizard.terminal.wait("Waiting for the first journal report")
    wizard.send("The very first one")
    wizard.terminal.wait("The first journal report has arrived")
    wizard.terminal.wait("The very first one")
    assert not progress.load(wizard.paths).finished
    wizard.terminal.press("F2")
    wizard.terminal.wait(lambda screen: "Set-up" not in screen.splitlines()[0])
    assert progress.load(wizard.paths).finished
    assert PASSPHRASE not in wizard.paths.setup.read_text()
    assert len(wizard.ask("mailboxes", tuple[api.MailboxInfo, ...])) == 1
    assert not wizard.ask("first_administrator_needed", bool)


def test_the_same_from_an_answer_file_twice(tmp_path: Path) -> None:
    wizard = Wizard(tmp_path)
    answers = tmp_path / "setup.yaml"
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    answers.write_text(f"""
hostname: box.example.com
archive:
  passphrase: {{file: {tmp_path / "passphrase"}}}
  recovery_key: {tmp_path / "recovery-key"}
administrator: {{name: Berta Box, address: berta@example.com, password: {PASSWORD}}}
mailbox: {{address: "@journal.example.com"}}
remote: {{name: disk, type: local, path: {tmp_path / "replica"}}}
listen:
  smtp: ["127.0.0.1:{wizard.smtp}"]
  http: ["127.0.0.1:{wizard.http}"]
  redirect: []
  allow_plain_swap: true
""")
    (tmp_path / "replica").mkdir()
    try:
        first = _set_up(wizard, answers)
        made = {one["step"]: one for one in first}
        assert [step for step, one in made.items() if one["changed"]] == [
            "host",
            "archive",
            "administrator",
            "mailbox",
            "remote",
        ]
        assert made["mailbox"]["shown_once"]
        assert made["archive"].get("shown_once", "") == "", "the recovery key is in its file, and so nowhere else"
        key = (tmp_path / "recovery-key").read_text().strip()
        assert len(key.split("-")) == 8
        assert (tmp_path / "recovery-key").stat().st_mode & 0o777 == 0o600
        wizard.send("By the file")
        deadline = time.monotonic() + PATIENCE
        while not wizard.ask("status", api.Status).messages:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        second = _set_up(wizard, answers)
        assert not any(one["changed"] for one in second)
        assert not any(one.get("shown_once") for one in second)
        assert (tmp_path / "recovery-key").read_text().strip() == key
        assert progress.load(wizard.paths).finished
    finally:
        wizard.end()


def test_answers_that_cannot_be_used_do_nothing(tmp_path: Path) -> None:
    answers = tmp_path / "setup.yaml"
    answers.write_text("archive:\n  passphrase: short\n")
    done = _command(tmp_path / "data", answers)
    assert done.returncode == 2
    assert "at least 12" in done.stderr
    answers.write_text("archive:\n  passphrase: a few unrelated words\n  keyfile: yes\n")
    done = _command(tmp_path / "data", answers)
    assert done.returncode == 2
    assert "line 3: archive.keyfile" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["setup.yaml"]


def _groups(screen: str) -> list[str]:
    """The groups of a recovery key that are on the screen."""
    lines = [line for line in words_of(screen).splitlines() if " - " in line]
    return re.findall(r"\b[0-9A-Z]{5}\b(?= -|$|\s)", "\n".join(lines))


def _command(data: Path, answers: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MAILKEEP), "--data", str(data), "setup", "--answers", str(answers), "--json"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def _set_up(wizard: Wizard, answers: Path) -> list[dict[str, Any]]:
    done = _command(wizard.paths.data, answers)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def serving(data: Path) -> list[int]:
    """The supervisors that serve a data folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if "serve" in words and str(data) in words and words[0] == sys.executable:
            found.append(int(process.name))
    return found
