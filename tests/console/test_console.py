"""What the daily console does when keys are pressed: on a fake box, and so without waiting for a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot
from textual.widgets import Input

from appliance.errors import ConflictError, ForbiddenError, KeyringError, LockedError, SignInError, UnavailableError
from appliance.host import power, units, updates
from appliance.language import LANGUAGES, use
from appliance.services import api
from tests.console.conftest import PLAIN, settled
from tests.console.fake_box import NOW, FakeBox, FakeHost, console, mailbox, remote, replica, status, user
from tui import app as console_app
from tui.app import Console
from tui.place import PLACES, Place
from tui.screens.away import Away
from tui.screens.new_remote import NewRemote
from tui.screens.overview import Overview
from tui.screens.sign_in import SignIn
from tui.screens.unlock import Unlock
from tui.theme import PlainScreen
from tui.widgets.curve import bars
from tui.widgets.message import Message
from tui.widgets.table import Table

pytestmark = pytest.mark.console

Using = Callable[[Pilot[None], Console], Awaitable[None]]


def run(using: Using, **given: Any) -> tuple[FakeBox, FakeHost]:
    """Use a console; what was asked of the fakes."""
    box, host = given.pop("box", None) or FakeBox(), given.pop("host", None) or FakeHost()

    async def main() -> None:
        app = console(plain=given.pop("plain", True), box=box, host=host, **given)
        async with app.run_test(size=PLAIN) as pilot:
            await settled(pilot)
            await using(pilot, app)

    asyncio.run(main())
    return box, host


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, each after what the one before did."""
    for one in keys:
        await pilot.press(one)
        await settled(pilot)


async def type_text(pilot: Pilot[None], text: str) -> None:
    """Type into what is focused."""
    assert isinstance(pilot.app.focused, Input)
    pilot.app.focused.insert_text_at_cursor(text)
    await settled(pilot)


def shown(app: Console) -> str:
    """All that stands on the screen, line by line."""
    return "\n".join("".join(part.text for part in line) for line in app.screen._compositor.render_strips())


def said(app: Console) -> str:
    """The sentence at the foot of the page."""
    return str(app.screen.query_one("#message", Message).render())


# -- which page comes first -----------------------------------------------------------------------------------


def test_a_locked_archive_asks_for_the_secret_and_opens() -> None:
    box = FakeBox(lock_state=api.LockState(unlocked=False))

    async def using(pilot: Pilot[None], app: Console) -> None:
        assert isinstance(app.screen, Unlock)
        await type_text(pilot, "correct horse")
        box.answers |= {"unlock": api.LockState(unlocked=True), "lock_state": api.LockState(unlocked=True)}
        await press(pilot, "enter")
        assert isinstance(app.screen, Overview)

    run(using, box=box)
    assert box.asked("unlock") == [{"passphrase": "correct horse"}]


def test_a_wrong_secret_is_told_and_forgotten() -> None:
    box = FakeBox(lock_state=api.LockState(unlocked=False), unlock=KeyringError("That does not open it."))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await type_text(pilot, "wrong")
        await press(pilot, "enter")
        assert "That does not open it." in shown(app)
        assert app.screen.query_one(Input).value == ""
        assert isinstance(app.screen, Unlock)

    run(using, box=box)


def test_the_recovery_key_opens_too() -> None:
    box = FakeBox(lock_state=api.LockState(unlocked=False), unlock=KeyringError("no"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "f2")
        await type_text(pilot, "ABCD")
        await press(pilot, "enter")

    run(using, box=box)
    assert box.asked("unlock") == [{"recovery_key": "ABCD"}]


def test_a_support_bundle_can_be_written_while_locked(tmp_path: Path) -> None:
    box, place = FakeBox(lock_state=api.LockState(unlocked=False)), tmp_path / "bundle.zip"

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "f4")
        app.screen.query_one(Input).value = str(place)
        await press(pilot, "enter", "enter")
        assert "is written" in said(app)
        assert isinstance(app.screen, Unlock)

    run(using, box=box)
    assert place.read_bytes() == b"bundle"
    assert box.asked("support_write") == [{}]


