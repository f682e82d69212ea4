"""Archiving profiles of Microsoft 365, run by a collector: what lies there is in the log, and the figures say so."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.settings.events import ProfilePut
from appliance.sources.base import Memory, Source
from appliance.sources.graph.options import open_source
from tests.collector import ANNA, BEN, Bench
from tests.doubles.graph import CLIENT, SECRET, TENANT, refused
from tests.doubles.graph_mail import Box, MailDouble
from tests.doubles.https import Said, on, serving
from tests.integration.test_collecting import Archiver
from tests.scratch import mail

pytestmark = pytest.mark.integration


class Tenant(Bench):
    """A collector beside a tenant in which Anna and Ben have mailboxes."""

    def __init__(self, folder: Path, graph: MailDouble) -> None:
        super().__init__(folder)
        self.graph = graph
        self.anna, self.ben = graph.box(ANNA.addresses[0]), graph.box(BEN.addresses[0])

    def profile(self, **settings: object) -> ProfilePut:
        places = {"authority": self.graph.url, "graph": self.graph.url}
        options = {"tenant": TENANT, "client": CLIENT, "secret": SECRET, **places}
        return ProfilePut("m365", "graph", options, **settings)  # type: ignore[arg-type]

    @contextmanager
    def collector(self) -> Iterator[Collecting]:
        def opener(name: str, options: dict[str, str], memory: Memory | None = None) -> Source:
            assert name == "graph"
            return open_source(options, memory, tls=self.graph.tls, sleep=lambda _seconds: None)

        with self.running(opener=opener) as collecting:
            yield collecting


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    double = MailDouble(tmp_path / "graph")
    with serving(double):
        yield Tenant(tmp_path, double)
    assert double.complaints == []


def figures(run: api.ProfileRun) -> tuple[int, ...]:
    """Seen, new, already, filtered, failed."""
    counts = run.counts
    return counts.seen, counts.new, counts.already, counts.filtered, counts.failed


def add(box: Box, *names: str, folder: str = "") -> list[bytes]:
    """Messages that come."""
    found = [mail(name, message_id=f"{name}@x") for name in names]
    for one in found:
        box.add(one, folder)
    return found


def place(person: str, folder: tuple[str, ...], message: bytes) -> tuple[str, tuple[str, ...], bytes]:
    return person, folder, sha256(message).digest()


def test_all_mailboxes_each_into_its_own_archive(tenant: Tenant) -> None:
    below = tenant.anna.folder("Kunden", tenant.anna.inbox)
    tenant.anna.folder("Kalender", kind="IPF.Appointment")
    hers, both = add(tenant.anna, "hers", "both")
    [deep] = add(tenant.anna, "deep", folder=below)
    _both, his = add(tenant.ben, "both", "his")
    tenant.tell(tenant.profile())
    with tenant.collector() as collecting:
        run = tenant.run("m365")
        assert (run.state, run.words, figures(run)) == ("done", "", (5, 4, 1, 0, 0))
        again = tenant.run("m365")
        assert (again.state, figures(again)) == ("done", (0, 0, 0, 0, 0))
        checks = {one.what: one.state for one in collecting.test(tenant.profile())}
    assert {state for what, state in checks.items()} == {"ok"}
    inbox = ("Posteingang",)
    assert tenant.archived() == Counter([
        place("anna-id", inbox, hers), place("anna-id", inbox, both), place("anna-id", ("Posteingang", "Kunden"), deep),
        place("ben-id", inbox, both), place("ben-id", inbox, his),
    ])  # fmt: skip


def test_what_exchange_has_forgotten_is_not_fetched_again_though_its_bytes_are_others(tenant: Tenant) -> None:
    add(tenant.anna, "one", "two")
    tenant.tell(tenant.profile())
    with tenant.collector():
        tenant.run("m365")
        tenant.graph.forget()
        for one in tenant.anna.messages.values():  # made anew, with another boundary
            one.mime += b"\r\n"
        add(tenant.anna, "three")
        run = tenant.run("m365")
        assert (run.state, figures(run)) == ("done", (3, 1, 2, 0, 0))
    assert len(tenant.records()[0]) == 3


def test_throttled_expired_and_cut_off_it_comes_all_the_same(tenant: Tenant) -> None:
    tenant.graph.page = 7
    expected = add(tenant.anna, *(f"number {number}" for number in range(40)))
    some = list(tenant.anna.messages)
    busy = Said(429, {"error": {"code": "ApplicationThrottled"}}, {"Retry-After": "1"})
    tenant.graph.faults = [
        on("/delta", busy, after=2),
        on(f"{some[10]}/$value", busy),
        on(f"{some[11]}/$value", Said(body=b"Subject: half", cut=True)),
        on(f"{some[20]}/$value", Said(401, {"error": {"code": "InvalidAuthenticationToken", "message": "Expired."}})),
        on("/delta", refused(410, "SyncStateNotFound", "The sync state generation is not found."), after=4),
    ]
    tenant.tell(tenant.profile())
    with tenant.collector():
        run = tenant.run("m365")
    assert (run.state, run.words) == ("done", "")
    assert (run.counts.new, run.counts.failed) == (40, 0)
    assert tenant.graph.faults == []
    assert tenant.archived() == Counter(place("anna-id", ("Posteingang",), one) for one in expected)


def test_a_message_that_cannot_be_given_is_listed_and_tried_again(tenant: Tenant) -> None:
    [well] = add(tenant.anna, "well")
    broken = tenant.anna.add(
        mail("broken"), refused=refused(500, "ErrorMimeContentConversionFailed", "Content conversion failed.")
    )
    tenant.tell(tenant.profile())
    with tenant.collector():
        run = tenant.run("m365")
        assert figures(run) == (2, 1, 0, 0, 1)
        [failure] = run.failures
        assert (failure.item, failure.folder) == (broken.id, "Posteingang")
        assert "ErrorMimeContentConversionFailed" in failure.why
        broken.refused = None
        assert figures(tenant.run("m365")) == (1, 1, 0, 0, 0)
    assert set(tenant.archived()) == {place("anna-id", ("Posteingang",), one) for one in (well, broken.mime)}


def test_one_mailbox_that_may_not_be_read_keeps_nobody_from_the_others(tenant: Tenant) -> None:
    tenant.graph.limited_to = {BEN.addresses[0]}
    add(tenant.anna, "hers")
    [his] = add(tenant.ben, "his")
    tenant.tell(tenant.profile())
    with tenant.collector():
        run = tenant.run("m365")
    assert run.state == "failed"
    assert "Mail.Read" in run.words
    assert tenant.archived() == Counter([place("ben-id", ("Posteingang",), his)])


def test_what_is_old_is_deleted_there_for_good_once_its_copy_was_read_back(tenant: Tenant) -> None:
    tenant.graph.permissions = {"Mail.ReadWrite"}
    old, damaged = (mail(name, message_id=f"{name}@x") for name in ("old", "damaged"))
    for one in (old, damaged):
        tenant.anna.add(one, received="2025-01-31T10:00:00Z")
    new = tenant.anna.add(mail("new"), received=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    tenant.tell(tenant.profile(delete_after_days=30))
    with tenant.collector(), Archiver(tenant, damaged=damaged):
        run = tenant.run("m365")
    assert (run.counts.new, run.counts.deleted) == (3, 1)
    assert {one.mime for one in tenant.anna.messages.values()} == {damaged, new.mime}
    assert len(tenant.records()[0]) == 3
