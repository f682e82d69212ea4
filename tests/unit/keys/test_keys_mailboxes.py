"""A mailbox's own password and tokens: they open it alone, without the appliance key, and sealed only they do."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest

from appliance.errors import (
    ConflictError,
    DamageError,
    ForbiddenError,
    LockedError,
    NotFoundError,
    SealedError,
    SignInError,
    UsageError,
)
from appliance.keys.envelope import seal
from appliance.keys.keyring import Keyring
from appliance.keys.mailbox_keys import token_mailbox
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter

MAILBOX, OTHER = bytes(range(16)), bytes(16)


@pytest.fixture
def filled(ring, tmp_path):
    """(ring, folder of volumes with one mail in each of two mailboxes, their passwords); the second is sealed."""
    volumes = tmp_path / "data" / "volumes"
    made = ring.unlocked.create_mailbox(MAILBOX), ring.unlocked.create_mailbox(OTHER, sealed=True)
    writer = LogWriter(volumes, "g0", reserve=0)
    for mailbox, new in zip((MAILBOX, OTHER), made, strict=True):
        writer.append(mailbox, new.public, b"mail of " + mailbox.hex().encode()).result()
    writer.close()
    return ring, volumes, tuple(new.password for new in made)


def mail(volumes, opener, mailbox):
    reader = LogReader(volumes, opener)
    (volume,) = reader.volumes(mailbox)
    return [reader.read(ref).original for ref in reader.scan(volume)]


def test_a_generated_password_has_a_hundred_bits_and_can_be_typed(ring):
    passwords = {ring.unlocked.create_mailbox(bytes([n]) * 16).password for n in range(20)}
    assert len(passwords) == 20
    for password in passwords:
        assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}", password)
    assert ring.unlocked.create_mailbox(b"s" * 16, password=False).password == ""
    for password in passwords:
        assert password not in ring.path.read_text()
    password = ring.unlocked.set_mailbox_password(bytes(16))
    for typed in (password.lower(), password.replace("-", " "), password.replace("-", "").replace("0", "O")):
        assert ring.load().open_mailbox(bytes(16), typed).mailbox_id == bytes(16)


def test_who_lost_the_appliance_key_reads_a_mailbox_with_its_password(filled):
    """Passphrase, keyfile and recovery key are gone: keyring.json, the volumes and the mailbox's password suffice."""
    ring, volumes, passwords = filled
    ring.keyfile.unlink()
    alone = Keyring.load(ring.path)
    for mailbox, password in zip((MAILBOX, OTHER), passwords, strict=True):
        assert mail(volumes, alone.open_mailbox(mailbox, password), mailbox) == [b"mail of " + mailbox.hex().encode()]


def test_one_mailboxs_password_opens_no_other(filled):
    ring, volumes, (password, _) = filled
    opened = ring.load().open_mailbox(MAILBOX, password)
    with pytest.raises(ForbiddenError):
        mail(volumes, opened, OTHER)
    with pytest.raises(SignInError):
        ring.load().open_mailbox(OTHER, password)
    opened.close()
    with pytest.raises(LockedError):
        mail(volumes, opened, MAILBOX)


def test_who_lost_a_mailboxs_password_gets_another_from_the_archive(filled):
    ring, volumes, (password, _) = filled
    again = ring.unlocked.set_mailbox_password(MAILBOX)
    assert again != password
    assert mail(volumes, ring.load().open_mailbox(MAILBOX, again), MAILBOX)
    with pytest.raises(SignInError):
        ring.load().open_mailbox(MAILBOX, password)


def test_a_rotated_password_opens_and_the_one_before_does_not(filled):
    ring, volumes, (password, _) = filled
    with pytest.raises(SignInError):
        ring.unlocked.set_mailbox_password(MAILBOX, old="wrong", new="mine is better")
    assert ring.unlocked.set_mailbox_password(MAILBOX, old=password, new="mine is bétter") == "mine is bétter"
    typed = unicodedata.normalize("NFD", "mine is bétter")
    assert mail(volumes, ring.load().open_mailbox(MAILBOX, typed), MAILBOX)
    for wrong in (password, "", "mine is better", "Mine is bétter"):
        with pytest.raises(SignInError):
            ring.load().open_mailbox(MAILBOX, wrong)
    with pytest.raises(UsageError, match="12 characters"):
        ring.unlocked.set_mailbox_password(MAILBOX, new="too short")
    with pytest.raises(NotFoundError):
        ring.unlocked.set_mailbox_password(b"?" * 16)


def test_a_sealed_mailbox_opens_to_its_password_alone(filled):
    ring, volumes, (_, password) = filled
    for opened in (ring.unlocked, ring.again()):
        assert opened.is_sealed(OTHER) and not opened.is_sealed(MAILBOX)
        with pytest.raises(SealedError):
            mail(volumes, opened, OTHER)
        with pytest.raises(SealedError):
            opened.content_key(OTHER)
        for wrong in ("", "wrong"):
            with pytest.raises(SignInError):
                opened.set_mailbox_password(OTHER, old=wrong)
            with pytest.raises(SignInError):
                opened.add_mailbox_token(OTHER, "t", password=wrong)
    stored = json.loads(ring.path.read_bytes())["keyring"]["mailboxes"][OTHER.hex()]
    assert set(stored) == {"public", "created", "password"}
    again = ring.unlocked.set_mailbox_password(OTHER, old=password)
    assert mail(volumes, ring.load().open_mailbox(OTHER, again), OTHER)
    with pytest.raises(SignInError):
        ring.load().open_mailbox(OTHER, password)
    with pytest.raises(UsageError):
        ring.unlocked.create_mailbox(b"x" * 16, sealed=True, password=False)


