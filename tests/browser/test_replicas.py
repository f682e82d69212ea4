"""Replicas as an administrator uses them: setting one up, following a run, with and without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import JONAS, sign_in
from tests.unit.web.double import ArchiveDouble
from tests.unit.web.test_replicas import PAGES

pytestmark = pytest.mark.browser

NAMELESS = """() => {
  const fields = [...document.querySelectorAll("main input:not([type=hidden]), main select, main textarea")];
  const nameless = fields.filter((one) => !one.labels.length && !one.getAttribute("aria-label"));
  const silent = [...document.querySelectorAll("main button, main a, main progress")].filter(
    (one) => !one.textContent.trim() && !one.getAttribute("aria-label"));
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  const astray = [...document.querySelectorAll("[aria-describedby]")].filter(
    (one) => !document.getElementById(one.getAttribute("aria-describedby")));
  return [...nameless, ...silent, ...astray].map((one) => one.outerHTML.slice(0, 120)).concat(twice);
}"""


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complained about; an answer that says what is wrong is none."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    return heard


def test_a_replica_is_set_up_tested_and_added(page: Page, archive: ArchiveDouble, complaints: list[str]) -> None:
    sign_in(page, JONAS)
    page.get_by_role("link", name="Replicas").click()
    page.get_by_role("link", name="Add a replica").click()
    page.get_by_role("link", name="SFTP").click()
    page.get_by_label("Name", exact=True).fill("berlin")
    page.get_by_label("Server").fill("backup.example.org")
    page.get_by_label("User").fill("mailkeep")
    page.get_by_label("Password").fill("a long secret")
    page.get_by_label("Folder").fill("mailkeep")
    page.get_by_role("button", name="Only test").click()
    expect(page.get_by_text("It works.")).to_be_visible()
    expect(page.get_by_text("23 MB a second there")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_value("a long secret")
    assert "berlin" not in archive.remotes_by_name
    page.get_by_role("button", name="Test and add").click()
    page.wait_for_url("**/admin/replicas/on/berlin?note=remote-added")
    expect(page.get_by_role("heading", name="berlin")).to_be_visible()
    assert archive.secrets["berlin"] == {"pass": "a long secret"}
    assert complaints == []


def test_what_is_wrong_stands_under_the_form_and_can_be_overruled(page: Page, archive: ArchiveDouble) -> None:
    archive.passes = False
    sign_in(page, JONAS)
    page.goto("/admin/replicas/new?kind=local")
    page.get_by_label("Name", exact=True).fill("nas")
    page.get_by_label("Folder").fill("relative/path")
    page.get_by_role("button", name="Test and add").click()
    expect(page.get_by_role("alert")).to_contain_text("has to begin with /")
    page.get_by_label("Folder").fill("/mnt/nas/mailkeep")
    page.get_by_role("button", name="Test and add").click()
    expect(page.get_by_role("alert")).to_contain_text("It does not work")
    page.get_by_label("Add it all the same").check()
    page.get_by_role("button", name="Test and add").click()
    page.wait_for_url("**/admin/replicas/on/nas?note=remote-added")


def test_a_run_is_followed_and_stopped(page: Page, archive: ArchiveDouble, complaints: list[str]) -> None:
    sign_in(page, JONAS)
    page.goto("/admin/replicas/on/wasabi")
    page.get_by_role("button", name="Replicate now").click()
    expect(page.get_by_text("1.2 GB of 3.7 GB")).to_be_visible()
    run = archive.remotes_by_name["wasabi"].replica.run
    assert run is not None
    archive.set_running("wasabi", id=run.id, done=3_900_000_000, eta=5.0)
    expect(page.get_by_text("3.6 GB of 3.7 GB")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("was asked to stop")).to_be_visible()
    expect(page.get_by_text("3.6 GB of 3.7 GB")).to_be_hidden()
    assert complaints == []


def test_everything_on_these_pages_has_a_name(page: Page, archive: ArchiveDouble) -> None:
    archive.set_running("wasabi")
    sign_in(page, JONAS)
    for path in PAGES:
        page.goto(path)
        assert page.evaluate(NAMELESS) == [], path


def test_a_replica_can_be_set_up_without_scripts(browser: Browser, base: str, archive: ArchiveDouble) -> None:
    context = browser.new_context(base_url=base, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, JONAS)
    page.goto("/admin/replicas/new?kind=b2")
    page.get_by_label("Name", exact=True).fill("backblaze")
    page.get_by_label("Key id").fill("0042")
    page.get_by_label("Application key").fill("a long secret")
    page.get_by_label("Bucket and folder").fill("acme/mail")
    page.get_by_role("button", name="Only test").click()
    expect(page.get_by_text("It works.")).to_be_visible()
    expect(page.get_by_text("Type the secrets again")).to_be_visible()
    expect(page.get_by_label("Key id")).to_have_value("0042")
    page.get_by_label("Application key").fill("a long secret")
    page.get_by_role("button", name="Test and add").click()
    page.wait_for_url("**/admin/replicas/on/backblaze?note=remote-added")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert archive.remotes_by_name["backblaze"].paused
    context.close()
