"""Alarms of a whole archive: what raises them, who acknowledges them, how they live through locking and a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from appliance.errors import ForbiddenError, KeyringError, NotFoundError, SignInError, UsageError
from appliance.mail.published import WorkerStats, encode, stats_path
from appliance.services import api, auditing, status
from appliance.services.alarming import Watch
from appliance.services.locked import Locked
from appliance.services.locked_alarms import LockedAlarms
from appliance.services.locked_status import LockedStatus
from appliance.services.looking import Looking
from appliance.services.notifying.delivery import Delivery, Mail
from appliance.services.notifying.locked_setup import read_setup
from appliance.services.notifying.services import Notifications
from appliance.services.principal import Principal
from appliance.services.service_key import keys_of, stored_keys, write_service_keyfile
from appliance.services.wire import Call
from appliance.settings import events
from tests.scratch import BOX, DOOR, ScratchArchive, mail
from tests.unit.services.test_locked import FakeAgent

USER = Principal(id="u1", roles=frozenset({"user"}), archives=frozenset({"u1"}))
HOUR = 3600.0
STARTED = time.time() - HOUR


class Clock:
    """The archive's clock, set by a test."""

    def __init__(self, box: ScratchArchive) -> None:
        self.now = time.time()
        box.archive.clock = lambda: self.now
        box.archive.alarms._clock = lambda: self.now


@pytest.fixture
def clock(box: ScratchArchive) -> Iterator[Clock]:
    box.archive.alarms.keeps = True
    yield Clock(box)


def kinds(box: ScratchArchive) -> set[str]:
    return {one.kind for one in status.status(box.archive, BOX).alarms}


def ask(box: ScratchArchive, method: str, who: Principal = BOX, **params: object) -> object:
    return box.dispatcher.from_box(Call(method=method, params=params), who)


def heard(box: ScratchArchive, at: float, **changes: object) -> None:
    place = stats_path(box.paths.data, 0)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(encode(WorkerStats(0, 1, int(STARTED * 1e6), int(at * 1e6), **changes)))  # type: ignore[arg-type]


def test_an_alarm_is_acknowledged_audited_and_outlives_a_restart(box: ScratchArchive, clock: Clock) -> None:
    heard(box, clock.now - 300)
    page = ask(box, "alarms")
    assert isinstance(page, api.AlarmPage)
    (alarm,) = page.standing
    assert (alarm.kind, alarm.about, alarm.level) == ("gateway", "0", "error")
    with pytest.raises(ForbiddenError):
        ask(box, "alarm_acknowledge", USER, id=alarm.id)
    with pytest.raises(NotFoundError):
        ask(box, "alarm_acknowledge", id="no-such")
    ask(box, "alarm_acknowledge", id=alarm.id)
    assert [one.what for one in auditing.audit(box.archive, BOX, find="alarm").lines] == ["gateway 0"]
    box.close()
    box.open()
    box.archive.alarms.keeps = True
    (after,) = status.status(box.archive, BOX).alarms
    assert (after.id, after.since, after.acknowledged_by) == (alarm.id, alarm.since, "local:test")
    heard(box, time.time())
    box.archive.alarms._clock = lambda: time.time() + 0
    status.status(box.archive, BOX)
    box.archive.alarms._clock = lambda: time.time() + 200
    status.status(box.archive, BOX)
    page = ask(box, "alarms")
    assert isinstance(page, api.AlarmPage)
    assert not page.standing and page.over[0].id == alarm.id


def test_guessing_passwords_raises_an_alarm_that_names_nobody(box: ScratchArchive, clock: Clock) -> None:
    identity = box.dispatcher.identity
    assert not kinds(box)
    for number in range(30):
        with pytest.raises(SignInError):
            identity.sign_in(
                address=f"u{number}@example.com", password="wrong", totp="", client=f"192.0.2.{number % 3}"
            )
    (alarm,) = status.status(box.archive, BOX).alarms
    assert alarm.kind == "sign-in" and "30 wrong ones in the last hour, from 3 addresses" in alarm.text
    assert "192.0.2" not in alarm.text and "example.com" not in box.paths.alarms.read_text()
    box.archive.tries._clock = lambda: time.monotonic() + 2 * HOUR
    assert kinds(box) == {"sign-in"}, "who guesses with pauses is one attack"
    clock.now += 2 * HOUR
    status.status(box.archive, BOX)
    assert not kinds(box)


