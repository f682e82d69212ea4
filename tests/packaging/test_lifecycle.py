"""The package's life on a machine: installed, mail in and out, upgraded while mail comes in, removed, purged.

Each test has a clean Debian 12 of its own, and installs the package with apt as a person does. One has no systemd, and
so needs a machine on which a chroot can be entered, not one that can boot a container.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import root as roots
from tests.packaging.machine import ENVIRONMENT, Unbooted, booted
from tests.packaging.test_booted import ADDRESS, PROCESSES, Box

pytestmark = [pytest.mark.packaging, pytest.mark.integration, pytest.mark.timeout(1800)]

ARCHIVE = Path("var/lib/mailkeep/archive")
PREVIOUS = Path(__file__).parent / "data" / "previous-release.tar.xz"
"""An archive with 40 journal reports as the release before wrote it, and its catalogue as the first one did."""
MESSAGE = b"From: anna@example.com\r\nTo: bert@example.com\r\nSubject: The heron contract\r\n\r\nSigned on Monday.\r\n"
APT = ("env", "DEBIAN_FRONTEND=noninteractive", *roots.APT)


@pytest.fixture(scope="module")
def older(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package under a version number before its own."""
    return roots.with_version(package, "0.0.9", tmp_path_factory.mktemp("older"))


@pytest.fixture(scope="module")
def installed(older: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root in which apt has installed the older package, to copy."""
    if reason := roots.why_not():
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("installed") / "root"
    try:
        roots.clean(root)
        said = roots.install(root, older)
    except roots.NotHereError as error:
        pytest.skip(str(error))
    assert "Set it up with: mailkeep console" in said
    assert not list((root / ARCHIVE).iterdir())
    yield root
    shutil.rmtree(root)


@pytest.fixture
def bare_root(installed: Path, package: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that root, with the package to upgrade to in it."""
    copy = tmp_path / "root"
    subprocess.run(["cp", "-a", str(installed), str(copy)], check=True, timeout=300)
    (copy / "etc" / "machine-id").write_text("")
    roots.copy_in(copy, package)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture
def root(bare_root: Path, request: pytest.FixtureRequest) -> Path:
    """The same, where such a root can be booted."""
    request.getfixturevalue("boots")  # only now: it takes a while, and there may be no package
    return bare_root


class Bare(Unbooted, Box):
    """The machine without systemd: a container that runs what it is told."""

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """``mailkeep serve`` runs inside."""
        command = self.entering("mailkeep", "serve", "--allow-plain-swap")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as served:
            assert served.stdout is not None
            assert any(line.startswith("ready") for line in served.stdout), "it ended before it was ready"
            try:
                yield
            finally:
                self.run("pkill", "--full", "mailkeep serve")
            assert served.wait(120) == 0


def upgrade(box: Box, package: Path) -> str:
    return box.run(*APT, "install", f"/root/{package.name}", seconds=600)


def set_up(box: Box) -> None:
    """An archive that unlocks itself, with a mailbox, everything running."""
    box.mailkeep("init", "--unattended", "--hostname", "archive.example")
    box.run("systemctl", "start", "mailkeep.target", seconds=180)
    box.wait_for("everything runs", lambda: len(box.running()) == PROCESSES, 180)
    box.mailkeep("mailbox", "create", "--name", "Journal", "--address", ADDRESS)


def send(box: Box) -> None:
    """One message, as a mail server sends it: from outside, over port 25."""
    body = MESSAGE.removesuffix(b"\r\n")  # swaks adds a line's end
    command = ["swaks", "--server", "127.0.0.1", "--from", "exchange@example.com", "--to", ADDRESS, "--data", "-"]
    sent = subprocess.run(box.beside(*command), input=body, capture_output=True, timeout=120, check=False)
    assert sent.returncode == 0, sent.stdout.decode()


def found(box: Box, query: str) -> list[dict[str, str]]:
    box.mailkeep("wait-idle")
    return json.loads(box.mailkeep("search", query, "--json"))["hits"]


def replicate(box: Box) -> None:
    """Everything is on the remote, and found whole there."""
    box.run("mailkeep", "replicate", "--now", seconds=300)
    box.run("mailkeep", "replica", "verify", "--full", seconds=300)


def exported(box: Box, id: str) -> bytes:
    return subprocess.run(box.entering("mailkeep", "export", id), capture_output=True, timeout=120, check=True).stdout


def test_mail_goes_in_and_out_through_an_upgrade_and_stays_when_the_package_goes(root: Path, package: Path) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("there is no swaks here")
    profiles = root / "etc/apparmor.d/mailkeep"
    profiles.write_text(profiles.read_text() + "# ours\n")
    with booted(root, "mailkeep-lifecycle", Box) as box:
        set_up(box)
        send(box)
        (hit,) = found(box, "heron")
        assert exported(box, hit["id"]) == MESSAGE
        box.run("install", "--directory", "--owner=mailkeep", "/srv/replica")
        box.mailkeep("remote", "add", "beside", "--type", "local", "path=/srv/replica", "--interval", "60")
        replicate(box)

        before = box.running()
        load = box.begin_load()
        upgrade(box, package)
        sent = box.end_load(load)
        assert sent["accepted"] and not sent["failures"]
        box.wait_for("everything runs again", lambda: len(box.running()) == PROCESSES, 180)
        assert not set(before.values()) & set(box.running().values()), "something still runs the old program"
        assert box.records() == 1 + len(sent["accepted"])
        assert exported(box, found(box, "heron")[0]["id"]) == MESSAGE
        assert profiles.read_text().endswith("# ours\n")
        replicate(box)

        box.run(*APT, "remove", "mailkeep", seconds=300)
        assert not box.run("systemctl", "list-units", "--no-legend", "--plain", "--state=active", "mailkeep*").strip()
        assert not (root / "usr/lib/mailkeep").exists()
        assert (root / ARCHIVE / "keyring.json").exists()
        upgrade(box, package)
        box.wait_for("everything runs again", lambda: len(box.running()) == PROCESSES, 180)
        assert exported(box, found(box, "heron")[0]["id"]) == MESSAGE

        kept = box.ask(*APT, "purge", "mailkeep", seconds=300)
        assert kept.returncode == 0
        assert re.search(r"the archive \(\S+\) and its keys stay in /var/lib/mailkeep", kept.stdout + kept.stderr)
        assert (root / ARCHIVE / "keyring.json").exists()
        assert (root / "var/lib/mailkeep/archive.keyfile").exists()
        assert not profiles.exists()

        upgrade(box, package)
        box.run("debconf-set-selections", given="mailkeep mailkeep/purge-data boolean true\n")
        box.run(*APT, "purge", "mailkeep", seconds=300)
        assert not (root / "var/lib/mailkeep").exists()


def test_without_systemd_it_is_installed_used_upgraded_and_removed_as_well(bare_root: Path, package: Path) -> None:
    if shutil.which("swaks") is None:
        pytest.skip("there is no swaks here")
    with booted(bare_root, "bare", Bare) as box:
        box.mailkeep("init", "--unattended", "--hostname", "archive.example")
        with box.serving():
            box.mailkeep("mailbox", "create", "--name", "Journal", "--address", ADDRESS)
            send(box)
            (hit,) = found(box, "heron")
        upgrade(box, package)
        with box.serving():
            assert exported(box, hit["id"]) == MESSAGE
            assert found(box, "heron") == [hit]
        box.run(*APT, "remove", "mailkeep", seconds=300)
        assert not (bare_root / "usr/lib/mailkeep").exists()
        box.run(*APT, "purge", "mailkeep", seconds=300)
        assert (bare_root / ARCHIVE / "keyring.json").exists()


@pytest.mark.usefixtures("whole")
def test_an_archive_of_the_release_before_is_migrated_by_the_upgrade(root: Path, package: Path) -> None:
    with booted(root, "mailkeep-migration", Box) as box:
        subprocess.run(["tar", "-xf", str(PREVIOUS), "-C", str(root / ARCHIVE.parent)], check=True, timeout=60)
        upgrade(box, package)
        box.wait_for("everything runs", lambda: len(box.running()) == PROCESSES, 180)
        (hit,) = found(box, "offer")
        assert hit["subject"] == "Offer 2026-2451 for the new warehouse"
        assert b"please find our offer attached" in exported(box, hit["id"])
        assert box.records() == 40
        assert "Everything is whole" in box.run("mailkeep", "verify", "--deep", seconds=300)
