"""Using the pages as a person does: by mouse, by keyboard, on a phone, without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ANNA, JONAS, sign_in
from tests.unit.web.double import ArchiveDouble

pytestmark = pytest.mark.browser

SEEN_BY_ANNA = ["/", "/?folder=f-roof&below=1", "/?q=budget", "/?q=%22", "/m/m-1", "/m/m-10?all=1", "/exports",
                "/account", "/account/two-step", "/oversight/audit"]  # fmt: skip
SEEN_BY_JONAS = ["/admin", "/admin/mailboxes", "/admin/mailboxes/b-1", "/admin/mailboxes/new", "/admin/users",
                 "/admin/users/u-3", "/admin/users/import", "/admin/replicas", "/admin/replicas/new",
                 "/admin/replicas/new?kind=s3", "/admin/replicas/on/wasabi", "/admin/replicas/on/wasabi/settings",
                 "/admin/replicas/history", "/admin/replicas/restore"]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_console(page: Page) -> list[str]:
    """What the browser complained about; a policy that our own pages break would be here."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


def test_a_search_leads_to_a_message_beside_the_list_and_back(page: Page, quiet_console: list[str]) -> None:
    sign_in(page, ANNA)
    page.get_by_label("Search your mail").fill("warehouse roof")
    page.keyboard.press("Enter")
    expect(page.locator(".results-count")).to_contain_text("of 15")
    page.locator(".hit-link").nth(2).click()
    expect(page.locator("#reading h1")).to_have_text("Re: Offer for the warehouse roof")
    assert "open=m-" in page.url
    page.reload()
    expect(page.locator("#reading h1")).to_have_text("Re: Offer for the warehouse roof")
    page.locator("[data-own-page]").click()
    expect(page.locator("main h1")).to_have_text("Re: Offer for the warehouse roof")
    assert quiet_console == []


def test_a_folder_is_chosen_in_the_tree_by_mouse_by_keyboard_and_on_a_phone(
    page: Page, quiet_console: list[str]
) -> None:
    sign_in(page, ANNA)
    tree = page.get_by_role("group", name="Folders", exact=True)
    tree.get_by_role("link", name="Inbox").click()
    page.wait_for_url("**/?folder=f-inbox")
    expect(page.locator(".results-count")).to_contain_text("of 32")
    page.get_by_role("link", name="In all folders").click()
    page.wait_for_url("**/")
    inside = tree.get_by_role("link", name="2026")
    expect(inside).to_be_visible()
    fold = tree.locator("summary[aria-label='Folders in Projects']")
    fold.focus()
    page.keyboard.press("Enter")
    expect(inside).to_be_hidden()
    page.keyboard.press("Enter")
    inside.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?folder=f-year")
    expect(tree.locator("[aria-current]")).to_contain_text("2026")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(tree).to_be_hidden()
    page.get_by_role("button", name="Other folders").click()
    tree.get_by_role("link", name="Sent Items").click()
    page.wait_for_url("**/?folder=f-sent")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert quiet_console == []