def test_silence_has_a_rule_for_all_and_for_each(box: ScratchArchive, clock: Clock) -> None:
    box.receive(mail("Hello"))
    box.project()
    ask(box, "watch_set", hours=3, days=(0, 1, 2, 3, 4, 5, 6), begins=0, ends=1440, zone="UTC")
    heard(box, clock.now + 4 * HOUR)
    clock.now += 4 * HOUR
    assert kinds(box) == {"silence"}
    ask(box, "watch_set", mailbox=box.mailbox.id, hours=5, days=(0, 1, 2, 3, 4, 5, 6), begins=0, ends=1440, zone="UTC")
    assert not kinds(box)
    clock.now += 2 * HOUR
    heard(box, clock.now)
    assert kinds(box) == {"silence"}
    ask(box, "watch_set", mailbox=box.mailbox.id, hours=0)
    assert not kinds(box)
    ask(box, "watch_set", mailbox=box.mailbox.id, own=False)
    assert kinds(box) == {"silence"}
    rules = ask(box, "watch_rules")
    assert isinstance(rules, tuple)
    assert [(one.address, one.own, one.hours) for one in rules] == [("", True, 3), (DOOR, False, 3)]
    for wrong in ({"hours": -1}, {"days": (9,)}, {"zone": "Nowhere"}):
        with pytest.raises(UsageError):
            ask(box, "watch_set", **wrong)
    with pytest.raises(NotFoundError):
        ask(box, "watch_set", mailbox="00" * 16)


def test_mail_that_was_put_off_is_told_for_a_day(box: ScratchArchive, clock: Clock) -> None:
    heard(box, clock.now, turned_away={DOOR: 4})
    (alarm,) = status.status(box.archive, BOX).alarms
    assert f"4 deliveries to {DOOR} were put off" in alarm.text
    clock.now += 25 * HOUR
    heard(box, clock.now, turned_away={DOOR: 4})
    assert "turned-away" not in kinds(box)
    heard(box, clock.now, turned_away={DOOR: 5})
    assert any("1 delivery to" in one.text for one in status.status(box.archive, BOX).alarms)


def test_what_a_check_finds_is_an_alarm_until_a_check_finds_nothing(box: ScratchArchive, clock: Clock) -> None:
    box.receive(mail("One"), mail("Two"))
    box.project()
    box.sign()
    volume = next(box.paths.volumes.glob(f"{box.mailbox.id}/*.mkv"))
    whole = volume.read_bytes()
    volume.chmod(0o640)
    volume.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    assert box.verify(deep=True).errors
    assert "verify" in kinds(box)
    box.close()
    box.open()
    box.archive.alarms.keeps = True
    assert "verify" in kinds(box)
    volume.write_bytes(whole)
    assert not box.verify(deep=False).errors
    assert "verify" in kinds(box), "only a deep check takes back what a deep one found"
    box.verify(deep=True)
    assert "verify" not in kinds(box)


def test_a_locked_archive_is_an_alarm_that_leaves_the_others_be(box: ScratchArchive, clock: Clock) -> None:
    box.receive(mail("Old"), at=clock.now - 20 * 24 * HOUR)
    box.project()
    assert kinds(box) == {"silence"}
    locked = Locked(box.paths, FakeAgent())  # type: ignore[arg-type]
    locked.alarms.keeps = True
    page = locked.from_box(Call(method="alarms"), BOX)
    assert {one.kind for one in page.standing} == {"silence", "locked"}
    for number in range(31):
        with pytest.raises((KeyringError, SignInError)):
            locked.from_web(Call(method="unlock", params={"passphrase": "wrong"}, client=f"198.51.100.{number}"))
    status_now = locked.from_box(Call(method="status"), BOX)
    assert "sign-in" in {one.kind for one in status_now.alarms}
    assert locked.from_web(Call(method="health")).reasons == ("locked",)
    box.close()
    box.open()
    box.archive.alarms.keeps = True
    assert {"silence", "sign-in"} == kinds(box)
    assert [one.kind for one in box.archive.alarms.book.over] == ["locked"]


def test_health_is_for_anybody_and_says_what_is_not_well(box: ScratchArchive) -> None:
    assert box.dispatcher.from_web(Call(method="health")) == api.Health(True)
    heard(box, time.time() - 120)
    assert box.dispatcher.from_web(Call(method="health")).reasons == ("gateway",)


