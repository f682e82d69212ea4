"""The pages of other ways in: files that lie on a remote, and the watched folder."""

from __future__ import annotations

import pytest

from appliance.errors import UnavailableError, UsageError
from appliance.services import api
from tests.unit.web.browse import ADMIN, USER, Browser, signed_in, visible

PAGE = "/admin/imports"
AT = f"{PAGE}/4/remote"


@pytest.fixture
def admin() -> Browser:
    """An administrator's browser; the remote “offsite” of the double has old mail."""
    browser = signed_in(ADMIN)
    browser.archive.imported.remotes = {
        "offsite": {"old/2009/anna <1>.pst": b"one\ntwo\n", "old/ben.pst": b"three\n", "x.pst": b"four\n"}
    }
    return browser


def test_the_folders_of_a_remote_are_looked_through(admin: Browser) -> None:
    assert f'href="{AT}"' in admin.get(f"{PAGE}/4").text
    top = admin.get(f"{AT}?remote=offsite")
    assert "x.pst" in visible(top) and "old" in visible(top)
    below = admin.get(f"{AT}?remote=offsite&folder=old")
    assert 'value="old/ben.pst"' in below.text and "x.pst" not in visible(below)
    deep = admin.get(f"{AT}?remote=offsite&folder=old/2009")
    assert 'value="old/2009/anna &lt;1&gt;.pst"' in deep.text
    assert f'href="{AT}?remote=offsite&amp;folder=old"' in deep.text, "the way up"


def test_what_is_chosen_is_fetched(admin: Browser) -> None:
    chosen = {"remote": "offsite", "folder": "old", "paths": ["old/2009/anna <1>.pst", "old/ben.pst"], "password": "pw"}
    answer = admin.post(f"{AT}?remote=offsite&folder=old", AT, chosen)
    assert answer.status_code == 303 and answer.headers["location"] == f"{PAGE}/4?note=import-fetching"
    (asked,) = admin.archive.imported.asked("import_from_remote")
    assert (asked["paths"], asked["password"], asked["last"]) == (chosen["paths"], "pw", False)
    assert [one.name for one in admin.archive.imported.known[4].files] == ["anna <1>.pst", "ben.pst"]
    assert "complete" in admin.get(f"{PAGE}/4").text, "more may come, until somebody says that it was all"


def test_what_cannot_be_is_told_on_the_page(admin: Browser) -> None:
    none = admin.post(f"{AT}?remote=offsite", AT, {"remote": "offsite", "folder": ""})
    assert none.status_code == 400 and "Choose at least one file" in visible(none)
    gone = admin.post(f"{AT}?remote=offsite", AT, {"remote": "offsite", "folder": "", "paths": ["gone.pst"]})
    assert gone.status_code == 404 and "gone.pst" in visible(gone)
    admin.archive.imported.trouble["remote_files"] = UnavailableError("The remote does not answer.")
    silent = admin.get(f"{AT}?remote=offsite")
    assert silent.status_code == 503 and "The remote does not answer." in visible(silent)


def test_the_watched_folder_is_set_and_shown(admin: Browser) -> None:
    assert f'href="{PAGE}/watch"' in admin.get(PAGE).text
    answer = admin.post(f"{PAGE}/watch", f"{PAGE}/watch", {"folder": " /srv/old mail "})
    assert answer.status_code == 303
    assert admin.archive.imported.watched == "/srv/old mail"
    admin.archive.imported.watched_entries = (
        api.ImportWatchEntry("anna@x.test/a <b>.pst", "running", "", 3),
        api.ImportWatchEntry("nobody", "refused", "The folder's name is no address; it is left alone."),
    )
    shown = admin.get(f"{PAGE}/watch")
    assert f'href="{PAGE}/3"' in shown.text and "a &lt;b&gt;.pst" in shown.text
    assert "is no address" in visible(shown)
    admin.archive.imported.trouble["import_watch_set"] = UsageError("There is no folder /nowhere on this box.")
    wrong = admin.post(f"{PAGE}/watch", f"{PAGE}/watch", {"folder": "/nowhere"})
    assert wrong.status_code == 400 and "There is no folder /nowhere" in visible(wrong)
    assert 'value="/nowhere"' in wrong.text


def test_nobody_else_sees_these_pages() -> None:
    user = signed_in(USER)
    for path in (AT, f"{AT}?remote=offsite", f"{PAGE}/watch"):
        assert user.get(path).status_code in (303, 403, 404)
