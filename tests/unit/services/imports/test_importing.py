"""Imports through the services, with a collector in this process and files whose items are made up here."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ConflictError, DamageError, ForbiddenError, NotFoundError, UnavailableError, UsageError
from appliance.imports.base import Meta
from appliance.services import api, users
from appliance.services.folders import trees
from appliance.services.principal import Principal
from appliance.services.wire import Call
from tests import reference_reader
from tests.importing import Imported, Item, figures
from tests.scratch import BOX, ScratchArchive, mail, report

ANNA, BEN = "anna@example.com", "ben@example.com"


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> ScratchArchive:
    """An archive with one user, closed."""
    box = ScratchArchive(tmp_path_factory.mktemp("blank"), domains=["example.com"])
    box.user(ANNA, "a@example.com", name="Anna")
    box.close()
    return box


@pytest.fixture
def imported(blank: ScratchArchive, tmp_path: Path) -> Iterator[Imported]:
    box = blank.copied(tmp_path)
    yield Imported(box)
    box.close()


def some(count: int, *, first: int = 0, **given: Any) -> list[Item]:
    return [Item(mail(f"Number {n}", f"words{n}"), given) for n in range(first, first + count)]


def folders(imported: Imported, address: str) -> dict[tuple[str, ...], int]:
    """The folders of somebody's archive with their messages, those that have any."""
    waiting = [one for tree in trees(imported.box.archive, imported.box.view(address)) for one in tree.folders]
    found = {}
    while waiting:
        one = waiting.pop()
        waiting += one.children
        found |= {one.path: one.messages} if one.messages else {}
    return found


# -- what becomes of items ------------------------------------------------------------------------------------------


def test_all_of_a_file_is_archived_in_its_folders_and_found(imported: Imported) -> None:
    items = [*some(250, folder=("Inbox",), role="inbox"), *some(3, first=250, folder=("Projects", "Über"))]
    with imported.collector():
        one = imported.run("anna.pst", items, ANNA, folder=["Old mail"])
    assert figures(one.counts) == (253, 253, 0, 0, 0)
    assert (one.state, one.words, one.archive, one.files[0].sha256) == (
        "done", "", ANNA, sha256(b"x" * 1000).hexdigest()
    )  # fmt: skip
    imported.box.project()
    assert imported.box.total("words7", ANNA) == 1
    assert imported.box.total("words252", ANNA) == 1
    assert not list(imported.box.paths.scratch.iterdir()), "what arrived is not kept longer than it is needed"


def test_what_is_imported_again_is_there_already_whatever_file_it_comes_in(imported: Imported) -> None:
    with imported.collector():
        imported.run("anna.pst", some(120), ANNA)
        again = imported.run("other.pst", [*some(120), *some(1, first=500)], ANNA)
        twice = imported.run("doubles.mbox", [*some(2, first=600), *some(2, first=600)], ANNA)
    assert figures(again.counts) == (121, 1, 120, 0, 0)
    assert figures(twice.counts) == (4, 2, 2, 0, 0)
    imported.box.project()
    assert imported.box.total("words5", ANNA) == 1


def test_every_item_is_accounted_for_with_its_reason(imported: Imported) -> None:
    items = [
        *some(1), Item(given={"left": "It is a contact.", "id": "0x21"}), Item(given={"broken": "It is torn."}),
        Item(mail("Half of it"), {"spoilt": "Its attachment cannot be read.", "folder": ("Inbox", "Sub")}), Item(b""),
        Item(mail("Whole"), {"meta": Meta(warnings=("A property was left out.",))}),
    ]  # fmt: skip
    with imported.collector():
        one = imported.run("anna.pst", items, ANNA)
        report = imported.call("import_report", id=one.id, form="csv").decode("utf-8-sig")
        page = imported.call("import_report", id=one.id, form="html").decode()
    assert (figures(one.counts), one.state) == ((6, 2, 0, 1, 3), "done")
    told = [(problem.what, problem.folder, problem.item, problem.why) for problem in one.problems]
    assert told == [
        ("failed", "Inbox", "item-2", "It is torn."),
        ("failed", "Inbox/Sub", "item-3", "Its attachment cannot be read."),
        ("failed", "Inbox", "item-4", "It has not a single byte."),
        ("warning", "Inbox", "item-5", "A property was left out."),
        ("skipped", "Inbox", "0x21", "It is a contact."),
    ]
    rows = list(csv.DictReader(io.StringIO(report)))
    assert [row["kind"] for row in rows] == ["import", "file", "skipped", "failed", "failed", "failed", "warning"]
    assert (rows[1]["found"], rows[1]["archived"], rows[1]["failed"]) == ("6", "2", "3")
    assert rows[1]["sha256"] == one.files[0].sha256 and one.files[0].sha256 in page
    assert "It is torn." in page and "<script" not in page


