"""The console on a fake box: the same pages on every day, in both looks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.command import CommandPalette

from appliance import language
from tests.console.fake_box import FakeBox, FakeHost, console
from tui.app import Console

PLAIN, RICH = (80, 25), (160, 50)
"""Columns and rows of a bare screen, and of a terminal on somebody's desk."""

Snap = Callable[..., None]


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One time zone and one language, whatever the machine has."""
    with monkeypatch.context() as patched:
        patched.setitem(os.environ, "TZ", "UTC")
        time.tzset()
        language.use("en")
        yield
    language.use("en")
    time.tzset()


@pytest.fixture
def snap(snap_compare: Any) -> Snap:
    """Compare what a console shows after some keys with the picture that is kept: plain at 80×25, rich at 160×50.

    ``app`` is a console of one's own; else it is one on a fake box, with the given fakes.
    """

    def check(
        *press: str, plain: bool, box: FakeBox | None = None, host: FakeHost | None = None, sign_in: bool = False,
        app: Console | None = None,
    ) -> None:  # fmt: skip
        shown = app or console(plain=plain, sign_in=sign_in, box=box, host=host)

        async def before(pilot: Any) -> None:
            await settled(pilot)
            for one in press:
                await pilot.press(one)
                await settled(pilot)

        assert snap_compare(shown, terminal_size=PLAIN if plain else RICH, run_before=before)

    return check


async def settled(pilot: Any) -> None:
    """Return when the page has asked and shown what it shows."""
    for _ in range(4):
        await pilot.pause()
    palette = pilot.app.screen
    while isinstance(palette, CommandPalette) and any(
        one.node is palette and not one.is_finished for one in pilot.app.workers
    ):
        await pilot.pause(0.05)
