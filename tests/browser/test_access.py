"""Choosing whose mail to search, as a person does who may read other archives than their own."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.unit.web.double import ArchiveDouble

pytestmark = pytest.mark.browser

PRIYA = "priya.raman@example.org"


@pytest.fixture(autouse=True)
def rights(archive: ArchiveDouble) -> None:
    """Priya may read two archives beside her own."""
    archive.rights = {("u-2", "u-3"): "on leave", ("u-2", "u-4"): "the team's mailbox"}


def test_another_archive_is_chosen_by_keyboard_and_kept(page: Page) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    sign_in(page, PRIYA)
    chooser = page.get_by_role("navigation", name="Where to search")
    chooser.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?archive=u-3")
    expect(chooser.locator("summary")).to_have_text("Tomás Ferreira")
    page.get_by_label("Search your mail").fill("roof")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=roof&archive=u-3")
    page.locator(".hit-link").first.click()
    expect(page.locator("#reading .band-audit")).to_contain_text("From the archive of Tomás Ferreira")
    page.reload()
    expect(page.locator("#reading .band-audit")).to_contain_text("From the archive of Tomás Ferreira")
    chooser.locator("summary").click()
    chooser.get_by_role("link", name="My mail").click()
    page.wait_for_url("**/?q=roof")
    assert complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_the_chooser_lies_on_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    sign_in(page, PRIYA)
    chooser = page.get_by_role("navigation", name="Where to search")
    chooser.locator("summary").click()
    for link in chooser.get_by_role("link").all():
        expect(link).to_be_in_viewport(ratio=1)
        box = link.bounding_box()
        assert box
        at = page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y)?.closest('a')?.textContent", [box["x"] + 12, box["y"] + 12]
        )
        assert at == link.text_content(), "something lies over it"
    chooser.get_by_role("link", name="All I may read").click()
    page.wait_for_url("**/?archive=all")
    expect(page.locator(".hit .tag", has_text="Tomás Ferreira").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