def test_a_file_that_cannot_be_read_on_keeps_what_came_before(imported: Imported) -> None:
    with imported.collector():
        one = imported.run("torn.pst", [*some(130), Item(given={"ends": "The rest is damaged."})], ANNA)
        none = imported.run("locked.pst", [Item(given={"ends": "It needs a password."})], ANNA)
    assert (one.state, figures(one.counts), one.files[0].words) == (
        "failed",
        (130, 130, 0, 0, 0),
        "The rest is damaged.",
    )
    assert (none.state, figures(none.counts)) == ("failed", (0, 0, 0, 0, 0))
    assert "1 file could not be read" in none.words


def test_a_message_in_whose_midst_the_file_ends_is_accounted_for(imported: Imported) -> None:
    with imported.collector():
        one = imported.run("torn.pst", [*some(3), Item(mail("Half of it"), {"torn": "It is damaged here."})], ANNA)
    assert (one.state, figures(one.counts), one.files[0].words) == ("failed", (4, 3, 0, 0, 1), "It is damaged here.")


def test_mail_without_a_folder_lies_in_one_that_is_called_as_its_file(imported: Imported) -> None:
    labels = Meta(labels=(("Work", "2026"),), flags=("seen",))
    with imported.collector():
        imported.run("Letters.mbox", [Item(mail("One"), {"folder": (), "meta": labels})], ANNA)
        imported.run("Letters2.mbox", [Item(mail("Two"), {"folder": ()})], ANNA, folder=["Here"])
        imported.run("odd.pst", [Item(mail("Three"), {"folder": ("a\x00b", " ")})], ANNA)
    imported.box.project()
    assert set(folders(imported, ANNA)) == {("Letters",), ("Work", "2026"), ("Here",), ("ab", "?")}


def test_a_dry_run_counts_and_archives_nothing(imported: Imported) -> None:
    with imported.collector():
        imported.run("first.pst", some(10), ANNA)
        dry = imported.run("second.pst", [*some(150), *some(5)], ANNA, dry_run=True)
        wet = imported.run("second.pst", [*some(150), *some(5)], ANNA)
    assert figures(dry.counts) == figures(wet.counts) == (155, 140, 15, 0, 0)
    assert dry.dry_run and dry.counts.bytes == wet.counts.bytes
    imported.box.project()
    assert imported.box.total("", ANNA) == 150


def test_a_large_message_is_archived_as_it_comes(imported: Imported) -> None:
    large = mail("Large", "x" * 20_000_000 + " lastword")
    with imported.collector():
        one = imported.run("anna.mbox", [*some(1), Item(large), Item(large), *some(1, first=9)], ANNA)
    assert figures(one.counts) == (4, 3, 1, 0, 0)
    imported.box.project()
    (hit,) = imported.box.search("subject:Large", ANNA).hits
    assert imported.box.export(hit.id) == large


# -- whose it becomes -----------------------------------------------------------------------------------------------


