"""Projections made anew say the same, in whatever order the log is read, and users and rights come back too."""

from __future__ import annotations

import random
import shutil
import time

import pytest

from appliance.cli.rebuilding import rebuild_all
from appliance.services import users
from appliance.services.generations import Generations
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter
from tests.scratch import BOX, ScratchArchive, mail, report


def _filled(box: ScratchArchive) -> list[str]:
    """Mail in several volumes of several writers, with people coming, going and swapping addresses in between."""
    anna = box.user("anna@example.com", "info@example.com")
    ben = box.user("ben@example.com")
    now = time.time()
    for turn in range(4):
        box.receive(
            report(mail(f"To info {turn}", to="info@example.com"), "To: info@example.com", sender="x@y.example"),
            report(mail(f"Shared {turn % 2}"), "To: ben@example.com", "Bcc: late@example.com"),
            report(mail(f"Nobody's {turn}", to="q@w.example"), "To: nobody@nowhere.example", sender="x@y.example"),
            at=now + turn,
        )
        if turn == 1:
            users.user_change(box.archive, BOX, id=anna, aliases=[])
            users.user_change(box.archive, BOX, id=ben, aliases=["info@example.com"])
        box.writer.close()
        box.writer = LogWriter(box.paths.volumes, f"t{turn + 1}", reserve=0)
        box.project()
    box.user("late@example.com")
    box.project()
    return ["anna@example.com", "ben@example.com", "late@example.com"]


def _seen(box: ScratchArchive, people: list[str]) -> dict[str, object]:
    found: dict[str, object] = {
        one: sorted((hit.id, hit.subject) for hit in box.search("*", one).hits) for one in people
    }
    found["all"] = sorted((hit.id, hit.subject, hit.date) for hit in box.search("*").hits)
    found["counts"] = box.archive.catalogue.counts().unassigned
    found["bcc"] = {one: box.total("bcc:late@example.com", one) for one in people}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_rebuild_from_shuffled_volumes_gives_the_same(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    people = _filled(box)
    before = _seen(box, people)
    box.close()
    shutil.rmtree(box.paths.projections)
    in_order = LogReader.volumes

    def shuffled(reader: LogReader, mailbox: bytes | None = None):  # type: ignore[no-untyped-def]
        found = in_order(reader, mailbox)
        random.Random(seed).shuffle(found)
        return found

    monkeypatch.setattr(LogReader, "volumes", shuffled)
    box.open()
    box.project()
    assert _seen(box, people) == before


def test_rebuild_makes_settings_catalogue_and_index_anew(box: ScratchArchive) -> None:
    people = _filled(box)
    before = _seen(box, people)
    names = users.users(box.archive, BOX)
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.write_bytes(b"rubbish")
    shutil.rmtree(box.paths.projections)
    records = rebuild_all(box.paths, None, None)
    box.open()
    assert records == 12
    assert _seen(box, people) == before
    assert users.users(box.archive, BOX) == names


def test_a_rebuild_that_is_broken_off_leaves_the_old_state_in_use(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = _filled(box)
    before = _seen(box, people)
    generation = Generations(box.paths).current()
    box.close()

    def dies(_records: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild_all(box.paths, None, dies)
    box.open()
    assert Generations(box.paths).current() == generation
    assert _seen(box, people) == before


def test_mail_that_comes_in_while_a_rebuild_runs_is_there_after_it(box: ScratchArchive) -> None:
    _filled(box)
    box.close()
    late: list[bytes] = []

    def meanwhile(_records: int) -> None:
        if not late:
            box.open()
            late.extend(box.receive(mail("Meanwhile")))
            box.close()

    rebuild_all(box.paths, None, meanwhile)
    box.open()
    box.project()
    assert box.total("meanwhile") == 1
