"""Mailboxes: passwords that are shown once, sealed ones that nobody else opens, aliases, and numbers that are right."""

from __future__ import annotations

import json
import threading
import time

import pytest

from appliance.errors import ConflictError, ForbiddenError, NotFoundError, SealedError, SignInError, UsageError
from appliance.mail import published
from appliance.services import api, auditing, instructions, mailbox_access, mailboxes, reading, status, users
from appliance.services.principal import Principal
from appliance.store.reader import LogReader
from tests.scratch import BOX, DOOR, ScratchArchive, mail, report

ADMIN = Principal(id="u-admin", name="Ada", roles=frozenset({"admin"}))
"""An administrator who is no auditor."""


def made(box: ScratchArchive, address: str = "council@archive.test", **settings: object) -> api.MailboxCreated:
    return mailboxes.mailbox_create(box.archive, BOX, name="Council", address=address, **settings)  # type: ignore[arg-type]


def info(box: ScratchArchive, id: str) -> api.MailboxInfo:
    return next(one for one in mailboxes.mailboxes(box.archive, BOX) if one.id == id)


def told(box: ScratchArchive) -> published.GatewaySettings:
    return published.decode_settings(published.settings_path(box.paths.data).read_bytes())


def everything_said(box: ScratchArchive) -> str:
    """The audit trail as an auditor reads it, and what is set for the mailboxes."""
    lines = auditing.audit(box.archive, BOX, limit=500).lines
    return " ".join(
        (*(f"{one.action} {one.what} {one.reason}" for one in lines), str(box.archive.settings.mailboxes()))
    )


# -- passwords and tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [False, True])
def test_the_password_opens_the_mail_and_stands_nowhere(box: ScratchArchive, sealed: bool, caplog) -> None:
    new = made(box, sealed=sealed)
    box.receive(mail("For the council"), mailbox_id=new.mailbox.id)
    token = mailbox_access.mailbox_token_add(
        box.archive, BOX, id=new.mailbox.id, name="nightly", password=new.password if sealed else ""
    )
    for secret in (new.password, token.token):
        opened = box.archive.keyring.open_mailbox(bytes.fromhex(new.mailbox.id), secret)
        reader = LogReader(box.paths.volumes, opened)
        (volume,) = reader.volumes(bytes.fromhex(new.mailbox.id))
        (found,) = reader.scan(volume)
        assert b"For the council" in reader.read(found).original
        opened.close()
        assert secret not in everything_said(box)
        assert secret not in caplog.text
    box.close()
    for file in box.paths.data.rglob("*"):
        if file.is_file():
            assert new.password.encode() not in file.read_bytes(), file
            assert token.token.encode() not in file.read_bytes(), file
    box.open()


def test_a_changed_password_replaces_the_one_before_and_tokens_stay(box: ScratchArchive) -> None:
    new = made(box, sealed=True)
    mailbox = bytes.fromhex(new.mailbox.id)
    token = mailbox_access.mailbox_token_add(box.archive, BOX, id=new.mailbox.id, name="n", password=new.password)
    proposed = mailbox_access.mailbox_proposed_password(box.archive, BOX)
    with pytest.raises(UsageError, match="present password"):
        mailbox_access.mailbox_password(box.archive, BOX, id=new.mailbox.id, new=proposed)
    with pytest.raises(SignInError):
        mailbox_access.mailbox_password(box.archive, BOX, id=new.mailbox.id, new=proposed, old="not the password")
    box.archive.keyring.open_mailbox(mailbox, new.password).close()
    mailbox_access.mailbox_password(box.archive, BOX, id=new.mailbox.id, new=proposed, old=new.password)
    with pytest.raises(SignInError):
        box.archive.keyring.open_mailbox(mailbox, new.password)
    box.archive.keyring.open_mailbox(mailbox, proposed).close()
    box.archive.keyring.open_mailbox(mailbox, token.token).close()
    trail = [one.action for one in auditing.audit(box.archive, BOX, find="mailbox.password").lines]
    assert trail == ["mailbox.password", "mailbox.password.failed", "mailbox.password"], "newest first"


def test_a_lost_password_of_an_ordinary_mailbox_is_replaced(box: ScratchArchive) -> None:
    new = made(box)
    mailbox_access.mailbox_password(box.archive, BOX, id=new.mailbox.id, new="one that was thought of")
    opened = box.archive.keyring.open_mailbox(bytes.fromhex(new.mailbox.id), "one that was thought of")
    opened.close()
    with pytest.raises(UsageError):
        mailbox_access.mailbox_password(box.archive, BOX, id=new.mailbox.id, new="short")


