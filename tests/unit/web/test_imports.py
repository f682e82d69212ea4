"""The pages of imports: begun, their files sent by a script's requests or by a form, looked at, stopped, reported."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.errors import DiskFullError, UnavailableError
from appliance.services import api
from tests.scratch import ScratchArchive
from tests.unit.web.browse import _TOKEN, ADMIN, USER, Browser, signed_in, visible
from tests.unit.web.whole import administering
from webadmin.admin.import_upload import LARGEST_PIECE

PAGE = "/admin/imports"
ANNA = "anna.berg@example.org"
SHOWN = (PAGE, f"{PAGE}/new", f"{PAGE}/1", f"{PAGE}/2", f"{PAGE}/3", f"{PAGE}/4")


@pytest.fixture
def admin() -> Browser:
    """An administrator's browser."""
    return signed_in(ADMIN)


class Script:
    """What the page's script sends for one import."""

    def __init__(self, browser: Browser, id: int) -> None:
        self.browser = browser
        self.at = f"{PAGE}/{id}"
        found = _TOKEN.search(browser.get(self.at).text)
        assert found
        self.headers = {"x-form-token": found[1]}

    def tell(self, path: str, value: Any) -> httpx.Response:
        return self.browser.client.post(f"{self.at}{path}", json=value, headers=self.headers, follow_redirects=False)

    def bytes(self, file: int, offset: int, content: bytes) -> httpx.Response:
        return self.browser.client.post(
            f"{self.at}/files/{file}/bytes?offset={offset}", content=content, headers=self.headers,
            follow_redirects=False,
        )  # fmt: skip

    def files(self) -> Any:
        return self.browser.get(f"{self.at}/files").json()


def begun(admin: Browser, **more: str) -> int:
    answer = admin.post(f"{PAGE}/new", f"{PAGE}/new", {"owners": "archive", "archive": ANNA, **more})
    assert answer.status_code == 303, visible(answer)
    return int(answer.headers["location"].removeprefix(f"{PAGE}/").partition("?")[0])


def test_an_import_is_begun_with_what_was_chosen(admin: Browser) -> None:
    id = begun(admin, folder="Old mail / 2010", dry_run="1", others="1", code_page="cp932", title=" Anna’s ")
    made = admin.archive.imported.known[id]
    assert (made.archive, made.folder, made.title) == (ANNA, ("Old mail", "2010"), "Anna’s")
    assert (made.dry_run, made.others, made.recovered) == (True, True, False)
    other = admin.archive.imported.known[begun(admin, owners="addresses", archive="ignored")]
    assert (other.owners, other.archive, other.title) == ("addresses", "", "Upload for ignored")
    for wrong, why in (({"archive": ""}, "Say whose archive"), ({"archive": "x@y.z"}, "No user has the address x@y.z")):
        answer = admin.post(f"{PAGE}/new", f"{PAGE}/new", {"owners": "archive", "folder": "kept", **wrong})
        assert why in visible(answer) and 'value="kept"' in answer.text


def test_a_file_comes_in_pieces_and_is_checked(admin: Browser) -> None:
    script = Script(admin, id := begun(admin))
    content = b"one\n!two\n" * 500_000
    file = script.tell("/files", {"name": "a.pst", "size": len(content), "password": "open sesame"}).json()
    assert admin.archive.imported.asked("import_file")[-1]["password"] == "open sesame"
    for at in range(0, len(content), LARGEST_PIECE):
        piece = content[at : at + LARGEST_PIECE]
        assert script.bytes(file["number"], at, piece).json() == {"arrived": at + len(piece)}
    again = script.bytes(file["number"], 0, content[:100]).json()
    assert again == {"arrived": len(content)}, "what has arrived is passed over"
    assert script.files()["files"][0] == {**file, "arrived": len(content)}
    wrong = script.tell(f"/files/{file['number']}/arrived", {"sha256": "0" * 64})
    assert wrong.status_code == 409 and "arrives anew" in wrong.json()["message"]
    script.bytes(file["number"], 0, content[:LARGEST_PIECE])
    script.bytes(file["number"], LARGEST_PIECE, content[LARGEST_PIECE:])
    right = script.tell(f"/files/{file['number']}/arrived", {"sha256": hashlib.sha256(content).hexdigest()})
    assert right.status_code == 201 and right.json()["state"] in ("waiting", "done")
    done = admin.post(f"{PAGE}/{id}", f"{PAGE}/{id}/complete")
    assert done.headers["location"] == f"{PAGE}/{id}?note=import-complete"
    assert "Found 1,000,000 Archived 500,000 Already there 0 Skipped 0 Failed 500,000" in admin.text(f"{PAGE}/{id}")