def test_who_has_not_signed_in_writes_no_files() -> None:
    box = FakeBox(lock_state=api.LockState(unlocked=False))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "f4")
        assert isinstance(app.screen, Unlock)
        assert "Support bundle" not in shown(app)

    run(using, box=box, sign_in=True)


def test_an_archive_that_does_not_run_is_looked_for_again() -> None:
    box = FakeBox(lock_state=UnavailableError("The archive does not answer."))

    async def using(pilot: Pilot[None], app: Console) -> None:
        assert isinstance(app.screen, Away)
        box.answers["lock_state"] = api.LockState(unlocked=True)
        await press(pilot, "r")
        assert isinstance(app.screen, Overview)

    run(using, box=box)


# -- signing in -----------------------------------------------------------------------------------------------

ANNA = api.SignedIn("token", api.Caller("u1", "Anna Berg", "anna@example.com", ("admin", "user")), int(NOW) + 3600)


async def sign_in(pilot: Pilot[None]) -> None:
    await type_text(pilot, "anna")
    await press(pilot, "enter")
    await type_text(pilot, "secret")
    await press(pilot, "enter")


def test_calls_are_made_in_the_name_of_who_signed_in() -> None:
    box = FakeBox(console_sign_in=ANNA)

    async def using(pilot: Pilot[None], app: Console) -> None:
        assert isinstance(app.screen, SignIn)
        assert not box.asked("status")  # nothing is shown, and nothing asked, before
        await sign_in(pilot)
        assert isinstance(app.screen, Overview)
        assert box.session == "token"

    run(using, box=box, sign_in=True)
    assert box.asked("console_sign_in") == [{"address": "anna", "password": "secret", "totp": ""}]


@pytest.mark.parametrize("error", [SignInError("Wrong."), ForbiddenError("Only administrators.")])
def test_who_may_not_sign_in_is_told_so(error: Exception) -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await sign_in(pilot)
        assert str(error) in shown(app)
        assert isinstance(app.screen, SignIn)

    box, _host = run(using, box=FakeBox(console_sign_in=error), sign_in=True)
    assert box.session == ""


def test_leaving_signs_out_and_asks_again() -> None:
    box = FakeBox(console_sign_in=ANNA, console_sign_out=None)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await sign_in(pilot)
        await press(pilot, "f10")
        assert isinstance(app.screen, SignIn)
        assert box.session == ""

    run(using, box=box, sign_in=True)
    assert box.asked("console_sign_out")


def test_nobody_there_is_signed_out_after_a_while() -> None:
    box = FakeBox(console_sign_in=ANNA, console_sign_out=None)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await sign_in(pilot)
        app._look_for_idleness()
        await settled(pilot)
        assert isinstance(app.screen, Overview)
        app.now = lambda: NOW + console_app.IDLE_SECONDS + 1
        app._look_for_idleness()
        await settled(pilot)
        assert isinstance(app.screen, SignIn)

    run(using, box=box, sign_in=True)


def test_a_session_that_has_ended_leads_back_to_signing_in() -> None:
    box = FakeBox(console_sign_in=ANNA)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await sign_in(pilot)
        box.answers["users"] = SignInError("Your session has ended. Sign in again.")
        await press(pilot, "3")
        assert isinstance(app.screen, SignIn)

    run(using, box=box, sign_in=True)


def test_the_places_are_out_of_reach_before_signing_in() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        for number, _name, _title in PLACES:
            await press(pilot, "tab", "tab", "tab", number)
        assert isinstance(app.screen, SignIn)
        await press(pilot, "ctrl+p")
        await type_text(pilot, "Users")
        await press(pilot, "enter", "escape")
        assert isinstance(app.screen, SignIn)

    box, host = run(using, sign_in=True)
    assert {name for name, _params in box.calls} == {"lock_state"}
    assert not host.calls


# -- places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", LANGUAGES)
def test_keys_and_places_fit_a_bare_screen_in_each_language(code: str) -> None:
    use(code)
    too_long: list[str] = []

    async def using(pilot: Pilot[None], app: Console) -> None:
        for number, name, title in PLACES:
            await press(pilot, number)
            assert isinstance(app.screen, Place)
            assert title() in shown(app)
            keys = [one.region for one in app.screen.query("FooterKey")]
            if keys and max(one.right for one in keys) > PLAIN[0]:
                too_long.append(name)

    run(using)
    assert not too_long


