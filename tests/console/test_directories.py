"""Directories in the console: what is there, what would change, doing it, adding one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from appliance.services import api
from tests.console.conftest import Snap
from tests.console.fake_box import NOW, FakeBox
from tests.console.test_console import press, run, shown, type_text
from tui.app import Console

pytestmark = pytest.mark.console

COUNTS = api.DirectoryCounts(2, 3, 981, 1, 2, 1, 14)
STAFF = api.DirectoryInfo(
    name="staff", kind="csv", options=(), interval=3600, signs_in=False, users=986, synchronised_at=int(NOW - 740),
    next_at=int(NOW + 2860), trouble="", result=COUNTS,
)  # fmt: skip
BRANCH = msgspec.structs.replace(STAFF, name="branch", users=12, trouble="The directory did not answer in time.")
DONE = api.DirectorySynchronised(
    COUNTS,
    (
        api.DirectoryStep("created", "Anna Berg <anna@example.com>", "anna@example.com, a.berg@example.com."),
        api.DirectoryStep("refused", "Carl <carl@example.com>", "carl@example.com is an address of a mailbox."),
    ),
    "2 created.",
)
RUN = api.JobInfo(
    id="j", kind="directory", title="Directory “staff”", state="done", done=1, total=1, message="", started_at=0,
    finished_at=1, download="",
)  # fmt: skip


def box(**answers: Any) -> FakeBox:
    given = {"directories": (STAFF, BRANCH), "directory_sync_begin": RUN, "directory_synchronised": DONE, **answers}
    return FakeBox(**given)


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_directories(snap: Snap, plain: bool) -> None:
    snap("3", "o", plain=plain, box=box())


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_what_would_change(snap: Snap, plain: bool) -> None:
    snap("3", "o", "w", plain=plain, box=box())


def test_none_yet(snap: Snap) -> None:
    snap("3", "o", plain=True, box=box(directories=()))


def test_unusually_many_are_asked_for() -> None:
    waits = msgspec.structs.replace(DONE, waits="24 of 30 users would no longer be able to sign in.")
    fake = box(
        directory_synchronised=lambda **_: DONE if fake.asked("directory_sync_begin")[-1]["confirmed"] else waits
    )

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "o", "s")
        assert "24 of 30 users" in shown(app)
        await press(pilot, "left", "enter")
        assert [one["confirmed"] for one in fake.asked("directory_sync_begin")] == [False, True]

    run(using, box=fake)


def test_one_is_added_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("primary\nanna@example.com\n")
    fake = box(directory_add=STAFF, directories=())

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "3", "o", "n", "end", "enter", "enter")
        assert "CSV file" in shown(app)
        await press(pilot, "tab")
        await press(pilot, "f2")
        assert "This is needed." in shown(app)
        await type_text(pilot, f"@{file}")
        await press(pilot, "f2")
        assert fake.asked("directory_add") == [
            {"name": "csv", "kind": "csv", "options": {"content": "primary\nanna@example.com"}}
        ]

    run(using, box=fake)