def test_by_addresses_each_message_goes_to_those_who_had_them_when_it_came(imported: Imported) -> None:
    box = imported.box
    box.user(BEN)
    long_ago = 1_000_000_000_000_000
    both = Item(mail("For both"), {"meta": Meta(received=long_ago, addresses=(ANNA, BEN)), "folder": ("Inbox",)})
    one = Item(mail("For Anna"), {"meta": Meta(received=long_ago, addresses=("a@example.com", "x@elsewhere.test"))})
    with imported.collector():
        done = imported.run("all.pst", [both, one], owners="addresses")
    assert (figures(done.counts), done.problems) == ((2, 2, 0, 0, 0), ())
    box.project()
    assert [box.total("subject:both", who) for who in (ANNA, BEN)] == [1, 1]
    assert [box.total("subject:Anna", who) for who in (ANNA, BEN)] == [1, 0]
    assert folders(imported, BEN) == {("Inbox",): 1}


def test_nobodys_mail_is_kept_told_and_becomes_theirs_who_get_the_address(imported: Imported) -> None:
    box = imported.box
    meta = Meta(received=1_000_000_000_000_000, addresses=("late@example.com",))
    with imported.collector():
        done = imported.run("all.pst", [Item(mail("For somebody"), {"meta": meta})], owners="addresses")
    assert figures(done.counts) == (1, 1, 0, 0, 0)
    assert [problem.what for problem in done.problems] == ["warning"]
    box.project()
    assert box.total("subject:somebody") == 1, "an auditor finds it"
    assert box.total("subject:somebody", ANNA) == 0
    box.user("late@example.com")
    box.project()
    assert box.total("subject:somebody", "late@example.com") == 1


def test_who_was_given_an_address_later_gets_no_mail_of_who_had_it_before(imported: Imported) -> None:
    box = imported.box
    first = box.user("sales@example.com", "old@example.com")
    users.user_change(box.archive, BOX, id=first, aliases=())
    box.user("new@example.com", "old@example.com")
    meta = Meta(received=1_000_000_000_000_000, addresses=("old@example.com",))
    with imported.collector():
        imported.run("all.pst", [Item(mail("Before"), {"meta": meta})], owners="addresses")
    box.project()
    assert box.total("subject:Before", "sales@example.com") == 1
    assert box.total("subject:Before", "new@example.com") == 0


def test_a_journal_report_belongs_to_the_archive_that_it_was_imported_into(imported: Imported) -> None:
    raw = report(mail("Journaled"), f"To: {BEN}")
    imported.box.user(BEN)
    with imported.collector():
        imported.run("journal.pst", [Item(raw)], ANNA)
    imported.box.project()
    assert [imported.box.total("subject:Journaled", who) for who in (ANNA, BEN)] == [1, 0]


# -- files on their way -----------------------------------------------------------------------------------------------


def test_an_upload_goes_on_where_it_was_cut_off_and_after_a_restart(imported: Imported) -> None:
    raw = bytes(range(256)) * 10_000
    id = imported.begin(ANNA)
    file = imported.call("import_file", id=id, name="a.pst", size=len(raw)).number
    write = lambda offset, data: imported.call("import_write", id=id, file=file, offset=offset, data=data)  # noqa: E731
    assert write(0, raw[:1_000_000]) == 983_040, "whole pieces of 64 KiB"
    assert write(0, raw[:500_000]) == 983_040, "what arrived before is passed over"
    with pytest.raises(ConflictError, match="983040"):
        write(1_000_000, raw[1_000_000:1_100_000])
    with pytest.raises(ConflictError, match="have not arrived"):
        imported.call("import_arrived", id=id, file=file)
    imported.box.close()
    imported.box.open()
    assert imported.get(id).files[0].arrived == 983_040
    for start in range(983_040, len(raw), api.IMPORT_CHUNK):
        write(start, raw[start : start + api.IMPORT_CHUNK])
    imported.items["a.pst"] = some(3)
    assert imported.call("import_arrived", id=id, file=file, sha256=sha256(raw).hexdigest()).state == "waiting"
    assert imported.call("import_arrived", id=id, file=file, sha256="").state == "waiting", "said twice"
    with imported.collector():
        assert figures(imported.ended(id).counts) == (3, 3, 0, 0, 0)


