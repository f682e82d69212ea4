"""The pages of replicas over a whole archive: what the forms send is what the services take."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import ScratchArchive, mail, report
from tests.unit.web.browse import Browser, visible
from tests.unit.web.whole import administering

REPLICAS = "/admin/replicas"
SECONDS = 60.0


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    """An archive with two messages, answering the web process."""
    archive = ScratchArchive(tmp_path)
    archive.user("anna@example.com")
    for number in range(2):
        archive.receive(report(mail(f"message {number}", to="anna@example.com"), "To: anna@example.com"))
    archive.writer.roll()  # what the gateway does when it is asked to
    yield archive
    archive.close()


@pytest.fixture
def admin(box: ScratchArchive) -> Iterator[Browser]:
    """An administrator's browser."""
    with administering(box) as browser:
        yield browser


def test_a_replica_is_added_copied_to_changed_and_removed(admin: Browser, tmp_path: Path) -> None:
    assert "2 messages are lost with it" in admin.text(REPLICAS)
    form = {"type": "local", "name": "cellar", "path": str(tmp_path / "cellar"), "interval": "3600"}
    new = f"{REPLICAS}/new"
    tested = visible(admin.post(f"{new}?kind=local", new, {**form, "do": "test"}))
    assert "It works." in tested and "for up to 36 days" in tested
    added = admin.post(f"{new}?kind=local", new, {**form, "do": "save"})
    assert added.headers["location"] == f"{REPLICAS}/on/cellar?note=remote-added"
    page = f"{REPLICAS}/on/cellar"
    assert "Nothing is there yet. 2 messages are not there yet." in admin.text(page)
    admin.post(page, f"{page}/replicate", {"back": page})
    _await(admin, page, "Everything is there.")
    assert "Every message is on the replica" in admin.text(REPLICAS)
    assert "is complete" in admin.text(f"{page}/history")
    way_back = admin.text(f"{REPLICAS}/restore")
    assert re.search(r"newest generation is \d+, with \d+ records", way_back)
    assert f"path={tmp_path / 'cellar'}" in way_back
    changed = {"path": str(tmp_path / "cellar"), "interval": "900", "keep_weekly": "0", "bandwidth": "10M"}
    assert admin.post(f"{page}/settings", f"{page}/settings", {**changed, "do": "save"}).status_code == 303
    text = admin.text(page)
    assert "what came in within 15 min" in text and "for up to 8 days" in text and "10M" in text
    admin.post(page, f"{page}/pause")
    assert "when it is resumed" in admin.text(page)
    admin.post(REPLICAS, f"{REPLICAS}/keep", {"keep_local_days": "90", "rehearsal": "1"})
    assert 'value="90"' in admin.get(REPLICAS).text
    admin.post(f"{page}/remove", f"{page}/remove")
    assert "The archive exists only on this box" in admin.text(REPLICAS)
    assert list((tmp_path / "cellar").rglob("*")), "what lies there stays"


def test_what_the_service_refuses_stands_on_the_page(admin: Browser, tmp_path: Path) -> None:
    new = f"{REPLICAS}/new"
    file = tmp_path / "file"
    file.write_bytes(b"x")
    form = {"type": "local", "name": "cellar", "path": str(file), "do": "save"}
    wrong = admin.post(f"{new}?kind=local", new, form)
    assert wrong.status_code == 400
    assert "It does not work: The remote “cellar”" in visible(wrong)
    reserved = admin.post(f"{new}?kind=local", new, {**form, "name": "restore", "path": str(tmp_path)})
    assert reserved.status_code == 400
    assert "“restore”" in visible(reserved)


def _await(browser: Browser, page: str, words: str) -> None:
    deadline = time.monotonic() + SECONDS
    while words not in (text := browser.text(page)):
        assert time.monotonic() < deadline, text
        time.sleep(0.2)
