"""Archiving profiles through the services: set up, told to the collector, run, looked at, and nothing else changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ConflictError, ForbiddenError, NotFoundError, StorageError, UnavailableError, UsageError
from appliance.mail.folders import LEFT_OUT
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api, support
from appliance.services.collector.told import read_told
from appliance.services.principal import Principal
from appliance.services.profiles import telling
from appliance.services.profiles.checking import named
from appliance.services.profiles.managing import Profiles
from appliance.services.profiles.watching import failing_for
from appliance.services.wire import Call
from appliance.sources.kinds import KINDS
from tests.profiles_double import CHECKS, DELETIONS, CollectorDouble
from tests.scratch import BOX, ScratchArchive

OPTIONS = {"host": "imap.x.test", "user": "anna@x.test", "password": "quite-secret"}


def test_every_source_says_where_its_secrets_go() -> None:
    """Otherwise a stored one could be sent elsewhere by who has never known it."""
    telling = {"host", "port", "security", "authority", "graph", "url", "server", "token_address"}
    for kind in KINDS:
        fields = {field.key: field for field in kind.fields}
        assert {key for key in telling & fields.keys() if not fields[key].place} == set(), kind.kind
        assert any(field.place for field in kind.fields) or not any(field.secret for field in kind.fields), kind.kind


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    archive = ScratchArchive(tmp_path)
    yield archive
    archive.close()


@pytest.fixture
def collector(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorDouble]:
    double = CollectorDouble(box)
    monkeypatch.setattr(Profiles, "_ask", lambda profiles, *asked, **params: double.answer(profiles, *asked, **params))
    yield double
    double.close()


def call(box: ScratchArchive, method: str, **params: Any) -> Any:
    return box.dispatcher.from_box(Call(method, params=params), BOX)


def add(box: ScratchArchive, name: str = "office", **settings: Any) -> api.ProfileInfo:
    made: api.ProfileInfo = call(box, "profile_add", **{"name": name, "kind": "imap", "options": OPTIONS} | settings)
    return made


def audit(box: ScratchArchive) -> list[str]:
    page: api.AuditPage = call(box, "audit", limit=100)
    return [f"{one.action} {one.what}" for one in page.lines]


# -- setting up -----------------------------------------------------------------------------------------------


def test_a_profile_is_as_it_was_given_and_shows_no_secret(box: ScratchArchive, collector: CollectorDouble) -> None:
    anna, ben = box.user("anna@x.test", "a@x.test"), box.user("ben@x.test")
    made = add(
        box, archive="a@x.test", users="except", chosen=["ben@x.test"], include=[" Projects/* ", r"\Inbox"],
        since="20260131", largest=1000, sender=" @y.test ", cron="30  2 * * 1-5", parallel=2, rate=4096,
    )  # fmt: skip
    assert (made.archive, made.users, made.chosen) == ("anna@x.test", "except", ("ben@x.test",))
    assert (made.include, made.since, made.sender) == (("Projects/*", r"\Inbox"), "2026-01-31", "@y.test")
    assert (made.cron, made.exclude, made.run, made.next_at) == ("30 2 * * 1-5", LEFT_OUT, None, None)
    assert api.RemoteOption("password", "", secret=True) in made.options
    assert api.RemoteOption("host", "imap.x.test") in made.options
    assert call(box, "profiles") == (made,)
    told = collector.told()
    assert told is not None and told.profiles[0].options == OPTIONS
    assert (told.profiles[0].archive, told.profiles[0].chosen) == (anna, (ben,))
    assert OPTIONS["password"] not in repr(audit(box))
    assert any(line.startswith("profile.add office imap host=imap.x.test") for line in audit(box))


def test_what_is_changed_changes_and_nothing_else(box: ScratchArchive, collector: CollectorDouble) -> None:
    box.user("anna@x.test")
    before = add(box, interval=1800, only_read=True)
    after = call(box, "profile_change", name="office", cron="0 3 * * *", subject="invoice")
    assert (after.interval, after.cron, after.subject, after.only_read) == (0, "0 3 * * *", "invoice", True)
    assert call(box, "profile_change", name="office", interval=60).cron == ""
    chosen = call(box, "profile_change", name="office", chosen=["anna@x.test"])
    assert (chosen.users, chosen.chosen) == ("only", ("anna@x.test",))
    assert call(box, "profile_change", name="office", users="all").chosen == ()
    assert call(box, "profile_change", name="office", paused=True).paused
    assert call(box, "profile_change", name="office", options={"foreign": "yes"}).options != before.options
    told = collector.told()
    assert told is not None and told.profiles[0].options == OPTIONS | {"foreign": "yes"}
    lines = len(audit(box))
    call(box, "profile_change", name="office", paused=True)
    assert len(audit(box)) == lines, "what changes nothing is no line"


def test_a_secret_goes_only_to_the_server_that_it_was_given_for(
    box: ScratchArchive, collector: CollectorDouble
) -> None:
    add(box)
    for moved in ({"host": "imap.thief.test"}, {"security": "none"}, {"port": "144"}, {"ca": "theirs"}):
        with pytest.raises(UsageError, match="give password anew"):
            call(box, "profile_change", name="office", options=moved)
    told = collector.told()
    assert told is not None and told.profiles[0].options == OPTIONS
    call(box, "profile_change", name="office", options={"host": "imap.x.test", "user": "b"})
    call(box, "profile_change", name="office", options={"host": "new.x.test", "password": "another"})
    with pytest.raises(UsageError, match="password is missing"):
        call(box, "profile_change", name="office", options={"password": ""})


def test_what_cannot_be_is_refused_in_words(box: ScratchArchive, collector: CollectorDouble) -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"name": "Head Office"}, "small letters"),
        ({"kind": "carrier-pigeon"}, "no kind of source"),
        ({"options": {"host": "h", "password": "p", "colour": "red"}}, "no option “colour”"),
        ({"options": {"password": "p"}}, "needs: Server"),
        ({"archive": "nobody@x.test"}, "No user has the address nobody@x.test"),
        ({"chosen": ["nobody@x.test"]}, "No user has the address"),
        ({"users": "only"}, "Name the users"),
        ({"include": [r"\Nonsense"]}, "names no folders"),
        ({"since": "yesterday"}, "no date"),
        ({"since": "2026-02-01", "before": "2026-02-01"}, "No message is from"),
        ({"older_than_days": -1}, "age of messages"),
        ({"largest": -5}, "largest size"),
        ({"interval": 59}, "once a minute"),
        ({"interval": -60}, "once a minute"),
        ({"cron": "0 3 * *"}, "no schedule"),
        ({"cron": "61 3 * * *"}, "no schedule"),
        ({"cron": "0 3 31 2 *"}, "never comes"),
        ({"cron": "0 3 * * *", "interval": 3600}, "not both"),
        ({"parallel": 0}, "accounts at a time"),
        ({"parallel": 33}, "accounts at a time"),
        ({"rate": -1}, "The rate"),
        ({"timeout": 9999}, "time-out"),
        ({"delete_after_days": -1}, "or never"),
        ({"directory": "staff"}, "no directory called “staff”"),
    )
    for settings, why in wrong:
        with pytest.raises(UsageError, match=why):
            add(box, **settings)
    assert call(box, "profiles") == () and collector.told() is None
    assert IMPORTS_MAILBOX not in box.archive.keyring.mailboxes


def test_a_name_is_taken_once_and_free_again_afterwards(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box)
    with pytest.raises(ConflictError, match="already"):
        add(box)
    call(box, "profile_remove", name="office")
    told = collector.told()
    assert told is not None and told.profiles == ()
    for method in ("profile_remove", "profile_change", "profile_test", "profile_run", "profile_stop", "profile_runs"):
        with pytest.raises(NotFoundError, match="no profile called “office”"):
            call(box, method, name="office")
    add(box)
    assert "profile.remove office" in audit(box)


def test_what_is_removed_fetches_no_more(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box)
    run = call(box, "profile_run", name="office").run
    call(box, "profile_remove", name="office")
    assert collector.ledger.run(run).state == "stopped"


def test_nothing_is_deleted_at_the_source_unless_a_profile_says_so(
    box: ScratchArchive, collector: CollectorDouble
) -> None:
    assert add(box).delete_after_days == 0
    assert call(box, "profile_change", name="office", delete_after_days=90).delete_after_days == 90
    assert any("delete-after=90-days" in line for line in audit(box))
    assert call(box, "profile_deletions", name="office") == DELETIONS
    assert call(box, "profile_deletions", name="office", after_days=7) == DELETIONS
    assert [params["after_days"] for method, params in collector.asked if method == "deletions"] == [0, 7]
    for days in (0, -1, 100_000):
        with pytest.raises(UsageError, match="after 1 to"):
            call(box, "profile_deletions", name="office", after_days=days)
    told = collector.told()
    assert told is not None and told.profiles[0].delete_after_days == 90


def test_folders_that_are_named_are_wanted(box: ScratchArchive, collector: CollectorDouble) -> None:
    assert add(box, include=[r"\trash"]).exclude == (r"\Junk", r"\Drafts")
    assert add(box, "all", exclude=[]).exclude == ()


def test_profiles_are_for_administrators(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box)
    nobody = Principal(id="u1", roles=frozenset({"user", "auditor"}))
    profiles = box.dispatcher.profiles
    for method, params in (
        ("profiles", {}), ("profile_add", {"name": "b", "kind": "imap"}), ("profile_change", {"name": "office"}),
        ("profile_remove", {"name": "office"}), ("profile_test", {"name": "office"}),
        ("profile_run", {"name": "office"}), ("profile_begun", {"id": "x"}), ("profile_stop", {"name": "office"}),
        ("profile_runs", {}), ("profile_run_get", {"id": 1}), ("profile_deletions", {"name": "office"}),
    ):  # fmt: skip
        with pytest.raises(ForbiddenError):
            profiles.methods()[method](nobody, **params)
    assert set(profiles.methods()) == {
        "profiles", "profile_add", "profile_change", "profile_remove", "profile_test", "profile_run", "profile_begun",
        "profile_stop", "profile_runs", "profile_run_get", "profile_deletions",
    }  # fmt: skip


# -- what the collector is told -------------------------------------------------------------------------------


def test_it_is_told_of_people_by_their_mail_addresses(box: ScratchArchive, collector: CollectorDouble) -> None:
    anna = box.user("anna@x.test", "a@x.test", name="Anna")
    add(box)
    told = collector.told()
    assert told is not None
    assert [(one.user, one.name, one.addresses) for one in told.people] == [
        (anna, "Anna", ("anna@x.test", "a@x.test"))
    ], "not the administrator, whose name is no address"
    box.dispatcher.profiles.start()
    ben = box.user("ben@x.test")
    call(box, "user_change", id=anna, primary="anna.berg@x.test", aliases=["a@x.test"], state="disabled")
    wanted = {anna: ("anna.berg@x.test", "a@x.test"), ben: ("ben@x.test",)}
    call(box, "profile_run", name="office")  # told before it begins, without waiting for the round
    told = collector.told()
    assert told is not None and {one.user: one.addresses for one in told.people} == wanted


def test_it_is_told_by_itself_when_an_address_changes_hands(
    box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.services.profiles.managing.TELL_SECONDS", 0.05)
    add(box)
    box.close()
    box.open()
    box.dispatcher.profiles.start()
    box.user("anna@x.test")
    deadline = time.monotonic() + 30
    while not ((told := collector.told()) and told.people):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_told_at_the_start(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box)
    place = box.paths.collecting / "told"
    place.unlink()
    box.close()
    box.open()
    box.dispatcher.profiles.start()
    deadline = time.monotonic() + 30
    while not place.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told = collector.told()
    assert told is not None and told.profiles[0].options == OPTIONS


def test_a_full_disk_leaves_it_to_be_told_later(
    box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(box)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(telling, "write_told", full)
        with pytest.raises(StorageError, match="is in force"):
            call(box, "profile_change", name="office", interval=600)
    assert call(box, "profiles")[0].interval == 600, "it is in force"
    told = collector.told()
    assert told is not None and told.profiles[0].interval == 0
    call(box, "profile_run", name="office")
    told = collector.told()
    assert told is not None and told.profiles[0].interval == 600


def test_nothing_is_told_where_there_never_was_a_profile(box: ScratchArchive, collector: CollectorDouble) -> None:
    box.user("anna@x.test")
    box.dispatcher.profiles.telling.tell()
    assert collector.told() is None


def test_what_it_is_told_takes_its_key(box: ScratchArchive, collector: CollectorDouble) -> None:
    box.user("anna@x.test")
    add(box)
    raw = (box.paths.collecting / "told").read_bytes()
    for word in (b"quite-secret", b"imap.x.test", b"anna@x.test", b"office"):
        assert word not in raw
    assert read_told(box.paths.collecting, collector.keys) is not None


# -- where fetched mail goes ----------------------------------------------------------------------------------


def test_there_is_one_mailbox_for_it_which_is_no_door(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box)
    add(box, "other")
    keyring = box.archive.keyring
    assert not keyring.is_sealed(IMPORTS_MAILBOX)
    told = collector.told()
    assert told is not None and (told.mailbox, told.public_key) == (
        IMPORTS_MAILBOX, keyring.public_key(IMPORTS_MAILBOX)
    )  # fmt: skip
    assert [one.id for one in call(box, "mailboxes")] == [box.mailbox.id]
    assert box.archive.settings.mailboxes()[0].mailbox != IMPORTS_MAILBOX
    status = call(box, "status")
    assert (status.mailboxes, status.agrees) == (1, True)


def test_a_crash_between_its_key_and_the_profile_does_no_harm(box: ScratchArchive, collector: CollectorDouble) -> None:
    box.dispatcher.profiles.telling.prepare()
    public = box.archive.keyring.public_key(IMPORTS_MAILBOX)
    box.close()
    box.open()
    add(box)
    told = collector.told()
    assert told is not None and told.public_key == public


def test_everything_is_there_again_after_a_rebuild_of_the_settings(
    box: ScratchArchive, collector: CollectorDouble
) -> None:
    box.user("anna@x.test")
    add(box, archive="anna@x.test", interval=900)
    add(box, "gone")
    call(box, "profile_remove", name="gone")
    before = call(box, "profiles")
    box.close()
    box.paths.settings.unlink()
    box.open()
    assert call(box, "profiles") == before
    assert box.archive.settings.profiles()[0].options == OPTIONS


# -- runs -----------------------------------------------------------------------------------------------------


def test_a_run_is_begun_followed_and_in_the_history(box: ScratchArchive, collector: CollectorDouble) -> None:
    anna = box.user("anna@x.test")
    add(box)
    assert call(box, "profile_test", name="office") == CHECKS
    begun: api.ProfileBegun = call(box, "profile_run", name="office")
    assert begun.run is not None and begun.job is None
    collector.fetched(begun.run, api.ProfileCounts(10, 4, 3, 1, 2, 0, 999), archive=anna, expected=20)
    collector.failures(begun.run, "7", "8")
    (info,) = call(box, "profiles")
    assert info.run is not None and (info.run.state, info.run.expected) == ("running", 20)
    run: api.ProfileRun = call(box, "profile_run_get", id=begun.run)
    assert run.counts.seen == 10 == run.counts.new + run.counts.already + run.counts.filtered + run.counts.failed
    assert [(one.account, one.archive, one.folder) for one in run.accounts] == [("anna", "anna@x.test", "INBOX")]
    assert [one.item for one in run.failures] == ["7", "8"]
    collector.ledger.end(begun.run, "failed", "anna: The server hung up.")
    (info,) = call(box, "profiles")
    assert (info.trouble, info.run and info.run.state) == ("anna: The server hung up.", "failed")
    second = call(box, "profile_run", name="office").run
    assert [one.id for one in call(box, "profile_runs", name="office")] == [second, begun.run]
    assert [one.id for one in call(box, "profile_runs", name="office", limit=1)] == [second]
    assert audit(box).count("profile.run office") == 2
    with pytest.raises(NotFoundError, match="no such run"):
        call(box, "profile_run_get", id=77)


def test_the_run_that_goes_on_is_shown_before_the_one_that_waits(
    box: ScratchArchive, collector: CollectorDouble
) -> None:
    add(box)
    first = call(box, "profile_run", name="office").run
    collector.begins = False
    second = call(box, "profile_run", name="office").run
    assert second != first
    assert call(box, "profiles")[0].run.id == first
    call(box, "profile_stop", name="office")
    assert {params["id"] for method, params in collector.asked if method == "stop"} == {first, second}
    assert {one.state for one in call(box, "profile_runs", name="office")} == {"stopped"}
    with pytest.raises(ConflictError, match="Nothing is being fetched"):
        call(box, "profile_stop", name="office")
    assert audit(box).count("profile.stop office") == 1


def test_what_was_fetched_by_a_profile_that_is_gone_stays_in_the_history(
    box: ScratchArchive, collector: CollectorDouble
) -> None:
    add(box)
    run = call(box, "profile_run", name="office").run
    collector.ledger.end(run, "done", "")
    call(box, "profile_remove", name="office")
    assert [one.id for one in call(box, "profile_runs", name="office")] == [run]
    assert [one.id for one in call(box, "profile_runs")] == [run]


def test_next_time_is_told_unless_it_is_paused(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box, interval=600)
    collector.ledger.plan("office", "every 600", 1_800_000_000)
    assert call(box, "profiles")[0].next_at == 1_800_000_000
    assert call(box, "profile_change", name="office", paused=True).next_at is None


def test_on_a_box_where_nothing_is_served_nothing_is_fetched(box: ScratchArchive) -> None:
    add(box)
    assert call(box, "profile_runs", name="office") == () and not box.paths.ledger.exists()
    for method in ("profile_run", "profile_test"):
        with pytest.raises(UnavailableError, match="mailkeep serve"):
            call(box, method, name="office")


# -- a directory before it ------------------------------------------------------------------------------------

LIST = "primary;id\nanna@x.test;1\n"


def with_directory(box: ScratchArchive, content: str = LIST, **settings: Any) -> None:
    call(box, "directory_add", name="staff", kind="csv", options={"content": content}, interval=0)
    add(box, directory="staff", **settings)


def begun(box: ScratchArchive) -> tuple[api.JobInfo, int]:
    job = call(box, "profile_run", name="office").job
    deadline = time.monotonic() + 60
    while job.finished_at is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        job = call(box, "job", id=job.id)
    return job, call(box, "profile_begun", id=job.id)


def test_a_directory_is_synchronised_first(box: ScratchArchive, collector: CollectorDouble) -> None:
    with_directory(box)
    job, run = begun(box)
    assert job.state == "done" and "1 created" in job.message
    told = collector.told()
    assert told is not None and [one.addresses for one in told.people] == [("anna@x.test",)]
    assert collector.ledger.run(run).state == "running"
    with pytest.raises(ConflictError, match="profile “office”"):
        call(box, "directory_remove", name="staff")
    call(box, "profile_change", name="office", directory="")
    call(box, "directory_remove", name="staff")


def test_a_directory_that_does_not_answer_keeps_no_mail_from_being_fetched(
    box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_directory(box)

    def silent(*_: object) -> None:
        raise UnavailableError("dc1.x.test does not answer.")

    monkeypatch.setattr("appliance.services.directories.errand.listing", silent)
    job, run = begun(box)
    assert "users are as they were: dc1.x.test does not answer." in job.message
    assert collector.ledger.run(run).state == "running"


def test_a_directory_is_synchronised_before_a_run_by_the_clock(
    box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    with_directory(box, interval=3600)
    profiles = box.dispatcher.profiles
    synchronised: list[str] = []
    monkeypatch.setattr(box.dispatcher.directories, "_by_itself", synchronised.append)
    collector.ledger.plan("office", "every 3600", now + 60)
    profiles.look()
    assert synchronised == [], "the first time is a person's"
    begun(box)
    monkeypatch.setattr(box.archive, "clock", lambda: now + 1000)
    for planned, expected in ((now + 900, 0), (now + 1000 + 3600, 0), (now + 1060, 1)):
        collector.ledger.plan("office", "every 3600", planned)
        profiles.look()
        assert len(synchronised) == expected
    call(box, "profile_change", name="office", paused=True)
    profiles.look()
    assert len(synchronised) == 1


# -- what goes wrong for long ---------------------------------------------------------------------------------


def alarms(box: ScratchArchive) -> list[str]:
    page: api.AlarmPage = call(box, "alarms")
    return [one.text for one in page.standing if "profile" in one.text]


def test_a_profile_that_fails_for_a_day_is_an_alarm(
    box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(box, interval=3600)
    now = 1_800_000_000.0
    monkeypatch.setattr(box.archive, "clock", lambda: now)
    monkeypatch.setattr(collector.ledger, "_clock", lambda: now)
    collector.ledger.plan("office", "every 3600", now + 10**9)
    look = box.dispatcher.profiles.look

    def run(state: Any) -> None:
        id = collector.ledger.add("office", asked=False)
        collector.ledger.claim(id)
        collector.ledger.end(id, state, "The server does not answer.")

    run("done")
    for hours in range(24):
        now += 3600
        run("stopped" if hours == 12 else "failed")
        look()
        assert not alarms(box), hours
    now += 3600
    run("failed")
    look()
    assert "“office” has fetched no mail for 24 hours" in alarms(box)[0]
    assert "quite-secret" not in alarms(box)[0]
    run("done")
    look()
    assert not alarms(box)
    now += 3600
    run("failed")
    now += 25 * 3600
    look()
    assert alarms(box)
    call(box, "profile_change", name="office", paused=True)
    look()
    assert not alarms(box), "nobody waits for a paused one"
    call(box, "profile_change", name="office", paused=False)
    look()
    assert alarms(box)
    call(box, "profile_remove", name="office")
    assert not alarms(box)


def test_so_is_one_of_which_every_run_that_is_remembered_failed() -> None:
    def run(id: int, state: Any) -> api.ProfileRun:
        return api.ProfileRun(
            id=id, profile="office", state=state, asked=False, queued=id * 60, begun=id * 60, ended=id * 60 + 1,
            counts=api.ProfileCounts(),
        )  # fmt: skip

    failed = [run(id, "failed") for id in range(200, 0, -1)]
    assert failing_for(failed, 201 * 60, 200) == 200 * 60
    assert failing_for(failed[:199], 201 * 60, 200) is None
    assert failing_for([run(201, "done"), *failed], 10**6, 200) is None
    assert failing_for([run(201, "running"), *failed], 10**6, 200) is not None
    assert failing_for([], 10**6, 200) is None


def test_a_support_bundle_shows_how_it_runs_and_not_from_where(box: ScratchArchive, collector: CollectorDouble) -> None:
    add(box, interval=600, sender="boss@y.test")
    (put,) = box.archive.settings.profiles()
    assert list(named(put)) == ["imap.x.test", "anna@x.test", "quite-secret"]
    shown = support._settings(box.archive)
    assert '"interval": 600' in shown
    for word in ("imap.x.test", "anna@x.test", "quite-secret", "boss@y.test"):
        assert word not in shown