def test_an_administrator_gives_himself_no_way_into_the_mail(box: ScratchArchive) -> None:
    new = made(box)
    for attempt in (
        lambda password: mailbox_access.mailbox_password(
            box.archive, ADMIN, id=new.mailbox.id, new="another long password", old=password
        ),
        lambda password: mailbox_access.mailbox_token_add(
            box.archive, ADMIN, id=new.mailbox.id, name="mine", password=password
        ),
    ):
        with pytest.raises(ForbiddenError, match="auditor"):
            attempt("")
        with pytest.raises(SignInError):
            attempt("not the password of it")
    assert mailbox_access.mailbox_tokens(box.archive, ADMIN, id=new.mailbox.id) == ()
    box.archive.keyring.open_mailbox(bytes.fromhex(new.mailbox.id), new.password).close()
    mailbox_access.mailbox_token_add(box.archive, ADMIN, id=new.mailbox.id, name="mine", password=new.password)


def test_a_token_that_was_taken_away_opens_nothing(box: ScratchArchive) -> None:
    new = made(box)
    token = mailbox_access.mailbox_token_add(box.archive, BOX, id=new.mailbox.id, name="nightly")
    assert mailbox_access.mailbox_tokens(box.archive, BOX, id=new.mailbox.id) == (token.info,)
    mailbox_access.mailbox_token_remove(box.archive, BOX, id=new.mailbox.id, which=token.info.id)
    assert mailbox_access.mailbox_tokens(box.archive, BOX, id=new.mailbox.id) == ()
    with pytest.raises(SignInError):
        box.archive.keyring.open_mailbox(bytes.fromhex(new.mailbox.id), token.token)
    with pytest.raises(NotFoundError):
        mailbox_access.mailbox_token_remove(box.archive, BOX, id=new.mailbox.id, which=token.info.id)


# -- sealed mailboxes ----------------------------------------------------------------------------------------------


def test_mail_of_a_sealed_mailbox_is_kept_and_never_searched(box: ScratchArchive) -> None:
    sealed = made(box, sealed=True).mailbox
    box.user("ben@example.com")
    box.receive(mail("Open", to="ben@example.com"))
    box.receive(mail("Hidden", to="ben@example.com"), mail("Hidden, too"), mailbox_id=sealed.id)
    box.project()
    assert box.total("*") == 1
    assert box.total("hidden") == 0
    assert box.archive.catalogue.counts().records == 1
    assert all(not path.startswith(sealed.id) for path in box.archive.catalogue.cursors())
    now = status.status(box.archive, BOX)
    assert (now.records, now.sealed, now.projected, now.backlog) == (3, 2, 1, 0)
    assert now.agrees and not now.alarms
    assert sum(now.per_minute) == 3


def test_the_archives_own_keys_do_not_open_sealed_mail(box: ScratchArchive) -> None:
    sealed = made(box, sealed=True).mailbox
    box.receive(mail("Hidden"), mailbox_id=sealed.id)
    (volume,) = box.archive.reader.volumes(bytes.fromhex(sealed.id))
    (found,) = box.archive.reader.scan(volume)
    with pytest.raises(SealedError):
        box.archive.reader.read(found)
    with pytest.raises(SealedError):
        box.archive.keyring.content_key(bytes.fromhex(sealed.id))


def test_a_sealed_mailbox_stays_sealed_and_others_erase_nothing(box: ScratchArchive) -> None:
    sealed = made(box, sealed=True, retention_days=30, delete_after_pull=True).mailbox
    assert (sealed.sealed, sealed.retention_days, sealed.delete_after_pull) == (True, 30, True)
    changed = mailboxes.mailbox_change(box.archive, BOX, id=sealed.id, name="Other", retention_days=0)
    assert (changed.name, changed.sealed, changed.retention_days, changed.delete_after_pull) == ("Other", True, 0, True)
    for values in ({"retention_days": 30}, {"delete_after_pull": True}):
        with pytest.raises(UsageError, match="sealed"):
            mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, **values)
        with pytest.raises(UsageError, match="sealed"):
            made(box, "new@archive.test", **values)
    with pytest.raises(UsageError, match="days"):
        mailboxes.mailbox_change(box.archive, BOX, id=sealed.id, retention_days=-1)


# -- addresses -----------------------------------------------------------------------------------------------------