def test_the_keyboard_is_never_caught_anywhere() -> None:
    """From each place Tab comes round to the list of places, and a number or Escape leads away from lists."""

    async def using(pilot: Pilot[None], app: Console) -> None:
        for number, name, _title in PLACES:
            await press(pilot, number)
            seen = set()
            for _ in range(8):
                await press(pilot, "tab")
                seen.add(type(app.focused).__name__)
            assert "Places" in seen, name

    run(using)


def test_a_locked_archive_is_noticed_from_the_overview() -> None:
    box = FakeBox()

    async def using(pilot: Pilot[None], app: Console) -> None:
        box.answers |= {"lock_state": api.LockState(unlocked=False), "status": status(unlocked=False)}
        await press(pilot, "f5")
        assert isinstance(app.screen, Unlock)

    run(using, box=box)


def test_what_goes_wrong_is_told_and_the_page_stays() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "5")
        assert said(app) == "The archive broke off its answer. Nothing was lost; try again."
        assert isinstance(app.screen, Place)

    run(using, box=FakeBox(remotes=UnavailableError("The archive broke off its answer. Nothing was lost; try again.")))


def test_alarms_are_acknowledged_by_name() -> None:
    alarm = api.Alarm(id="a1", level="warning", text="The disk is filling up.", since=int(NOW) - 60)
    box = FakeBox(status=status(alarms=(alarm,)), alarm_acknowledge=lambda id: alarm)

    async def using(pilot: Pilot[None], app: Console) -> None:
        assert "The disk is filling up." in shown(app)
        await press(pilot, "a", "right", "enter")

    run(using, box=box)
    assert box.asked("alarm_acknowledge") == [{"id": "a1"}]


# -- doing things ---------------------------------------------------------------------------------------------


def test_the_safe_answer_comes_first() -> None:
    """Enter alone never does what a window asks about."""

    async def using(pilot: Pilot[None], app: Console) -> None:
        for place, act in (
            ("2", "s"),
            ("3", "d"),
            ("5", "p"),
            ("5", "d"),
            ("6", "l"),
            ("6", "d"),
            ("8", "r"),
            ("0", "o"),
        ):
            await press(pilot, place, act, "enter")

    box, host = run(using)
    changed = {"mailbox_change", "user_change", "remote_change", "remote_remove", "lock", "slot_remove", "machine_act"}
    assert changed.isdisjoint(name for name, _params in box.calls)
    assert not host.asked(units.restart)
    assert not host.asked(power.power_off)


def test_a_mailbox_is_suspended_when_somebody_says_so() -> None:
    box = FakeBox(mailbox_change=lambda **_: mailbox("m2", "board@archive.example.com", state="suspended"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "s")
        assert "mail servers keep it and try again" in shown(app).replace("\n", " ")
        await press(pilot, "right", "enter")
        assert "is changed" in said(app)

    run(using, box=box)
    assert box.asked("mailbox_change") == [{"id": "m2", "state": "suspended"}]


def test_a_new_mailboxs_password_is_shown_until_it_is_written_down() -> None:
    made = api.MailboxCreated(mailbox("m9", "new@archive.example.com"), "the-password")
    box = FakeBox(mailbox_create=lambda **_: made)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "n")
        await type_text(pilot, "New")
        await press(pilot, "enter")
        await type_text(pilot, "new@archive.example.com")
        await press(pilot, "enter", "enter", "enter")
        assert "the-password" in shown(app)
        await press(pilot, "escape", "enter")
        assert "the-password" in shown(app)
        await press(pilot, "tab", "enter")
        assert "the-password" not in shown(app)

    run(using, box=box)
    assert box.asked("mailbox_create") == [{"name": "New", "address": "new@archive.example.com", "sealed": False}]


def test_what_is_needed_is_asked_for_again() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "n", "enter", "enter", "enter", "enter")
        assert "This is needed." in shown(app)

    box, _host = run(using)
    assert not box.asked("mailbox_create")


def test_users_are_found_by_a_part_of_the_name() -> None:
    box = FakeBox(users=lambda find="", limit=0: api.UserPage(1, (user("u9", find or "all", "x@example.com"),)))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "slash")
        await type_text(pilot, "wil")
        assert "wil" in shown(app)

    run(using, box=box)
    assert box.asked("users")[-1]["find"] == "wil"


