"""Archiving profiles in the console: how they are, running, pausing, testing, adding one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from appliance.checks import Check
from appliance.language import LANGUAGES, use
from appliance.services import api
from tests.console.conftest import Snap
from tests.console.fake_box import NOW, FakeBox
from tests.console.test_console import PLAIN, press, run, shown, type_text
from tui.app import Console

pytestmark = pytest.mark.console

DONE = api.ProfileRun(
    id=7, profile="office", state="done", asked=False, queued=int(NOW - 900), begun=int(NOW - 900),
    ended=int(NOW - 840), counts=api.ProfileCounts(1_204, 1_180, 20, 3, 1, 0, 88_000_000),
    words="1 message could not be fetched; it is tried again by the next run.",
)  # fmt: skip
OFFICE = api.ProfileInfo(
    name="office", kind="imap", options=(), archive="", users="all", chosen=(), include=(), exclude=(r"\Trash",),
    since="", before="", older_than_days=0, largest=0, only_read=False, sender="", subject="", delete_after_days=730,
    directory="", interval=1800, cron="", parallel=4, rate=0, timeout=0, paused=False, next_at=int(NOW + 960), run=DONE,
)  # fmt: skip
RUNNING = msgspec.structs.replace(
    OFFICE, name="sales", archive="sales@example.com",
    run=msgspec.structs.replace(
        DONE, id=8, profile="sales", state="running", ended=None, begun=int(NOW - 40), expected=9_000, words="",
        accounts_all=12, accounts_done=3,
    ),
)  # fmt: skip
OLD = msgspec.structs.replace(
    OFFICE, name="old-server", trouble="info: The server did not answer.", paused=False,
    run=msgspec.structs.replace(DONE, state="failed", words="info: The server did not answer."),
)  # fmt: skip
IDLE = msgspec.structs.replace(OFFICE, name="public", paused=True, run=None, next_at=None)


def box(**answers: Any) -> FakeBox:
    return FakeBox(**{"profiles": (OFFICE, RUNNING, OLD, IDLE), "profile_runs": (DONE, OLD.run), **answers})


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_profiles(snap: Snap, plain: bool) -> None:
    snap("2", "o", plain=plain, box=box())


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_history(snap: Snap, plain: bool) -> None:
    snap("2", "o", "h", plain=plain, box=box())


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_keys_fit_a_bare_screen_in_each_language(code: str) -> None:
    use(code)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "o")
        assert max(one.region.right for one in app.screen.query("FooterKey")) <= PLAIN[0]

    run(using, box=box())


def test_none_yet(snap: Snap) -> None:
    snap("2", "o", plain=True, box=box(profiles=()))


def test_one_is_run_stopped_paused_and_resumed() -> None:
    fake = box(
        profile_run=api.ProfileBegun(run=9), profile_stop=None,
        profile_change=lambda **given: msgspec.structs.replace(OFFICE, paused=given["paused"]),
    )  # fmt: skip

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "o", "r", "s", "p")
        assert fake.asked("profile_run") == fake.asked("profile_stop") == [{"name": "office"}]
        await press(pilot, "down", "down", "down", "p")
        assert fake.asked("profile_change") == [{"name": "office", "paused": True}, {"name": "public", "paused": False}]

    run(using, box=fake)


def test_a_test_shows_what_it_looked_at() -> None:
    checks = tuple(Check(*one) for one in (("connection", "ok", "Yes."), ("sign-in", "problem", "No.")))
    fake = box(profile_test=checks)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "o", "t")
        assert "sign-in: No." in shown(app)

    run(using, box=fake)


def test_one_is_added() -> None:
    fake = box(profile_add=OFFICE, profiles=())

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "o", "n", "enter", "enter")
        assert "A new archiving profile" in shown(app)
        await press(pilot, "f2")
        assert "This is needed." in shown(app)
        await type_text(pilot, "imap.example.com")
        while getattr(app.focused, "id", None) != "minutes-input":
            await press(pilot, "tab")
        await type_text(pilot, "30")
        await press(pilot, "f2")
        [added] = fake.asked("profile_add")
        assert (added["name"], added["kind"], added["interval"]) == ("imap", "imap", 1800)
        assert added["options"] == {"host": "imap.example.com"}

    run(using, box=fake)


def test_one_is_removed_after_a_question() -> None:
    fake = box(profile_remove=None)

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "2", "o", "d")
        assert "Remove office?" in shown(app)
        await press(pilot, "left", "enter")
        assert fake.asked("profile_remove") == [{"name": "office"}]

    run(using, box=fake)
