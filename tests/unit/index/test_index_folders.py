"""A search that is kept to folders finds what lay there, and nobody finds anything by the folders of others."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.index.schema import InFolder
from appliance.index.search import Scope
from appliance.mail import query
from tests.unit.index.conftest import EVERYTHING, Shelf, document

ANNA, BEN = Scope(("anna",), ("anna",)), Scope(("ben",), ("ben",))
INBOX, DONE, BENS = "11" * 16, "22" * 16, "33" * 16


@pytest.fixture
def mail(shelf: Shelf) -> Shelf:
    shelf.put(
        document("inbox", subject="offer", folders=(InFolder("anna", INBOX),)),
        document("both", subject="offer", folders=(InFolder("anna", INBOX), InFolder("anna", DONE))),
        document(
            "shared", archives=("anna", "ben"), subject="offer", folders=(InFolder("anna", DONE), InFolder("ben", BENS))
        ),
        document("journal", subject="offer"),
    )
    return shelf


def found(shelf: Shelf, archive: str, *folders: str, scope: Scope = EVERYTHING, **how: Any) -> set[str]:
    node = query.And((query.Text("any", "offer"), query.InFolder(archive, folders)))
    return {hit.id for hit in shelf.index.search(node, scope, **how).hits}


@pytest.mark.parametrize("sort", ["date", "relevance"])
def test_a_folder_keeps_a_search_to_what_lay_there(mail: Shelf, sort: str) -> None:
    assert found(mail, "anna", INBOX, scope=ANNA, sort=sort) == {"inbox", "both"}
    assert found(mail, "anna", DONE, scope=ANNA, sort=sort) == {"both", "shared"}
    assert found(mail, "anna", INBOX, DONE, scope=ANNA, sort=sort) == {"inbox", "both", "shared"}
    assert found(mail, "anna", scope=ANNA, sort=sort) == set()


def test_folders_of_an_archive_that_is_not_searched_find_nothing(mail: Shelf) -> None:
    """Not even a message that is there for both of them."""
    assert found(mail, "ben", BENS, scope=BEN) == {"shared"}
    assert found(mail, "anna", DONE, scope=BEN) == set()
    assert found(mail, "ben", BENS, scope=ANNA) == set()
    assert found(mail, "ben", DONE, scope=BEN) == set(), "the id of another's folder under one's own name"
    assert found(mail, "anna", DONE) == {"both", "shared"}


def test_a_folder_survives_the_way_to_the_disk_and_back(mail: Shelf) -> None:
    mail.close_writer()
    assert found(mail, "anna", INBOX, scope=ANNA) == {"inbox", "both"}
    mail.open_writer()
    mail.put(document("inbox", subject="offer", folders=(InFolder("anna", DONE),)))
    assert found(mail, "anna", INBOX, scope=ANNA) == {"both"}
    assert found(mail, "anna", DONE, scope=ANNA) == {"inbox", "both", "shared"}


def test_no_typed_query_asks_for_a_folder(mail: Shelf) -> None:
    for typed in (f'folder:"{INBOX}"', INBOX, f'"anna\x1f{INBOX}"'):
        try:
            assert mail.ids(typed, ANNA) == []
        except query.QueryError:
            continue