def test_an_invitation_is_shown_with_its_address() -> None:
    made = (api.Invitation("u1", "anna.berg@example.com", "AB12-CD34", int(NOW) + 86_400),)
    box = FakeBox(user_invite=lambda ids: made)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "i", "right", "enter")
        assert "AB12-CD34" in shown(app)
        assert "https://archive.example.com/welcome" in shown(app)

    run(using, box=box)
    assert box.asked("user_invite") == [{"ids": ["u1"]}]


def _right(user_id: str, archive: str, name: str) -> api.AccessInfo:
    return api.AccessInfo(
        user=user_id, user_name="Anna Berg", user_address="anna.berg@example.com", archive=archive, archive_name=name,
        archive_address="sales@example.com", reason="works in sales", opened_by="Jo", since=int(NOW),
    )  # fmt: skip


def test_an_archive_is_given_to_somebody_to_read() -> None:
    box = FakeBox(
        user_by_address=lambda address: user("u3", "Sales", address),
        access_open=lambda user, whose, reason: _right(user, whose, "Sales"),
    )

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "a")
        await type_text(pilot, "sales@example.com")
        await press(pilot, "enter")
        await type_text(pilot, "works in sales")
        await press(pilot, "enter")
        assert "may read the archive of Sales" in said(app)

    run(using, box=box)
    assert box.asked("access_open") == [{"user": "u1", "whose": "u3", "reason": "works in sales"}]


def test_an_archive_is_closed_to_somebody() -> None:
    box = FakeBox(
        access_list=lambda user="", whose="": (_right(user, "u3", "Sales"),) if user else (), access_close=None
    )

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "enter")
        assert "May read: Sales" in shown(app)
        await press(pilot, "escape", "a", "down", "enter")
        assert not box.asked("access_close")
        await press(pilot, "enter")
        assert "may not read it any more" in said(app)

    run(using, box=box)
    assert box.asked("access_close") == [{"user": "u1", "whose": "u3"}]


def test_a_remote_is_tried_and_the_outcome_told() -> None:
    tried = api.RemoteTested(False, True, False, False, 0.0, 0.0, None, "It was written, but cannot be read back.")

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "5", "t")
        assert said(app) == tried.words

    box, _host = run(using, box=FakeBox(remote_test=lambda name: tried))
    assert box.asked("remote_test") == [{"name": "offsite"}]


def test_a_paused_remote_goes_on_without_a_question() -> None:
    one = remote("nas", "sftp", "/backup", paused=True, replica=replica("nas", state="paused"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "5", "p")

    box, _host = run(using, box=FakeBox(remotes=(one,), remote_change=lambda **_: one))
    assert box.asked("remote_change") == [{"name": "nas", "paused": False}]


def add_remote_by_folder(path: str) -> Using:
    """N, the folder among the services, and its path."""

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "5", "n", "end", "enter", "enter")
        assert isinstance(app.screen, NewRemote)
        await press(pilot, "enter")
        await type_text(pilot, path)
        await press(pilot, "f2")

    return using