def test_the_gateway_is_told_all_addresses(box: ScratchArchive) -> None:
    new = made(
        box, "Council@Archive.Test", sealed=True, aliases=("two@archive.test",), catch_all=("@Bücher.test",),
        delete_after_pull=True,
    ).mailbox  # fmt: skip
    assert (new.address, new.aliases, new.catch_all) == (
        "council@archive.test",
        ("two@archive.test",),
        ("bücher.test",),
    )
    (door,) = (one for one in told(box).mailboxes if one.id == new.id)
    assert door.addresses == ("council@archive.test", "two@archive.test")
    assert door.catch_all == ("bücher.test",)
    assert door.deletes
    mailboxes.mailbox_change(box.archive, BOX, id=new.id, state="disabled", delete_after_pull=False)
    (door,) = (one for one in told(box).mailboxes if one.id == new.id)
    assert (door.state, door.deletes) == ("disabled", False)


def test_addresses_that_were_given_up_are_put_off(box: ScratchArchive) -> None:
    new = made(box, aliases=("two@archive.test", "x@caught.test"), catch_all=("caught.test", "gone.test")).mailbox
    assert told(box).retired == ()
    mailboxes.mailbox_change(
        box.archive, BOX, id=new.id, address="new@archive.test", aliases=(), catch_all=("caught.test",)
    )
    retired = {one.address for one in told(box).retired}
    assert retired == {"council@archive.test", "two@archive.test", "*@gone.test"}, (
        "x@caught.test is caught all the same"
    )
    other = made(box, "two@archive.test").mailbox
    assert "two@archive.test" not in {one.address for one in told(box).retired}
    mailboxes.mailbox_delete(box.archive, BOX, id=other.id)
    assert "two@archive.test" in {one.address for one in told(box).retired}
    until = next(one.until for one in told(box).retired if one.address == "*@gone.test")
    assert 29 * 24 * 3600 < until / 1e6 - time.time() < 31 * 24 * 3600
    box.archive.clock = lambda: time.time() + 31 * 24 * 3600
    mailboxes.publish(box.archive)
    assert told(box).retired == ()


def test_an_address_leads_to_one_place(box: ScratchArchive) -> None:
    box.user("anna@example.com")
    made(box, "other@archive.test", aliases=("other-alias@archive.test",), catch_all=("caught.test",))
    third = made(box, "third@archive.test").mailbox
    for settings, what in (
        ({"address": DOOR}, "There is a mailbox with the address"),
        ({"address": "anna@example.com"}, "a user's address"),
        ({"aliases": (DOOR,)}, "There is a mailbox with the address"),
        ({"aliases": ("other-alias@archive.test",)}, "There is a mailbox with the address"),
        ({"address": "other-alias@archive.test"}, "There is a mailbox with the address"),
        ({"aliases": ("anna@example.com",)}, "a user's address"),
        ({"catch_all": ("caught.test",)}, "takes all other mail for caught.test already"),
    ):
        with pytest.raises(ConflictError, match=what):
            made(box, **settings)  # type: ignore[arg-type]
        with pytest.raises(ConflictError, match=what):
            mailboxes.mailbox_change(box.archive, BOX, id=third.id, **settings)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="address of a mailbox"):
        users.user_create(box.archive, BOX, name="Odd", primary="other-alias@archive.test", aliases=())


def test_what_is_no_address_is_refused(box: ScratchArchive) -> None:
    for settings in (
        {"address": "nothing"},
        {"address": "*@archive.test"},
        {"aliases": ("@archive.test",)},
        {"aliases": ("x",)},
        {"catch_all": ("a b",)},
        {"catch_all": ("a@b.test",)},
        {"aliases": ("council@archive.test",)},
    ):
        with pytest.raises(UsageError):
            made(box, **{"address": "council@archive.test", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("rcpt", ["alias@archive.test", "anything@caught.test"])
def test_mail_to_an_alias_or_a_caught_address_is_as_mail_to_the_mailbox(box: ScratchArchive, rcpt: str) -> None:
    mailboxes.mailbox_change(
        box.archive, BOX, id=box.mailbox.id, aliases=("alias@archive.test",), catch_all=("caught.test",)
    )
    box.user("anna@example.com")
    box.user("ben@example.com")
    box.receive(mail("Plain copy", headers=f"Cc: {rcpt}"), rcpt=rcpt)
    box.project()
    assert box.total("plain", "anna@example.com") == box.total("plain", "ben@example.com") == 1
    assert status.status(box.archive, BOX).unassigned == 0
    (hit,) = box.search("plain").hits
    view = reading.message(box.archive, BOX, id=hit.id, everywhere=True)
    assert view.cc == () and view.envelope is None


def test_nobody_is_made_for_a_caught_address(tmp_path) -> None:
    box = ScratchArchive(tmp_path, unknown="create", domains=("example.com",))
    try:
        mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, catch_all=("caught.test",))
        box.receive(report(mail("Hello"), "To: ben@example.com", "Bcc: x17@caught.test"), rcpt="x17@caught.test")
        box.project()
        found = {one.primary for one in users.users(box.archive, BOX).users} - {"admin"}
        assert found == {"anna@example.com", "ben@example.com"}
    finally:
        box.close()


def test_whoever_is_given_a_caught_address_later_gets_its_mail(box: ScratchArchive) -> None:
    mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, catch_all=("example.org",))
    box.receive(report(mail("Before"), "To: carla@example.org"), rcpt="carla@example.org")
    box.project()
    box.user("carla@example.org")
    box.project()
    assert box.total("before", "carla@example.org") == 1
    box.receive(report(mail("After"), "To: carla@example.org"), rcpt="carla@example.org")
    box.project()
    assert box.total("participant:carla@example.org", "carla@example.org") == 2


