"""Chromium, and the web face to look at with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.chromium import ARGUMENTS, chromium
from tests.browser.serve import serving
from tests.unit.web.double import PASSWORD, ArchiveDouble

ANNA = "anna.berg@example.org"  # an auditor
JONAS = "jonas.mueller@example.org"  # an administrator


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set MAILKEEP_CHROMIUM to one")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def archive() -> ArchiveDouble:
    """The archive behind the pages, made anew for each test."""
    return ArchiveDouble()


@pytest.fixture
def base(archive: ArchiveDouble) -> Iterator[str]:
    """The address of the web face over ``archive``."""
    with serving(archive) as address:
        yield address


@pytest.fixture
def context(browser: Browser, base: str) -> Iterator[BrowserContext]:
    """A person's browser at 1440 × 900."""
    made = browser.new_context(base_url=base, viewport={"width": 1440, "height": 900}, timezone_id="Asia/Tokyo")
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab in it."""
    return context.new_page()


def sign_in(page: Page, address: str, password: str = PASSWORD) -> None:
    """Sign in through the form."""
    page.goto("/sign-in")
    page.get_by_label("Mail address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")
