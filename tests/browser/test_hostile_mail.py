"""Mail that wants to run, look or call home: in the reader's browser nothing of it does.

The double hands out hostile HTML as it is, as if the archiver's sanitiser had let all of it through: what is
tested here is the second wall, the frame and its policy. ``test_product`` tests both walls together.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Frame, Page, Request, Route

from tests.browser.conftest import ANNA, sign_in
from tests.browser.hostile import BEACON, HOSTILE
from tests.unit.web.double import ArchiveDouble

pytestmark = pytest.mark.browser


def _open_frame(page: Page) -> Frame:
    frame = page.wait_for_selector("iframe.paper").content_frame()
    assert frame is not None
    frame.wait_for_selector("#text")
    return frame


@pytest.fixture
def requests(context: BrowserContext, base: str) -> list[Request]:
    """The requests that would have left the machine: the browser's policy let them through to the network."""
    seen: list[Request] = []

    def answer(route: Route) -> None:
        seen.append(route.request)
        route.fulfill(body="<p>elsewhere</p>", content_type="text/html")

    context.route(lambda address: not address.startswith(base), answer)
    return seen


def test_nothing_in_a_hostile_message_runs_or_leaves(
    page: Page, archive: ArchiveDouble, requests: list[Request]
) -> None:
    archive.state.messages[1].html = HOSTILE
    sign_in(page, ANNA)
    page.goto("/m/m-1")
    frame = _open_frame(page)
    frame.locator("#send").click(no_wait_after=True)
    frame.locator("#script-link").click(no_wait_after=True)
    page.wait_for_timeout(1500)
    assert requests == []
    assert frame.locator("body").get_attribute("id") is None
    assert page.url.endswith("/m/m-1")
    assert page.title() == "Your roof: our offer, and what the insurance asks for · mailkeep"
    assert len(page.context.pages) == 1
    assert frame.locator("#text").is_visible()


def test_the_messages_own_page_is_no_way_out_of_the_sandbox(
    page: Page, archive: ArchiveDouble, requests: list[Request]
) -> None:
    archive.state.messages[1].html = HOSTILE
    sign_in(page, ANNA)
    page.goto("/m/m-1/html")
    page.wait_for_timeout(1500)
    assert requests == []
    assert page.locator("body").get_attribute("id") is None
    assert page.evaluate("window.origin") == "null"


def test_pictures_come_only_after_they_were_asked_for(
    page: Page, archive: ArchiveDouble, requests: list[Request]
) -> None:
    archive.state.messages[
        1
    ].html = f'<p id="text">x</p><img src="{BEACON}/pixel.png"><script src="{BEACON}/a.js"></script>'
    sign_in(page, ANNA)
    page.goto("/?open=m-1")
    _open_frame(page)
    page.wait_for_timeout(500)
    assert requests == []
    with page.expect_response(f"{BEACON}/pixel.png"):
        page.get_by_role("link", name="Show pictures").click()
    assert [request.url for request in requests] == [f"{BEACON}/pixel.png"]
    assert not {"referer", "cookie"} & requests[0].headers.keys()
    page.goto("/m/m-1")
    _open_frame(page)
    page.wait_for_timeout(500)
    assert len(requests) == 1


def test_a_link_in_a_message_opens_a_tab_that_knows_nothing_of_this_one(page: Page, archive: ArchiveDouble) -> None:
    archive.state.messages[1].html = f'<p id="text">x</p><a id="out" href="{BEACON}/page">out</a>'
    page.context.route(f"{BEACON}/**", lambda route: route.fulfill(body="<p>elsewhere</p>", content_type="text/html"))
    sign_in(page, ANNA)
    page.goto("/m/m-1")
    with page.context.expect_page() as opened:
        _open_frame(page).locator("#out").click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("window.opener") is None
    assert opened.value.evaluate("document.referrer") == ""
