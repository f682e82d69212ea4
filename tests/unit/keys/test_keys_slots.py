"""The ways to unlock an archive: each can be added, changed and taken away, and no mail is touched by that."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from appliance.errors import ConflictError, KeyringError, NotFoundError, UsageError
from appliance.files import Files
from appliance.keys import recovery
from appliance.keys.envelope import seal
from appliance.keys.keyring import Keyring
from appliance.keys.stored import KeyringData
from appliance.store.reader import LogReader
from appliance.store.seal import Chain, sign_volume, waiting
from appliance.store.verify import verify
from appliance.store.writer import LogWriter
from tests.unit.keys.conftest import CHEAP, PASSPHRASE

MAILBOX = bytes(range(16))
PURPOSES = ("settings", "settings-lookup", "catalogue-lookup", "index")


def kinds(keyring):
    return [slot.kind for slot in keyring.slots()]


def slot_of(keyring, kind):
    return next(slot for slot in keyring.slots() if slot.kind == kind)


def test_slots_are_listed_with_id_kind_name_and_time(ring):
    ring.unlocked.add_passphrase("the deputy's", "deputy")
    listed = ring.load().slots()
    assert [(slot.kind, slot.name) for slot in listed] == [
        ("recovery", ""), ("passphrase", ""), ("keyfile", ""), ("passphrase", "deputy"),
    ]  # fmt: skip
    assert listed == ring.unlocked.slots()
    assert len({slot.id for slot in listed}) == 4 and all(len(slot.id) == 8 for slot in listed)
    assert [slot.created for slot in listed] == sorted(slot.created for slot in listed)


def test_each_of_several_passphrases_opens_and_a_removed_one_does_not(ring):
    id = ring.unlocked.add_passphrase("the deputy's", "deputy")
    key = ring.unlocked.key("settings")
    assert ring.load().unlock_with_passphrase("the deputy's").key("settings") == key
    assert ring.again().key("settings") == key
    ring.again().remove_slot(id)
    with pytest.raises(KeyringError, match="not right"):
        ring.load().unlock_with_passphrase("the deputy's")
    assert ring.again().key("settings") == key
    with pytest.raises(NotFoundError):
        ring.unlocked.remove_slot(id)
    with pytest.raises(UsageError):
        ring.unlocked.add_passphrase("")


def test_a_changed_passphrase_takes_the_place_of_the_one_before(ring):
    before = slot_of(ring.unlocked, "passphrase")
    ring.unlocked.change_passphrase(before.id, "another one")
    assert slot_of(ring.load(), "passphrase") == before
    with pytest.raises(KeyringError):
        ring.load().unlock_with_passphrase(PASSPHRASE)
    assert ring.load().unlock_with_passphrase("another one").archive_id == ring.unlocked.archive_id
    with pytest.raises(UsageError):
        ring.unlocked.change_passphrase(slot_of(ring.unlocked, "keyfile").id, "another one")
    with pytest.raises(NotFoundError):
        ring.unlocked.change_passphrase("00000000", "another one")


def test_a_second_keyfile_opens_and_nothing_is_overwritten(ring, tmp_path):
    path = tmp_path / "second.keyfile"
    id = ring.unlocked.add_keyfile(path, "spare")
    assert ring.load().unlock_with_keyfile(path).key("x") == ring.unlocked.key("x")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConflictError):
        ring.unlocked.add_keyfile(path)
    ring.unlocked.remove_slot(id)
    with pytest.raises(KeyringError, match="removed"):
        ring.load().unlock_with_keyfile(path)
    assert ring.load().unlock_with_keyfile(ring.keyfile).key("x") == ring.unlocked.key("x")


def test_a_credential_opens_by_the_bytes_that_were_handed_out(ring):
    with pytest.raises(KeyringError, match="not set up so"):
        ring.load().unlock_with_credential(b"c" * 32)
    id, secret = ring.unlocked.add_credential("TPM")
    assert ring.load().unlock_with_credential(secret).key("x") == ring.unlocked.key("x")
    with pytest.raises(KeyringError, match="credential"):
        ring.load().unlock_with_credential(bytes([secret[0] ^ 1]) + secret[1:])
    ring.unlocked.remove_slot(id)
    assert "credential" not in kinds(ring.load())


def test_the_last_slot_and_the_only_recovery_key_stay(ring):
    with pytest.raises(ConflictError, match="recovery"):
        ring.unlocked.remove_slot(slot_of(ring.unlocked, "recovery").id)
    for kind in ("passphrase", "keyfile"):
        ring.unlocked.remove_slot(slot_of(ring.unlocked, kind).id)
    with pytest.raises(ConflictError, match="last slot"):
        ring.unlocked.remove_slot(slot_of(ring.unlocked, "recovery").id)
    assert ring.load().unlock_with_recovery_key(ring.recovery_key).slots() == ring.unlocked.slots()


def test_a_new_recovery_key_counts_only_once_it_is_typed_back(ring):
    text = ring.unlocked.begin_recovery_key()
    for refused in (text[:-1] + ("0" if text[-1] != "0" else "1"), recovery.to_text(recovery.new_secret())):
        with pytest.raises(KeyringError):
            ring.unlocked.confirm_recovery_key(refused)
    with pytest.raises(KeyringError):
        ring.load().unlock_with_recovery_key(text)
    assert ring.load().unlock_with_recovery_key(ring.recovery_key).archive_id == ring.unlocked.archive_id
    id = ring.unlocked.confirm_recovery_key(text.lower().replace("-", " "))
    assert ring.load().unlock_with_recovery_key(text).key("x") == ring.unlocked.key("x")
    assert kinds(ring.load()).count("recovery") == 1 and slot_of(ring.load(), "recovery").id == id
    with pytest.raises(KeyringError, match="newer"):
        ring.load().unlock_with_recovery_key(ring.recovery_key)
    with pytest.raises(UsageError):
        ring.unlocked.confirm_recovery_key(text)


# -- a new appliance key ---------------------------------------------------------------------------------------------


def test_a_new_appliance_key_opens_all_that_there_was(ring):
    """Purposes, mailboxes, passwords, tokens and seals are as before; slots whose secret was not given are gone."""
    made = ring.unlocked.create_mailbox(MAILBOX)
    secret = ring.unlocked.create_mailbox(bytes(16), sealed=True)
    token = ring.unlocked.add_mailbox_token(MAILBOX, "importer").token
    ring.unlocked.add_passphrase("the deputy's")
    old = ring.again()
    sealed, theirs = seal(made.public, b"d" * 32, b"i"), seal(secret.public, b"s" * 32, b"i")
    slot = slot_of(ring.unlocked, "passphrase")
    text = ring.unlocked.new_appliance_key(passphrase=PASSPHRASE)
    assert slot_of(ring.load(), "passphrase") == slot and kinds(ring.load()) == ["passphrase", "recovery"]
    for opened in (ring.unlocked, ring.again(), ring.load().unlock_with_recovery_key(text)):
        for purpose in PURPOSES:
            assert opened.key(purpose) == old.key(purpose)
        assert opened.volume_key(MAILBOX, sealed, b"i") == b"d" * 32
        assert opened.content_key(MAILBOX) == old.content_key(MAILBOX)
        assert opened.sign(b"m") == old.sign(b"m") and opened.verify_key == old.verify_key
    for mailbox, word, one in (
        (MAILBOX, made.password, sealed),
        (MAILBOX, token, sealed),
        (bytes(16), secret.password, theirs),
    ):
        assert ring.load().open_mailbox(mailbox, word).volume_key(mailbox, one, b"i")
    for attempt in (
        lambda: ring.load().unlock_with_recovery_key(ring.recovery_key),
        lambda: ring.load().unlock_with_passphrase("the deputy's"),
        lambda: ring.load().unlock_with_keyfile(ring.keyfile),
    ):
        with pytest.raises(KeyringError):
            attempt()
    ring.unlocked.create_mailbox(b"n" * 16)
    with pytest.raises(KeyringError, match="altered"):
        old.refresh()  # a process with the old key can tell nothing of the new file, and changes nothing in it
    with pytest.raises(KeyringError):
        old.create_mailbox(b"o" * 16)
    assert b"n" * 16 in ring.again().mailboxes


def test_the_old_appliance_key_opens_nothing_that_is_wrapped_with_the_new_one(ring):
    ring.unlocked.create_mailbox(MAILBOX)
    old_key = ring.unlocked._appliance_key
    ring.unlocked.new_appliance_key(keyfile=ring.keyfile)
    assert old_key != ring.unlocked._appliance_key
    with pytest.raises(Exception, match="does not open"):
        type(ring.unlocked)(ring.path, ring.load()._data, old_key, argon2=CHEAP)


def test_a_wrong_secret_makes_no_new_appliance_key(ring):
    before = ring.path.read_bytes()
    with pytest.raises(UsageError):
        ring.unlocked.new_appliance_key()
    with pytest.raises(KeyringError, match="passphrase is not right"):
        ring.unlocked.new_appliance_key(passphrase="wrong")
    with pytest.raises(KeyringError):
        ring.unlocked.new_appliance_key(passphrase=PASSPHRASE, keyfile=ring.path)
    assert ring.path.read_bytes() == before


def test_an_archive_without_a_base_keeps_its_purposes_keys(ring, monkeypatch):
    """Keyrings made before there was a base derive from the appliance key, and go on so under a new one."""
    monkeypatch.setattr("appliance.keys.keyring.KeyringData", lambda **members: KeyringData(**members | {"base": b""}))
    path = ring.path.with_name("early.json")
    unlocked, text = Keyring.create(path, passphrase=PASSPHRASE, argon2=CHEAP)
    assert b'"base"' not in path.read_bytes()
    keys = [unlocked.key(purpose) for purpose in PURPOSES]
    assert [Keyring.load(path).unlock_with_recovery_key(text).key(purpose) for purpose in PURPOSES] == keys
    unlocked.new_appliance_key(passphrase=PASSPHRASE)
    assert b'"base"' in path.read_bytes()
    opened = Keyring.load(path).unlock_with_passphrase(PASSPHRASE)
    assert [opened.key(purpose) for purpose in PURPOSES] == keys == [unlocked.key(purpose) for purpose in PURPOSES]


# -- mail is not touched ---------------------------------------------------------------------------------------------


def volumes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_no_change_of_a_slot_or_a_password_rewrites_mail(ring, tmp_path):
    unlocked, volumes = ring.unlocked, tmp_path / "volumes"
    public = unlocked.create_mailbox(MAILBOX).public
    writer = LogWriter(volumes, "g0", reserve=0)
    for number in range(3):
        writer.append(MAILBOX, public, b"mail %d" % number).result()
    writer.close()
    chain = Chain.load(volumes, archive_id=unlocked.archive_id, verify_key=unlocked.verify_key)
    for path in list(waiting(volumes, chain)):
        sign_volume(volumes, path, chain, unlocked)
    before = volumes_of(volumes)
    assert len(before) == 2
    id = unlocked.add_passphrase("the deputy's")
    unlocked.change_passphrase(id, "the new deputy's")
    unlocked.remove_slot(id)
    unlocked.add_credential()
    unlocked.confirm_recovery_key(unlocked.begin_recovery_key())
    unlocked.set_mailbox_password(MAILBOX)
    unlocked.remove_mailbox_token(MAILBOX, unlocked.add_mailbox_token(MAILBOX, "t").id)
    unlocked.new_appliance_key(passphrase=PASSPHRASE)
    assert volumes_of(volumes) == before
    opened = ring.again()
    report = verify(volumes, opened, deep=True)
    assert (report.records, report.sealed, report.errors) == (3, 1, ())
    reader = LogReader(volumes, opened)
    assert [reader.read(ref).original for ref in reader.scan(reader.volumes()[0])] == [b"mail 0", b"mail 1", b"mail 2"]


# -- crashes ---------------------------------------------------------------------------------------------------------


class Power(Files):
    """Ends with an error at the Nth call that changes anything, and at all that follow: as when the power goes."""

    def __init__(self, left: int = 10**9) -> None:
        self.left = left

    def _count(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


for _name in ("create", "write", "sync", "rename", "sync_directory", "unlink"):

    def _method(self, *args, _name=_name):
        self._count()
        return getattr(Files, _name)(self, *args)

    setattr(Power, _name, _method)


CHANGES = {
    "add": lambda unlocked: unlocked.add_passphrase("the deputy's"),
    "change": lambda unlocked: unlocked.change_passphrase(slot_of(unlocked, "passphrase").id, "changed"),
    "remove": lambda unlocked: unlocked.remove_slot(slot_of(unlocked, "keyfile").id),
    "recovery": lambda unlocked: unlocked.confirm_recovery_key(unlocked.begin_recovery_key()),
    "new key": lambda unlocked: unlocked.new_appliance_key(passphrase=PASSPHRASE),
    "mailbox": lambda unlocked: unlocked.create_mailbox(b"m" * 16),
    "password": lambda unlocked: unlocked.set_mailbox_password(MAILBOX),
    "token": lambda unlocked: unlocked.add_mailbox_token(MAILBOX, "t"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_crash_at_any_step_of_a_change_leaves_a_keyring_that_opens(ring, change):
    """It holds what it held before or the whole change, never less, and who goes on afterwards can change it."""
    made = ring.unlocked.create_mailbox(MAILBOX)
    sealed = seal(made.public, b"d" * 32, b"i")
    start = ring.path.read_bytes()
    key = ring.unlocked.key("settings")
    for fail_at in itertools.count(1):
        ring.path.write_bytes(start)
        files = Power()
        unlocked = Keyring.load(ring.path, argon2=CHEAP, files=files).unlock_with_passphrase(PASSPHRASE)
        files.left = fail_at
        failed = False
        try:
            CHANGES[change](unlocked)
        except KeyringError:
            failed = True
        words = [PASSPHRASE, "changed"] if change == "change" else [PASSPHRASE]
        opened = None
        for word in words:
            try:
                opened = ring.load().unlock_with_passphrase(word)
            except KeyringError:
                continue
        assert opened is not None
        assert opened.key("settings") == key and opened.volume_key(MAILBOX, sealed, b"i") == b"d" * 32
        files.left = 10**9
        unlocked.create_mailbox(os.urandom(16))  # the process that met the error goes on
        if not failed:
            assert fail_at > 5
            return