def test_a_remote_is_added_once_it_was_tried() -> None:
    passed = api.RemoteTested(True, True, True, True, 2e6, 3e6, None, "All went well.")
    box = FakeBox(remote_test=lambda **_: passed, remote_add=lambda name, **_: remote(name, "local", "/srv/replica"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await add_remote_by_folder("/srv/replica")(pilot, app)
        assert isinstance(app.screen, Place)
        assert "replicated to “replica” from now on" in said(app)

    run(using, box=box)
    assert box.asked("remote_test") == [{"type": "local", "options": {}, "path": "/srv/replica"}]
    assert box.asked("remote_add") == [{"name": "replica", "type": "local", "options": {}, "path": "/srv/replica"}]


def test_a_remote_that_does_not_work_is_not_added_and_can_be_put_right() -> None:
    failed = api.RemoteTested(False, False, False, False, 0.0, 0.0, None, "There is no such folder.")

    async def using(pilot: Pilot[None], app: Console) -> None:
        await add_remote_by_folder("/nowhere")(pilot, app)
        assert isinstance(app.screen, NewRemote)
        assert "There is no such folder." in shown(app)
        assert "nothing was added" in said(app)
        await press(pilot, "escape")
        assert isinstance(app.screen, Place)

    box, _host = run(using, box=FakeBox(remote_test=lambda **_: failed))
    assert not box.asked("remote_add")


def test_a_name_that_is_taken_is_told_where_it_was_typed() -> None:
    passed = api.RemoteTested(True, True, True, True, 2e6, 3e6, None, "All went well.")
    taken = ConflictError("There is a remote called “offsite” already.")

    async def using(pilot: Pilot[None], app: Console) -> None:
        await add_remote_by_folder("/srv/replica")(pilot, app)
        assert isinstance(app.screen, NewRemote)
        assert "called “offsite” already" in said(app)

    run(using, box=FakeBox(remote_test=lambda **_: passed, remote_add=lambda **_: taken))


def test_what_a_remote_needs_is_asked_for_before_it_is_tried() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await add_remote_by_folder("")(pilot, app)
        assert "This is needed." in shown(app)

    box, _host = run(using)
    assert not box.asked("remote_test")


def test_a_remote_is_removed_when_somebody_says_so() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "5", "down", "d")
        assert "stays, encrypted" in " ".join(shown(app).split())
        await press(pilot, "right", "enter")
        assert "nas is no remote of this archive" in said(app)

    box, _host = run(using, box=FakeBox(remote_remove=None))
    assert box.asked("remote_remove") == [{"name": "nas"}]


def test_locking_leads_to_the_lock() -> None:
    box = FakeBox(lock=api.LockState(unlocked=False))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "6", "l", "right")
        box.answers["lock_state"] = api.LockState(unlocked=False)
        await press(pilot, "enter")
        assert isinstance(app.screen, Unlock)

    run(using, box=box)
    assert box.asked("lock")


def test_a_passphrase_that_was_mistyped_is_not_added() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "6", "p", "enter")
        await type_text(pilot, "one long passphrase")
        await press(pilot, "enter")
        await type_text(pilot, "another passphrase")
        await press(pilot, "enter")
        assert "not the same" in said(app)

    box, _host = run(using)
    assert not box.asked("slot_add_passphrase")


def test_a_recovery_key_counts_when_it_was_typed_back() -> None:
    refused = [KeyringError("That is not the recovery key that was shown."), None]
    box = FakeBox(slot_recovery_begin="AAAA-BBBB", slot_recovery_confirm=lambda text: refused.pop(0))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "6", "k", "right", "enter")
        assert "AAAA-BBBB" in shown(app)
        await press(pilot, "tab", "enter")
        assert "AAAA-BBBB" not in shown(app)
        await type_text(pilot, "AAAA")
        await press(pilot, "enter")
        await type_text(pilot, "AAAA-BBBB")
        await press(pilot, "enter")
        assert "in force" in said(app)

    run(using, box=box)
    assert [one["text"] for one in box.asked("slot_recovery_confirm")] == ["AAAA", "AAAA-BBBB"]


def test_a_service_is_started_anew_and_that_is_in_the_audit_trail() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "8", "down", "r", "right", "enter")
        assert "runs again" in said(app)

    box, host = run(using)
    assert host.asked(units.restart) == [("archiver",)]
    assert box.asked("machine_act") == [{"act": "service.restart", "what": "archiver"}]


@pytest.mark.parametrize("error", [LockedError("Locked."), UnavailableError("Away.")])
def test_a_locked_archive_does_not_keep_anybody_from_switching_off(error: Exception) -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "0", "o", "right", "enter")

    _box, host = run(using, box=FakeBox(machine_act=error), host=FakeHost({power.read_only: ""}))
    assert host.asked(power.power_off) == [()]


def test_what_may_not_be_done_here_is_not_offered() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "0", "o")
        assert said(app) == "Only root may do this."

    _box, host = run(using, host=FakeHost({power.read_only: "Only root may do this."}))
    assert not host.asked(power.power_off)


def test_updates_are_installed_and_that_is_in_the_audit_trail() -> None:
    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "9", "i", "right", "enter")

    box, host = run(using)
    assert host.asked(updates.install) == [()]
    assert box.asked("machine_act") == [{"act": "updates.install", "what": "openssl mailkeep"}]