def test_what_is_not_what_was_sent_arrives_anew(imported: Imported) -> None:
    raw = b"y" * 200_000
    id = imported.begin(ANNA)
    file = imported.call("import_file", id=id, name="a.pst", size=len(raw)).number
    imported.call("import_write", id=id, file=file, offset=0, data=b"z" * len(raw))
    with pytest.raises(DamageError, match="SHA-256"):
        imported.call("import_arrived", id=id, file=file, sha256=sha256(raw).hexdigest())
    assert imported.get(id).files[0].arrived == 0
    imported.call("import_write", id=id, file=file, offset=0, data=raw)
    assert imported.call("import_arrived", id=id, file=file, sha256=sha256(raw).hexdigest()).state == "waiting"


def test_a_file_without_a_single_byte_is_answered(imported: Imported) -> None:
    imported.items["empty.mbox"] = []
    id = imported.begin(ANNA)
    imported.send(id, "empty.mbox", b"")
    with imported.collector():
        done = imported.ended(id)
    assert (done.state, figures(done.counts), done.files[0].sha256) == ("done", (0, 0, 0, 0, 0), sha256().hexdigest())


def test_what_rots_on_the_disk_meanwhile_is_told(imported: Imported) -> None:
    raw = b"y" * 200_000
    id = imported.begin(ANNA)
    file = imported.call("import_file", id=id, name="a.pst", size=len(raw)).number
    imported.call("import_write", id=id, file=file, offset=0, data=raw)
    (scratch,) = imported.box.paths.scratch.iterdir()
    imported.call("import_arrived", id=id, file=file)
    rotten = bytearray(scratch.read_bytes())
    assert b"yyyyyyyy" not in rotten, "it is sealed"
    rotten[100_000] ^= 1
    scratch.write_bytes(rotten)
    imported.items["a.pst"] = some(3)
    with imported.collector():
        done = imported.ended(id)
    assert (done.state, figures(done.counts)) == ("failed", (0, 0, 0, 0, 0))
    assert "damaged" in done.files[0].words


def test_what_has_arrived_lies_on_the_disk_as_it_is_documented(imported: Imported) -> None:
    raw = bytes(range(256)) * 1000
    id = imported.begin(ANNA)
    file = imported.call("import_file", id=id, name="a.pst", size=len(raw)).number
    imported.call("import_write", id=id, file=file, offset=0, data=raw)
    (scratch,) = imported.box.paths.scratch.iterdir()
    keys = imported.box.dispatcher.profiles.telling.keys()
    assert reference_reader.read_scratch(scratch, keys.sealing) == raw


def test_no_more_than_two_files_lie_on_the_disk_unread(imported: Imported) -> None:
    id = imported.begin(ANNA)
    for name in ("a.pst", "b.pst"):
        imported.items[name] = some(1)
        imported.send(id, name)
    with pytest.raises(UnavailableError, match="read first"):
        imported.call("import_file", id=id, name="c.pst", size=10)
    with imported.collector():
        deadline = time.monotonic() + 30
        while imported.get(id).files_done < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        imported.items["c.pst"] = some(1, first=7)
        imported.send(id, "c.pst")
        assert figures(imported.ended(id).counts) == (3, 2, 1, 0, 0)
    with pytest.raises(ConflictError, match="takes no more"):
        imported.call("import_file", id=id, name="d.pst", size=10)


def test_leftovers_in_the_scratch_folder_go(imported: Imported) -> None:
    id = imported.begin(ANNA)
    file = imported.call("import_file", id=id, name="a.pst", size=1_000_000).number
    imported.call("import_write", id=id, file=file, offset=0, data=bytes(100_000))
    (wanted,) = imported.box.paths.scratch.iterdir()
    (imported.box.paths.scratch / ("0" * 32)).write_bytes(b"left by a crash")
    imported.box.dispatcher.imports.round()
    assert list(imported.box.paths.scratch.iterdir()) == [wanted]
    imported.call("import_stop", id=id)
    imported.box.dispatcher.imports.round()
    assert not list(imported.box.paths.scratch.iterdir())


# -- stopping, rights, the trail --------------------------------------------------------------------------------------


