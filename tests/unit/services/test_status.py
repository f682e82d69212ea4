"""The status page: sums that agree, and what an administrator is told when they do not."""

from __future__ import annotations

import time

from appliance.services import mailboxes, status, users
from appliance.settings import events
from tests.scratch import BOX, DOOR, ScratchArchive, mail, report


def test_log_catalogue_and_index_are_counted_each_for_itself(box: ScratchArchive) -> None:
    box.receive(mail("One"), report(mail("Two"), "To: a@b.example"), mail("One"))
    before = status.status(box.archive, BOX)
    assert (before.records, before.projected, before.backlog) == (3, 0, 3)
    assert before.oldest_unsearchable_seconds >= 0
    box.project()
    after = status.status(box.archive, BOX)
    assert (after.records, after.projected, after.messages, after.indexed, after.backlog) == (3, 3, 2, 2, 0)
    assert after.agrees and not after.alarms
    assert sum(after.per_minute) == 3


def test_a_document_missing_from_the_index_is_noticed(box: ScratchArchive) -> None:
    box.receive(mail("Here"), mail("Gone"))
    box.project()
    assert box.projecting is not None and box.projecting._index is not None
    index = box.projecting._index
    (shard,) = index._open.values()
    shard._writer.delete_documents_by_term("id", box.search("gone").hits[0].id)
    shard.commit()
    index.commit()
    seen = status.status(box.archive, BOX)
    assert not seen.agrees
    assert any("disagree" in alarm.text for alarm in seen.alarms)


def test_a_mailbox_that_fell_silent_raises_an_alarm(box: ScratchArchive) -> None:
    box.receive(mail("Long ago"), at=time.time() - 3 * 24 * 3600)
    box.project()
    alarms = status.status(box.archive, BOX).alarms
    assert any(DOOR in alarm.text and "72 hours" in alarm.text for alarm in alarms)
    mailboxes.mailbox_change(box.archive, BOX, id=box.mailbox.id, state="suspended")
    assert not status.status(box.archive, BOX).alarms


def test_a_hold_is_asked_before_anything_is_erased(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    settings = box.archive.settings
    assert settings.may_erase(frozenset({anna}), 5)
    box.archive.record(BOX, events.HoldPlaced("h1", "lawsuit", anna, since=3, until=10))
    assert not settings.may_erase(frozenset({anna, "other"}), 5)
    assert settings.may_erase(frozenset({"other"}), 5)
    assert settings.may_erase(frozenset({anna}), 10)
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.unlink()
    box.open()
    assert not box.archive.settings.may_erase(frozenset({anna}), 5)
    box.archive.record(BOX, events.HoldReleased("h1"))
    assert box.archive.settings.may_erase(frozenset({anna}), 5)


def test_a_lost_second_factor_is_taken_away_by_an_administrator(box: ScratchArchive) -> None:
    anna = box.user("anna@example.com")
    box.archive.record(BOX, events.TotpSet(anna, "JBSWY3DPEHPK3PXP"))
    assert users.user(box.archive, BOX, id=anna).totp_enabled
    assert not users.user_reset_totp(box.archive, BOX, id=anna).totp_enabled