def test_times_are_those_of_the_readers_zone(page: Page) -> None:
    sign_in(page, ANNA)
    page.goto("/m/m-1")
    assert "+0900" in (page.locator(".byline-when time").get_attribute("title") or "")


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    sign_in(page, ANNA)
    page.locator(".hit-link").first.wait_for()
    page.keyboard.press("/")
    expect(page.get_by_label("Search your mail")).to_be_focused()
    page.keyboard.type("budget")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=budget")
    page.locator(".hit-link").first.wait_for()
    page.keyboard.press("j")
    expect(page.locator(".hit-link").nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(".hit-link").nth(1)).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator("[data-selected]")).to_have_text("1")
    page.keyboard.press("Enter")
    expect(page.locator("#reading h1")).to_be_visible()
    before = page.url
    page.keyboard.press("k")
    page.wait_for_function("before => location.href !== before", arg=before)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_focus_can_be_seen(page: Page) -> None:
    sign_in(page, ANNA)
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => { const at = document.activeElement; const row = at.closest("[data-hit]") ?? at;
            return [at, row, at.parentElement].some(one => getComputedStyle(one).outlineStyle !== "none"); }"""
        )
        assert outline, page.evaluate("document.activeElement.outerHTML.slice(0, 120)")


def test_ticked_messages_are_exported_and_the_file_arrives(page: Page, archive: ArchiveDouble) -> None:
    sign_in(page, ANNA)
    page.locator(".hit-tick input").nth(0).check()
    page.locator(".hit-tick input").nth(3).click(modifiers=["Shift"])
    expect(page.locator("[data-selected]")).to_have_text("4")
    page.get_by_role("button", name="Export as ZIP").click()
    expect(page.get_by_text("4 selected messages")).to_be_visible()
    archive.finish_job("j-1")
    with page.expect_download() as started:
        page.get_by_role("link", name="export.zip").click()
    assert Path(started.value.path()).read_bytes().startswith(b"PK")


def test_downloads_are_the_bytes_with_their_names(page: Page, archive: ArchiveDouble) -> None:
    sign_in(page, ANNA)
    page.goto("/m/m-10")
    with page.expect_download() as started:
        page.get_by_role("link", name="Original (.eml)").click()
    assert Path(started.value.path()).read_bytes() == archive.state.messages[10].raw
    with page.expect_download() as started:
        page.get_by_role("link", name="Zahlen").click()
    assert started.value.suggested_filename == "Zahlen für März №3.xlsx"
    assert Path(started.value.path()).read_bytes() == archive.state.messages[10].files[0][2]


def test_text_and_headers_are_one_click_away(page: Page) -> None:
    sign_in(page, ANNA)
    page.goto("/m/m-1")
    page.get_by_text("Headers", exact=True).click()
    expect(page.locator(".view-headers")).to_contain_text("Message-ID")
    expect(page.locator("iframe")).to_be_hidden()
    page.get_by_text("Text", exact=True).click()
    expect(page.locator(".plain")).to_be_visible()


def test_an_invitation_code_in_the_address_is_taken_into_the_form_and_never_sent(
    page: Page, archive: ArchiveDouble
) -> None:
    archive.state.accounts["u-4"].invitation = "KEEP-1"
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.goto("/welcome#KEEP-1")
    expect(page.get_by_label("Invitation code")).to_have_value("KEEP-1")
    assert page.url.endswith("/welcome")
    assert not any("KEEP-1" in address.partition("#")[0] for address in sent)
    page.get_by_label("New password", exact=True).fill("a long enough one")
    page.get_by_label("New password again").fill("a long enough one")
    page.get_by_role("button", name="Set password").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_an_administrator_sets_up_a_mailbox(page: Page, quiet_console: list[str]) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, JONAS)
    page.get_by_role("link", name="Mailboxes").click()
    page.get_by_role("link", name="New mailbox").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("Journal")
    page.get_by_role("textbox", name="Address", exact=True).fill("@archive.example.org")
    page.get_by_role("button", name="Create mailbox").click()
    page.get_by_role("button", name="Copy", exact=True).first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "j-7f3k9q2m@archive.example.org"
    page.get_by_role("link", name="I have written it down").click()
    page.get_by_text("Google Workspace").click()
    expect(page.get_by_text("Add the address j-7f3k9q2m@archive.example.org.")).to_be_visible()
    assert quiet_console == []


def test_the_status_page_follows_the_numbers(page: Page, archive: ArchiveDouble, quiet_console: list[str]) -> None:
    sign_in(page, JONAS)
    page.goto("/admin")
    expect(page.get_by_text("All is well")).to_be_visible()
    archive.numbers = {"backlog": 12}
    expect(page.get_by_text("12 messages on the way into the search")).to_be_visible()
    assert quiet_console == []


def test_a_user_is_found_while_typing(page: Page) -> None:
    sign_in(page, JONAS)
    page.goto("/admin/users")
    page.get_by_label("Find a user").press_sequentially("ferr")
    expect(page.locator("#user-list tbody tr")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_phone(page: Page, archive: ArchiveDouble, scheme: str) -> None:
    archive.state.messages[1].subject = "Donaudampfschifffahrtsgesellschaft" * 6
    archive.state.messages[10].text = "x" * 3000
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 390, "height": 844})
    for address, paths in ((ANNA, SEEN_BY_ANNA), (JONAS, SEEN_BY_JONAS)):
        page.context.clear_cookies()
        sign_in(page, address)
        for path in paths:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_on_a_phone_a_message_has_a_page_and_the_menu_opens(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, ANNA)
    page.locator(".hit-link").nth(1).click()
    page.wait_for_url("**/m/m-1")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Exports").click()
    page.wait_for_url("**/exports")


def test_the_choice_of_dark_holds_on_the_next_page(page: Page) -> None:
    sign_in(page, ANNA)
    page.get_by_role("button", name="Dark").click()
    page.goto("/exports")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_the_main_paths_work_without_scripts(browser: Browser, base: str) -> None:
    context = browser.new_context(base_url=base, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, ANNA)
    page.get_by_label("Search your mail").fill("roof")
    page.keyboard.press("Enter")
    page.locator(".hit-link").first.click()
    expect(page.locator("article h1")).to_be_visible()
    page.get_by_role("link", name="Back to the results").click()
    page.locator(".hit-tick input").first.check()
    page.locator(".menu-export summary").click()
    page.get_by_role("button", name="Selected messages").click()
    expect(page.get_by_text("1 selected messages")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in*")
    context.close()
