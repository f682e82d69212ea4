"""The image that people download, started as they start it. MAILKEEP_IMAGE names it; `make test-image` does.

Each start takes minutes where there is no KVM, so few machines go through all of it, one test after the other.
"""

from __future__ import annotations

import http.client
import json
import os
import poplib
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib import request
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.packaging.virtual import Virtual, why_not

pytestmark = [pytest.mark.packaging, pytest.mark.integration, pytest.mark.timeout(3600)]

JOURNAL = "journal@example.com"
ADMIN_PASSWORD = "correct horse battery"
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
  password: {ADMIN_PASSWORD}
certificate:
  source: self-signed
mailbox:
  name: Journal
  address: {JOURNAL}
  domains: [example.com]
  password: /root/mailbox-password.txt
"""
CONFINED = {
    "gateway@0": "mailkeep-gateway",
    "gateway@1": "mailkeep-gateway",
    "pop3@0": "mailkeep-pop3",
    "collector": "mailkeep-collector",
    "web": "mailkeep-web",
    "redirect": "mailkeep-web",
}
"""Units of what the network reaches, and the AppArmor profiles that they run in."""
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
    fresh.cut_power()  # the next machine has the processors for itself


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


def open_ports(machine: Virtual) -> set[int]:
    """What the firewall lets in."""
    rules = json.loads(machine.run("nft", "--json", "list", "set", "inet", "mailkeep", "open"))
    [ports] = [entry["set"]["elem"] for entry in rules["nftables"] if "set" in entry]
    return set(ports)


def test_only_its_own_ports_are_open(unattended: Virtual) -> None:
    assert open_ports(unattended) == {22, 25, 80, 443, 995}
    policies = json.loads(unattended.run("nft", "--json", "list", "chains"))["nftables"]
    assert {entry["chain"]["policy"] for entry in policies if "chain" in entry} == {"drop"}


def test_a_new_version_of_the_appliance_brings_its_rules(unattended: Virtual, image: Path, tmp_path: Path) -> None:
    packages = list(image.parent.glob("mailkeep-appliance_*_all.deb"))
    if len(packages) != 1:
        pytest.skip(f"the appliance's package is not beside {image}")
    files, newer = tmp_path / "files", tmp_path / "newer.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", str(packages[0]), str(files)], check=True, timeout=60)
    control, rules = files / "DEBIAN/control", files / "usr/lib/mailkeep-appliance/nftables.conf"
    control.write_text(re.sub(r"^Version: .*", r"\g<0>+newer", control.read_text(), flags=re.MULTILINE))
    rules.write_text(rules.read_text().replace("25, 80,", "25, 80, 4190,"))
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(files), str(newer)], check=True, timeout=60)
    unattended.put("/root/newer.deb", newer.read_bytes())
    unattended.run("apt-get", "install", "--quiet", "--yes", "/root/newer.deb", seconds=600)
    assert open_ports(unattended) == {22, 25, 80, 443, 995, 4190}


def test_its_units_work(unattended: Virtual) -> None:
    assert unattended.run("systemctl", "--failed", "--plain", "--no-legend").strip() == ""
    assert unattended.run("swapon", "--show").strip() == ""


def test_mail_is_received_and_found(unattended: Virtual) -> None:
    word = send(unattended)
    unattended.wait("the message is found", lambda: finds(unattended, word), 300)


def test_the_mailbox_can_be_pulled(unattended: Virtual) -> None:
    word = send(unattended)
    password = unattended.run("cat", "/root/mailbox-password.txt").strip()

    def is_there() -> bool:
        mailbox = poplib.POP3_SSL("127.0.0.1", unattended.ports[995], context=_trusting(), timeout=120)
        mailbox.user(JOURNAL)
        mailbox.pass_(password)
        newest, _ = mailbox.stat()
        found = newest and any(word.encode() in line for line in mailbox.retr(newest)[1])
        mailbox.quit()
        return bool(found)

    unattended.wait("the message is given out", is_there, 300)


def test_the_web_pages_let_the_administrator_in(unattended: Virtual) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", unattended.ports[80], timeout=120)
    plain.request("GET", "/")
    assert plain.getresponse().getheader("Location", "").startswith("https://")

    pages = request.build_opener(request.HTTPSHandler(context=_trusting()), request.HTTPCookieProcessor())
    place = f"https://127.0.0.1:{unattended.ports[443]}"
    with pages.open(f"{place}/sign-in", timeout=120) as shown:
        [token] = re.findall(r'name="form_token" value="([0-9a-f]+)"', shown.read().decode())
    filled = {"form_token": token, "next": "/", "address": "anna@example.com", "password": ADMIN_PASSWORD, "totp": ""}
    sent = request.Request(f"{place}/sign-in", data=urlencode(filled).encode(), headers={"Origin": place})
    with pages.open(sent, timeout=120) as signed_in:
        assert "Sign out" in signed_in.read().decode()


def test_it_replicates_to_a_folder(unattended: Virtual) -> None:
    unattended.run("install", "-d", "-o", "mailkeep", "-g", "mailkeep", "/srv/copy")
    unattended.run("mailkeep", "remote", "add", "--type", "local", "copy", "path=/srv/copy", seconds=300)
    unattended.run("mailkeep", "replicate", "--now", seconds=600)
    assert unattended.run("find", "/srv/copy", "-type", "f").strip()


def test_what_the_network_reaches_runs_confined(unattended: Virtual) -> None:
    for unit, profile in CONFINED.items():
        process = unattended.run("systemctl", "show", "--property=MainPID", "--value", f"mailkeep-{unit}").strip()
        assert unattended.run("cat", f"/proc/{process}/attr/current").strip() == f"{profile} (enforce)", unit


def test_processes_started_anew_serve_as_before(unattended: Virtual) -> None:
    units = [f"mailkeep-{unit}" for unit in CONFINED]
    unattended.ask("systemctl", "restart", *units, seconds=600)  # what starts too slowly is started again
    unattended.wait("they run again", lambda: unattended.ask("systemctl", "is-active", *units).returncode == 0)
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


def test_apparmor_had_nothing_to_refuse(unattended: Virtual) -> None:
    """In all that was done above: the journal outlives a start."""
    told = unattended.ask(
        *("journalctl", "--no-pager", "--output=cat", "--grep", '\'apparmor="(DENIED|ALLOWED)".*profile="mailkeep\'')
    )
    assert told.stdout.replace("-- No entries --", "").strip() == ""
    assert told.returncode in (0, 1), told.stderr  # 1: no line like that


def _trusting() -> ssl.SSLContext:
    """The certificate is the machine's own: nobody vouches for it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


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
