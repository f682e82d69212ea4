"""Files uploaded for an import: in pieces, over a connection that is cut, after a reload, and without scripts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.services import api
from tests.browser.conftest import JONAS, sign_in
from tests.browser.test_replicas import NAMELESS
from tests.browser.wire import Wire, wired
from tests.imports_double import ImportsDouble, Outcome
from tests.unit.web.double import ArchiveDouble
from tests.unit.web.test_imports import SHOWN

pytestmark = pytest.mark.browser

LARGE = 12 * 1024 * 1024
WAIT = 60_000
"""Milliseconds: an upload takes its time where much else is done."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of many pieces."""
    path = tmp_path / "anna.pst"
    path.write_bytes(random.Random(7).randbytes(LARGE))
    return path


@pytest.fixture
def imported(archive: ArchiveDouble) -> ImportsDouble:
    """The imports behind the pages; each file is one item."""
    archive.imported.reads = lambda _file, content: Outcome(api.ImportCounts(1, 1, 0, 0, 0, len(content)))
    return archive.imported


@pytest.fixture
def wire(base: str) -> Iterator[Wire]:
    """The line between the browser and the archive."""
    with wired(base) as line:
        yield line


@pytest.fixture
def page(browser: Browser, wire: Wire) -> Iterator[Page]:
    """A tab whose requests go over that line."""
    context = browser.new_context(base_url=wire.base, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


def begun(page: Page) -> None:
    sign_in(page, JONAS)
    page.get_by_role("link", name="Imports").click()
    page.get_by_role("link", name="Import files").click()
    page.get_by_label("Archive", exact=True).fill("anna.berg@example.org")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("Now choose its files")).to_be_visible(timeout=WAIT)


def is_over(page: Page) -> None:
    expect(page.get_by_role("link", name="Import files")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("link", name="Report as HTML")).to_be_visible(timeout=WAIT)


def cut(page: Page, wire: Wire, imported: ImportsDouble, *files: Path) -> int:
    """An upload in the middle of which the connection breaks off; how many bytes of its first file have arrived."""
    begun(page)
    page.on("dialog", lambda dialog: dialog.accept())  # the page asks before it is left
    wire.cut_after(LARGE // 3)
    page.set_input_files("[data-files]", list(files))
    expect(page.get_by_text("There is no connection to the archive")).to_be_visible(timeout=WAIT)
    return len(imported.bytes[5, 1])


def test_an_upload_goes_on_after_the_connection_was_cut(
    page: Page, wire: Wire, imported: ImportsDouble, large: Path
) -> None:
    have = cut(page, wire, imported, large)
    assert 0 < have < LARGE, "in the middle"
    page.wait_for_timeout(1500)  # it tries, and tries again
    assert len(imported.bytes[5, 1]) < LARGE
    wire.mend()
    is_over(page)
    assert bytes(imported.bytes[5, 1]) == large.read_bytes()
    assert imported.known[5].files[0].sha256 == hashlib.sha256(large.read_bytes()).hexdigest()
    assert len(imported.known[5].files) == 1


def test_an_upload_goes_on_after_the_page_was_closed(
    page: Page, wire: Wire, imported: ImportsDouble, large: Path
) -> None:
    have = cut(page, wire, imported, large)
    wire.mend()
    page.reload()
    imported.calls.clear()
    page.set_input_files("[data-files]", large)
    is_over(page)
    assert bytes(imported.bytes[5, 1]) == large.read_bytes() and len(imported.known[5].files) == 1
    assert min(one["offset"] for one in imported.asked("import_write")) >= have, "nothing came twice"


def test_another_file_of_the_same_name_is_another_file(
    page: Page, wire: Wire, imported: ImportsDouble, large: Path
) -> None:
    have = cut(page, wire, imported, large)
    wire.mend()
    page.reload()
    large.write_bytes(bytes(LARGE))
    page.set_input_files("[data-files]", large)
    expect(page.get_by_text("Not here whole yet: anna.pst")).to_be_visible(timeout=WAIT)
    assert bytes(imported.bytes[5, 2]) == bytes(LARGE) and have <= len(imported.bytes[5, 1]) < LARGE
    assert imported.known[5].state == "arriving", "one of them is missing: the person decides"


def test_what_is_here_already_is_not_sent_again(
    page: Page, wire: Wire, imported: ImportsDouble, large: Path, tmp_path: Path
) -> None:
    small = tmp_path / "a.eml"
    small.write_bytes(b"one\n" * 1000)
    cut(page, wire, imported, small, large)
    wire.mend()
    page.reload()
    page.set_input_files("[data-files]", [small, large])
    is_over(page)
    assert [one.name for one in imported.known[5].files] == ["a.eml", "anna.pst"]
    assert imported.known[5].counts.archived == 2


def test_many_files_wait_their_turn_and_one_that_is_none_is_told(
    page: Page, imported: ImportsDouble, tmp_path: Path
) -> None:
    imported.reading = False
    begun(page)
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.eml")
        paths[-1].write_bytes(b"one\n" * (number + 1))
    (tmp_path / "empty.eml").touch()
    page.set_input_files("[data-files]", [*paths, tmp_path / "empty.eml"])
    expect(page.get_by_text("have not been read yet")).to_be_visible(timeout=WAIT)
    imported.read(5)
    expect(page.get_by_text("It is empty.")).to_be_visible(timeout=WAIT)
    assert [len(one) for (id, _), one in imported.bytes.items() if id == 5] == [4, 8, 12, 16]
    assert imported.known[5].state == "arriving", "one of them did not go: the person decides"
    page.get_by_role("button", name="That was all").click()
    expect(page.get_by_text("That was all. The import ends")).to_be_visible(timeout=WAIT)


def test_the_digest_of_the_page_is_sha_256(page: Page, imported: ImportsDouble) -> None:
    begun(page)
    for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 30_011):
        content = random.Random(length).randbytes(length)
        told = page.evaluate(
            """([numbers, step]) => {
              const hash = new Sha256(), bytes = new Uint8Array(numbers);
              for (let at = 0; at < bytes.length; at += step) hash.update(bytes.subarray(at, at + step));
              return hash.hex();
            }""",
            [list(content), 4099],
        )
        assert told == hashlib.sha256(content).hexdigest(), length


def test_everything_on_these_pages_has_a_name(page: Page) -> None:
    sign_in(page, JONAS)
    for path in SHOWN:
        page.goto(path)
        assert page.evaluate(NAMELESS) == [], path


def test_a_file_can_be_sent_without_scripts(
    browser: Browser, base: str, imported: ImportsDouble, tmp_path: Path
) -> None:
    context = browser.new_context(base_url=base, java_script_enabled=False)
    page = context.new_page()
    begun(page)
    (tmp_path / "a.eml").write_bytes(b"one\n")
    page.set_input_files("#f-file", tmp_path / "a.eml")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The file is here.")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="That was all").click()
    is_over(page)
    context.close()
