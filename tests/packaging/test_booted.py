"""The installed appliance, booted: its own units, users and sandboxes, with mail coming in.

Takes a Debian root with the package installed in it (MAILKEEP_ROOT, `make test-deb` makes one), and boots a copy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acme_authority import authority
from tests.packaging.machine import Machine, booted

pytestmark = [pytest.mark.packaging, pytest.mark.integration, pytest.mark.timeout(900)]

HOST = "archive.example.com"
ADDRESS = "journal@example.com"
ARCHIVE = "/var/lib/mailkeep/archive"
PYTHON = "/usr/lib/mailkeep/bin/python"
LOAD = Path(__file__).with_name("load.py")
WHO = {
    "agent": "mailkeep-agent",
    "archiver": "mailkeep",
    "projector": "mailkeep",
    "replicator": "mailkeep",
    "collector": "mailkeep-collect",
    "gateway": "mailkeep-gateway",
    "pop3": "mailkeep-pop3",
    "web": "mailkeep-web",
    "redirect": "mailkeep-web",
}
PROCESSES = 10
WITHOUT_NETWORK = {"agent", "projector", "gateway", "pop3", "web", "redirect"}
SECRETS = ("archive.keyfile", *(f"archive/{name}" for name in (
    "keyring.json", "settings.db", "run/local/secret", "run/replica/secret", "run/agent/archiver/secret",
    "run/agent/box/secret", "run/agent/projector/secret", "run/agent/replica/secret", "run/collector/secret",
    "run/agent/collector/secret", "collecting/ledger.db",
)))  # fmt: skip

_SHOWN = """
import hashlib, smtplib, socket, ssl
context = ssl._create_unverified_context()
def tell(connection):
    print(hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest())
with smtplib.SMTP("127.0.0.1", 25, timeout=20) as client:
    client.starttls(context=context)
    tell(client.sock)
for port in (443, 995):
    with socket.create_connection(("127.0.0.1", port), 20) as plain, context.wrap_socket(plain) as connection:
        tell(connection)
"""
_EXAMINED = """
import sys, time
from pathlib import Path
import msgspec
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.doctoring import Finding
from appliance.services.paths import Paths
box = RunningBox(Paths(Path(sys.argv[1])).local_socket)
job = box.call("doctor_begin", api.JobInfo)
while box.call("job", api.JobInfo, id=job.id).finished_at is None:
    time.sleep(0.2)
