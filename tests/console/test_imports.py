"""Imports in the console: among the jobs, in a list of their own, with their files; stopping one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot

from appliance.language import LANGUAGES, use
from appliance.services import api
from tests.console.conftest import Snap
from tests.console.fake_box import NOW, FakeBox
from tests.console.test_console import PLAIN, press, run, said, shown
from tui.app import Console

pytestmark = pytest.mark.console

DONE = api.ImportInfo(
    id=7, title="anna-berg-2009-2016.pst", owners="archive", archive="anna.berg@example.com", folder=("Old mail",),
    dry_run=False, recovered=False, others=False, state="done", by="Anna Berg", queued=int(NOW - 900),
    begun=int(NOW - 890), ended=int(NOW - 240), counts=api.ImportCounts(20_111, 18_990, 800, 320, 1, 1_800_000_000),
    size=3_100_000_000, files_done=1, files_all=1,
)  # fmt: skip
WHOLE = msgspec.structs.replace(
    DONE, unlisted=220,
    files=(
        api.ImportFile(
            number=1, name="anna-berg-2009-2016.pst", size=3_100_000_000, arrived=3_100_000_000, state="done",
            counts=DONE.counts, archive="anna.berg@example.com", sha256="9f86d081" * 8, format="pst",
        ),
    ),
    problems=(
        api.ImportProblem(1, "Inbox/Projects", "2097188", "failed", "Its body cannot be read."),
        api.ImportProblem(1, "Calendar", "2097252", "skipped", "It is a calendar item."),
    ),
)  # fmt: skip
RUNNING = msgspec.structs.replace(
    DONE, id=8, title="list.csv", owners="addresses", archive="", folder=(), state="running", ended=None,
    begun=int(NOW - 60), counts=api.ImportCounts(9_000, 8_990, 10, 0, 0), files_done=2, files_all=9, dry_run=True,
)  # fmt: skip
FAILED = msgspec.structs.replace(
    DONE, id=6, title="notes.docx", state="failed", counts=api.ImportCounts(), size=18_000,
    words="notes.docx is no file of mail.",
)  # fmt: skip


def box(**answers: Any) -> FakeBox:
    return FakeBox(**{"imports": (RUNNING, DONE, FAILED), "import_get": WHOLE, **answers})


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_imports(snap: Snap, plain: bool) -> None:
    snap("4", "i", plain=plain, box=box())


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "rich"])
def test_one_with_its_files(snap: Snap, plain: bool) -> None:
    snap("4", "i", "down", "enter", plain=plain, box=box())


def test_among_the_jobs(snap: Snap) -> None:
    snap("4", plain=True, box=box())


def test_none_yet_says_how_to_begin_one(snap: Snap) -> None:
    snap("4", "i", "n", plain=True, box=box(imports=()))


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_keys_fit_a_bare_screen_in_each_language(code: str) -> None:
    use(code)

    async def using(pilot: Pilot[None], app: Console) -> None:
        for keys in (("4",), ("i",)):
            await press(pilot, *keys)
            assert max(one.region.right for one in app.screen.query("FooterKey")) <= PLAIN[0]

    run(using, box=box())


def test_one_is_stopped_after_a_question() -> None:
    fake = box(import_stop=msgspec.structs.replace(RUNNING, state="stopped"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "4", "i", "s")
        assert "Stop the import list.csv?" in shown(app) and "What was archived stays." in shown(app)
        await press(pilot, "left", "enter")
        assert fake.asked("import_stop") == [{"id": 8}]
        await press(pilot, "down", "s")
        assert "Only what is under way can be stopped." in said(app)
        await press(pilot, "escape", "home")
        assert "Import: list.csv" in shown(app)

    run(using, box=fake)


def test_one_is_looked_at_and_stopped_among_the_jobs() -> None:
    fake = box(jobs=(), replica_history=(), import_stop=msgspec.structs.replace(RUNNING, state="stopped"))

    async def using(pilot: Pilot[None], app: Console) -> None:
        await press(pilot, "4", "enter")
        assert fake.asked("import_get")[0]["id"] == 8
        assert "Its body cannot be read." in shown(app) and "2097188" in shown(app)
        await press(pilot, "escape", "s", "left", "enter")
        assert fake.asked("import_stop") == [{"id": 8}]

    run(using, box=fake)
