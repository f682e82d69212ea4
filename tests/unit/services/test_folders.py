"""The tree of folders, searching and exporting in one, and whose folders anybody sees."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ForbiddenError, NotFoundError
from appliance.mail.folders import ROLES
from appliance.services import api, auditing, reading, searching, users
from appliance.services import folders as service
from appliance.services.client import ArchiveClient
from appliance.services.exporting import write_zip
from appliance.services.jobs import Progress
from appliance.services.principal import ALL, Principal
from appliance.services.server import Server
from tests.fetched import Fetched
from tests.leaks import Words
from tests.scratch import BOX, ScratchArchive, mail, report


class Office:
    """Two people with fetched mail, and one whose mail comes by journaling."""

    def __init__(self, folder: Path) -> None:
        self.box = ScratchArchive(folder)
        self.anna = self._principal("anna")
        self.ben = self._principal("ben")
        self.carla = self._principal("carla")
        fetched = Fetched(self.box)
        anna, ben = self.anna.id, self.ben.id
        fetched.fetch(mail("Offer one"), anna, "INBOX", role="inbox")
        both = fetched.fetch(mail("Offer two"), anna, "INBOX", role="inbox")
        fetched.lay(both, anna, "projekte", "2026")
        fetched.lay(both, ben, "INBOX", role="inbox")
        fetched.fetch(mail("Plan"), anna, "projekte", "2026", "Über")
        fetched.fetch(mail("Plan of ben's"), ben, "Private")
        for name, role in (("Trash", "trash"), ("Zebra", ""), ("Ärger", ""), ("Sent Items", "sent")):
            fetched.fetch(mail(f"In {name}"), anna, name, role=role)  # type: ignore[arg-type]
        fetched.close()
        self.box.receive(report(mail("By journal"), "To: carla@example.com", sender="x@y.example"))
        self.box.project()

    def _principal(self, name: str) -> Principal:
        id = self.box.user(f"{name}@example.com", name=name.capitalize())
        return Principal(id=id, archives=frozenset({id}))

    def tree(self, who: Principal, **how: str) -> list[api.FolderTree]:
        return list(service.folders(self.box.archive, who, **how))

    def folder(self, who: Principal, *path: str) -> str:
        def all_of(level: tuple[api.FolderInfo, ...]) -> Iterator[api.FolderInfo]:
            for one in level:
                yield one
                yield from all_of(one.children)

        return next(one.id for tree in self.tree(who) for one in all_of(tree.folders) if one.path == path)

    def search(self, who: Principal, folder: str, query: str = "*", **how: bool) -> list[str]:
        page = searching.search(self.box.archive, who, query=query, folder=folder, **how)
        assert page.total == len(page.hits)
        return sorted(hit.subject for hit in page.hits)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    made = Office(tmp_path_factory.mktemp("office"))
    yield made
    made.box.close()


def test_the_tree_has_each_folder_with_its_messages_what_people_look_for_first(office: Office) -> None:
    (tree,) = office.tree(office.anna)
    assert (tree.archive, tree.name) == (office.anna.id, "Anna")
    assert [(one.path[-1], one.role, one.messages) for one in tree.folders] == [
        ("INBOX", "inbox", 2), ("Sent Items", "sent", 1), ("projekte", "", 0), ("Zebra", "", 1), ("Ärger", "", 1),
        ("Trash", "trash", 1),
    ]  # fmt: skip
    (year,) = tree.folders[2].children
    assert (year.path, year.messages) == (("projekte", "2026"), 1)
    assert [(one.path[-1], one.messages) for one in year.children] == [("Über", 1)]


def test_who_has_no_fetched_mail_has_no_tree(office: Office) -> None:
    assert office.tree(office.carla) == []


def test_a_search_in_a_folder_finds_what_lay_there_and_with_those_in_it_what_lay_below(office: Office) -> None:
    year = office.folder(office.anna, "projekte", "2026")
    assert office.search(office.anna, year) == ["Offer two"]
    assert office.search(office.anna, year, below=True) == ["Offer two", "Plan"]
    top = office.folder(office.anna, "projekte")
    assert office.search(office.anna, top) == []
    assert office.search(office.anna, top, "plan", below=True) == ["Plan"]
    assert office.search(office.anna, "", "offer") == ["Offer one", "Offer two"]
    page = searching.search(office.box.archive, office.anna, query="*", folder=year)
    assert page.folder is not None
    assert page.folder.path == ("projekte", "2026")


def test_folders_of_others_are_as_if_they_were_not(office: Office) -> None:
    private = office.folder(office.ben, "Private")
    assert office.search(office.ben, private) == ["Plan of ben's"]
    for id in (private, "00" * 16, "no id", "11", "é" * 32):
        with pytest.raises(NotFoundError, match="no such folder"):
            office.search(office.anna, id)
    assert office.folder(office.anna, "INBOX") != office.folder(office.ben, "INBOX")


def test_a_message_names_the_folders_of_the_archives_that_are_looked_into(office: Office) -> None:
    def lay(who: Principal, **how: object) -> list[tuple[str, tuple[str, ...]]]:
        view = reading.message(office.box.archive, who, id=id, **how)  # type: ignore[arg-type]
        return [(one.name, one.path) for one in view.folders]

    (hit,) = searching.search(office.box.archive, office.anna, query='"offer two"').hits
    id = hit.id
    annas = [("Anna", ("INBOX",)), ("Anna", ("projekte", "2026"))]
    assert lay(office.anna) == annas
    assert lay(office.ben) == [("Ben", ("INBOX",))]
    assert lay(BOX, everywhere=True) == [*annas, ("Ben", ("INBOX",))]


def test_who_may_read_another_archive_sees_its_folders_when_looking_into_it(office: Office) -> None:
    deputy = Principal(id=office.carla.id, archives=frozenset({office.carla.id, office.ben.id}))
    assert office.tree(deputy) == []
    (tree,) = office.tree(deputy, whose=office.ben.id)
    assert (tree.name, [one.path for one in tree.folders]) == ("Ben", [("INBOX",), ("Private",)])
    assert [one.name for one in office.tree(deputy, whose=ALL)] == ["Ben"]
    line = auditing.audit(office.box.archive, BOX, limit=1).lines[0]
    assert line.action.startswith("folders")
    assert "Ben" in line.what
    with pytest.raises(ForbiddenError):
        office.tree(deputy, whose=office.anna.id)
    page = searching.search(office.box.archive, deputy, query="*", folder=tree.folders[1].id, whose=office.ben.id)
    assert page.total == 1
    with pytest.raises(NotFoundError):
        searching.search(office.box.archive, deputy, query="*", folder=tree.folders[1].id)


def test_a_page_of_results_with_the_folders_beside_it_is_one_look(office: Office) -> None:
    deputy = Principal(id=office.carla.id, archives=frozenset({office.carla.id, office.ben.id}))
    trees = tuple(office.tree(deputy, whose=office.ben.id))
    before = auditing.audit(office.box.archive, BOX).total
    page = searching.search(office.box.archive, deputy, query="*", whose=office.ben.id, trees=True)
    assert page.trees == trees
    assert auditing.audit(office.box.archive, BOX).total == before + 1
    assert searching.search(office.box.archive, deputy, query="*", whose=office.ben.id).trees == ()
    assert searching.search(office.box.archive, BOX, query="*", everywhere=True, trees=True).trees == ()


def test_an_auditor_who_looks_everywhere_may_keep_to_a_folder(office: Office) -> None:
    private = office.folder(office.ben, "Private")
    page = searching.search(office.box.archive, BOX, query="*", folder=private, everywhere=True)
    assert [hit.subject for hit in page.hits] == ["Plan of ben's"]


def test_the_audit_trail_says_in_which_folder_was_searched(office: Office) -> None:
    office.search(office.anna, office.folder(office.anna, "projekte", "2026"), "offer")
    line = auditing.audit(office.box.archive, BOX, limit=1).lines[0]
    assert (line.action, line.what) == ("search", "offer in projekte / 2026 → 1")


def test_an_export_of_all_hits_keeps_to_the_folder(office: Office) -> None:
    archive = office.box.archive
    view = office.anna.looking(everywhere=False)
    chosen = service.chosen(archive, view, folder=office.folder(office.anna, "INBOX"), below=False)
    bundle = io.BytesIO()
    left_out = write_zip(archive, office.anna, view, bundle, query="offer", chosen=chosen, progress=Progress())
    with zipfile.ZipFile(bundle) as made:
        assert (left_out, sum(name.endswith(".eml") for name in made.namelist())) == (0, 2)


def test_a_taken_over_web_process_gets_the_folders_of_its_sessions_and_no_others(office: Office) -> None:
    box = office.box
    (code,) = (one.code for one in users.user_invite(box.archive, BOX, box.dispatcher.identity, ids=[office.ben.id]))
    ben = box.dispatcher.identity.accept_invitation(code=code, password="long enough pass", client="").token
    inbox = office.folder(office.anna, "INBOX")
    server = Server(box.dispatcher)
    server.start()

    async def attack() -> None:
        client = ArchiveClient(box.paths.web_socket)
        (tree,) = await client.folders(ben)
        assert [(one.path, one.messages) for one in tree.folders] == [(("INBOX",), 1), (("Private",), 1)]
        assert (await client.search(ben, query="*", folder=tree.folders[1].id)).total == 1
        for refused in (
            client.folders(ben, whose=office.anna.id),
            client.search(ben, query="*", folder=inbox),
            client.search(ben, query="*", folder=inbox, below=True, whose=office.anna.id),
            client.search(ben, query="*", folder=inbox, everywhere=True),
            client.export_begin(ben, query="*", folder=inbox),
        ):
            with pytest.raises((ForbiddenError, NotFoundError)):
                await refused

    try:
        asyncio.run(attack())
    finally:
        server.close()


def test_no_name_of_a_folder_is_readable_on_the_disk(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.box.close()
    words = Words(("projekte", "Sent Items", "Zebra", "Ärger"))
    assert words.found_below(office.box.paths.data) == {}


def test_every_purpose_of_a_folder_has_its_place_in_the_order() -> None:
    assert set(service._ORDER) == ROLES | {""}