def test_a_look_that_fails_is_not_the_last(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    def look() -> None:
        looked.append(1)
        raise RuntimeError("broken")

    monkeypatch.setattr("appliance.services.alarming.LOOK_SECONDS", 0.01)
    watch = Watch(look)
    watch.start()
    deadline = time.monotonic() + 10
    while len(looked) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    watch.close()
    assert len(looked) >= 3


# -- telling ------------------------------------------------------------------------------------------------------


SET = {
    "host": "smtp.example.com", "user": "mailkeep", "password": "a password", "sender": "archive@example.com",
    "recipients": ["it@example.com"],
}  # fmt: skip


def test_secrets_are_kept_encrypted_and_never_shown(box: ScratchArchive) -> None:
    told = ask(box, "notifying_set", **SET, url="https://hooks.example.com/token", secret="s" * 32)
    assert isinstance(told, api.NotifyingSettings)
    assert told.has_password and told.has_secret and "a password" not in repr(told)
    box.close()
    raw = b"".join(file.read_bytes() for file in box.paths.data.rglob("*") if file.is_file())
    for secret in (b"a password", b"s" * 32, b"hooks.example.com", b"it@example.com"):
        assert secret not in raw
    box.open()
    put, _since = box.archive.settings.notifying()
    assert (put.password, put.secret) == ("a password", "s" * 32)
    lines = auditing.audit(box.archive, BOX, find="notifying").lines
    assert "mail=smtp.example.com:587" in lines[0].what and "token" not in lines[0].what


def test_a_password_goes_to_no_other_place_than_it_was_given_for(box: ScratchArchive) -> None:
    ask(box, "notifying_set", **SET, url="https://hooks.example.com/x", secret="s" * 32)
    with pytest.raises(UsageError, match="type it again"):
        ask(box, "notifying_set", host="evil.example.net")
    with pytest.raises(UsageError, match="secret"):
        ask(box, "notifying_set", url="https://evil.example.net/")
    ask(box, "notifying_set", port=465, security="tls")
    assert box.archive.settings.notifying()[0].password == "a password"


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0}, {"recipients": []}, {"sender": "nobody"}, {"recipients": ["a@b.example\r\nBcc: x@y.example"]},
        {"language": "xx"}, {"daily_hour": 24}, {"host": "smtp example"}, {"security": "none"},
        {"url": "http://example.com/", "secret": "s" * 32}, {"url": "https://example.com/", "secret": "short"},
        {"recipients": ["x@example.com"] * 51},
    ],
)  # fmt: skip
def test_what_would_tell_nobody_is_refused(box: ScratchArchive, wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        ask(box, "notifying_set", **{**SET, **wrong})
    assert box.archive.settings.notifying()[0] == events.NotifyingSet()


def test_telling_is_for_administrators(box: ScratchArchive) -> None:
    for method in ("notifying", "notifying_set", "notify_test", "metrics_token_make", "watch_rules", "alarms"):
        with pytest.raises(ForbiddenError):
            ask(box, method, USER)


def test_the_daily_mail_says_how_it_is_and_what_did_not_happen(box: ScratchArchive, clock: Clock) -> None:
    box.receive(mail("One"), mail("Two"))
    box.project()
    box.sign()
    sent: list[Mail] = []

    def deliver(delivery: Delivery) -> str:
        assert isinstance(delivery, Mail)
        sent.append(delivery)
        return ""

    telling = Notifications(box.archive, Looking(box.archive), deliver=deliver)
    telling.set(BOX, **{**SET, "daily_hour": 0})  # type: ignore[arg-type]
    telling.notifier.round()
    assert not sent, "what was set today begins tomorrow"
    clock.now += 24 * HOUR
    for _ in range(3):
        telling.notifier.round()
        clock.now += 120
    assert len(sent) == 1
    text = sent[0].message.decode()
    head = box.archive.seals.newest()
    assert head is not None and head.hash.hex()[:40] in text.replace("=\r\n", "")
    assert "Copies elsewhere" in text and "no time-stamping authority" in text.replace("=\r\n", "")


def test_a_locked_archive_tells_where_the_box_has_the_service_key(box: ScratchArchive) -> None:
    telling = Notifications(box.archive, Looking(box.archive))
    telling.set(BOX, **SET)  # type: ignore[arg-type]
    assert stored_keys(box.paths) is None and not telling.get(BOX).while_locked
    keys = keys_of(box.archive.keyring)
    write_service_keyfile(box.paths, keys)
    assert telling.get(BOX).while_locked
    setup = read_setup(box.paths, keys)
    assert setup is not None and setup.told.password == "a password" and setup.host == "box.test"
    assert b"a password" not in box.paths.notifying.read_bytes()


def test_a_box_that_came_up_locked_says_so_and_sends_the_daily_mail(box: ScratchArchive) -> None:
    Notifications(box.archive, Looking(box.archive)).set(BOX, **SET)  # type: ignore[arg-type]
    now = [time.time()]
    sent: list[str] = []

    def deliver(delivery: Delivery) -> str:
        assert isinstance(delivery, Mail) and delivery.password == "a password"
        sent.append(delivery.message.decode().replace("=\r\n", ""))
        return ""

    numbers = LockedStatus(box.paths, clock=lambda: now[0])
    numbers.alarms.keeps = True
    telling = LockedAlarms(box.paths, numbers, numbers.status, deliver=deliver)
    numbers.status()
    now[0] += 61
    telling.notifier.round()
    assert not sent, "without the service key nobody can be told"
    write_service_keyfile(box.paths, keys_of(box.archive.keyring))
    telling.notifier.round()
    telling.notifier.round()
    assert len(sent) == 1 and "The archive is locked. Mail is received and kept" in sent[0]
    tomorrow = datetime.fromtimestamp(now[0] + 24 * HOUR).astimezone()
    now[0] = tomorrow.replace(hour=12).timestamp()  # the hour of the daily mail has come since
    numbers.status()
    telling.notifier.round()
    assert len(sent) == 2 and "Chain head" not in sent[1] and "Nothing has been signed yet" in sent[1]
