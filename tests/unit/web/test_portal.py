"""What a person finds and reads, and what the pages never do."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from appliance.services import api
from tests.unit.web.access_double import AccessDouble
from tests.unit.web.alarms_double import AlarmsDouble
from tests.unit.web.box_double import BoxDouble
from tests.unit.web.browse import ADMIN, AUDITOR, USER, Browser, signed_in, visible
from tests.unit.web.directories_double import DirectoriesDouble
from tests.unit.web.double import ArchiveDouble
from tests.unit.web.folders_double import FoldersDouble
from tests.unit.web.imports_double import WebImportsDouble
from tests.unit.web.profiles_double import ProfilesDouble
from tests.unit.web.replicas_double import ReplicasDouble

PAGES = {
    USER: ["/", "/?q=budget", "/?q=xyzzy", "/m/m-2", "/exports", "/account", "/account/two-step"],
    AUDITOR: ["/?folder=f-roof&below=1", "/?all=1&open=m-3", "/?q=%22", "/m/m-1", "/m/m-1?remote=1",
              "/oversight/approvals", "/oversight/audit"],
    ADMIN: ["/admin", "/admin/mailboxes", "/admin/mailboxes/new", "/admin/mailboxes/b-1", "/admin/users",
            "/admin/users/new", "/admin/users/u-3", "/admin/users/import", "/nowhere"],
    "": ["/sign-in", "/welcome"],
}  # fmt: skip
ALL = [(who, path) for who, paths in PAGES.items() for path in paths]


@pytest.mark.parametrize(("who", "path"), ALL)
def test_every_page_forbids_inline_code_and_has_none_and_is_not_kept(who: str, path: str) -> None:
    browser = signed_in(who) if who else Browser()
    answer = browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    markup = re.sub(r'data:image/svg\+xml;base64,[^"]*', "", answer.text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! defer src=\"/static/)", markup)
    assert not re.search(r'(?<![a-z])(?:src|action)="(?![/"])', markup)


def test_results_are_counted_and_paged() -> None:
    browser = signed_in(AUDITOR)
    assert "1–25 of 140" in browser.text("/")
    assert "126–140 of 140" in browser.text("/?offset=125")
    assert "1–100 of 140" in browser.text("/?limit=100")


@pytest.mark.parametrize(
    "path", ["/?offset=-5", "/?offset=x", "/?limit=100000", "/?sort=drop", "/?offset=" + "9" * 400]
)
def test_an_address_that_makes_no_sense_shows_results_all_the_same(path: str) -> None:
    assert "of 140" in signed_in(AUDITOR).text(path) or "No mail yet" in signed_in(AUDITOR).text(path)


def test_a_mistake_in_a_query_is_shown_with_its_place() -> None:
    answer = signed_in(USER).get("/?q=budget+%22spring")
    assert answer.status_code == 400
    assert "A phrase begins here" in visible(answer)
    assert "budget <mark>&#34;</mark>spring" in answer.text
    assert 'value="budget &#34;spring"' in answer.text


def test_facets_lead_to_narrower_results() -> None:
    browser = signed_in(AUDITOR)
    page = browser.get("/?q=budget").text
    link = re.search(r'href="([^"]*on%3A2025[^"]*)"', page)
    assert link
    assert link.group(1).replace("&amp;", "&") == "/?q=budget+on%3A2025"


def test_what_senders_wrote_is_text() -> None:
    browser = signed_in(AUDITOR)
    one = browser.archive.state.messages[0]
    one.subject = one.text = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    for path in ("/", f"/m/{one.id}", f"/?open={one.id}"):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_message_of_somebody_else_is_not_there() -> None:
    browser = signed_in(USER)
    theirs = next(one.id for one in browser.archive.state.messages if "u-2" not in one.owners)
    for path in (f"/m/{theirs}", f"/m/{theirs}/html", f"/m/{theirs}/original", f"/m/{theirs}/part/1"):
        assert browser.get(path).status_code == 404


def test_only_an_auditor_can_ask_for_all_archives() -> None:
    browser = signed_in(USER)
    assert "other people’s mail" not in browser.text("/?all=1")
    assert browser.calls("search")[-1]["everywhere"] is False
    browser = signed_in(AUDITOR)
    for path in ("/?all=1", "/m/m-3?all=1"):
        assert "Every look is recorded" in browser.text(path)
    assert browser.calls("search")[-1]["everywhere"] is True
    assert browser.calls("message")[-1]["everywhere"] is True


def test_an_auditors_way_through_all_archives_keeps_to_all_archives() -> None:
    page = signed_in(AUDITOR).get("/m/m-1?all=1").text
    for link in re.findall(r'(?:href|src)="(/m/[^"]+)"', page):
        assert "all=1" in link


def test_the_html_of_a_message_can_run_nothing_and_fetch_nothing() -> None:
    answer = signed_in(AUDITOR).get("/m/m-1/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; ")
    assert "sandbox allow-popups allow-popups-to-escape-sandbox" in policy
    assert "script" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.count("<base") == 1


def test_remote_pictures_are_fetched_only_for_the_view_that_asked() -> None:
    browser = signed_in(AUDITOR)
    assert "2 things from other servers were left out" in browser.text("/m/m-1")
    assert 'src="/m/m-1/html"' in browser.get("/m/m-1").text
    assert 'src="/m/m-1/html?remote=1"' in browser.get("/m/m-1?remote=1").text
    assert "img-src data: https:;" in browser.get("/m/m-1/html?remote=1").headers["content-security-policy"]
    assert browser.calls("message_html")[-1]["remote"] is True


def test_the_frame_round_a_message_is_a_sandbox_without_scripts() -> None:
    frame = re.search(r"<iframe[^>]*>", signed_in(AUDITOR).get("/m/m-1").text)
    assert frame
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame.group()
    assert "srcdoc" not in frame.group()


def test_the_original_is_handed_out_bit_for_bit() -> None:
    browser = signed_in(AUDITOR)
    answer = browser.get("/m/m-2/original")
    assert answer.content == browser.archive.state.messages[2].raw
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_an_attachment_is_a_download_whatever_it_says_it_is() -> None:
    browser = signed_in(AUDITOR)
    content = b"<script>alert(1)</script>"
    browser.archive.state.messages[1].files = (("x.html", "text/html", content),)
    answer = browser.get("/m/m-1/part/1")
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="x.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert browser.get("/m/m-1/part/7").status_code == 404


def test_what_lay_in_a_winmail_is_listed_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ArchiveDouble.message

    async def message(self: ArchiveDouble, token: str, **what: Any) -> api.MessageView:
        wrapper = api.PartInfo(1, "winmail.dat", "application/ms-tnef", 900, inline=True)
        inner = api.PartInfo(5, "plan.docx", "application/octet-stream", 700, within=1)
        return msgspec.structs.replace(await asked(self, token, **what), attachments=(wrapper, inner))

    monkeypatch.setattr(ArchiveDouble, "message", message)
    page = signed_in(AUDITOR).get("/m/m-1").text
    assert re.search(r'href="/m/m-1/part/5".*?plan\.docx.*?in winmail\.dat', page, re.DOTALL)
    assert "/m/m-1/part/1" not in page


def test_the_journal_report_is_for_auditors() -> None:
    assert signed_in(AUDITOR).get("/m/m-2/report").content.startswith(b"X-MS-Journal-Report:")
    assert "/report" not in signed_in(USER).get("/m/m-2").text
    assert signed_in(USER).get("/m/m-2/report").status_code == 403


def test_a_message_shows_its_envelope_groups_conversation_and_fingerprint() -> None:
    browser = signed_in(AUDITOR)
    text = browser.text("/m/m-2")
    assert "everybody@example.org" in text
    assert "Recipients who were hidden from you, if there were any, are left out" in text
    assert "Conversation 4" in text
    assert re.search(r"[0-9a-f]{64}", text)


def test_selected_messages_become_an_export() -> None:
    browser = signed_in(AUDITOR)
    assert browser.post("/", "/exports", {"id": ["m-1", "m-2"], "q": ""}).headers["location"] == "/exports"
    assert browser.calls("export_begin")[-1]["ids"] == ("m-1", "m-2")
    assert browser.post("/", "/exports", {"id": "m-3"}).status_code == 303
    assert browser.calls("export_begin")[-1]["ids"] == ("m-3",)


def test_all_hits_become_an_export_with_the_query_and_the_scope_of_the_page() -> None:
    browser = signed_in(AUDITOR)
    browser.post("/?q=budget&all=1", "/exports", {"every": "1", "q": "budget", "all": "1", "id": "m-1"})
    assert browser.calls("export_begin")[-1] == {"query": "budget", "ids": (), "everywhere": True, "whose": ""}


def test_exporting_nothing_says_so() -> None:
    answer = signed_in(USER).post("/", "/exports", {"q": ""})
    assert answer.status_code == 400
    assert "Nothing was selected" in visible(answer)


def test_an_export_shows_its_progress_and_then_its_file() -> None:
    browser = signed_in(AUDITOR)
    browser.post("/", "/exports", {"every": "1", "q": "budget"})
    page = browser.get("/exports").text
    assert "<progress" in page
    assert 'hx-trigger="every 2s"' in page
    browser.archive.finish_job("j-1")
    piece = browser.get("/exports", **{"HX-Request": "true"}).text
    assert "<html" not in piece
    assert "hx-trigger" not in piece
    assert browser.get("/exports/j-1/file").content.startswith(b"PK")


def test_htmx_gets_the_message_without_the_page_round_it() -> None:
    piece = signed_in(AUDITOR).get("/m/m-1", **{"HX-Request": "true"}).text
    assert "<html" not in piece
    assert "data-reader" in piece


def test_an_archive_that_does_not_answer_is_said_calmly() -> None:
    browser = signed_in(USER)
    browser.archive.down = True
    answer = browser.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Mail is still received" in visible(answer)


def test_a_fault_of_ours_shows_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    browser = signed_in(USER)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(ArchiveDouble, "search", broken)
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    assert "Mail is still received" in visible(answer)


@pytest.mark.parametrize("path", ["/nowhere", "/m/none", "/admin/nowhere", "/static/none.css"])
def test_what_is_not_there_is_a_page_too(path: str) -> None:
    answer = signed_in(ADMIN).get(path)
    assert answer.status_code == 404
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Nothing here" in visible(answer)


def test_static_files_are_kept_for_ever_under_an_address_of_their_content() -> None:
    browser = Browser()
    links = re.findall(r'(?:href|src)="(/static/[^"]+\?v=[0-9a-f]{12})"', browser.get("/sign-in").text)
    assert len(links) >= 7
    for link in links:
        answer = browser.get(link)
        assert answer.status_code == 200
        assert "max-age=31536000" in answer.headers["cache-control"]
        assert "no-store" not in answer.headers["cache-control"]


def test_the_double_answers_everything_that_the_client_can_ask() -> None:
    from appliance.services.client import ArchiveClient

    # What programs pull with is asked of a double of its own (test_pull_api).
    asked = {name for name in vars(ArchiveClient) if not name.startswith(("_", "pull_"))} - {"close"}
    doubles = (
        *(ArchiveDouble, ReplicasDouble, BoxDouble, AlarmsDouble, DirectoriesDouble, AccessDouble, ProfilesDouble),
        *(FoldersDouble, WebImportsDouble),
    )
    assert asked <= {name for double in doubles for name in vars(double)}
