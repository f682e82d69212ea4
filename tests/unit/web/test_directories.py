"""The pages of directories over a whole archive: added, tried, looked at, synchronised, removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import ScratchArchive
from tests.unit.web.browse import USER, Browser, signed_in, visible
from tests.unit.web.whole import administering

PAGE = "/admin/directories"
STAFF = f"{PAGE}/of/staff"
LIST = "primary;aliases;name;id\nanna@x.test;a@x.test;Anna Berg;1\nbert@x.test;;Bert;2\nnobody;;Carl;3\n"
FORM = {"kind": "csv", "name": "staff", "interval": "0", "option.content": LIST}


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    archive = ScratchArchive(tmp_path)
    yield archive
    archive.close()


@pytest.fixture
def admin(box: ScratchArchive) -> Iterator[Browser]:
    """An administrator's browser."""
    with administering(box) as browser:
        yield browser


def added(admin: Browser) -> None:
    answer = admin.post(f"{PAGE}/new?kind=csv", f"{PAGE}/new", FORM)
    assert answer.headers["location"] == f"{STAFF}?note=directory-added"


def synchronised(admin: Browser, do: str) -> str:
    """What the page says when a synchronisation has ended."""
    target = admin.post(STAFF, f"{STAFF}/synchronise", {"do": do}).headers["location"]
    deadline = time.monotonic() + 60
    while 'class="card job"' in admin.get(target).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return admin.text(target)


def test_users_come_from_a_list(admin: Browser) -> None:
    assert "No directory yet" in admin.text(PAGE)
    assert "CSV file" in admin.text(f"{PAGE}/new")
    added(admin)
    tested = visible(admin.post(STAFF, f"{STAFF}/test"))
    assert "2 people can be read" in tested and "“nobody” is not a mail address" in tested
    would = synchronised(admin, "dry-run")
    assert "Nothing was changed. It would be: 2 created" in would and "Anna Berg <anna@x.test>" in would
    assert "never" in admin.text(STAFF) and "anna@x.test" not in admin.text("/admin/users")
    done = synchronised(admin, "now")
    assert "2 created" in done and "1 left out" in done
    assert "Anna Berg" in admin.text("/admin/users")
    assert "Users from here 2" in admin.text(STAFF)


def test_what_unusually_many_lose_is_asked_for(admin: Browser) -> None:
    added(admin)
    many = "primary;id\n" + "".join(f"p{number}@x.test;{number}\n" for number in range(9))
    settings = f"{STAFF}/settings"
    assert admin.post(settings, settings, {"interval": "3600", "option.content": many}).status_code == 303
    synchronised(admin, "now")
    admin.post(settings, settings, {"interval": "3600", "option.content": "primary;id\np0@x.test;0\n"})
    waits = synchronised(admin, "now")
    assert "8 of 9 users would no longer be able to sign in" in waits and "It is right: change them" in waits
    assert "8 of 9 users" in admin.text(STAFF), "also for who comes by later"
    assert "8 no longer listed" in synchronised(admin, "confirm")
    assert "every hour" in admin.text(settings)


def test_what_cannot_be_is_said_with_what_was_typed(admin: Browser) -> None:
    for wrong, why in (
        ({"name": "No Name"}, "small letters"), ({"option.content": "name\nAnna\n"}, "must name its columns"),
        ({"interval": "soon"}, "as a number"),
    ):  # fmt: skip
        answer = admin.post(f"{PAGE}/new?kind=csv", f"{PAGE}/new", {**FORM, **wrong})
        assert answer.status_code == 400
        assert why in visible(answer) and (wrong.get("name") or "staff") in answer.text
    added(admin)
    assert admin.post(f"{PAGE}/new?kind=csv", f"{PAGE}/new", FORM).status_code == 409
    assert admin.get(f"{PAGE}/new?kind=nis").status_code == 404
    assert admin.get(f"{PAGE}/of/other").status_code == 404


def test_removed_its_users_stay(admin: Browser) -> None:
    added(admin)
    synchronised(admin, "now")
    assert "The 2 users that came from it" in admin.text(f"{STAFF}/remove")
    assert admin.post(f"{STAFF}/remove", f"{STAFF}/remove").status_code == 303
    assert "No directory yet" in admin.text(PAGE)
    assert "Anna Berg" in admin.text("/admin/users")


def test_the_pages_are_for_administrators() -> None:
    for path in (PAGE, f"{PAGE}/new", STAFF, f"{STAFF}/settings", f"{STAFF}/remove"):
        assert signed_in(USER).get(path).status_code == 403
