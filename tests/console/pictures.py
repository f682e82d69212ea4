"""``python -m tests.console.pictures FOLDER``: pictures of the console for the README, from the fake box.

The rich look in 110×32, as a terminal on a desk has it, and the plain one in 80×25.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from appliance.services.setup.steps import Id
from tests.console.conftest import PLAIN, settled
from tests.console.fake_box import console
from tests.console.test_setup import Person
from tui.app import Console

DESK = (112, 32)


PLACES: tuple[tuple[str, bool, str], ...] = (
    ("console-overview", False, "1"),
    ("console-replicas", False, "5"),
    ("console-plain", True, "1"),
)
"""Name, whether it is the plain look, and the key of the place."""

STEPS: tuple[tuple[str, bool, Id], ...] = (
    ("wizard-certificate", False, "certificate"),
    ("wizard-plain", True, "certificate"),
)
"""Name, whether it is the plain look, and the step of the set-up."""


async def take(name: str, app: Console, press: str, folder: Path) -> Path:
    """Draw one picture. Returns its file."""
    plain = app.plain
    async with app.run_test(size=PLAIN if plain else DESK) as pilot:
        await settled(pilot)
        if press:
            await pilot.press(press)
            await settled(pilot)
        place = folder / f"{name}.svg"
        place.write_text(app.export_screenshot(title="mailkeep", simplify=True), encoding="utf-8")
    return place


def main() -> None:
    """Draw them all."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, plain, press in PLACES:
        print(asyncio.run(take(name, console(plain=plain), press, folder)))
    for name, plain, step in STEPS:
        with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patched:
            app = Person(Path(scratch), patched).app(step, plain=plain)
            print(asyncio.run(take(name, app, "", folder)))


if __name__ == "__main__":
    main()
