"""Directories through the services: users come, change and go; what cannot be read changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.directory.kinds import KINDS
from appliance.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SignInError,
    UnavailableError,
    UsageError,
)
from appliance.services import api
from appliance.services.alarms.words import sentence
from appliance.services.directories import errand, managing
from appliance.services.principal import Principal
from appliance.services.wire import Call
from appliance.settings import events
from tests.scratch import BOX, ScratchArchive

LIST = "primary;aliases;name;id\nanna@x.test;a@x.test;Anna;1\nbert@x.test;;Bert;2\n"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[ScratchArchive]:
    made = ScratchArchive(tmp_path)
    yield made
    made.close()


def call(archive: ScratchArchive, method: str, **params: Any) -> Any:
    return archive.dispatcher.from_box(Call(method, params=params), BOX)


def add(archive: ScratchArchive, content: str = LIST, **settings: Any) -> api.DirectoryInfo:
    found: api.DirectoryInfo = call(
        archive, "directory_add", name="staff", kind="csv", options={"content": content}, **settings
    )
    return found


def synchronise(archive: ScratchArchive, **settings: Any) -> api.DirectorySynchronised:
    job: api.JobInfo = call(archive, "directory_sync_begin", name="staff", **settings)
    deadline = time.monotonic() + 60
    while job.finished_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        job = call(archive, "job", id=job.id)
    assert job.state == "done", job.message
    found: api.DirectorySynchronised = call(archive, "directory_synchronised", id=job.id)
    return found


def users(archive: ScratchArchive) -> dict[str, api.UserInfo]:
    page: api.UserPage = call(archive, "users", limit=1000)
    return {one.primary: one for one in page.users if one.primary != "admin"}


def test_every_directory_says_where_its_secrets_go() -> None:
    """Otherwise a stored one could be sent elsewhere by who has never known it."""
    telling = {"url", "security", "ca", "authority", "graph"}
    for kind in KINDS:
        where = {field.key for field in kind.fields if field.place}
        assert {field.key for field in kind.fields} & telling == where, kind.kind


def test_a_secret_goes_only_to_the_server_that_it_was_given_for(archive: ScratchArchive) -> None:
    options = {"url": "ldaps://dc.x.test", "preset": "ad", "base": "DC=x,DC=test", "bind_dn": "reader@x.test"}
    secret = {"bind_password": "quite-secret"}
    call(archive, "directory_add", name="corp", kind="ldap", options=options | secret)
    for moved in ({"url": "ldaps://thief.test"}, {"url": "ldap://dc.x.test"}, {"security": "none"}, {"ca": "theirs"}):
        with pytest.raises(UsageError, match="give bind_password anew"):
            call(archive, "directory_change", name="corp", options=moved)
    (put,) = archive.archive.settings.directories()
    assert put.put.options == options | secret
    call(archive, "directory_change", name="corp", options={"url": options["url"], "base": "OU=staff,DC=x,DC=test"})
    call(archive, "directory_change", name="corp", options={"url": "ldaps://new.x.test", "bind_password": "another"})
    (put,) = archive.archive.settings.directories()
    assert (put.put.options["url"], put.put.options["bind_password"]) == ("ldaps://new.x.test", "another")


def test_users_come_with_their_addresses_and_a_dry_run_changes_nothing(archive: ScratchArchive) -> None:
    add(archive)
    would = synchronise(archive, dry_run=True)
    assert would.counts.created == 2 and would.words.startswith("Nothing was changed.")
    assert not users(archive)
    did = synchronise(archive)
    assert (did.counts, did.steps) == (would.counts, would.steps)
    assert {one: user.aliases for one, user in users(archive).items()} == {
        "anna@x.test": ("a@x.test",),
        "bert@x.test": (),
    }
    (info,) = call(archive, "directories")
    assert (info.users, info.result) == (2, did.counts)
    assert synchronise(archive).counts.unchanged == 2


def test_mail_that_came_before_is_theirs_and_a_new_name_keeps_it(archive: ScratchArchive) -> None:
    archive.receive(b"From: anna@x.test\r\nTo: bert@x.test\r\nSubject: before\r\n\r\nhello\r\n")
    add(archive)
    synchronise(archive)
    archive.project()
    assert users(archive)["anna@x.test"].messages == 1
    call(archive, "directory_change", name="staff", options={"content": LIST.replace("anna@", "anna.berg@")})
    synchronise(archive)
    archive.receive(b"From: anna.berg@x.test\r\nTo: c@y.test\r\nSubject: after\r\n\r\nhello\r\n")
    archive.project()
    assert users(archive)["anna.berg@x.test"].messages == 2


def test_everything_is_there_again_after_a_rebuild_of_the_settings(archive: ScratchArchive) -> None:
    add(archive, signs_in=False, interval=900)
    synchronise(archive)
    before = call(archive, "directories"), users(archive)
    archive.close()
    archive.paths.settings.unlink()
    archive.open()
    assert (call(archive, "directories"), users(archive)) == before
    assert synchronise(archive).counts.unchanged == 2


def test_what_a_crash_leaves_is_done_by_the_next_one(archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    add(archive, "primary;id\n" + "".join(f"p{number}@x.test;{number}\n" for number in range(30)))
    record = archive.archive.record
    monkeypatch.setattr(managing, "AT_A_TIME", 5)
    for survives in (0, 1, 6, 9):
        written = 0

        def dies(principal: Principal, event: events.Event, survives: int = survives) -> None:
            nonlocal written
            if isinstance(event, events.UserPut | events.PeopleLinked | events.DirectorySynchronised):
                if written == survives:
                    raise ConflictError("dies")
                written += 1
            record(principal, event)

        monkeypatch.setattr(archive.archive, "record", dies)
        with pytest.raises(AssertionError, match="dies"):
            synchronise(archive)
        monkeypatch.setattr(archive.archive, "record", record)
    done = synchronise(archive)
    assert done.counts.created + done.counts.changed + done.counts.unchanged == 30
    assert len(users(archive)) == 30
    assert call(archive, "directories")[0].users == 30


def test_many_who_disappear_wait_for_a_word(archive: ScratchArchive) -> None:
    add(archive, "primary;id\n" + "".join(f"p{number}@x.test;{number}\n" for number in range(10)))
    synchronise(archive)
    call(archive, "directory_change", name="staff", options={"content": "primary;id\np1@x.test;1\n"})
    waits = synchronise(archive)
    assert waits.waits and waits.counts.disabled == 9
    assert all(one.state == "active" for one in users(archive).values())
    assert call(archive, "directories")[0].trouble == waits.waits
    assert "9 users could no longer sign in" in alarms(archive)[0]
    assert not synchronise(archive, confirmed=True).waits
    assert sum(one.state == "disabled" for one in users(archive).values()) == 9
    assert call(archive, "directories")[0].trouble == "" and not alarms(archive)


def test_the_clock_synchronises_and_what_fails_is_tried_later_and_told(
    archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr(archive.archive, "clock", lambda: now[0])
    assert add(archive, interval=600).next_at is None
    directories = archive.dispatcher.directories
    directories.round()
    assert not users(archive), "the first time is a person's: who adds one wants to look first"
    synchronise(archive)
    call(archive, "directory_change", name="staff", options={"content": LIST + "carl@x.test;;Carl;3\n"})
    now[0] += 601
    directories.round()
    assert len(users(archive)) == 3
    (info,) = call(archive, "directories")
    assert info.next_at == info.synchronised_at + 600

    asked: list[str] = []

    def unreachable(kind: str, *_rest: Any) -> Any:
        asked.append(kind)
        raise ConflictError("The directory cannot be reached.")

    monkeypatch.setattr(errand, "listing", unreachable)
    now[0] += 601
    directories.round()
    directories.round()
    assert len(asked) == 1, "not at once again"
    assert call(archive, "directories")[0].trouble == "The directory cannot be reached."
    assert all(one.state == "active" for one in users(archive).values())
    now[0] += 301
    directories.round()
    assert len(asked) == 2


def test_the_end_waits_for_no_directory(archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    monkeypatch.setattr(archive.archive, "clock", lambda: now[0])
    add(archive, interval=600)
    synchronise(archive)
    now[0] += 601
    began = threading.Event()

    def hangs(_kind: str, _options: Any, _report: Any, stopped: Callable[[], bool]) -> Any:
        began.set()
        while not stopped():
            time.sleep(0.01)
        raise UnavailableError("It was stopped.")

    monkeypatch.setattr(errand, "listing", hangs)
    directories = archive.dispatcher.directories
    directories.start()
    assert began.wait(60)
    directories.close()


def alarms(archive: ScratchArchive) -> list[str]:
    return [sentence(one.kind, one.figures) for one in archive.archive.alarms.book.reported if one.kind == "directory"]


def test_what_does_not_work_for_a_day_raises_an_alarm_and_one_that_works_ends_it(
    archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr(archive.archive, "clock", lambda: now[0])
    add(archive, interval=600)
    synchronise(archive)
    now[0] += 601

    def unreachable(*_rest: Any) -> Any:
        raise ConflictError("The directory cannot be reached.")

    with monkeypatch.context() as broken:
        broken.setattr(errand, "listing", unreachable)
        for _ in range(24):
            archive.dispatcher.directories.round()
            assert not alarms(archive)
            now[0] += 3600
        now[0] += 6 * 3600
        archive.dispatcher.directories.round()
    (told,) = alarms(archive)
    assert "“staff” for 30 hours" in told
    now[0] += 6 * 3600
    archive.dispatcher.directories.round()
    assert not alarms(archive)


def test_without_an_interval_only_by_hand(archive: ScratchArchive) -> None:
    assert add(archive, interval=0).next_at is None
    archive.dispatcher.directories.round()
    assert not users(archive)


def test_removed_its_users_stay_and_another_one_finds_them(archive: ScratchArchive) -> None:
    add(archive)
    synchronise(archive)
    before = users(archive)
    call(archive, "directory_remove", name="staff")
    assert users(archive) == before and not call(archive, "directories")
    add(archive)
    assert synchronise(archive).counts.changed == 2
    assert {one.id for one in users(archive).values()} == {one.id for one in before.values()}


def test_what_makes_no_sense_is_said_and_nothing_is_set_up(archive: ScratchArchive) -> None:
    for params, why in (
        ({"name": "No Name"}, "small letters"),
        ({"kind": "nis"}, "no kind of directory"),
        ({"options": {}}, "needs: List"),
        ({"options": {"content": "name\nAnna\n"}}, "primary"),
        ({"options": {"content": LIST, "colour": "red"}}, "no option “colour”"),
        ({"interval": 10}, "every 300 seconds at most"),
        ({"signs_in": True}, "cannot tell whether a password is right"),
    ):
        given = {"name": "staff", "kind": "csv", "options": {"content": LIST}, **params}
        with pytest.raises(UsageError, match=why):
            call(archive, "directory_add", **given)
    assert not call(archive, "directories")
    add(archive)
    with pytest.raises(ConflictError, match="already"):
        add(archive)
    with pytest.raises(NotFoundError):
        call(archive, "directory_sync_begin", name="other")


def test_only_administrators(archive: ScratchArchive) -> None:
    add(archive)
    anna = Principal(id="u", roles=frozenset({"user", "auditor"}))
    for method, params in (
        ("directories", {}), ("directory_sync_begin", {"name": "staff"}), ("directory_test", {"name": "staff"}),
        ("directory_remove", {"name": "staff"}), ("directory_add", {"name": "b", "kind": "csv"}),
        ("directory_change", {"name": "staff"}), ("directory_synchronised", {"id": "x"}),
    ):  # fmt: skip
        with pytest.raises(ForbiddenError):
            archive.dispatcher.from_box(Call(method, params=params), anna)


def test_a_test_says_what_cannot_be_taken(archive: ScratchArchive) -> None:
    add(archive, LIST + "no address;;Carl;3\n")
    found = call(archive, "directory_test", name="staff")
    assert [(one.what, one.state) for one in found] == [("list", "ok"), ("line 4", "warning")]
    done = synchronise(archive)
    assert done.counts.left_out == 1 and done.steps[-1].what == "left-out"


# -- signing in -------------------------------------------------------------------------------------------------


@pytest.fixture
def passwords(archive: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the directory's people sign in with there; who is asked about is noted under "asked"."""
    known: dict[str, str] = {}

    def is_right(_kind: str, _options: Any, person: str, password: str) -> bool:
        known["asked"] = person
        return known.get(person) == password

    monkeypatch.setattr(errand, "is_right", is_right)
    add(archive)
    synchronise(archive)
    (one,) = archive.archive.settings.directories()
    # A list cannot tell; the settings are written as those of a directory that can.
    archive.archive.record(BOX, events.DirectoryPut(one.put.name, "csv", one.put.options, 0, signs_in=True))
    return known


