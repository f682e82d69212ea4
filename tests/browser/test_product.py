"""The portal on the running product: mail comes in by SMTP and is found, read and taken out again in the browser."""

from __future__ import annotations

import smtplib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from tests.browser.conftest import sign_in
from tests.browser.hostile import BEACON, HOSTILE
from tests.product import Product

pytestmark = [pytest.mark.browser, pytest.mark.integration]

MAILBOX = "journal@archive.example.org"
ANNA, BEN, BOSS = "anna@example.org", "ben@example.org", "boss@example.org"
PASSWORD = "correct horse battery"

PLAIN = (
    b"From: Ben <ben@example.org>\r\nTo: Anna <anna@example.org>\r\nSubject: Angebot f\xc3\xbcr das Dach\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0100\r\nMessage-ID: <one@example.org>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'
    b"The zinc roof \xe2\x82\xac 4,711\t \r\nwith trailing blanks  \r\n--b\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment;\r\n"
    b" filename*=UTF-8''Zahlen%20f%C3%BCr%20M%C3%A4rz.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"AAECAwQ=\r\n--b--\r\n"
)
HTML = (
    b"From: Spam <spam@bad.example>\r\nTo: anna@example.org\r\nSubject: <b>You won</b>\r\n"
    b"Date: Fri, 20 Nov 2026 11:00:00 +0100\r\nMessage-ID: <two@bad.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n\r\n" + HOSTILE.replace("\n", "\r\n").encode() + b"\r\n"
)


def report(message: bytes, sender: str, recipients: tuple[str, ...]) -> bytes:
    """A journal report as Exchange Online writes it (MS-XJRNL) round ``message``."""
    lines = [f"Sender: {sender}", "Subject: x", "Message-Id: <x@example.org>", *recipients]
    head = (
        "From: MicrosoftExchange329e71ec@example.org\r\nTo: journal@archive.example.org\r\nSubject: x\r\n"
        "Message-ID: <1@journal.report.generator>\r\nX-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="r"\r\n\r\n--r\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\n'
    )
    middle = "\r\n".join(lines) + "\r\n\r\n--r\r\nContent-Type: message/rfc822\r\n\r\n"
    return head.encode() + middle.encode() + message + b"\r\n--r--\r\n"