def test_a_support_bundle_is_written_to_a_file(tmp_path: Path) -> None:
    job = api.JobInfo("j9", "support", "Support bundle", "done", finished_at=int(NOW))
    place = tmp_path / "bundle.zip"

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "0", "b", "ctrl+u")
        app.screen.query_one(Input).value = str(place)
        await press(pilot, "enter")
        assert str(place)[:20] in said(app)

    box, _host = run(using, box=FakeBox(support_begin=job, job=job))
    assert place.read_bytes() == b"bundle"
    assert box.asked("support_download") == [{"id": "j9"}]


def test_a_support_bundle_never_overwrites_a_file(tmp_path: Path) -> None:
    job = api.JobInfo("j9", "support", "Support bundle", "done", finished_at=int(NOW))

    class Taken(FakeBox):
        async def save(self, place: Path, method: str, /, **params: Any) -> int:
            raise FileExistsError(17, "File exists")

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "0", "b", "enter")
        assert "could not be written" in said(app)

    run(using, box=Taken(support_begin=job, job=job))


# -- what it is made of ---------------------------------------------------------------------------------------


def test_lists_keep_the_cursor_on_its_thing() -> None:
    box = FakeBox()

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "down")
        assert app.screen.query_one("#list", Table).chosen == "m1"
        box.answers["mailboxes"] = (mailbox("m0", "a@archive.example.com"), *box.answers["mailboxes"])
        await press(pilot, "f5")
        assert app.screen.query_one("#list", Table).chosen == "m1"

    run(using, box=box)


def test_a_curve_shows_every_peak() -> None:
    assert bars([0, 8], 4, 1, plain=False) == ["  ██"]
    assert bars([0] * 99 + [8] + [0] * 100, 10, 1, plain=False)[0].strip() == "█"
    assert bars([1, 1_000_000], 2, 2, plain=False) == [" █", "▁█"]
    assert bars([], 3, 2, plain=True) == ["   ", "   "]
    assert bars([3, 2, 1], 3, 1, plain=True) == ["█▒░"]


def test_the_plain_look_needs_only_what_a_bare_screen_can_show() -> None:
    """Of all places and some windows: only characters that code page 437 and Debian's console fonts both have."""
    box_drawing = "─│┌┐└┘├┤┬┴┼═║█░▒■•▄▀"
    allowed = {chr(code) for code in range(0x20, 0x7F)} | set("äöüÄÖÜßéáíóúñÑ·«»°") | set(box_drawing)
    strange: dict[str, set[str]] = {}

    async def using(pilot: Pilot[None], app: Console) -> None:
        for number, name, _title in PLACES:
            for keys in ((number,), (number, "f1")):
                await press(pilot, *keys)
                text = "".join(
                    segment.text
                    for line in app.screen._compositor.render_strips()
                    for segment in line.apply_filter(app._filters[-1], app.screen.background_colors[0])
                )
                if found := set(text) - allowed - {"\n"}:
                    strange[name] = found
            await press(pilot, "escape")

    run(using)
    assert not strange


def test_what_the_screen_can_draw_is_left_as_it_is() -> None:
    def drawn(text: str, font: str = "") -> str:
        (segment,) = PlainScreen(frozenset(font)).apply([Segment(text)], Color(0, 0, 0))
        assert len(segment.text) == len(text)
        return segment.text

    assert drawn("✓ “Reading …”") == '+ "Reading.."'
    assert drawn("✓ “Reading …”", "✓…") == '✓ "Reading …"'
    assert drawn("▁▂▃→") == "─▄▄>"
    assert drawn("▁▂▃→", "▁▂▃→") == "▁▂▃→"


def test_a_fault_of_the_console_shows_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    box = FakeBox(lock_state=api.LockState(unlocked=False))

    def fail(passphrase: str = "") -> None:
        raise RuntimeError("a fault")

    box.answers["unlock"] = fail

    async def using(pilot: Pilot[None], app: Console) -> None:
        await type_text(pilot, "verysecret")
        await press(pilot, "enter")

    with pytest.raises(Exception, match="a fault"):
        run(using, box=box)
    printed = capsys.readouterr()
    assert "verysecret" not in printed.out + printed.err
