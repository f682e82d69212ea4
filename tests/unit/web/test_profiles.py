"""The pages of archiving profiles over a whole archive: added, tried, run, looked at, changed, removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.checks import Check
from appliance.services import api
from appliance.services.profiles.managing import Profiles
from tests.profiles_double import CollectorDouble
from tests.scratch import ScratchArchive
from tests.unit.web.browse import USER, Browser, signed_in, visible
from tests.unit.web.whole import administering

PAGE = "/admin/profiles"
OFFICE = f"{PAGE}/of/office"
FORM = {
    "kind": "imap", "name": "office", "option.host": "imap.x.test", "option.user": "anna@x.test",
    "option.password": "quite-secret", "users": "all", "include": "", "exclude": "\\Trash\n\\Junk", "interval": "3600",
    "parallel": "4",
}  # fmt: skip


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    archive = ScratchArchive(tmp_path)
    archive.user("anna@x.test")
    yield archive
    archive.close()


@pytest.fixture
def collector(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorDouble]:
    double = CollectorDouble(box)
    monkeypatch.setattr(Profiles, "_ask", lambda profiles, *asked, **params: double.answer(profiles, *asked, **params))
    yield double
    double.close()


@pytest.fixture
def admin(box: ScratchArchive, collector: CollectorDouble) -> Iterator[Browser]:
    """An administrator's browser."""
    with administering(box) as browser:
        yield browser


def added(admin: Browser, **more: str) -> None:
    answer = admin.post(f"{PAGE}/new?kind=imap", f"{PAGE}/new", FORM | more)
    assert answer.headers["location"] == f"{OFFICE}?note=profile-added", visible(answer)


def test_a_profile_is_added_tried_run_and_stopped(admin: Browser, collector: CollectorDouble) -> None:
    assert "No profile yet" in admin.text(PAGE) and "Nothing is deleted there unless" in admin.text(PAGE)
    assert "IMAP" in admin.text(f"{PAGE}/new")
    added(admin)
    assert "1 account is archived." in visible(admin.post(OFFICE, f"{OFFICE}/test"))
    part = admin.client.get(OFFICE, headers={"hx-request": "true"}, params={"was": "none"})
    assert "hx-refresh" not in part.headers and "never" in visible(part)
    assert admin.post(OFFICE, f"{OFFICE}/run").headers["location"] == f"{OFFICE}?note=run-begun"
    collector.fetched(1, api.ProfileCounts(1200, 1000, 150, 50, 0, 0, 1 << 20), expected=2400)
    part = admin.client.get(OFFICE, headers={"hx-request": "true"}, params={"was": "none"})
    assert part.headers["hx-refresh"] == "true", "a run has begun"
    listed = admin.text(PAGE)
    assert "1,200 of 2,400 messages" in listed and "left" in listed
    for figures in (listed, admin.text(OFFICE), admin.text(f"{OFFICE}/runs/1")):
        assert "Seen 1,200 New 1,000 Archived before 150 Filtered out 50 Failed 0" in figures
    stopped = admin.post(OFFICE, f"{OFFICE}/stop", {"back": OFFICE})
    assert stopped.headers["location"] == f"{OFFICE}?note=profile-stopped"
    assert admin.post(OFFICE, f"{OFFICE}/stop").headers["location"] == f"{PAGE}?note=profile-idle"


def test_a_run_has_a_page_with_all_that_was_not_fetched(admin: Browser, collector: CollectorDouble) -> None:
    added(admin)
    admin.post(OFFICE, f"{OFFICE}/run")
    collector.fetched(1, api.ProfileCounts(252, 1, 0, 0, 251))
    collector.failures(1, *map(str, range(5000, 5251)))
    part = admin.get(f"{OFFICE}/runs/1", **{"hx-request": "true"})
    assert "hx-get" in part.text and "hx-refresh" not in part.headers
    collector.ledger.end(1, "done", "251 messages could not be fetched; they are tried again by the next run.")
    assert admin.get(f"{OFFICE}/runs/1", **{"hx-request": "true"}).headers["hx-refresh"] == "true"
    told = admin.text(f"{OFFICE}/runs/1")
    assert "Failed 251" in told and "5000 The server does not give it." in told and "And 51 more" in told
    assert "hx-get" not in admin.get(f"{OFFICE}/runs/1").text
    assert "they are tried again by the next run" in admin.text(OFFICE)
    assert admin.get(f"{OFFICE}/runs/2").status_code == 404
    assert admin.get(f"{PAGE}/of/other/runs/1").status_code == 404