def test_what_cannot_be_is_a_sentence_for_the_script(admin: Browser) -> None:
    script = Script(admin, begun(admin))
    file = script.tell("/files", {"name": "a.pst", "size": 10}).json()["number"]
    for answer, status, why in (
        (script.bytes(file, 5, b"x"), 409, "gap"),
        (script.tell(f"/files/{file}/arrived", {"sha256": "0" * 64}), 409, "missing"),
        (script.bytes(file, 0, bytes(LARGEST_PIECE + 1)), 413, ""),
        (script.tell("/files", {"name": "a.pst"}), 400, ""),
    ):
        assert answer.status_code == status and why in answer.text
    assert answer.headers["x-frame-options"] == "DENY"
    imported = admin.archive.imported
    for trouble, status in ((UnavailableError("Wait a little."), 503), (DiskFullError("There is no room."), 507)):
        imported.trouble["import_file"] = trouble
        answer = script.tell("/files", {"name": "b.pst", "size": 10})
        assert (answer.status_code, answer.json()["message"]) == (status, trouble.message)
        assert answer.headers["content-security-policy"] and answer.headers["x-content-type-options"] == "nosniff"


def test_bytes_from_elsewhere_are_refused(admin: Browser) -> None:
    script = Script(admin, begun(admin))
    file = script.tell("/files", {"name": "a.pst", "size": 10}).json()["number"]
    script.headers = {"x-form-token": "0" * 64}
    assert script.bytes(file, 0, b"x").status_code == 403
    assert script.tell("/files", {"name": "b.pst", "size": 1}).status_code == 403
    script.headers = {}
    assert script.bytes(file, 0, b"x").status_code == 403
    assert admin.archive.imported.asked("import_write") == []


def test_a_small_file_comes_by_a_form(admin: Browser) -> None:
    id = begun(admin)
    page = admin.text(f"{PAGE}/{id}")
    assert "Without JavaScript" in page and "mailkeep import" in page
    sent = admin.post(
        f"{PAGE}/{id}", f"{PAGE}/{id}/upload", {"password": "x"}, files={"file": ("a.eml", b"one\n", "text/plain")}
    )
    assert sent.headers["location"] == f"{PAGE}/{id}?note=file-sent"
    assert admin.archive.imported.known[id].counts.archived == 1
    empty = admin.post(f"{PAGE}/{id}", f"{PAGE}/{id}/upload", files={"file": ("b.eml", b"", "text/plain")})
    assert empty.status_code == 400 and "not empty" in visible(empty)


def test_one_that_is_over_tells_all(admin: Browser) -> None:
    told = admin.text(f"{PAGE}/2")
    assert "Found 48,211 Archived 31,077 Already there 16,020 Skipped 1,102 Failed 12" in told
    assert "anna-berg-2009-2016.pst" in told and "SHA-256 9f86d081" in told and "1–100 of 240" in told
    assert "874 more are counted" in told and "Old mail / Outlook" in told
    assert "201–240 of 240" in admin.text(f"{PAGE}/2?offset=200")
    assert "hx-get" not in admin.get(f"{PAGE}/2").text
    for form in ("csv", "html"):
        report = admin.get(f"{PAGE}/2/report/{form}")
        assert report.content == f"{form} of import 2: 48211 found\r\n".encode()
        assert f'filename="import-2.{form}"' in report.headers["content-disposition"]
        assert report.headers["content-type"] == "application/octet-stream"
    assert admin.get(f"{PAGE}/2/report/pdf").status_code == 404
    assert admin.get(f"{PAGE}/9").status_code == 404