def test_a_sealed_mailbox_takes_mail_though_nobody_here_can_read_it(ring):
    public = ring.unlocked.create_mailbox(MAILBOX, sealed=True).public
    assert ring.load().public_key(MAILBOX) == public == ring.unlocked.public_key(MAILBOX)
    with pytest.raises(SealedError):
        ring.unlocked.volume_key(MAILBOX, seal(public, b"d" * 32, b"i"), b"i")


def test_tokens_open_their_mailbox_until_they_are_removed(filled):
    ring, volumes, (password, sealed_password) = filled
    one = ring.unlocked.add_mailbox_token(MAILBOX, "getmail on the NAS")
    two = ring.unlocked.add_mailbox_token(MAILBOX, "importer")
    theirs = ring.unlocked.add_mailbox_token(OTHER, "importer", password=sealed_password)
    assert [(info.id, info.name) for info in ring.unlocked.mailbox_tokens(MAILBOX)] == [
        (one.id, "getmail on the NAS"), (two.id, "importer"),
    ]  # fmt: skip
    assert one.token.startswith("mkp_") and token_mailbox(one.token) == MAILBOX
    assert token_mailbox(theirs.token) == OTHER
    for mailbox, token in ((MAILBOX, one), (MAILBOX, two), (OTHER, theirs)):
        assert mail(volumes, ring.load().open_mailbox(mailbox, token.token), mailbox)
        assert token.token not in ring.path.read_text() and token.token not in repr(token)
    for mailbox, token in ((OTHER, one.token), (MAILBOX, theirs.token), (MAILBOX, one.token[:-1] + "?")):
        with pytest.raises(SignInError):
            ring.load().open_mailbox(mailbox, token)
    forged = one.token[:-1] + ("0" if one.token[-1] != "0" else "1")
    with pytest.raises(SignInError):
        ring.load().open_mailbox(MAILBOX, forged)
    ring.unlocked.set_mailbox_password(MAILBOX)
    assert mail(volumes, ring.load().open_mailbox(MAILBOX, one.token), MAILBOX)
    ring.unlocked.remove_mailbox_token(MAILBOX, one.id)
    with pytest.raises(SignInError):
        ring.load().open_mailbox(MAILBOX, one.token)
    assert mail(volumes, ring.load().open_mailbox(MAILBOX, two.token), MAILBOX)
    with pytest.raises(NotFoundError):
        ring.unlocked.remove_mailbox_token(MAILBOX, one.id)
    with pytest.raises(SignInError):
        token_mailbox(password)


def test_a_grant_is_worth_something_while_the_mailbox_is_open(filled):
    ring, _, (password, _) = filled
    opened = ring.unlocked.open_mailbox(MAILBOX, password)
    assert ring.unlocked.granted(opened.grant) == MAILBOX
    for grant in ("", "0" * 64, ring.load().open_mailbox(MAILBOX, password).grant):
        with pytest.raises(ForbiddenError):
            ring.unlocked.granted(grant)
    opened.close()
    with pytest.raises(ForbiddenError):
        ring.unlocked.granted(opened.grant)


def test_there_is_no_telling_a_missing_mailbox_from_a_wrong_password(filled):
    ring, _, _ = filled
    ring.unlocked.create_mailbox(b"s" * 16, password=False)
    said = set()
    for mailbox in (MAILBOX, OTHER, b"s" * 16, b"?" * 16):
        with pytest.raises(SignInError) as refused:
            ring.load().open_mailbox(mailbox, "wrong password")
        said.add(refused.value.message)
    assert len(said) == 1


def test_a_mailboxs_wrapped_key_opens_in_its_place_only(filled):
    """Whoever can write the file cannot have one mailbox's password open another's mail."""
    ring, _, (password, _) = filled
    stored = json.loads(ring.path.read_bytes())
    mailboxes = stored["keyring"]["mailboxes"]
    mailboxes[OTHER.hex()]["password"] = mailboxes[MAILBOX.hex()]["password"]
    ring.path.write_text(json.dumps(stored))
    with pytest.raises(SignInError):
        ring.load().open_mailbox(OTHER, password)


def test_a_mailbox_is_made_once_and_has_an_id_of_16_bytes(ring):
    ring.unlocked.create_mailbox(MAILBOX)
    with pytest.raises(ConflictError):
        ring.unlocked.create_mailbox(MAILBOX, sealed=True)
    with pytest.raises(UsageError):
        ring.unlocked.create_mailbox(b"short")


def test_a_volume_of_another_length_of_key_does_not_open(ring):
    made = ring.unlocked.create_mailbox(MAILBOX)
    opened = ring.load().open_mailbox(MAILBOX, made.password)
    with pytest.raises(DamageError):
        opened.volume_key(MAILBOX, seal(made.public, b"short", b"i"), b"i")
