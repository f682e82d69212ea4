"""The system log under trouble: what failed did not happen, and what happened is not forgotten."""

from __future__ import annotations

import os
from concurrent.futures import Future

import pytest

from appliance.errors import MailkeepError, StorageError, UsageError
from appliance.mail import published
from appliance.services import mailboxes, users
from appliance.services.wire import Call
from appliance.settings import events
from tests.scratch import BOX, ScratchArchive


def _verify(box: ScratchArchive) -> list[str]:
    return [one.what for one in box.verify().errors]


def test_an_entry_that_cannot_be_applied_does_not_get_into_the_log(box: ScratchArchive) -> None:
    before = box.archive.settings.position()
    for wrong in (events.PasswordSet("nobody", "x"), events.GatewaySet("h", 2**63), events.InvitationMade("x", b"", 0)):
        with pytest.raises(Exception):  # noqa: B017 - a fault of ours, whatever it is
            box.archive.record(BOX, wrong)
    assert box.archive.settings.position() == before
    box.close()
    box.open()
    box.user("anna@example.com")
    assert _verify(box) == []


def test_tries_that_failed_give_way_to_the_one_that_did_not(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = box.archive.writer.append

    def unconfirmed(*given, **named):  # type: ignore[no-untyped-def]
        append(*given, **named).result()
        failed: Future[object] = Future()
        failed.set_exception(StorageError("fdatasync failed"))
        return failed

    with monkeypatch.context() as broken:
        broken.setattr(box.archive.writer, "append", unconfirmed)
        for name in ("one", "two"):
            with pytest.raises(StorageError):
                box.user(f"{name}@example.com")
    assert users.users(box.archive, BOX, find="example.com").total == 0
    box.user("three@example.com")
    box.close()
    for file in box.paths.data.glob("settings.db*"):
        file.unlink()
    box.open()
    assert [one.primary for one in users.users(box.archive, BOX, find="example.com").users] == ["three@example.com"]
    assert _verify(box) == []


def test_what_is_replayed_is_synced_before_it_counts(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    box.close()
    synced: list[str] = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda one: (synced.append(os.readlink(f"/proc/self/fd/{one}")), sync(one)))
    box.open()
    assert any("00000000000000000000000000000000" in one and one.endswith(".mkv") for one in synced)


def test_the_end_of_the_log_taken_away_is_noticed_by_what_the_settings_remember(box: ScratchArchive) -> None:
    box.close()
    box.open()
    box.user("anna@example.com")
    box.close()
    newest = max(box.paths.volumes.glob("0" * 32 + "/*.mkv"))
    newest.unlink()
    for seal in newest.parent.glob(newest.stem + ".seal"):
        seal.unlink()
    box.open()
    assert any("missing at its end" in one or "not the one" in one for one in _verify(box))


def test_the_gateway_is_told_of_a_new_limit_and_nonsense_is_refused(box: ScratchArchive) -> None:
    def limit() -> int:
        return published.decode_settings(published.settings_path(box.paths.data).read_bytes()).size_limit

    box.dispatcher.from_box(Call(method="gateway_set", params={"size_limit": 20_000_000}), BOX)
    assert limit() == 20_000_000
    for wrong in (-1, 1, 2**40):
        with pytest.raises(UsageError):
            box.dispatcher.from_box(Call(method="gateway_set", params={"size_limit": wrong}), BOX)
    assert limit() == 20_000_000


def test_a_gateway_that_could_not_be_told_is_told_later(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(mailboxes, "replace_file", full)
        with pytest.raises(MailkeepError, match="in force"):
            mailboxes.mailbox_create(box.archive, BOX, name="New", address="new@archive.test")
    from appliance.services.signing import Signer

    Signer(box.archive)._round()
    told = published.decode_settings(published.settings_path(box.paths.data).read_bytes())
    assert {address for one in told.mailboxes for address in one.addresses} >= {"new@archive.test"}
