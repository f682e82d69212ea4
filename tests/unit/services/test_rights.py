"""Signing in and rights, where somebody tries to get more than is theirs."""

from __future__ import annotations

import threading
import time

import pyotp
import pytest

from appliance.errors import ConflictError, ForbiddenError, MailkeepError, SignInError
from appliance.services import auditing, identity, users
from appliance.services.identity import TRIES
from appliance.services.principal import Principal
from appliance.settings import events
from tests.scratch import BOX, ScratchArchive

PASSWORD = "long enough pass"


def _with_password(box: ScratchArchive, address: str) -> str:
    user = box.user(address)
    code = users.user_invite(box.archive, BOX, box.dispatcher.identity, ids=[user])[0].code
    box.dispatcher.identity.accept_invitation(code=code, password=PASSWORD, client="")
    return user


def _together(count: int, work) -> None:  # type: ignore[no-untyped-def]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_guesses_made_at_the_same_time_are_slowed_down_too(box: ScratchArchive) -> None:
    answers: list[str] = []

    def guess(number: int) -> None:
        try:
            box.dispatcher.identity.sign_in(address="admin", password=f"guess {number}", totp="", client=f"c{number}")
        except SignInError as error:
            answers.append(error.message)

    _together(16, guess)
    assert len(answers) == 16
    assert sum("Too many" not in one for one in answers) <= TRIES + 1


def test_neighbours_in_an_ipv6_network_count_as_one_client(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "CLIENT_TRIES", TRIES)
    for number in range(TRIES):
        with pytest.raises(SignInError):
            box.dispatcher.identity.sign_in(
                address=f"{number}@example.com", password="x", totp="", client=f"2001:db8::{number}"
            )
    with pytest.raises(SignInError, match="Too many"):
        box.dispatcher.identity.sign_in(address="admin", password="x", totp="", client="2001:db8::ffff")


def test_one_persons_wrong_tries_do_not_lock_out_the_office(box: ScratchArchive) -> None:
    for _ in range(TRIES + 1):
        with pytest.raises(SignInError):
            box.dispatcher.identity.sign_in(address="a@example.com", password="x", totp="", client="192.0.2.7")
    password = box.created.admin_password
    assert box.dispatcher.identity.sign_in(address="admin", password=password, totp="", client="192.0.2.7").token


def test_a_code_of_the_authenticator_app_is_good_once(box: ScratchArchive) -> None:
    secret = pyotp.random_base32()
    user = _with_password(box, "anna@example.com")
    box.archive.record(BOX, events.TotpSet(user, secret))
    code = pyotp.TOTP(secret).at(int(time.time()))
    sign_in = box.dispatcher.identity.sign_in
    with pytest.raises(SignInError, match="six digits"):
        sign_in(address="anna@example.com", password=PASSWORD, totp="", client="c")
    assert sign_in(address="anna@example.com", password=PASSWORD, totp=code, client="c").token
    with pytest.raises(SignInError, match="wrong"):
        sign_in(address="anna@example.com", password=PASSWORD, totp=code, client="c")


def test_an_invitation_does_not_stand_in_for_the_second_factor(box: ScratchArchive) -> None:
    identity = box.dispatcher.identity
    user = _with_password(box, "anna@example.com")
    box.archive.record(BOX, events.TotpSet(user, pyotp.random_base32()))
    code = users.user_invite(box.archive, BOX, identity, ids=[user])[0].code
    with pytest.raises(SignInError, match="password is set"):
        identity.accept_invitation(code=code, password="another password", client="")
    with pytest.raises(SignInError, match="six digits"):
        identity.sign_in(address="anna@example.com", password="another password", totp="", client="c")


def test_an_administrator_cannot_become_an_auditor_by_a_detour(box: ScratchArchive) -> None:
    auditor, boss = _with_password(box, "auditor@example.com"), box.user("boss@example.com")
    users.role_grant(box.archive, BOX, id=auditor, role="auditor", reason="elected")
    admin = Principal(id=boss, roles=frozenset({"admin"}))
    with pytest.raises(ForbiddenError):
        users.user_invite(box.archive, admin, box.dispatcher.identity, ids=[auditor])
    with pytest.raises(ForbiddenError):
        users.role_revoke(box.archive, admin, id=auditor, role="auditor")
    users.user_change(box.archive, admin, id=auditor, state="disabled")
    waiting = users.role_grant(box.archive, admin, id=boss, role="auditor", reason="please")
    assert "auditor" not in waiting.roles


def test_an_address_that_two_ask_for_at_the_same_time_goes_to_one(box: ScratchArchive) -> None:
    refused: list[str] = []

    def create(number: int) -> None:
        try:
            if number % 2:
                users.create_from_mail(box.archive, "same@example.com")
            else:
                box.user("same@example.com")
        except ConflictError as error:
            refused.append(error.message)

    _together(8, create)
    assert users.users(box.archive, BOX, find="same@").total == 1
    assert refused


def test_a_failed_try_is_written_down_in_bounds(box: ScratchArchive) -> None:
    with pytest.raises(MailkeepError):
        box.dispatcher.identity.sign_in(address="a" * 20_000, password="x", totp="", client="c")
    line = auditing.audit(box.archive, BOX, find="sign-in.failed").lines[0]
    assert len(line.what) < 1000
