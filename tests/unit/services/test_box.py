"""Settings survive: the log is the truth, settings.db only what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from appliance.errors import ConflictError, ForbiddenError, SignInError, UsageError
from appliance.ingest.system_log import check_chain, entries
from appliance.services import auditing, mailboxes, users
from appliance.services.archive import Archive
from appliance.services.unlock import unlock
from appliance.settings import events, store
from tests.scratch import BOX, ScratchArchive, mail


def _state(box: ScratchArchive) -> object:
    return (
        users.users(box.archive, BOX, limit=100),
        mailboxes.mailboxes(box.archive, BOX),
        auditing.audit(box.archive, BOX, limit=500),
        box.archive.settings.position(),
    )


def test_settings_that_are_lost_come_back_from_the_log(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com", "a@example.com", name="Anna")
    users.user_change(box.archive, BOX, id=anna, aliases=["b@example.com"])
    users.role_grant(box.archive, BOX, id=anna, role="auditor", reason="yearly audit")
    before = _state(box)
    box.close()
    for suffix in ("", "-wal", "-shm"):
        box.paths.settings.with_name("settings.db" + suffix).unlink(missing_ok=True)
    box.open()
    assert _state(box) == before


def test_an_entry_that_was_durable_but_not_applied_is_applied_at_start(box: ScratchArchive) -> None:
    log = box.archive.system_log
    applied = log._apply
    log._apply = lambda found: None  # type: ignore[method-assign]  # the process dies between the two steps
    users_before = box.archive.settings.count_users()
    log.append(events.UserPut("u1", "Late", ("late@example.com",)), by="test")
    log._apply = applied  # type: ignore[method-assign]
    assert box.archive.settings.count_users() == users_before
    box.close()
    box.open()
    assert box.archive.settings.count_users() == users_before + 1


def test_the_chain_of_entries_is_whole_and_a_changed_entry_breaks_it(box: ScratchArchive) -> None:
    box.user("anna@example.com")
    found = list(entries(box.archive.reader))
    assert check_chain(iter(found)) == []
    assert check_chain(iter(found[:2] + found[3:]))
    assert check_chain(iter(reversed(found)))


def test_an_unconfirmed_entry_gives_way_to_the_one_that_was_confirmed(box: ScratchArchive) -> None:
    found = list(entries(box.archive.reader))
    last = found[-1]
    forked = [*found[:-1], last, last]
    assert check_chain(iter(forked)) == []


def test_only_one_process_opens_the_archive_for_writing(box: ScratchArchive) -> None:
    with pytest.raises(ConflictError):
        Archive(box.paths, unlock(box.paths))


def test_names_and_addresses_of_people_are_not_readable_in_the_databases(box: ScratchArchive) -> None:
    box.user("very.private@example.com", name="Very Private")
    box.receive(mail("Unreadable subject", to="very.private@example.com"))
    box.project()
    box.close()
    for file in box.paths.data.rglob("*.db*"):
        content = file.read_bytes()
        for word in (b"very.private", b"Very Private", b"Unreadable", b"anna@example.com"):
            assert word not in content, (file, word)
    box.open()


def test_addresses_belong_to_one_user_at_a_time(box: ScratchArchive) -> None:
    box.user("anna@example.com", "info@example.com")
    with pytest.raises(ConflictError):
        box.user("ben@example.com", "info@example.com")
    with pytest.raises(ConflictError):
        box.user("journal@archive.test")
    with pytest.raises(UsageError):
        box.user("no address")


def test_an_import_says_which_lines_are_wrong_and_takes_the_others(box: ScratchArchive) -> None:
    csv = "primary,aliases,name\nanna@example.com,a@example.com;b@example.com,Anna\nbroken,,\n,x@y.example,\n"
    result = users.user_import(box.archive, BOX, csv=csv.encode())
    assert (result.created, [line for line, _ in result.errors]) == (1, [3, 4])
    again = users.user_import(box.archive, BOX, csv=csv.encode())
    assert (again.created, again.unchanged) == (0, 1)
    more = users.user_import(box.archive, BOX, csv=b"primary;name\na@example.com;Anna B.")
    assert more.changed == 1
    found = users.users(box.archive, BOX, find="anna b").users[0]
    assert {found.primary, *found.aliases} == {"anna@example.com", "a@example.com", "b@example.com"}


def test_a_second_auditor_has_to_approve_the_next_one(box: ScratchArchive) -> None:
    from appliance.services.principal import Principal

    first, second, admin = (box.user(f"{name}@example.com") for name in ("first", "second", "boss"))
    who_asks = Principal(id=admin, roles=frozenset({"admin"}))
    auditor = Principal(id=first, roles=frozenset({"auditor"}))
    users.role_grant(box.archive, who_asks, id=first, role="auditor", reason="first one")
    waiting = users.role_grant(box.archive, who_asks, id=second, role="auditor", reason="second one")
    assert "auditor" not in waiting.roles
    wish = users.role_requests(box.archive, auditor)[0]
    with pytest.raises(ForbiddenError):
        users.role_decide(box.archive, who_asks, id=wish.id, approve=True)
    users.role_decide(box.archive, auditor, id=wish.id, approve=True)
    assert "auditor" in users.user(box.archive, BOX, id=second).roles


def test_a_mailbox_with_mail_stays(box: ScratchArchive) -> None:
    box.receive(mail())
    with pytest.raises(ConflictError):
        mailboxes.mailbox_delete(box.archive, BOX, id=box.mailbox.id)
    empty = mailboxes.mailbox_create(box.archive, BOX, name="Empty", address="@archive.test").mailbox
    assert len(empty.address.partition("@")[0]) > 12
    mailboxes.mailbox_delete(box.archive, BOX, id=empty.id)
    assert [one.id for one in mailboxes.mailboxes(box.archive, BOX)] == [box.mailbox.id]


def test_guessing_a_password_is_slowed_down_and_written_down(box: ScratchArchive) -> None:
    identity = box.dispatcher.identity
    for _ in range(5):
        with pytest.raises(SignInError, match="wrong"):
            identity.sign_in(address="admin", password="guess", totp="", client="192.0.2.1")
    with pytest.raises(SignInError, match="Too many"):
        identity.sign_in(address="admin", password=box.created.admin_password, totp="", client="192.0.2.1")
    assert auditing.audit(box.archive, BOX, find="sign-in.failed").total == 5


def test_disabled_users_are_signed_out_at_once(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    code = users.user_invite(box.archive, BOX, box.dispatcher.identity, ids=[anna])[0].code
    session = box.dispatcher.identity.accept_invitation(code=code.lower(), password="long enough pass", client="")
    assert box.dispatcher.identity.principal(session.token, "").archives == {anna}
    users.user_change(box.archive, BOX, id=anna, state="disabled")
    with pytest.raises(SignInError):
        box.dispatcher.identity.principal(session.token, "")
    with pytest.raises(SignInError):
        box.dispatcher.identity.accept_invitation(code=code, password="long enough pass", client="")


def test_the_settings_database_is_of_the_newest_revision(box: ScratchArchive) -> None:
    revisions = Path(store.__file__).parent / "migrations" / "versions"
    newest = max(one.name.partition("_")[0] for one in revisions.glob("0*.py"))
    with box.archive.settings.read() as database:
        assert database.scalar(text("SELECT version_num FROM alembic_version")) == newest