print(msgspec.json.encode(box.call("doctor_findings", tuple[Finding, ...], id=job.id)).decode())
"""


class Box(Machine):
    """The machine, with an archive in it."""

    def mailkeep(self, *words: str, given: str = "") -> str:
        """What a command of mailkeep's printed."""
        return self.run("mailkeep", *words, given=given)

    def units(self) -> list[dict[str, Any]]:
        """The services as the console sees them."""
        code = (
            "import msgspec, sys; from appliance.host import units; print(msgspec.json.encode(units.states()).decode())"
        )
        return json.loads(self.run(PYTHON, "-c", code))

    def running(self) -> dict[str, int]:
        """The process of each unit that runs."""
        return {unit["name"]: unit["pid"] for unit in self.units() if unit["state"] == "running"}

    def begin_load(self, seconds: float = 0, clients: int = 4) -> subprocess.Popen[str]:
        """Mail servers of an own, outside of the machine but in its network; by default until ``end_load``."""
        command = self.beside(sys.executable, str(LOAD), str(seconds), str(clients), ADDRESS)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end_load(self, load: subprocess.Popen[str]) -> dict[str, list[str]]:
        """What became of the mail."""
        out, _ = load.communicate(timeout=120)
        return json.loads(out)

    def records(self) -> int:
        """How many the archive holds."""
        self.mailkeep("wait-idle")
        return json.loads(self.mailkeep("status", "--json"))["records"]

    def may_lock_memory(self) -> bool:
        """Whether systemd may give a service here as much locked memory as its unit says."""
        told = self.run("systemd-run", "-q", "--pipe", "--wait", "-p", "LimitMEMLOCK=infinity", "sh", "-c", "ulimit -l")
        return told.strip() == "unlimited"

    def shown(self) -> set[str]:
        """Fingerprints (SHA-256, hex) of the certificates that SMTP, HTTPS and POP3S show now."""
        return set(self.run(PYTHON, "-c", _SHOWN).split())

    @staticmethod
    def fingerprint(certificate: dict[str, Any]) -> str:
        """The same of one that a command told of."""
        return str(certificate["fingerprint"]).replace(":", "").lower()

    def examined_here(self) -> dict[str, str]:
        """What the doctor finds fault with, asked by root on the command line."""
        done = self.ask("mailkeep", "doctor", "--json", seconds=180)
        return {one["what"]: one["state"] for one in json.loads(done.stdout) if one["state"] != "ok"}

    def examined_as_a_job(self) -> dict[str, str]:
        """What it finds fault with in the archiver, where console and web have it looked."""
        found = json.loads(self.run(PYTHON, "-c", _EXAMINED, ARCHIVE, seconds=180))
        return {one["what"]: one["state"] for one in found if one["state"] != "ok"}

    def is_locked(self) -> bool:
        """Whether nothing can be read just now."""
        return not json.loads(self.mailkeep("status", "--json"))["unlocked"]

    def wait_for(self, what: str, true: Any, seconds: float = 60) -> None:
        """Return when something has come about."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"{what}\n{self.journal()}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    given = os.environ.get("MAILKEEP_ROOT")
    if not given:
        pytest.skip("MAILKEEP_ROOT names no Debian root with the package in it (`make test-deb` does)")
    request.getfixturevalue("boots")
    root = tmp_path_factory.mktemp("booted") / "root"
    subprocess.run(["cp", "-a", given, str(root)], check=True, timeout=300)
    (root / "etc" / "machine-id").write_text("")
    try:
        with booted(root, f"mailkeep-{os.getpid()}", Box) as machine:
            machine.mailkeep("init", "--unattended", "--hostname", HOST)
            machine.run("systemctl", "enable", "--now", "mailkeep.target", seconds=180)
            machine.wait_for("everything runs", lambda: len(machine.running()) == PROCESSES)
            machine.mailkeep("mailbox", "create", "--name", "Journal", "--address", ADDRESS)
            yield machine
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_each_process_runs_as_its_own_user_without_privileges_or_a_way_out(box: Box) -> None:
    outside = box.run("readlink", "/proc/1/ns/net").strip()
    for unit in box.units():
        status = dict(
            line.split(":", 1) for line in box.run("cat", f"/proc/{unit['pid']}/status").splitlines() if ":" in line
        )
        user = box.run("id", "--name", "--user", status["Uid"].split()[0]).strip()
        assert user == WHO[unit["part"]], unit
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, unit
        assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2"), unit
        network = box.run("readlink", f"/proc/{unit['pid']}/ns/net").strip()
        assert (network != outside) == (unit["part"] in WITHOUT_NETWORK), unit


def test_what_faces_the_network_cannot_open_keys_databases_and_secrets_even_outside_its_sandbox(box: Box) -> None:
    for secret in SECRETS:
        path = f"/var/lib/mailkeep/{secret}"
        assert box.run("stat", "--format=%s", path)
        strangers = {"mailkeep-gateway", "mailkeep-web", "mailkeep-pop3", "mailkeep-collect", "nobody"}
        for user in strangers - {"mailkeep-collect" if "collect" in secret else ""}:
            done = box.ask("runuser", "-u", user, "--", "cat", path)
            assert done.returncode != 0 and not done.stdout, f"{user} reads {path}"
    agent = next(unit for unit in box.units() if unit["part"] == "agent")
    connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    for user, socket_name in (
        ("mailkeep-gateway", "agent/agent.sock"), ("mailkeep-web", "agent/agent.sock"),
        ("mailkeep-gateway", "local/archive.sock"), ("mailkeep-web", "local/archive.sock"),
        ("mailkeep-pop3", "local/archive.sock"), ("mailkeep-pop3", "web/archive.sock"),
        ("mailkeep-pop3", "collector/collector.sock"), ("mailkeep-gateway", "collector/collector.sock"),
        ("mailkeep-collect", "local/archive.sock"), ("mailkeep-collect", "replica/replica.sock"),
    ):  # fmt: skip
        done = box.ask("runuser", "-u", user, "--", PYTHON, "-c", connect, f"{ARCHIVE}/run/{socket_name}")
        assert "PermissionError" in done.stderr, f"{user} reaches {socket_name}"
    for user in ("mailkeep", "mailkeep-agent"):  # not even its own
        assert box.ask("runuser", "-u", user, "--", "cat", f"/proc/{agent['pid']}/environ").returncode != 0
    assert box.ask("runuser", "-u", "mailkeep", "--", "cat", f"{ARCHIVE}.keyfile").returncode != 0


def test_the_keys_are_locked_in_memory(box: Box) -> None:
    if not box.may_lock_memory():
        pytest.skip("this container may not raise the limit on locked memory (CAP_SYS_RESOURCE)")
    assert "may be swapped" not in box.mailkeep("status")


def test_mail_is_accepted_found_and_pulled(box: Box) -> None:
    before = box.records()
    told = box.end_load(box.begin_load(1, clients=1))
    assert told["accepted"] and not told["failures"]
    assert box.records() == before + len(told["accepted"])
    assert "load 0 1" in box.mailkeep("search", 'subject:"load 0 1"')
    fetch = (
        "import ssl, sys, urllib.request as r; c = ssl._create_unverified_context();"
        "print(r.urlopen(sys.argv[1], context=c).status)"
    )
    assert box.run(PYTHON, "-c", fetch, "https://127.0.0.1/").strip() == "200"
    assert box.run(PYTHON, "-c", fetch, "http://127.0.0.1/").strip() == "200"  # sent on to the other
    password = json.loads(box.mailkeep("mailbox", "password", ADDRESS, "--json"))["password"]
    pull = (
        "import poplib, ssl, sys; p = poplib.POP3_SSL('127.0.0.1', 995, context=ssl._create_unverified_context());"
        "p.user(sys.argv[1]); p.pass_(sys.argv[2]); print(p.stat()[0])"
    )
    assert int(box.run(PYTHON, "-c", pull, ADDRESS, password)) == len(told["accepted"])


def test_a_profile_fetches_what_is_there_and_the_archive_sees_its_history(box: Box) -> None:
    """From the box itself, over the network: what the archiver tells, the collector reads, and the other way round."""
    told = box.end_load(box.begin_load(1, clients=1))
    password = json.loads(box.mailkeep("mailbox", "password", ADDRESS, "--json"))["password"]
    box.run("tee", "/root/pop3", given=password)
    box.run("tee", "-a", "/etc/hosts", given=f"127.0.0.1 {HOST}\n")
    box.run("tee", "/root/people.csv", given="primary,name\nanna@example.com,Anna\n")
    box.mailkeep("user", "import", "/root/people.csv")
    box.mailkeep(
        "profile", "add", "itself", "--kind", "pop3", f"host={HOST}", f"user={ADDRESS}", "password=@/root/pop3",
        f"ca=@{ARCHIVE}/tls/certificate.pem", "--archive", "anna@example.com",
    )  # fmt: skip
    box.mailkeep("profile", "run", "itself")
    box.mailkeep("profile", "run", "itself")
    second, first = json.loads(box.mailkeep("profile", "history", "itself", "--json"))
    assert (first["state"], second["state"]) == ("done", "done")
    assert first["seen"] == first["new"] >= len(told["accepted"]) > 0 == second["new"]
    owner = "stat", "--format=%U %a", f"{ARCHIVE}/volumes/{'0' * 31}1/s0-00000001.mkv"
    assert box.run(*owner).split() == ["mailkeep-collect", "660"]


@pytest.mark.parametrize("part", [*WHO, ""])
def test_starting_a_part_anew_under_load_refuses_and_loses_nothing(box: Box, part: str) -> None:
    before, processes = box.records(), box.running()
    load = box.begin_load(8)
    time.sleep(1)
    box.run(PYTHON, "-m", "appliance.host.units", "restart", *([part] if part else []), seconds=300)
    told = box.end_load(load)
    assert told["accepted"] and not told["failures"], told["failures"][:3]
    box.wait_for("everything runs again", lambda: len(box.running()) == len(processes))
    after = box.running()
    # An agent that is started anew takes along those that had keys from it.
    began_anew = {name for name in processes if after[name] != processes[name]}
    assert {name for name in processes if not part or name.startswith(f"mailkeep-{part}")} <= began_anew
    assert box.records() == before + len(told["accepted"])


def test_one_that_hangs_is_started_again_and_mail_goes_on(box: Box) -> None:
    drop_in = "/run/systemd/system/mailkeep-gateway@0.service.d"
    box.run("mkdir", "-p", drop_in)
    box.run("tee", f"{drop_in}/impatient.conf", given="[Service]\nWatchdogSec=3\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "mailkeep-gateway@0")
    pid = box.running()["mailkeep-gateway@0.service"]
    before = box.records()
    load = box.begin_load(3, clients=2)
    time.sleep(1)
    box.run("kill", "-STOP", str(pid))
    box.wait_for("another one runs", lambda: box.running().get("mailkeep-gateway@0.service", pid) != pid)
    told = box.end_load(load)
    # Those that were with it when it hung are broken off, and send again; what had its 250 is there.
    assert box.records() >= before + len(told["accepted"])
    box.run("rm", "-r", drop_in)
    box.run("systemctl", "daemon-reload")


def test_locked_mail_is_received_and_unlocked_it_is_found(box: Box) -> None:
    before = box.records()
    box.mailkeep("lock")
    box.wait_for("it is locked", box.is_locked)
    told = box.end_load(box.begin_load(2, clients=1))
    assert told["accepted"] and not told["failures"]
    box.mailkeep("unlock")
    box.wait_for("it is open", lambda: box.ask("mailkeep", "wait-idle").returncode == 0)
    assert box.records() == before + len(told["accepted"])


def test_the_agent_killed_the_box_unlocks_itself(box: Box) -> None:
    before = box.records()
    agent = box.running()["mailkeep-agent.service"]
    box.run("kill", "-KILL", str(agent))
    box.wait_for("a new agent", lambda: box.running().get("mailkeep-agent.service", agent) != agent)
    box.wait_for("it is open", lambda: box.ask("mailkeep", "wait-idle").returncode == 0)
    assert box.records() == before


def test_a_credential_opens_the_box_and_one_that_fits_no_more_leaves_it_locked_and_receiving(box: Box) -> None:
    credential, keyfile = "/etc/credstore.encrypted/mailkeep", f"{ARCHIVE}.keyfile"
    box.mailkeep("slot", "add", "systemd", "--with-key", "host")
    box.run("mv", keyfile, "/root/keyfile")
    box.run("systemctl", "restart", "mailkeep-agent")
    box.wait_for("it is open", lambda: box.ask("mailkeep", "wait-idle").returncode == 0)
    box.run("tee", credential, given="bm90IHdoYXQgc3lzdGVtZCBoYXMgZW5jcnlwdGVk\n")  # as if the TPM refused
    box.run("systemctl", "restart", "mailkeep-agent")
    box.wait_for("it waits", box.is_locked)
    told = box.end_load(box.begin_load(1, clients=1))
    assert told["accepted"] and not told["failures"]
    box.run("mv", "/root/keyfile", keyfile)
    box.run("rm", credential)
    box.run("systemctl", "restart", "mailkeep-agent")
    box.wait_for("it is open", lambda: box.ask("mailkeep", "wait-idle").returncode == 0)


def test_the_doctor_finds_the_same_by_the_command_line_and_as_a_job_and_nothing_that_is_not_so(box: Box) -> None:
    # This machine has no network, and one disk.
    as_it_is = {"DNS": "problem", "clock": "warning", "remote": "warning"}
    if not box.may_lock_memory():
        as_it_is["memory lock"] = "warning"
    assert box.examined_here() == box.examined_as_a_job() == as_it_is
    box.run("chmod", "o+r", f"{ARCHIVE}/settings.db")
    box.run("chown", "root", f"{ARCHIVE}/gateway")
    assert box.examined_here() == box.examined_as_a_job() == {**as_it_is, "permissions": "problem"}
    box.run("chmod", "o-rwx", f"{ARCHIVE}/settings.db")
    assert box.examined_here() == {**as_it_is, "permissions": "problem"}
    box.run("systemctl", "restart", "mailkeep-prepare.service")  # as it says itself
    assert box.examined_here() == box.examined_as_a_job() == as_it_is


def test_a_support_bundle_has_every_part_with_what_the_processes_say_and_names_nobody(box: Box) -> None:
    box.mailkeep("support-bundle", "--out", "/root/bundle.zip")
    with zipfile.ZipFile(box.root / "root/bundle.zip") as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert not [name for name, content in parts.items() if re.match(r"\w*Error: ", content)]
    said = {line.split()[1] for line in parts["log.txt"].splitlines() if line}
    assert {"gateway", "pop3"} <= said
    assert {unit["part"] for unit in json.loads(parts["services.json"])} == set(WHO)
    for private in ("load.example", "hello", ADDRESS, HOST):
        assert not [name for name, content in parts.items() if private in content]


def test_an_authoritys_certificate_is_shown_without_a_refused_connection_and_renewed(box: Box, tmp_path: Path) -> None:
    with authority(tmp_path / "authority", 80, beside=box.beside()) as pebble:
        known = box.root / "usr/local/share/ca-certificates/authority.crt"
        shutil.copyfile(pebble.trusted, known)
        box.run("update-ca-certificates")
        before, load = box.shown(), box.begin_load(clients=1)
        ask = ("tls", "acme", "--agree", "--contact", "it@example.com", "--directory", pebble.directory, "--json")
        got = json.loads(box.mailkeep(*ask))
        assert got["source"] == "acme"
        assert box.fingerprint(got) not in before
        box.wait_for("all show it", lambda: box.shown() == {box.fingerprint(got)}, 90)
        renewed = json.loads(box.mailkeep("tls", "renew", "--json"))
        assert box.fingerprint(renewed) != box.fingerprint(got)
        box.wait_for("all show the next one", lambda: box.shown() == {box.fingerprint(renewed)}, 90)
        told = box.end_load(load)
        assert told["accepted"] and not told["failures"], told["failures"][:3]
    assert box.run("ls", f"{ARCHIVE}/run/acme") == ""
    box.mailkeep("tls", "self-signed")
    known.unlink()
    box.run("update-ca-certificates", "--fresh")


def test_people_of_the_group_use_the_command_line_and_others_do_not(box: Box) -> None:
    box.run("useradd", "--groups", "mailkeep-audit", "anna")
    box.run("useradd", "ben")
    assert "Records:" in box.run("runuser", "-u", "anna", "--", "mailkeep", "status")
    assert "mailkeep-audit" in box.ask("runuser", "-u", "ben", "--", "mailkeep", "status").stderr


def test_what_root_does_while_nothing_runs_does_not_lock_the_others_out(box: Box) -> None:
    records = box.records()
    box.run(PYTHON, "-m", "appliance.host.units", "stop", seconds=180)
    assert not box.running()
    box.run("mailkeep", "rebuild", seconds=600)
    box.run(PYTHON, "-m", "appliance.host.units", "start", seconds=180)
    box.wait_for("everything runs", lambda: len(box.running()) == PROCESSES)
    box.wait_for("it is open", lambda: box.ask("mailkeep", "wait-idle").returncode == 0)
    assert box.records() == records
    strangers = box.run("find", ARCHIVE, "-uid", "0", "-not", "-name", "lost+found")
    assert strangers == ""


def test_after_a_day_of_this_nobody_complained(box: Box) -> None:
    lines = box.run("journalctl", "--no-pager", "--priority=err", "--unit=mailkeep*", "--output=cat").splitlines()
    expected = (
        "Failed with result",
        "Watchdog timeout",
        "Killing process",
        "Main process exited",
        "corrupted data",
        "does not answer just now",
    )
    assert [line for line in lines if not any(words in line for words in expected)] == []
    everything = box.run("journalctl", "--no-pager", "--unit=mailkeep*", "--output=cat")
    for private in ("load.example", "hello", "load 0", ADDRESS):
        assert private not in everything
