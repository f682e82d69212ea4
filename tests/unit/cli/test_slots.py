"""The ways to the key, changed by the command line on a resting archive; the mail stays as it lies."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from appliance.cli import main, recovery_key
from appliance.errors import KeyringError
from appliance.keys.keyring import Keyring
from appliance.keys.recovery import new_secret, to_text
from appliance.mail.facts import Provenance
from appliance.services import mailboxes
from appliance.services.archive import Archive
from appliance.services.paths import Paths
from appliance.services.setup.create import create
from appliance.services.unlock import Secret, unlock
from appliance.store.writer import LogWriter
from tests.scratch import BOX, DOOR, mail

FIRST, SECOND = "three words of four", "seven words of nine"
RECEIVED = Provenance(received_at=1_760_000_000_000_000, rcpt_to=(DOOR,))


class Resting:
    """An archive on which nothing runs, with one message, and the command line on it."""

    def __init__(self, data: Path, recovery_key: str) -> None:
        self.paths = Paths(data)
        self.recovery_key = recovery_key
        self.environment: dict[str, str] = {}

    def attempt(self, *words: str, said: str = "", passphrase: str = FIRST) -> Result:
        """Run a subcommand, however it ends; the passphrase, if any, is the first line of its standard input."""
        unlocking = ["--passphrase-stdin"] if passphrase else []
        return CliRunner().invoke(
            main, ["--data", str(self.paths.data), *unlocking, *words],
            input=f"{passphrase}\n{said}" if passphrase else said, env=self.environment,
        )  # fmt: skip

    def run(self, *words: str, said: str = "", passphrase: str = FIRST) -> Any:
        """Run a subcommand with --json, which has to succeed; what it says."""
        done = self.attempt(*words, "--json", said=said, passphrase=passphrase)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def slot(self, kind: str) -> str:
        """The id of the one slot of a kind."""
        (found,) = (one.id for one in Keyring.load(self.paths.keyring).slots() if one.kind == kind)
        return found

    def kinds(self) -> list[str]:
        return sorted(one.kind for one in Keyring.load(self.paths.keyring).slots())

    def opens(self, passphrase: str) -> bool:
        return self._opens(lambda keyring: keyring.unlock_with_passphrase(passphrase))

    def recovers(self, key: str) -> bool:
        return self._opens(lambda keyring: keyring.unlock_with_recovery_key(key))

    def _opens(self, way: Callable[[Keyring], object]) -> bool:
        try:
            way(Keyring.load(self.paths.keyring))
        except KeyringError:
            return False
        return True

    def mail_on_disk(self) -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in self.paths.volumes.rglob("g*.mkv")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Resting:
    paths = Paths(tmp_path_factory.mktemp("slots") / "data")
    created = create(paths, passphrase=FIRST, keyfile=False, administrator=True, hostname="box.test")
    archive = Archive(paths, unlock(paths, Secret(passphrase=FIRST)))
    mailbox = mailboxes.mailbox_create(archive, BOX, name="Journal", address=DOOR).mailbox
    writer = LogWriter(paths.volumes, "g0", reserve=0)
    mailbox_id = bytes.fromhex(mailbox.id)
    writer.append(mailbox_id, archive.keyring.public_key(mailbox_id), mail("About the zinc roof"), RECEIVED).result()
    writer.close()
    archive.close()
    return Resting(paths.data, created.recovery_key)


@pytest.fixture
def box(made: Resting, tmp_path: Path) -> Iterator[Resting]:
    """A copy of it. In the end its mail is where and as it was, and is read with what opens the archive then."""
    shutil.copytree(made.paths.data, tmp_path / "data")
    copy = Resting(tmp_path / "data", made.recovery_key)
    before = copy.mail_on_disk()
    assert before
    yield copy
    assert copy.mail_on_disk() == before


def is_read(box: Resting, passphrase: str) -> bool:
    """Whether the mail is found on an archive that is opened so (or, empty, with what the box has)."""
    box.attempt("wait-idle", passphrase=passphrase)
    done = box.attempt("search", "zinc", "--json", passphrase=passphrase)
    return done.exit_code == 0 and json.loads(done.stdout)["total"] == 1


def test_a_second_passphrase_opens_and_the_first_can_be_taken_away(box: Resting) -> None:
    first = box.slot("passphrase")
    added = box.run("slot", "add", "passphrase", "--name", "Ben", "--new-passphrase-stdin", said=SECOND + "\n")
    assert (added["kind"], added["name"]) == ("passphrase", "Ben")
    assert box.opens(FIRST) and box.opens(SECOND)
    assert "Copies of keyring.json" in box.run("slot", "remove", first)["note"]
    assert not box.opens(FIRST)
    assert is_read(box, SECOND)


def test_a_changed_passphrase_takes_the_place_of_the_one_before(box: Resting) -> None:
    slot = box.slot("passphrase")
    assert box.run("slot", "rotate", slot, "--new-passphrase-stdin", said=SECOND + "\n")["id"] == slot
    assert not box.opens(FIRST)
    assert is_read(box, SECOND)


def test_a_passphrase_that_is_easily_guessed_is_not_taken(box: Resting) -> None:
    done = box.attempt("slot", "add", "passphrase", "--new-passphrase-stdin", said="too short\n")
    assert done.exit_code == 1 and "at least 12 characters" in done.stderr
    assert box.kinds() == ["passphrase", "recovery"]


def test_a_keyfile_is_made_outside_the_data_folder_for_its_owner_alone(box: Resting) -> None:
    inside = box.attempt("slot", "add", "keyfile", "--out", str(box.paths.data / "own.keyfile"))
    assert inside.exit_code == 1 and "outside the data folder" in inside.stderr
    added = box.run("slot", "add", "keyfile")
    assert stat.S_IMODE(box.paths.keyfile.stat().st_mode) == 0o600
    assert box.run("status")["unlocks_itself"]
    again = box.attempt("slot", "add", "keyfile")
    assert again.exit_code == 1 and "left as it is" in again.stderr
    assert is_read(box, "")
    box.run("slot", "remove", added["id"])
    assert not is_read(box, "")
    assert not box.run("status")["unlocks_itself"]


def test_a_new_recovery_key_counts_only_once_it_was_typed_back(box: Resting, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _typing(monkeypatch, lambda key: to_text(new_secret()))
    assert box.attempt("slot", "add", "recovery", "--json").exit_code == 1
    assert box.recovers(box.recovery_key) and not box.recovers(shown[-1])
    _typing(monkeypatch, str.lower, shown)
    assert box.attempt("slot", "rotate", box.slot("recovery"), "--json").exit_code == 0
    assert box.recovers(shown[-1]) and not box.recovers(box.recovery_key)
    assert box.kinds() == ["passphrase", "recovery"]


def test_what_has_to_stay_stays(box: Resting) -> None:
    done = box.attempt("slot", "remove", box.slot("recovery"))
    assert done.exit_code == 1 and "slot rotate" in done.stderr
    assert box.attempt("slot", "remove", "0" * 8).exit_code == 1
    assert box.recovers(box.recovery_key) and box.opens(FIRST)


def test_a_new_appliance_key_leaves_only_the_secrets_that_were_given(box: Resting) -> None:
    box.run("slot", "add", "passphrase", "--name", "Ben", "--new-passphrase-stdin", said=SECOND + "\n")
    said = box.run("slot", "rotate", "--new-key")
    assert sorted(one["kind"] for one in said["slots"]) == ["passphrase", "recovery"]
    assert not box.opens(SECOND)
    assert box.recovers(said["recovery_key"]) and not box.recovers(box.recovery_key)
    assert is_read(box, FIRST)


def test_a_wrong_passphrase_to_keep_changes_nothing(box: Resting) -> None:
    box.run("slot", "add", "keyfile")
    before = box.paths.keyring.read_bytes()
    assert box.attempt("slot", "rotate", "--new-key", "--json", passphrase=SECOND).exit_code == 1
    assert box.paths.keyring.read_bytes() == before


def test_a_box_without_systemd_creds_says_so_and_keeps_its_slots(box: Resting, tmp_path: Path) -> None:
    box.environment["PATH"] = str(tmp_path)
    done = box.attempt("slot", "add", "systemd", "--out", str(tmp_path / "mailkeep.cred"))
    assert done.exit_code == 1
    assert "systemd-creds" in done.stderr and "slot add keyfile" in done.stderr
    assert box.kinds() == ["passphrase", "recovery"]


def test_a_systemd_credential_that_cannot_be_encrypted_leaves_no_slot(box: Resting, tmp_path: Path) -> None:
    _systemd_creds(tmp_path, 'test "$1" = has-tpm2 || echo "no key for that" >&2; exit 1')
    box.environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    file = tmp_path / "mailkeep.cred"
    done = box.attempt("slot", "add", "systemd", "--out", str(file))
    assert done.exit_code == 1 and "no key for that" in done.stderr
    tpm = box.attempt("slot", "add", "systemd", "--with-key", "tpm2", "--out", str(file))
    assert tpm.exit_code == 1 and "TPM 2" in tpm.stderr
    assert box.kinds() == ["passphrase", "recovery"]
    assert not file.exists()


def test_what_systemd_decrypts_opens_the_archive(box: Resting, tmp_path: Path) -> None:
    """systemd-creds is played by a program that writes its input: what it encrypts, systemd hands out decrypted."""
    _systemd_creds(tmp_path, "cat")
    box.environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    credential = tmp_path / "credentials" / "mailkeep"
    assert box.run("slot", "add", "systemd", "--out", str(credential))["kind"] == "credential"
    assert stat.S_IMODE(credential.stat().st_mode) == 0o600
    box.environment["CREDENTIALS_DIRECTORY"] = str(credential.parent)
    assert is_read(box, "")


def test_who_sets_an_archive_up_types_the_recovery_key_back_until_it_is_right(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = to_text(new_secret()), to_text(new_secret())
    typed = iter([key[:-1], other, key.lower().replace("-", "")])
    monkeypatch.setattr(click, "prompt", lambda *_, **__: next(typed))
    recovery_key.type_back(lambda said: recovery_key.require_same(key, said), as_json=False)
    assert next(typed, None) is None
    said = capsys.readouterr().err
    assert "letters and digits" in said and "another recovery key" in said


def test_a_terminal_shows_the_recovery_key_as_groups_and_as_a_picture(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = to_text(new_secret())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    recovery_key.show_recovery_key(key, as_json=False)
    said = capsys.readouterr().out
    assert "".join(said.split()).replace("\n", "").count(key) == 1
    assert "█" in said or "▄" in said


def _typing(monkeypatch: pytest.MonkeyPatch, typed: Callable[[str], str], shown: list[str] | None = None) -> list[str]:
    """Somebody who reads the key that is shown and types what ``typed`` makes of it; the keys, as they are shown."""
    keys = [] if shown is None else shown

    def show(text: str, *, as_json: bool) -> None:
        keys.append(text)

    def type_back(confirm: Callable[[str], object], *, as_json: bool) -> None:
        confirm(typed(keys[-1]))

    monkeypatch.setattr("appliance.cli.keys.show_recovery_key", show)
    monkeypatch.setattr("appliance.cli.keys.type_back", type_back)
    return keys


def _systemd_creds(folder: Path, script: str) -> None:
    file = folder / "systemd-creds"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
