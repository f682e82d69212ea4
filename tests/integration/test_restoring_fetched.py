"""Fetched mail after a fire: its folders are there on the new box, and nothing is fetched for a second time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.remote import RemoteConfig
from appliance.cloud.replicate import ReplicaPaths, replicate
from appliance.cloud.restore import fill, prepare
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api
from appliance.services.collector import collecting
from appliance.services.paths import Paths
from appliance.services.wire import Call
from appliance.store.absent import AbsentFiles
from tests.cloud_double import FolderRemote
from tests.doubles.ews import EwsDouble
from tests.doubles.https import serving
from tests.office import ANNA, NEW, OLD, Office, OnExchange, letter
from tests.replica_box import Quiet
from tests.scratch import BOX

pytestmark = pytest.mark.integration

COUNT = len(OLD) + 1


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[OnExchange]:
    """With one of the messages in another folder, too."""
    double = EwsDouble(tmp_path / "exchange")
    with serving(double):
        found = OnExchange(double)
        found.box.put(letter(OLD[0]), found.box.folder("Kunden", found.box.inbox))
        yield found
    assert double.complaints == []


@pytest.fixture
def office(tmp_path: Path, mailbox: OnExchange, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(collecting, "LEARN_SECONDS", 0.5)
    office = Office(tmp_path / "old", mailbox)
    yield office
    office.close()


def burn_down(office: Office, folder: Path, *, projected: bool = True) -> FolderRemote:
    """Only its replica is left."""
    box = office.box
    office.collecting.close()
    box.sign()
    if projected:
        box.project()
    assert box.projecting is not None
    box.projecting.close()  # seals the index
    box.projecting = None
    keyring = box.archive.keyring
    keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
    remote = FolderRemote(folder, RemoteConfig(name="cellar", type="local"))
    replicate(
        ReplicaPaths.of(box.paths.data, "cellar"), remote, keys, Quiet(), now=time.time_ns() // 1000,
        roll=lambda _data, _now: None,
    )  # fmt: skip
    office.close()
    return remote


def restore(office: Office, remote: FolderRemote, folder: Path, *, whole: bool) -> None:
    """On an empty machine; all of it, or what comes first."""
    data = folder / "data"
    prepare(data, remote, office.box.created.recovery_key, keyfile=Paths(data).keyfile, progress=Quiet())
    office.box.paths = Paths(data)
    if whole:
        office.box.open()
        keyring = office.box.archive.keyring
        keys = ReplicaKeys(keyring.archive_id, keyring.key("service"), keyring.verify_key)
        office.box.close()
        assert fill(data, remote, keys, Quiet()).is_whole
    office.box.open()
    office.open()
    office.retell()


def folders(office: Office) -> dict[str, int]:
    """How many messages lie in each of Anna's folders."""
    (tree,) = office.box.dispatcher.from_box(Call("local_folders", params={"user": ANNA}), BOX)
    return dict(_below(tree.folders))


def _below(found: tuple[api.FolderInfo, ...]) -> Iterator[tuple[str, int]]:
    for one in found:
        yield "/".join(one.path), one.messages
        yield from _below(one.children)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "volumes-still-to-come"])
def test_its_folders_are_there_and_nothing_is_fetched_twice(
    office: Office, mailbox: OnExchange, tmp_path: Path, whole: bool
) -> None:
    assert office.run().counts.new == COUNT
    office.box.project()
    before = folders(office)
    assert before == {"Posteingang": COUNT, "Posteingang/Kunden": 1}
    remote = burn_down(office, tmp_path / "replica")
    restore(office, remote, tmp_path / "new", whole=whole)
    absent = [one for one in AbsentFiles(office.box.paths.volumes).all() if one.startswith(IMPORTS_MAILBOX.hex())]
    assert bool(absent) != whole
    assert folders(office) == before
    assert office.box.total("*", ANNA) == COUNT

    run = office.run()
    assert (run.state, run.counts.seen) == ("failed", 0), "it does not know yet what is archived"
    assert "has to be found out first" in run.words
    office.learn()
    run = office.run()
    assert (run.state, run.counts.seen, run.counts.new, run.counts.already) == ("done", COUNT + 1, 0, COUNT + 1)
    mailbox.box.put(letter("afterwards"))
    run = office.run()
    assert (run.counts.seen, run.counts.new) == (1, 1)
    office.box.project()
    assert folders(office) == {**before, "Posteingang": COUNT + 1}
    assert office.box.total("*", ANNA) == COUNT + 1
    if whole:
        assert set(office.archived()) == {*OLD, NEW, "afterwards"}


def test_what_the_catalogue_does_not_know_yet_is_waited_for(
    office: Office, mailbox: OnExchange, tmp_path: Path
) -> None:
    """Mail that was replicated and not projected: its ledger would have it fetched once more."""
    assert office.run().counts.new == COUNT
    office.box.project()
    mailbox.box.put(letter("late"))
    assert office.run().counts.new == 1
    remote = burn_down(office, tmp_path / "replica", projected=False)
    restore(office, remote, tmp_path / "new", whole=True)
    office.learn()
    assert office.run().state == "failed", "the late one is in no catalogue"
    office.box.project()
    office.learn()
    run = office.run()
    assert (run.state, run.counts.new, run.counts.already) == ("done", 0, COUNT + 2)
    office.box.project()
    assert office.box.total("*", ANNA) == COUNT + 1
