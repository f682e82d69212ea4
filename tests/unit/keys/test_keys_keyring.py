"""The keyring: each way in opens it alone, a wrong one says why, and nobody changes it unnoticed."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ConflictError, DamageError, KeyringError, NotFoundError
from appliance.files import Files
from appliance.keys import recovery
from appliance.keys.envelope import seal
from appliance.keys.keyring import Argon2, Keyring
from appliance.keys.stored import load

CHEAP = Argon2(memory=64, passes=1)
MAILBOX = bytes(range(16))


@pytest.fixture
def made(tmp_path):
    """(path of the keyring, path of the keyfile, unlocked, recovery key)"""
    path, keyfile = tmp_path / "data" / "keyring.json", tmp_path / "data.keyfile"
    path.parent.mkdir()
    unlocked, text = Keyring.create(path, passphrase="päss word", keyfile=keyfile, argon2=CHEAP)
    return path, keyfile, unlocked, text


def test_each_slot_opens_the_same_archive(made):
    path, keyfile, unlocked, text = made
    public = unlocked.create_mailbox(MAILBOX).public
    locked = Keyring.load(path)
    assert [slot.kind for slot in locked.slots()] == ["recovery", "passphrase", "keyfile"]
    assert locked.public_key(MAILBOX) == public == locked.mailboxes[MAILBOX]
    sealed = seal(public, b"d" * 32, b"info")
    for opened in (
        locked.unlock_with_passphrase("päss word"),
        locked.unlock_with_passphrase("pa\u0308ss word"),  # the same, as another keyboard composes it
        locked.unlock_with_recovery_key(text),
        locked.unlock_with_keyfile(keyfile),
    ):
        assert opened.archive_id == locked.archive_id
        assert opened.volume_key(MAILBOX, sealed, b"info") == b"d" * 32
        assert opened.content_key(MAILBOX) == unlocked.content_key(MAILBOX)
        assert opened.key("settings") == unlocked.key("settings")


def test_purposes_and_mailboxes_have_keys_of_their_own(made):
    _, _, unlocked, _ = made
    other = bytes(16)
    unlocked.create_mailbox(MAILBOX)
    unlocked.create_mailbox(other)
    keys = [unlocked.key(purpose) for purpose in ("settings", "settings-lookup", "catalogue-lookup", "audit", "wrap")]
    keys += [unlocked.content_key(MAILBOX), unlocked.content_key(other)]
    assert len(set(keys)) == 7 and {len(key) for key in keys} == {32}
    with pytest.raises(NotFoundError):
        unlocked.public_key(bytes(15) + b"x")
    with pytest.raises(ConflictError):
        unlocked.create_mailbox(MAILBOX)


def test_anothers_volume_key_does_not_open(made):
    _, _, unlocked, _ = made
    other = bytes(16)
    unlocked.create_mailbox(MAILBOX)
    sealed = seal(unlocked.create_mailbox(other).public, b"d" * 32, b"info")
    with pytest.raises(DamageError):
        unlocked.volume_key(MAILBOX, sealed, b"info")
    with pytest.raises(DamageError):
        unlocked.volume_key(other, sealed, b"another volume")


def test_what_does_not_fit_says_so(made, tmp_path):
    path, keyfile, _, _ = made
    locked = Keyring.load(path)
    with pytest.raises(KeyringError, match="passphrase is not right"):
        locked.unlock_with_passphrase("pass word")
    with pytest.raises(KeyringError, match="another archive"):
        locked.unlock_with_recovery_key(recovery.to_text(recovery.new_secret()))
    with pytest.raises(KeyringError, match="cannot be read"):
        locked.unlock_with_keyfile(tmp_path / "nothing")
    keyfile.write_text("hello")
    with pytest.raises(KeyringError, match="no keyfile"):
        locked.unlock_with_keyfile(keyfile)
    keyfile.write_text("00" * 32)
    with pytest.raises(KeyringError, match="another archive"):
        locked.unlock_with_keyfile(keyfile)
    Keyring.create(tmp_path / "bare.json")
    with pytest.raises(KeyringError, match="not set up so"):
        Keyring.load(tmp_path / "bare.json").unlock_with_passphrase("x")
    with pytest.raises(KeyringError, match="mailkeep init"):
        Keyring.load(tmp_path / "none.json")


def test_files_are_nobody_elses_and_hold_no_secret(made):
    path, keyfile, unlocked, text = made
    unlocked.create_mailbox(MAILBOX)
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.stat().st_mode) == 0o640  # its group: the processes of an installed appliance
    stored = path.read_text()
    for secret in (text, keyfile.read_text().strip(), unlocked._appliance_key.hex(), "päss"):
        assert secret not in stored
    assert unlocked._appliance_key.hex() not in repr(unlocked)
    assert len(bytes.fromhex(keyfile.read_text())) == 32


def test_nothing_that_exists_is_overwritten(made, tmp_path):
    path, keyfile, _, _ = made
    before = path.read_bytes(), keyfile.read_bytes()
    with pytest.raises(ConflictError):
        Keyring.create(path)
    with pytest.raises(ConflictError):
        Keyring.create(tmp_path / "second.json", keyfile=keyfile)
    assert (path.read_bytes(), keyfile.read_bytes()) == before
    assert not (tmp_path / "second.json").exists()


@pytest.mark.parametrize("member", ["public", "private", "content", "password", "verify_key", "archive", "slots"])
def test_a_changed_keyring_does_not_open(made, member):
    """Whoever can write the file could otherwise have new mail sealed to a key of his own."""
    path, _, unlocked, text = made
    unlocked.create_mailbox(MAILBOX)
    unlocked.create_mailbox(bytes(16))
    stored = json.loads(path.read_bytes())
    keyring = stored["keyring"]
    one, two = keyring["mailboxes"].values()
    if member in one:
        one[member], two[member] = two[member], one[member]
    elif member == "slots":
        keyring["slots"].pop()
    else:
        keyring[member] = keyring[member].translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    path.write_text(json.dumps(stored))
    with pytest.raises(KeyringError):
        Keyring.load(path).unlock_with_recovery_key(text)
    with pytest.raises(KeyringError):
        unlocked.create_mailbox(b"m" * 16)


def test_a_replicas_keyring_is_made_without_a_key_and_opens_by_the_recovery_key_alone(made, tmp_path):
    """After every kind of change: a mailbox, another recovery key, another appliance key."""
    path, keyfile, unlocked, text = made
    copy = tmp_path / "copy.json"

    def check(text):
        copy.write_bytes(load(path, Files()).for_replica())
        locked = Keyring.load(copy, argon2=CHEAP)
        assert [slot.kind for slot in locked.slots()] == ["recovery"]
        assert locked.mailboxes == unlocked.mailboxes
        with pytest.raises(KeyringError, match="cannot be unlocked by"):
            locked.unlock_with_passphrase("päss word")
        with pytest.raises(KeyringError, match="cannot be unlocked by"):
            locked.unlock_with_keyfile(keyfile)
        opened = locked.unlock_with_recovery_key(text)
        assert opened.key("service") == unlocked.key("service")
        opened.add_passphrase("another box")  # what a restore does, and it is whole again
        Keyring.load(copy, argon2=CHEAP).unlock_with_passphrase("another box")

    check(text)
    unlocked.create_mailbox(MAILBOX)
    check(text)
    second = unlocked.begin_recovery_key()
    unlocked.confirm_recovery_key(second)
    check(second)
    check(unlocked.new_appliance_key(passphrase="päss word"))


def test_a_replicas_keyring_that_was_changed_does_not_open(made, tmp_path):
    path, _, unlocked, text = made
    unlocked.create_mailbox(MAILBOX)
    document = json.loads(load(path, Files()).for_replica())
    document["keyring"]["mailboxes"][MAILBOX.hex()]["created"] += 1
    (tmp_path / "copy.json").write_text(json.dumps(document))
    with pytest.raises(KeyringError, match="has changed it"):
        Keyring.load(tmp_path / "copy.json").unlock_with_recovery_key(text)


def test_a_keyring_whose_replica_would_not_open_is_refused_here(made):
    """So nobody learns only from a restore that it was altered."""
    path, _, _, text = made
    document = json.loads(path.read_text())
    document["recovery_mac"] = document["mac"]
    path.write_text(json.dumps(document))
    with pytest.raises(KeyringError, match="has changed it"):
        Keyring.load(path).unlock_with_recovery_key(text)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"keyring": 7, "mac": ""}'])
def test_a_damaged_keyring_is_an_error_in_words(tmp_path, content):
    (tmp_path / "keyring.json").write_bytes(content)
    with pytest.raises(KeyringError, match="damaged"):
        Keyring.load(tmp_path / "keyring.json")


def test_two_processes_may_add_mailboxes(made):
    path, keyfile, first, _ = made
    second = Keyring.load(path).unlock_with_keyfile(keyfile)
    first.create_mailbox(MAILBOX)
    second.create_mailbox(bytes(16))
    assert set(Keyring.load(path).mailboxes) == {MAILBOX, bytes(16)}
    first.refresh()
    assert set(first.mailboxes) == {MAILBOX, bytes(16)}


def test_any_call_may_fail_while_a_mailbox_is_made(made):
    """The keyring holds what it held, or the mailbox too, and opens either way."""
    path, keyfile, unlocked, _ = made

    class Failing(Files):
        left = 10**9

        def count(self, name, *args):
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return getattr(Files, name)(self, *args)

    for name in ("create", "write", "sync", "rename", "sync_directory"):
        setattr(Failing, name, lambda self, *args, name=name: self.count(name, *args))
    files = Failing()
    unlocked = Keyring.load(path, files=files).unlock_with_keyfile(keyfile)
    known = set()
    for fail_at in itertools.count(1):
        files.left = fail_at
        mailbox = os.urandom(16)
        try:
            unlocked.create_mailbox(mailbox)
        except KeyringError:
            pass
        else:
            known.add(mailbox)
        opened = Keyring.load(path).unlock_with_keyfile(keyfile)
        assert known <= set(opened.mailboxes)
        if files.left > 0:
            assert fail_at > 5
            return


def test_signatures_fit_the_public_key(made):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    path, keyfile, unlocked, _ = made
    again = Keyring.load(path).unlock_with_keyfile(keyfile)
    assert again.verify_key == unlocked.verify_key == Keyring.load(path).verify_key
    Ed25519PublicKey.from_public_bytes(again.verify_key).verify(unlocked.sign(b"message"), b"message")


def test_the_default_cost_of_a_guess_is_what_is_promised(tmp_path):
    Keyring.create(tmp_path / "k.json", passphrase="x")
    slots = json.loads((tmp_path / "k.json").read_bytes())["keyring"]["slots"]
    assert slots[1]["argon2"] == {"memory": 65536, "passes": 3, "lanes": 1}


# -- the recovery key as text ----------------------------------------------------------------------------------------


@given(st.binary(min_size=22, max_size=22), st.data())
def test_a_recovery_key_is_read_however_it_is_typed(secret, data):
    text = recovery.to_text(secret)
    groups = text.split("-")
    assert [len(group) for group in groups] == [5] * 8
    typed = data.draw(st.sampled_from([" ", "", "-", " - "])).join(groups)
    typed = typed.replace("0", data.draw(st.sampled_from("0oO"))).replace("1", data.draw(st.sampled_from("1iIlL")))
    assert recovery.from_text(data.draw(st.sampled_from([typed, typed.lower(), f"  {typed}\n"]))) == secret


@given(st.binary(min_size=22, max_size=22), st.integers(0, 39), st.sampled_from("ABCDEFGH23456789"))
def test_one_wrong_character_is_noticed(secret, place, wrong):
    digits = recovery.to_text(secret).replace("-", "")
    if digits[place] == wrong:
        return
    with pytest.raises(KeyringError, match="slip"):
        recovery.from_text(digits[:place] + wrong + digits[place + 1 :])


@given(st.text(max_size=60))
def test_nonsense_is_an_error_in_words(text):
    with pytest.raises(KeyringError):
        recovery.from_text(text)


def test_a_mistake_says_where():
    text = recovery.to_text(bytes(22))
    with pytest.raises(KeyringError, match="group 3"):
        recovery.from_text(text[:12] + "U" + text[13:])
    with pytest.raises(KeyringError, match="this one has 39"):
        recovery.from_text(text[:-1])
