"""The folder tree beside the search: choosing a folder, what the address says of it, and who sees which."""

from __future__ import annotations

import html
import re

from tests.unit.web.browse import AUDITOR, USER, Browser, signed_in, visible

READER = "mei.lin@example.org"


def links(page: str) -> dict[str, str]:
    """The tree's links by what they say."""
    found = re.findall(r'<a class="nav-item" href="([^"]*)"[^>]*>(?:<svg.*?</svg>)?(.*?)</a>', page, re.DOTALL)
    return {
        " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()): html.unescape(href)
        for href, text in found
        if "folder=" in href
    }


def test_the_tree_shows_each_folder_with_its_number_of_messages() -> None:
    browser = signed_in(AUDITOR)
    found = links(browser.get("/").text)
    assert list(found)[:5] == [
        "Inbox, 32 messages", "Sent Items, 20 messages", "Projects", "Warehouse roof, 20 messages", "2026, 20 messages",
    ]  # fmt: skip
    assert found["Inbox, 32 messages"] == "/?folder=f-inbox"
    assert found["Projects"] == "/?folder=f-projects&below=1", "an empty folder shows what is in those below"


def test_who_has_no_fetched_mail_sees_no_tree() -> None:
    page = signed_in(USER).get("/").text
    assert "data-trees" not in page
    assert "Folders" not in page


def test_a_chosen_folder_is_in_the_address_and_stays_while_searching_and_paging() -> None:
    browser = signed_in(AUDITOR)
    page = browser.get("/?folder=f-inbox").text
    assert browser.calls("search")[-1]["folder"] == "f-inbox"
    assert "1–25 of 32" in visible(browser.get("/?folder=f-inbox"))
    assert '<input type="hidden" name="folder" value="f-inbox">' in page
    assert 'href="/?offset=25&amp;folder=f-inbox"' in page
    assert re.search(r'href="/\?folder=f-inbox"[^>]*aria-current="page"', page)
    narrowed = browser.get("/?q=budget&folder=f-inbox").text
    assert 'href="/?q=budget"' in narrowed, "the way out of the folder keeps the search"


def test_the_way_to_the_folder_is_shown_and_its_steps_lead_up() -> None:
    browser = signed_in(AUDITOR)
    page = browser.get("/?folder=f-roof").text
    crumbs = page[page.index('class="crumbs"') :]
    crumbs = crumbs[: crumbs.index("</nav>")]
    assert re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", crumbs)).count("Projects") == 1
    assert 'href="/?folder=f-projects&amp;below=1"' in crumbs
    assert ">With the folders in it<" in crumbs
    assert 'href="/?folder=f-roof&amp;below=1"' in crumbs
    browser.get("/?folder=f-roof&below=1")
    assert browser.calls("search")[-1]["below"] is True
    assert ">Without the folders in it<" in browser.get("/?folder=f-roof&below=1").text


def test_a_folder_without_mail_of_its_own_says_so_and_leads_on() -> None:
    page = signed_in(AUDITOR).get("/?folder=f-projects").text
    assert "Nothing in this folder" in page
    assert 'href="/?folder=f-projects&amp;below=1"' in page
    assert "No mail yet" not in page


def test_a_folder_that_is_not_there_is_said_to_be_none() -> None:
    answer = signed_in(AUDITOR).get("/?folder=f-nobody")
    assert answer.status_code == 404
    assert "no such folder" in visible(answer)


def test_a_message_says_in_which_folders_it_lay() -> None:
    browser = signed_in(AUDITOR)
    said = visible(browser.get("/m/m-10"))
    assert "In: Inbox · Projects / Warehouse roof" in re.sub(r"\s+", " ", said)
    assert 'href="/?folder=f-inbox"' in browser.get("/m/m-10").text
    assert "In:" not in visible(signed_in(USER).get("/m/m-2"))


def test_an_export_of_all_hits_is_one_of_the_folder() -> None:
    browser = signed_in(AUDITOR)
    browser.post("/?folder=f-roof&below=1", "/exports", {"every": "1", "q": "", "folder": "f-roof", "below": "1"})
    asked = browser.calls("export_begin")[-1]
    assert (asked["folder"], asked["below"]) == ("f-roof", True)


def test_names_of_folders_are_text() -> None:
    page = signed_in(AUDITOR).get("/?folder=f-mueller").text
    assert "Müller &amp; Söhne &lt;Angebote&gt;" in page
    assert "<Angebote>" not in page


def test_folders_of_an_archive_that_is_open_to_one_are_shown_where_one_looks_into_it() -> None:
    browser: Browser = signed_in(AUDITOR)
    browser.archive.rights[("u-0", "u-3")] = "Deputy"
    assert "f-tomas" not in browser.get("/").text
    both = browser.get("/?archive=all").text
    assert "Your folders" in both
    assert "Folders of Tomás Ferreira" in both
    one = browser.get("/?archive=u-3").text
    assert 'href="/?archive=u-3&amp;folder=f-tomas"' in one
    assert "f-inbox" not in one
    left = browser.get("/?archive=u-3&folder=f-tomas").text
    assert 'href="/?archive=all"' in left, "another archive has other folders"


def test_an_auditor_who_looks_everywhere_sees_no_tree_but_the_folder_that_a_message_leads_to() -> None:
    browser = signed_in(AUDITOR)
    assert "data-trees" not in browser.get("/?all=1").text
    assert 'href="/?all=1&amp;folder=f-tomas"' in browser.get("/m/m-2?all=1").text
    page = browser.get("/?all=1&folder=f-tomas")
    assert page.status_code == 200
    assert "Tomás Ferreira" in visible(page)
    assert "In all folders" in visible(page)


def test_a_large_tree_is_folded_but_for_the_way_to_where_one_is() -> None:
    browser = signed_in(AUDITOR)
    assert browser.get("/").text.count("<details open><summary aria-label") == 2
    from webadmin.portal import folders

    before, folders._ALL_UNFOLDED = folders._ALL_UNFOLDED, 3
    try:
        folded = browser.get("/").text
        assert "tree-more" in folded
        assert "f-year" not in folded, "a page does not carry thousands of folders that nobody asked for"
        assert browser.get("/?folder=f-year").text.count("<details open><summary aria-label") == 2
    finally:
        folders._ALL_UNFOLDED = before