def sign_in(archive: ScratchArchive, address: str, password: str) -> api.SignedIn:
    params = {"address": address, "password": password, "totp": ""}
    signed: api.SignedIn = archive.dispatcher.from_web(Call("sign_in", client="192.0.2.9", params=params))
    return signed


def test_people_sign_in_with_the_directorys_password(archive: ScratchArchive, passwords: dict[str, str]) -> None:
    passwords["1"] = "anna's there"
    assert sign_in(archive, "a@x.test", "anna's there").caller.address == "anna@x.test"
    for address, password in (("a@x.test", "wrong"), ("bert@x.test", ""), ("nobody@x.test", "anna's there")):
        with pytest.raises(SignInError):
            sign_in(archive, address, password)
    assert passwords["asked"] not in ("1", "2"), "an unknown address takes as long"


def test_a_password_here_comes_first_and_roles_need_one(archive: ScratchArchive, passwords: dict[str, str]) -> None:
    passwords |= {"1": "there", "2": "there"}
    anna, bert = users(archive)["anna@x.test"].id, users(archive)["bert@x.test"].id
    (code,) = call(archive, "user_invite", ids=[anna])
    accept = {"code": code.code, "password": "a long one of hers"}
    archive.dispatcher.from_web(Call("accept_invitation", client="192.0.2.9", params=accept))
    with pytest.raises(SignInError):
        sign_in(archive, "anna@x.test", "there")
    assert sign_in(archive, "anna@x.test", "a long one of hers")
    assert sign_in(archive, "bert@x.test", "there")
    call(archive, "role_grant", id=bert, role="auditor", reason="looks into things")
    with pytest.raises(SignInError):
        sign_in(archive, "bert@x.test", "there")


def test_who_is_disabled_there_does_not_get_in(archive: ScratchArchive, passwords: dict[str, str]) -> None:
    passwords["1"] = "there"
    call(archive, "directory_change", name="staff", signs_in=False, options={"content": LIST.replace(";1", ";1x")})
    synchronise(archive)
    (one,) = archive.archive.settings.directories()
    archive.archive.record(BOX, events.DirectoryPut(one.put.name, "csv", one.put.options, 0, signs_in=True))
    with pytest.raises(SignInError):
        sign_in(archive, "a@x.test", "there")