def test_one_at_work_is_followed_and_stopped(admin: Browser) -> None:
    told = admin.text(f"{PAGE}/3")
    assert "Would be archived 8,000" in told and "4,000 of 16,000" in told and "left" in told
    live = admin.get(f"{PAGE}/3?was=running", **{"hx-request": "true"})
    assert "hx-refresh" not in live.headers and "Its files" not in live.text
    stopped = admin.post(f"{PAGE}/3", f"{PAGE}/3/stop")
    assert stopped.headers["location"] == f"{PAGE}/3?note=import-stopped"
    assert admin.get(f"{PAGE}/3?was=running", **{"hx-request": "true"}).headers["hx-refresh"] == "true"


def test_the_list_has_them_all_newest_first(admin: Browser) -> None:
    told = admin.text(PAGE)
    at = [told.index(words) for words in ("Upload for", "list.csv", "old Outlook files", "notes.docx")]
    assert at == sorted(at) and "no file of mail" in told
    live = admin.get(PAGE, **{"hx-request": "true"}).text
    assert "every 2s" in live and "<html" not in live
    admin.archive.imported.known.clear()
    assert "No import yet" in admin.text(PAGE) and "every 20s" in admin.get(PAGE).text


def test_the_pages_are_for_administrators() -> None:
    somebody = signed_in(USER)
    for path in (*SHOWN, f"{PAGE}/2/report/csv", f"{PAGE}/2/files"):
        assert somebody.get(path).status_code == 403, path
    assert Browser().get(f"{PAGE}/4/files").status_code == 303


def test_what_the_archive_takes_at_a_time_is_kept_to(admin: Browser) -> None:
    script = Script(admin, begun(admin))
    file = script.tell("/files", {"name": "a.pst", "size": LARGEST_PIECE}).json()["number"]
    script.bytes(file, 0, bytes(LARGEST_PIECE))
    sizes = [len(one["data"]) for one in admin.archive.imported.asked("import_write")]
    assert sizes == [api.IMPORT_CHUNK] * 4


def test_the_archive_itself_takes_what_the_script_sends(tmp_path: Path) -> None:
    box = ScratchArchive(tmp_path)
    box.user("anna@x.test")
    content = bytes(range(256)) * 8192  # 2 MiB
    with administering(box) as admin:
        script = Script(admin, id := begun(admin, archive="anna@x.test", folder="Old mail"))
        file = script.tell("/files", {"name": "a.pst", "size": len(content)}).json()
        assert (file["number"], file["arrived"], file["state"]) == (file["number"], 0, "arriving")
        assert script.bytes(file["number"], 0, content[: 1 << 20]).json() == {"arrived": 1 << 20}
        assert script.bytes(file["number"], 0, content[: 1 << 20]).json() == {"arrived": 1 << 20}, "an answer was lost"
        assert script.tell(f"/files/{file['number']}/arrived", {"sha256": "0" * 64}).status_code == 409, "not whole"
        assert script.bytes(file["number"], 1 << 20, content[1 << 20 :]).json() == {"arrived": len(content)}
        assert script.tell(f"/files/{file['number']}/arrived", {"sha256": "0" * 64}).status_code == 409
        assert script.files()["files"][0]["arrived"] == 0, "it was another file, and arrives anew"
        assert script.bytes(file["number"], 0, content).json() == {"arrived": len(content)}
        digest = hashlib.sha256(content).hexdigest()
        done = script.tell(f"/files/{file['number']}/arrived", {"sha256": digest}).json()
        assert (done["state"], done["sha256"]) == ("waiting", digest)
        assert "Old mail" in admin.text(f"{PAGE}/{id}") and digest in admin.text(f"{PAGE}/{id}")
        assert b"a.pst" in admin.get(f"{PAGE}/{id}/report/html").content
        assert admin.post(f"{PAGE}/{id}", f"{PAGE}/{id}/stop").status_code == 303
        assert script.tell("/files", {"name": "b.pst", "size": 1}).status_code == 409
        assert "stopped" in admin.text(PAGE)
    box.close()
