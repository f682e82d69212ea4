"""The deletion rule, from each kind of source to the disk of a real archive and back: what is deleted there was read
back here, whatever became of the archived copies, or of who reads them, in between."""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api
from appliance.services.collector import clearing
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.doubles.ews import EwsDouble
from tests.doubles.graph_mail import MailDouble
from tests.doubles.https import serving
from tests.dovecot import PASSWORD, Dovecot, running, why_not
from tests.faults.proof import await_idle
from tests.office import NEW, OLD, Mailbox, Office, OnDovecot, OnExchange, OnGraph, rot
from tests.product import Product

pytestmark = pytest.mark.integration

KILLS = min(int(os.environ.get("MAILKEEP_COLLECT_KILLS", "0")), 5)


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    if why := why_not(pop3=True):
        pytest.skip(why)
    with running() as server:
        yield server


@pytest.fixture(params=["imap", "pop3", "graph", "ews"])
def mailbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mailbox]:
    if request.param in ("imap", "pop3"):
        yield OnDovecot(request.param, request.getfixturevalue("server"))
        return
    double = MailDouble(tmp_path / "graph") if request.param == "graph" else EwsDouble(tmp_path / "exchange")
    with serving(double):
        yield OnGraph(double) if isinstance(double, MailDouble) else OnExchange(double)
    assert double.complaints == []


@pytest.fixture
def office(tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """All has been fetched, nothing is to be deleted yet."""
    monkeypatch.setattr(clearing, "PROOF_SECONDS", 2.0)
    office = Office(tmp_path, mailbox)
    try:
        assert office.run().counts.new == len(OLD) + 1
        office.box.project()
        yield office
    finally:
        office.close()


def test_just_what_is_old_and_sound_here_is_deleted_there(office: Office, mailbox: Mailbox) -> None:
    with office.archiver():
        assert (office.run().counts.deleted, mailbox.there()) == (0, {*OLD, NEW}), "nobody has said so"
        rot(office.box.paths.volumes, office.archived()["two"])
        office.tell(delete_after_days=30)
        run = office.run()
        assert (run.state, run.counts.deleted, mailbox.there()) == ("done", 3, {"two", NEW})
        assert "1 message was not deleted there" in run.words
        again = office.run()
        assert (again.counts.seen, again.counts.deleted, mailbox.there()) == (0, 0, {"two", NEW})


@pytest.mark.parametrize("mailbox", ["graph"], indirect=True)
def test_an_archiver_that_dies_in_between_has_deleted_what_it_called_sound(office: Office, mailbox: Mailbox) -> None:
    office.tell(delete_after_days=30)
    with office.archiver(words=2):
        run = office.run()
    assert (run.state, run.counts.deleted) == ("done", 2)
    assert "the archiver did not verify" in run.words
    left = sorted(mailbox.there() - {NEW})
    assert len(left) == 2
    rot(office.box.paths.volumes, office.archived()[left[0]])
    with office.archiver():
        assert office.run().counts.deleted == 1
    assert mailbox.there() == {left[0], NEW}


@pytest.mark.parametrize("mailbox", ["ews"], indirect=True)
def test_what_is_not_on_the_disk_any_more_stays_there(office: Office, mailbox: Mailbox) -> None:
    first = min(office.archived().values(), key=lambda ref: ref.offset)
    volume = office.box.paths.volumes / first.volume
    office.tell(delete_after_days=30)
    with office.archiver():
        for octets in (first.offset + first.length // 2, 0):
            os.truncate(volume, octets)
            run = office.run()
            assert (run.counts.deleted, mailbox.there()) == (0, {*OLD, NEW})
            assert "4 messages were not deleted there" in run.words
        volume.unlink()
        assert (office.run().counts.deleted, mailbox.there()) == (0, {*OLD, NEW})


@pytest.mark.parametrize("mailbox", ["ews"], indirect=True)
def test_the_word_of_yesterday_counts_for_nothing_today(office: Office, mailbox: Mailbox) -> None:
    """A run died between the archiver's word and the deletion; since then the copy has rotted."""
    ref = office.archived()["one"]
    with office.ledger.changing() as connection:
        connection.exec_driver_sql("INSERT INTO proof SELECT ?, n, 1, 1 FROM account", (ref.record_id,))
    rot(office.box.paths.volumes, ref)
    office.tell(delete_after_days=30)
    with office.archiver():
        office.run()
    assert mailbox.there() == {"one", NEW}


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.skipif(not KILLS, reason="part of make faults: the archiver is started again and again")
def test_an_archiver_killed_again_and_again_while_a_pop3_mailbox_is_cleared(tmp_path: Path, server: Dovecot) -> None:
    names = tuple(f"number-{number}" for number in range(110))
    mailbox = OnDovecot("pop3", server, (*names, NEW))
    product = Product.create(tmp_path / "data")
    chance = random.Random(6)
    with product.serving():
        product.call("user_create", api.UserInfo, name="Anna", primary=mailbox.user, aliases=())
        options = [f"{key}={value}" for key, value in mailbox.options().items() if key != "password"]
        product.run(
            "profile", "add", "office", "--kind", "pop3", *options, "password=-", "--archive", mailbox.user,
            said=f"{PASSWORD}\n",
        )  # fmt: skip
        assert product.run("profile", "run", "office")["new"] == 111
        await_idle(product)
        volumes = LogReader(product.data / "volumes")
        [volume] = volumes.volumes(IMPORTS_MAILBOX)
        refs = [ref for ref in volumes.scan(volume) if isinstance(ref, RecordRef) and ref.type == RecordType.MESSAGE]
        rot(product.data / "volumes", chance.choice(refs))
        product.run("profile", "change", "office", "--delete-after", "30")
        for _ in range(KILLS):
            product.call("profile_run", api.ProfileBegun, name="office")
            time.sleep(chance.random() * 1.5)
            os.kill(product.await_part("archiver"), signal.SIGKILL)
        deadline = time.monotonic() + 120
        while len(mailbox.there()) > 2:
            assert time.monotonic() < deadline, mailbox.there()
            product.run("profile", "run", "office")
        [stays] = mailbox.there() - {NEW}
        await_idle(product)
        product.export("*", tmp_path / "all.zip")
        with zipfile.ZipFile(tmp_path / "all.zip") as bundle:
            manifest = list(csv.DictReader(io.StringIO(bundle.read("manifest.csv").decode())))
        whole = {line["subject"] for line in manifest if not line["note"]}
        assert whole == {*names, NEW} - {stays}, "what cannot be read here is still there, and nothing else is"
