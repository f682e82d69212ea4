"""The image that people download, started as they start it. MAILKEEP_IMAGE names it; `make test-image` does.

Each start takes minutes where there is no KVM, so few machines go through all of it, one test after the other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.packaging.virtual import Virtual, why_not

pytestmark = [pytest.mark.packaging, pytest.mark.integration, pytest.mark.timeout(3600)]

JOURNAL = "journal@example.com"
ANSWERS = f"""
language: en
hostname: archive.example.com
archive:
  passphrase: correct horse battery staple
  unlocks_itself: true
  recovery_key: /root/recovery-key.txt
administrator:
  name: Anna Admin
  address: anna@example.com
  password: correct horse battery
certificate:
  source: self-signed
mailbox:
  name: Journal
  address: {JOURNAL}
  domains: [example.com]
  password: /root/mailbox-password.txt
"""
STRANGE = b"the end of something that no tool knows"


@pytest.fixture(scope="module")
def image() -> Path:
    """The qcow2 under test."""
    path = os.environ.get("MAILKEEP_IMAGE")
    if not path:
        pytest.skip("MAILKEEP_IMAGE names no image; `make test-image` builds one and tests it")
    if reason := why_not(uefi=True):
        pytest.skip(reason)
    return Path(path)


@pytest.fixture(scope="module")
def fresh(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Virtual]:
    """Just imported, with an empty second disk, and started by BIOS; nobody has told it anything."""
    machine = Virtual(tmp_path_factory.mktemp("fresh") / "machine", image)
    machine.start()
    yield machine
    machine.cut_power()


@pytest.fixture(scope="module")
def unattended(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Virtual]:
    """Started by UEFI with an answer file from cloud-init and a key for SSH."""
    machine = Virtual(tmp_path_factory.mktemp("unattended") / "machine", image, uefi=True)
    machine.strange_disk = machine.folder / "strange.raw"
    with machine.strange_disk.open("wb") as file:
        file.seek(2 * 1024**3 - len(STRANGE))
        file.write(STRANGE)
    user_data = {
        "ssh_authorized_keys": [machine.key],
        "write_files": [{"path": "/etc/mailkeep/answers.yaml", "permissions": "0600", "content": ANSWERS}],
    }
    machine.seed = {"meta-data": "instance-id: test\n", "user-data": "#cloud-config\n" + json.dumps(user_data)}
    machine.start()
    yield machine
    machine.cut_power()


def test_the_first_start_shows_the_set_up_and_no_login(fresh: Virtual) -> None:
    fresh.wait("the set-up on the serial line", lambda: "Deutsch" in fresh.line)
    assert "login:" not in fresh.line
    assert "Password" not in fresh.line


def test_the_first_start_shows_the_set_up_on_the_screen(fresh: Virtual) -> None:
    drawn, before = fresh.folder / "screen.png", fresh.folder / "before.png"
    fresh.picture(before)

    def stands_still() -> bool:
        time.sleep(3)
        fresh.picture(drawn)
        same = drawn.read_bytes() == before.read_bytes()
        shutil.copy(drawn, before)
        return same and drawn.stat().st_size > 4000  # an empty screen makes a smaller picture

    fresh.wait("the set-up on the screen", stands_still)
    if out := os.environ.get("MAILKEEP_IMAGE_PICTURE"):
        shutil.copy(drawn, out)


def test_without_a_key_nobody_gets_in_over_the_network(fresh: Virtual) -> None:
    assert fresh.greeting(22) == b""


def test_an_answer_file_sets_it_up(unattended: Virtual) -> None:
    unattended.wait("signing in with the key", unattended.answers_ssh)
    unattended.wait(
        "the answers are used, and gone",
        lambda: unattended.ask("test", "-e", "/etc/mailkeep/answers.yaml").returncode == 1,
    )
    assert unattended.ask("systemctl", "is-failed", "mailkeep-answers").stdout.strip() != "failed"
    assert unattended.greeting(25).startswith(b"220 ")
    assert json.loads(unattended.run("mailkeep", "status", "--json"))
    assert "disabled" not in unattended.run("systemctl", "is-enabled", "unattended-upgrades", "nftables")


def test_it_started_with_secure_boot(unattended: Virtual) -> None:
    [variable] = unattended.run("find", "/sys/firmware/efi/efivars", "-name", "'SecureBoot-*'").split()
    assert unattended.run("od", "-An", "-tu1", variable).split()[-1] == "1"


def test_the_archive_lies_on_a_disk_of_its_own(unattended: Virtual) -> None:
    found = json.loads(
        unattended.run("findmnt", "--json", "--output", "SOURCE,LABEL,OPTIONS", "/var/lib/mailkeep/archive")
    )
    [disk] = found["filesystems"]
    assert disk["label"] == "mailkeep-data"
    assert {"nosuid", "nodev", "noexec"} <= set(disk["options"].split(","))
    assert unattended.ask("test", "-e", "/var/lib/mailkeep/archive/keyring.json").returncode == 0


def test_a_disk_with_something_on_it_is_left_alone(unattended: Virtual) -> None:
    assert unattended.strange_disk is not None
    unattended.run("sync")
    with unattended.strange_disk.open("rb") as file:
        assert not file.read(1024**2).strip(b"\0")
        file.seek(-len(STRANGE), os.SEEK_END)
        assert file.read() == STRANGE
    assert unattended.strange_disk.stat().st_blocks * 512 < 1024**2, "something was written to it"


def test_the_first_disk_has_grown(unattended: Virtual) -> None:
    size = int(unattended.run("findmnt", "--noheadings", "--bytes", "--output", "SIZE", "/"))
    assert size > 11 * 1024**3


def test_nobody_has_a_password_and_secrets_of_the_answers_are_gone(unattended: Virtual) -> None:
    shadow = unattended.run("cat", "/etc/shadow").splitlines()
    assert {line.split(":")[0]: line.split(":")[1] for line in shadow if line.split(":")[1][:1] not in "!*"} == {}
    places = ("/etc", "/root", "/var/lib/cloud", "/var/log", "/var/lib/mailkeep")
    # Not the words themselves: sudo writes into the journal what it is asked for.
    search = ("grep", "-rlE", "'correct [h]orse battery'", *places)
    unattended.wait("the secrets are gone", lambda: unattended.ask(*search, seconds=600).returncode == 1, 300)


def test_only_its_own_ports_are_open(unattended: Virtual) -> None:
    rules = json.loads(unattended.run("nft", "--json", "list", "set", "inet", "mailkeep", "open"))
    [ports] = [entry["set"]["elem"] for entry in rules["nftables"] if "set" in entry]
    assert set(ports) == {22, 25, 80, 443, 995}
    policies = json.loads(unattended.run("nft", "--json", "list", "chains"))["nftables"]
    assert {entry["chain"]["policy"] for entry in policies if "chain" in entry} == {"drop"}


def test_its_units_work(unattended: Virtual) -> None:
    assert unattended.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""
    assert unattended.run("swapon", "--show").strip() == ""


def test_mail_is_received_and_found(unattended: Virtual) -> None:
    word = send(unattended)
    unattended.wait("the message is found", lambda: finds(unattended, word), 300)


def test_a_restart_keeps_the_mail_also_with_a_boot_loader_that_was_upgraded(unattended: Virtual) -> None:
    word = send(unattended)
    # What upgrades of GRUB and of the kernel do: both boot loaders and the menu are written anew.
    unattended.run("/var/lib/dpkg/info/grub-cloud-amd64.postinst", "triggered", seconds=600)
    unattended.run("update-grub", seconds=600)
    identity = unattended.run("cat", "/proc/sys/kernel/random/boot_id")
    unattended.ask("systemctl", "reboot")
    unattended.wait(
        "it comes back",
        lambda: unattended.ask("cat", "/proc/sys/kernel/random/boot_id").stdout not in ("", identity),
    )
    unattended.wait("the message is found", lambda: finds(unattended, word))


def test_a_power_cut_keeps_the_mail(unattended: Virtual) -> None:
    words = [send(unattended) for _ in range(3)]
    unattended.cut_power()
    # The disk with the answers is not needed any more.
    unattended.seed = None
    unattended.start()
    unattended.wait("the messages are found", lambda: all(finds(unattended, word) for word in words))


def test_a_missing_data_disk_is_said_and_takes_no_mail(unattended: Virtual) -> None:
    word = send(unattended)
    unattended.wait("the message is found", lambda: finds(unattended, word), 300)
    unattended.shut_down()
    unattended.data_disk = False
    unattended.start()
    unattended.wait("it is said", lambda: "The data disk is missing" in unattended.line)
    assert not unattended.greeting(25)
    assert unattended.ask("touch", "/var/lib/mailkeep/archive/keyring.json").returncode != 0
    unattended.shut_down()
    unattended.data_disk = True
    unattended.start()
    unattended.wait("the message is found", lambda: finds(unattended, word))


def send(machine: Virtual) -> str:
    """Sends a message to the journal mailbox and returns a word that only it holds; it has been acknowledged."""
    word = f"w{uuid4().hex}"
    subprocess.run(
        [
            *("swaks", "--server", "127.0.0.1", "--port", str(machine.ports[25]), "--timeout", "120"),
            *("--from", "bob@example.com", "--to", JOURNAL, "--header", "Subject: To be kept", "--body", word),
        ],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return word


def finds(machine: Virtual, word: str) -> bool:
    """Whether the archive's search has exactly one message with the word."""
    answer = machine.ask("mailkeep", "search", "--json", word)
    return answer.returncode == 0 and json.loads(answer.stdout)["total"] == 1
