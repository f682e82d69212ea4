"""The daily console on a real product: it signs in, looks, and changes something, and the audit trail names who did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.screen import Screen

from appliance.language import use
from appliance.services import api
from appliance.services.paths import Paths
from tests.console.conftest import PLAIN
from tests.console.test_console import press, said, shown, type_text
from tests.product import Product
from tui.app import Console
from tui.screens.overview import Overview
from tui.screens.sign_in import SignIn
from tui.screens.unlock import Unlock

pytestmark = [pytest.mark.console, pytest.mark.integration]

SECONDS = 60.0
PASSPHRASE = "a few unrelated words"


def test_unlock_sign_in_look_and_suspend(tmp_path: Path) -> None:
    product = Product.create(tmp_path / "archive", passphrase=PASSPHRASE)
    with product.serving(locked=True):
        asyncio.run(_use(product))
        lines = product.call("audit", api.AuditPage, limit=200).lines
    by_anna = [line for line in lines if line.what == "journal@archive.example" or "mailbox" in line.action]
    assert any("Anna" in line.who or "anna@example.com" in line.who for line in by_anna), by_anna
    assert not (tmp_path / "archive.log").read_text().count("anna@example.com")


async def _use(product: Product) -> None:
    app = Console(Paths(product.data), sign_in=True, plain=True)
    async with app.run_test(size=PLAIN) as pilot:

        async def until(seen: Callable[[], bool]) -> None:
            async with asyncio.timeout(SECONDS):
                while not seen():
                    await pilot.pause(0.1)

        def on(page: type[Screen[None]]) -> Callable[[], bool]:
            return lambda: isinstance(app.screen, page) and app.focused is not None

        def loaded() -> bool:
            return all(one.is_finished for one in app.workers if one.group == "loading")

        await until(on(Unlock))
        use("de")
        await type_text(pilot, "a wrong passphrase")
        await press(pilot, "enter")
        await until(lambda: "Die Passphrase ist nicht richtig." in shown(app))
        use("en")
        await type_text(pilot, PASSPHRASE)
        await press(pilot, "enter")
        await until(on(SignIn))
        await asyncio.to_thread(
            product.call, "first_administrator", type(None), name="Anna", address="anna@example.com",
            password="a good password",
        )  # fmt: skip
        await type_text(pilot, "anna@example.com")
        await press(pilot, "enter")
        await type_text(pilot, "a wrong password")
        await press(pilot, "enter")
        await until(lambda: "wrong" in shown(app).lower())
        app.screen.query_one("#password-input").clear()  # type: ignore[attr-defined]
        await type_text(pilot, "a good password")
        await press(pilot, "enter")
        await until(on(Overview))
        await until(lambda: "journal@archive.example" in shown(app))
        assert "Ready. No mail has come in yet." in shown(app)
        for number in "3456780":
            await press(pilot, number)
            await until(loaded)
            assert not said(app), said(app)
        await press(pilot, "2")
        await until(lambda: "active" in shown(app))
        await press(pilot, "s", "right", "enter")
        await until(lambda: "suspended" in shown(app))
        assert product.call("mailboxes", tuple[api.MailboxInfo, ...])[0].state == "suspended"
