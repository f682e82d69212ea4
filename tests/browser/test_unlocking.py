"""Unlocking the archive in the browser."""

from __future__ import annotations

import pytest
from mnemonic import Mnemonic
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import ANNA, sign_in
from tests.unit.web.double import PASSPHRASE, RECOVERY_KEY, ArchiveDouble

pytestmark = pytest.mark.browser

LOCKED = "The archive is locked"


def test_two_people_meet_a_locked_archive_and_one_of_them_has_the_passphrase(
    page: Page, context: BrowserContext, archive: ArchiveDouble
) -> None:
    sign_in(page, ANNA)
    archive.locked = True
    page.goto("/?q=budget")
    expect(page.get_by_role("heading", name=LOCKED)).to_be_visible()
    other = context.new_page()
    other.goto("/exports")
    expect(other.get_by_label("Passphrase of the archive")).to_be_focused()
    other.keyboard.type("seven words of nine")
    other.keyboard.press("Enter")
    expect(other.get_by_role("alert")).to_contain_text("not right")
    expect(other.get_by_role("heading", name=LOCKED)).to_be_visible()
    other.get_by_label("Passphrase of the archive").fill(PASSPHRASE)
    other.get_by_role("button", name="Unlock", exact=True).click()
    other.wait_for_url("**/exports")
    page.wait_for_url("**/?q=budget")
    expect(page.locator(".hit").first).to_be_visible()


def test_the_recovery_key_is_a_click_away_and_readable_while_it_is_typed(page: Page, archive: ArchiveDouble) -> None:
    archive.locked = True
    page.goto("/sign-in")
    field = page.get_by_label("Recovery key")
    expect(field).not_to_be_visible()
    page.get_by_text("Use the recovery key").click()
    field.fill(RECOVERY_KEY.lower())
    expect(field).to_have_attribute("type", "text")
    page.get_by_role("button", name="Unlock with the recovery key").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("unlocked")


def test_a_recovery_key_in_words_fits_into_its_field(page: Page, archive: ArchiveDouble) -> None:
    words = " ".join(sorted(Mnemonic("english").wordlist, key=len)[-18:])
    archive.locked = True
    page.goto("/unlock")
    page.get_by_text("Use the recovery key").click()
    field = page.get_by_label("Recovery key")
    field.press_sequentially(words)
    expect(field).to_have_value(words)


def test_nothing_overflows_on_a_phone(page: Page, archive: ArchiveDouble) -> None:
    archive.locked = True
    page.set_viewport_size({"width": 320, "height": 700})
    page.goto("/unlock")
    page.get_by_text("Use the recovery key").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