def test_a_stopped_import_keeps_what_it_has_and_goes_on_when_done_again(imported: Imported) -> None:
    imported.items["a.pst"] = some(400)
    id = imported.begin(ANNA)

    def slowly(number: int) -> None:
        if number == 150:
            imported.call("import_stop", id=id)

    imported.before = slowly
    with imported.collector():
        imported.send(id, "a.pst")
        done = imported.ended(id)
        imported.before = lambda _number: None
        again = imported.run("a.pst", some(400), ANNA)
    assert (done.state, done.files[0].state) == ("stopped", "stopped")
    assert done.counts.archived == done.counts.found < 400
    assert figures(again.counts) == (400, 400 - done.counts.archived, done.counts.archived, 0, 0)


def test_the_trail_names_who_began_it_each_file_by_its_hash_and_the_sums(imported: Imported) -> None:
    with imported.collector():
        one = imported.run("anna.pst", [*some(3), Item(given={"broken": "It is torn."})], ANNA)
    imported.box.dispatcher.imports.round()
    imported.box.dispatcher.imports.round()
    imported.call("import_report", id=one.id, form="html")
    lines = [f"{line.action} {line.what}" for line in imported.call("audit", find="import", limit=50).lines]
    sums = "4 found: 3 archived, 0 already there, 0 skipped, 1 failed"
    file = f"“anna.pst”, 1000 bytes, SHA-256 {one.files[0].sha256}"
    assert lines == [
        f"import.report import {one.id}, html",
        f"import.end import {one.id} “old mail”: done, 1 files, {sums}",
        f"import.file import {one.id}, {file}: done, {sums}",
        f"import.begin import {one.id} “old mail”: Anna",
    ]


def test_only_administrators_import(imported: Imported) -> None:
    auditor = Principal(id="x", roles=frozenset({"auditor"}), archives=frozenset({"x"}))
    for method, params in {
        "imports": {}, "import_get": {"id": 1}, "import_begin": {"title": "x"}, "import_complete": {"id": 1},
        "import_file": {"id": 1, "name": "x", "size": 1}, "import_stop": {"id": 1},
        "import_write": {"id": 1, "file": 0, "offset": 0, "data": b""}, "import_arrived": {"id": 1, "file": 0},
        "import_report": {"id": 1, "form": "csv"},
    }.items():  # fmt: skip
        with pytest.raises(ForbiddenError):
            imported.box.dispatcher.from_box(Call(method, params=params), auditor)


def test_what_makes_no_sense_is_refused_before_anything_begins(imported: Imported) -> None:
    with pytest.raises(NotFoundError, match=r"nobody@x\.test"):
        imported.begin("nobody@x.test")
    with pytest.raises(UsageError, match="not both"):
        imported.begin(ANNA, owners="addresses")
    with pytest.raises(UsageError, match="code page"):
        imported.begin(ANNA, code_page="base64")
    with pytest.raises(UsageError, match="folder"):
        imported.begin(ANNA, folder=["x\ny"])
    with pytest.raises(NotFoundError):
        imported.get(99)
    id = imported.begin()
    with pytest.raises(UsageError, match="which archive"):
        imported.call("import_file", id=id, name="a.pst", size=1)
    assert imported.call("import_file", id=id, name="a.pst", size=1, archive="a@example.com").archive == ANNA


def test_an_import_that_nothing_comes_of_any_more_ends_by_itself(imported: Imported) -> None:
    now = time.time()
    imported.box.archive.clock = lambda: now
    id = imported.begin(ANNA)
    imported.call("import_file", id=id, name="a.pst", size=1_000_000)
    imported.box.dispatcher.imports.round()
    assert imported.get(id).ended is None
    imported.box.archive.clock = lambda: now + 8 * 24 * 3600
    imported.box.dispatcher.imports.round()
    assert imported.get(id).state == "stopped"


def test_a_cell_of_the_report_is_no_formula(imported: Imported) -> None:
    with imported.collector():
        one = imported.run("=cmd.pst", [Item(given={"broken": "-1+1", "folder": ("@x",), "id": "+1"})], ANNA)
    rows = list(csv.reader(io.StringIO(imported.call("import_report", id=one.id, form="csv").decode("utf-8-sig"))))
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@")]
