"""Each page of the daily console, as it looks on a bare screen of 80×25 and in a terminal of 160×50."""

from __future__ import annotations

import pytest

from appliance.errors import KeyringError, UnavailableError
from appliance.host import units, updates
from appliance.services import api
from tests.console.conftest import Snap
from tests.console.fake_box import HOUR, MINUTE, NOW, FakeBox, FakeHost, status
from tui.place import PLACES

pytestmark = pytest.mark.console

both_looks = pytest.mark.parametrize("plain", [True, False], ids=["80x25", "160x50"])


@both_looks
@pytest.mark.parametrize(("number", "name"), [(number, name) for number, name, _title in PLACES])
def test_place(snap: Snap, plain: bool, number: str, name: str) -> None:
    snap(number, plain=plain)


@both_looks
def test_overview_with_alarms(snap: Snap, plain: bool) -> None:
    alarms = (
        api.Alarm(id="a1", level="error", text="The disk is nearly full: 4% free.", since=int(NOW - 2 * HOUR)),
        api.Alarm(
            id="a2", level="warning", text="No mail has come to journal@archive.example.com for 26 hours.",
            since=int(NOW - 40 * MINUTE), acknowledged_by="Anna Berg", acknowledged_at=int(NOW - 30 * MINUTE),
        ),
    )  # fmt: skip
    full = status(alarms=alarms, disk_free=40 * 1024**3, oldest_unsearchable_seconds=900.0, backlog=1_204)
    snap(plain=plain, box=FakeBox(status=full))


@both_looks
def test_locked(snap: Snap, plain: bool) -> None:
    snap(plain=plain, box=FakeBox(lock_state=api.LockState(unlocked=False)))


@both_looks
def test_wrong_passphrase(snap: Snap, plain: bool) -> None:
    box = FakeBox(
        lock_state=api.LockState(unlocked=False), unlock=KeyringError("That passphrase does not open the archive.")
    )
    snap("x", "enter", plain=plain, box=box)


@both_looks
def test_sign_in(snap: Snap, plain: bool) -> None:
    snap(plain=plain, sign_in=True)


@both_looks
def test_not_running(snap: Snap, plain: bool) -> None:
    snap(plain=plain, box=FakeBox(lock_state=UnavailableError("The archive does not answer.")))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("new mailbox", "2n"), ("suspend", "2s"), ("instructions", "2i"), ("invite", "3i"), ("lock", "6l"),
        ("passphrase", "6p"), ("authority", "7a"), ("restart service", "8r"), ("log", "8g"), ("install", "9i"),
        ("doctor", "0d"), ("bundle", "0b"), ("switch off", "0o"), ("new remote", "5n"), ("remove remote", "5d"),
    ],
)  # fmt: skip
def test_window(snap: Snap, name: str, keys: str) -> None:
    snap(*keys, plain=True, box=FakeBox(certificate_acme_terms="https://letsencrypt.org/documents/LE-SA-v1.5.pdf"))


@both_looks
def test_new_remote(snap: Snap, plain: bool) -> None:
    snap("5", "n", "down", "down", "enter", "enter", plain=plain)


@pytest.mark.parametrize(("name", "keys"), [("new mailbox", "2n"), ("log", "8g"), ("doctor", "0d")])
def test_wide_window(snap: Snap, name: str, keys: str) -> None:
    snap(*keys, plain=False)


@both_looks
def test_help(snap: Snap, plain: bool) -> None:
    snap("2", "f1", plain=plain)


@both_looks
def test_palette(snap: Snap, plain: bool) -> None:
    snap("2", "ctrl+p", plain=plain)


def test_services_without_systemd(snap: Snap) -> None:
    snap("8", plain=True, host=FakeHost({units.available: False}))


def test_updates_where_they_cannot_be_installed(snap: Snap) -> None:
    nothing = updates.Updates(None, (), "0.5.0", False, False, None, "This is no Debian system.")
    snap("9", plain=True, host=FakeHost({updates.current: nothing}))


def test_an_empty_archive(snap: Snap) -> None:
    empty = FakeBox(
        status=status(
            records=0, last_message_at=None, per_minute=(0,) * 60, replicas=(), only_here=0, backlog=0,
            oldest_unsearchable_seconds=0.0,
        ),
        trends=api.Trends(60, (), (), ()), mailboxes=(), remotes=(), jobs=(), replica_history=(),
    )  # fmt: skip
    snap(plain=True, box=empty)