@pytest.fixture(scope="module")
def product(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with a mailbox, three people and two messages."""
    folder = tmp_path_factory.mktemp("product")
    with Product.create(folder / "data", mailbox=MAILBOX).serving() as started:
        people = folder / "people.csv"
        people.write_text(f"primary,aliases,name\n{ANNA},,Anna\n{BEN},,Ben\n{BOSS},,Boss\n")
        started.run("user", "import", str(people))
        for address in (ANNA, BEN):
            _invite_and_set_password(started, browser, address)
        _send(started, MAILBOX, report(PLAIN, BEN, (f"To: {ANNA}", f"Bcc: {BOSS}")))
        _send(started, MAILBOX, report(HTML, "spam@bad.example", (f"To: {ANNA}",)))
        yield started


def _send(product: Product, mailbox: str, message: bytes) -> None:
    """Hand a message in by SMTP and wait until it can be found."""
    with smtplib.SMTP("127.0.0.1", product.smtp, timeout=60) as client:
        client.sendmail("", [mailbox], message)
    product.run("wait-idle", "--timeout", "120")


def _invite_and_set_password(product: Product, browser: Browser, address: str) -> None:
    """As an administrator and then the person do it, in the browser."""
    context = browser.new_context(base_url=product.web)
    page = context.new_page()
    sign_in(page, product.admin_user, product.admin_password)
    page.goto(f"/admin/users?find={address}")
    page.locator("#user-list tbody a").click()
    page.get_by_role("button", name="Invite").click()
    link = page.locator("#link-1").inner_text()
    context.clear_cookies()
    page.goto(link)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    page.wait_for_url("**/")
    context.close()


@pytest.fixture
def context(browser: Browser, product: Product) -> Iterator[BrowserContext]:
    """A person's browser on the product."""
    made = browser.new_context(base_url=product.web, viewport={"width": 1440, "height": 900})
    yield made
    made.close()


@pytest.fixture
def left(context: BrowserContext, product: Product) -> list[Request]:
    """The requests that went to anywhere but the product."""
    seen: list[Request] = []

    def answer(route: Route) -> None:
        seen.append(route.request)
        route.fulfill(body="")

    context.route(lambda address: not address.startswith(product.web), answer)
    return seen


def _find(page: Page, query: str) -> None:
    page.get_by_label("Search your mail").fill(query)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_message_is_found_and_its_original_and_attachment_are_the_bytes_that_were_sent(page: Page) -> None:
    sign_in(page, ANNA, PASSWORD)
    _find(page, "zinc subject:dach")
    page.locator(".hit-link").click()
    expect(page.locator("#reading h1")).to_have_text("Angebot für das Dach")
    with page.expect_download() as started:
        page.get_by_role("link", name="Original (.eml)").click()
    assert Path(started.value.path()).read_bytes() == PLAIN
    with page.expect_download() as started:
        page.get_by_role("link", name="Zahlen").click()
    assert started.value.suggested_filename == "Zahlen für März.bin"
    assert Path(started.value.path()).read_bytes() == bytes(range(5))


def test_a_hidden_recipient_is_shown_to_the_sender_and_to_nobody_else(page: Page) -> None:
    for address, known in ((BEN, True), (ANNA, False)):
        page.context.clear_cookies()
        sign_in(page, address, PASSWORD)
        _find(page, "zinc")
        page.locator(".hit-link").click()
        expect(page.locator("#reading h1")).to_be_visible()
        assert (BOSS in page.content()) is known
        _find(page, f"bcc:{BOSS}")
        assert page.locator(".hit").count() == int(known)


def test_a_hostile_message_runs_nothing_and_fetches_nothing(page: Page, left: list[Request]) -> None:
    sign_in(page, ANNA, PASSWORD)
    _find(page, "from:bad.example")
    page.locator(".hit-link").click()
    expect(page.locator("#reading h1")).to_have_text("<b>You won</b>")
    frame = page.wait_for_selector("iframe.paper").content_frame()
    assert frame is not None
    frame.wait_for_selector("text=Plain words")
    page.wait_for_timeout(1500)
    assert left == []
    assert frame.locator("script, form, base[href], meta[http-equiv=refresh], iframe, object, embed").count() == 0
    assert "Plain words" in frame.locator("body").inner_text()
    page.get_by_role("link", name="Show pictures").click()
    expect(page.get_by_text("for this view only")).to_be_visible()
    page.wait_for_timeout(1500)
    assert f"{BEACON}/pixel.png" in [request.url for request in left]
    assert {request.resource_type for request in left} <= {"image"}


def test_an_administrator_makes_a_mailbox_whose_mail_is_found(page: Page, product: Product) -> None:
    sign_in(page, product.admin_user, product.admin_password)
    page.goto("/admin/mailboxes/new")
    page.get_by_role("textbox", name="Name", exact=True).fill("Second")
    page.get_by_role("textbox", name="Address", exact=True).fill("@archive.example.org")
    page.get_by_role("button", name="Create mailbox").click()
    address = page.locator("#mailbox-address").inner_text()
    assert len(address.partition("@")[0]) >= 12
    page.get_by_role("link", name="I have written it down").click()
    expect(page.get_by_text(address).nth(1)).to_be_attached()
    message = PLAIN.replace(b"one@example.org", b"three@example.org").replace(b"zinc", b"copper")
    _send(product, address, report(message, BEN, (f"To: {ANNA}",)))
    page.goto("/admin")
    expect(page.get_by_text("counts agree", exact=True)).to_be_visible()
    page.context.clear_cookies()
    sign_in(page, ANNA, PASSWORD)
    _find(page, "copper")
    expect(page.locator(".hit")).to_have_count(1)


def test_an_administrator_sees_numbers_and_no_mail(page: Page, product: Product) -> None:
    sign_in(page, product.admin_user, product.admin_password)
    page.goto("/?q=*&all=1")
    expect(page.locator(".hit")).to_have_count(0)


def test_the_code_for_the_authenticator_app_is_drawn(page: Page) -> None:
    sign_in(page, ANNA, PASSWORD)
    page.goto("/account/two-step")
    expect(page.get_by_alt_text("QR code")).to_be_visible()
    assert page.locator("img.qr").evaluate("image => image.complete && image.naturalWidth") > 0


def test_an_export_of_all_hits_becomes_a_file(page: Page) -> None:
    sign_in(page, ANNA, PASSWORD)
    _find(page, "zinc")
    page.locator(".menu-export summary").click()
    page.get_by_role("button", name="All 1 hit").click()
    with page.expect_download(timeout=60_000) as started:
        page.locator(".job .button-main").click(timeout=60_000)
    with zipfile.ZipFile(started.value.path()) as made:
        messages = [made.read(name) for name in made.namelist() if name.endswith(".eml")]
    assert messages == [PLAIN]


def test_a_mistake_in_a_query_points_at_its_place(page: Page) -> None:
    sign_in(page, ANNA, PASSWORD)
    _find(page, 'zinc "roof')
    expect(page.locator("#query-problem mark")).to_have_text('"')