def test_settings_are_shown_changed_and_kept(admin: Browser, box: ScratchArchive) -> None:
    added(
        admin, archive="anna@x.test", since="2026-01-31", largest="25M", only_read="1", interval="cron",
        cron="30 2 * * 1-5", include="Projects/*\n Old mail ", users="only", chosen="anna@x.test",
    )  # fmt: skip
    (put,) = box.archive.settings.profiles()
    assert (put.since, put.largest, put.only_read, put.cron, put.interval) == (
        "2026-01-31", 25 << 20, True, "30 2 * * 1-5", 0
    )  # fmt: skip
    assert (put.include, put.exclude, put.users) == (("Projects/*", "Old mail"), (r"\Trash", r"\Junk"), "only")
    shown = admin.text(OFFICE)
    assert "Into anna@x.test" in shown and "Projects/*, Old mail, without" in shown and "30 2 * * 1-5" in shown
    assert "Only the accounts of anna@x.test" in shown
    settings = f"{OFFICE}/settings"
    page = admin.get(settings).text
    assert "quite-secret" not in page and "25M" in page and "by the timetable below" in page
    changed = {"option.host": "imap.x.test", "users": "all", "interval": "900", "largest": "", "exclude": ""}
    answer = admin.post(settings, settings, changed)
    assert answer.headers["location"] == f"{OFFICE}?note=profile-changed"
    (put,) = box.archive.settings.profiles()
    assert (put.interval, put.cron, put.largest, put.exclude, put.only_read) == (900, "", 0, (), False)
    assert put.options["password"] == "quite-secret" and put.since == "2026-01-31"
    moved = admin.post(settings, settings, changed | {"option.host": "imap.thief.test"})
    assert moved.status_code == 400 and "give password anew" in visible(moved)


def test_deleting_at_the_source_is_said_and_looked_at_first(admin: Browser, collector: CollectorDouble) -> None:
    added(admin)
    assert "Nothing is deleted at the source." in admin.text(OFFICE)
    settings = f"{OFFICE}/settings"
    assert admin.post(settings, settings, FORM | {"delete_after_days": "90", "option.password": ""}).status_code == 303
    shown = admin.text(OFFICE)
    assert "Messages are deleted at the source after 90 days." in shown and "What would be deleted" in shown
    would = admin.text(f"{OFFICE}/deletions")
    assert "3 messages, 4.0 KB" in would and "And 2 more that are younger." in would
    assert "more than 7 days ago" in admin.text(f"{OFFICE}/deletions?days=7")
    assert [params["after_days"] for method, params in collector.asked if method == "deletions"] == [0, 7]


def test_where_a_person_has_to_sign_in_is_a_link(admin: Browser, collector: CollectorDouble) -> None:
    added(admin)
    text = "Open https://signin.example.org/device?a=1&b=2 in a browser, and enter the code <KEEP>."
    collector.checks = (Check("sign-in", "problem", text),)
    page = admin.post(OFFICE, f"{OFFICE}/test").text
    assert '<a href="https://signin.example.org/device?a=1&amp;b=2" rel="noopener noreferrer nofollow"' in page
    assert "&lt;KEEP&gt;" in page


def test_pausing_and_removing(admin: Browser, box: ScratchArchive) -> None:
    added(admin)
    for word, paused in (("pause", True), ("resume", False)):
        answer = admin.post(PAGE, f"{OFFICE}/{word}", {"back": PAGE})
        assert answer.headers["location"] == f"{PAGE}?note=profile-{word}d"
        assert box.archive.settings.profiles()[0].paused is paused
    assert "All mail that was fetched by it stays" in admin.text(f"{OFFICE}/remove")
    assert admin.post(f"{OFFICE}/remove", f"{OFFICE}/remove").status_code == 303
    assert "No profile yet" in admin.text(PAGE)


def test_what_cannot_be_is_said_with_what_was_typed(admin: Browser) -> None:
    for wrong, why in (
        ({"name": "Head Office"}, "small letters"), ({"option.password": ""}, "password is missing"),
        ({"archive": "nobody@x.test"}, "No user has the address"), ({"largest": "huge"}, "no size such as 25M"),
        ({"interval": "cron"}, "Enter the timetable"), ({"interval": "cron", "cron": "daily"}, "no schedule"),
        ({"parallel": "many"}, "as a number"), ({"users": "only"}, "Name the users"),
        ({"include": "\\Nonsense"}, "names no folders"),
    ):  # fmt: skip
        answer = admin.post(f"{PAGE}/new?kind=imap", f"{PAGE}/new", FORM | wrong)
        assert answer.status_code == 400 and why in visible(answer), wrong
        assert next(iter(wrong.values())) in answer.text and "quite-secret" not in answer.text
    added(admin)
    assert admin.post(f"{PAGE}/new?kind=imap", f"{PAGE}/new", FORM).status_code == 409
    assert admin.get(f"{PAGE}/new?kind=pigeon").status_code == 404
    assert admin.get(f"{PAGE}/of/other").status_code == 404


def test_a_directory_is_synchronised_before_it(admin: Browser, box: ScratchArchive) -> None:
    directory = {"kind": "csv", "name": "staff", "interval": "0", "option.content": "primary\nben@x.test\n"}
    admin.post("/admin/directories/new?kind=csv", "/admin/directories/new", directory)
    assert "Synchronise a directory first" in admin.text(f"{PAGE}/new?kind=imap")
    added(admin, directory="staff")
    target = admin.post(OFFICE, f"{OFFICE}/run").headers["location"]
    deadline = time.monotonic() + 60
    while "1 created" not in (said := admin.text(target)):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    assert "running" in said and "Synchronised before staff" in said


def test_the_pages_are_for_administrators() -> None:
    for path in (PAGE, f"{PAGE}/new", OFFICE, f"{OFFICE}/settings", f"{OFFICE}/remove", f"{OFFICE}/runs/1"):
        assert signed_in(USER).get(path).status_code == 403