# -- numbers -------------------------------------------------------------------------------------------------------


def test_a_mailbox_is_counted_right_while_the_projector_lags(box: ScratchArchive) -> None:
    early, late = time.time() - 7200, time.time() - 60
    box.receive(mail("One"), at=early)
    box.project()
    before = info(box, box.mailbox.id)
    assert (before.records, before.bytes, before.first_at, before.last_at) == (
        1, len(mail("One")), int(early), int(early)
    )  # fmt: skip
    box.receive(mail("Two"), at=late)
    lagging = info(box, box.mailbox.id)
    assert lagging.records == 2
    assert lagging.first_at == int(early) and lagging.last_at is not None and lagging.last_at >= int(late)
    assert lagging.bytes > before.bytes
    box.project()
    after = info(box, box.mailbox.id)
    assert (after.records, after.bytes, after.last_at) == (2, len(mail("One")) + len(mail("Two")), int(late))


def test_a_mailbox_deleted_while_it_is_changed_stays_deleted(box: ScratchArchive) -> None:
    new = made(box).mailbox
    deleting = threading.Thread(target=mailboxes.mailbox_delete, args=(box.archive, BOX), kwargs={"id": new.id})
    with box.archive.directory:  # as a change holds it
        deleting.start()
        deleting.join(0.5)
        mailboxes.mailbox_change(box.archive, BOX, id=new.id, name="Changed")
    deleting.join()
    assert new.id not in {one.id for one in mailboxes.mailboxes(box.archive, BOX)}


def test_a_sealed_mailbox_is_counted_from_the_log(box: ScratchArchive) -> None:
    sealed = made(box, sealed=True).mailbox
    assert (sealed.records, sealed.bytes, sealed.first_at, sealed.last_at) == (0, 0, None, None)
    begin = int(time.time())
    for number in range(3):
        box.receive(mail(f"Number {number}"), mailbox_id=sealed.id)
        found = info(box, sealed.id)
        assert found.records == number + 1
    assert found.bytes > 3 * 200
    assert found.first_at is not None and found.last_at is not None
    assert begin <= found.first_at <= found.last_at <= time.time()
    with pytest.raises(ConflictError, match="holds mail"):
        mailboxes.mailbox_delete(box.archive, BOX, id=sealed.id)
    box.close()
    box.open()
    assert info(box, sealed.id) == found, "after a restart, too"


def test_settings_survive_being_made_again_from_the_log(box: ScratchArchive) -> None:
    new = made(
        box, sealed=True, description="Works council", aliases=("a@archive.test",), catch_all=("c.test",),
        delete_after_pull=True, retention_days=10,
    ).mailbox  # fmt: skip
    mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, aliases=("b@archive.test",))
    mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, aliases=())
    before, doors = told(box), box.archive.settings.doors()
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.unlink()
    box.open()
    mailboxes.publish(box.archive)
    assert info(box, new.id) == new
    assert told(box) == before
    assert box.archive.settings.doors() == doors
    assert "b@archive.test" in doors and "any@c.test" in doors and "anna@example.com" not in doors


def test_an_administrator_learns_how_to_pull(box: ScratchArchive) -> None:
    new = made(box).mailbox
    pull = instructions.mailbox_pulling(box.archive, ADMIN, id=new.id)
    assert pull == api.PullInfo(host="box.test", port=995, user="council@archive.test")
    assert json.loads(published.settings_path(box.paths.data).read_bytes())["hostname"] == pull.host
