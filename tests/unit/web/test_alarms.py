"""Alarms, notifications and support bundles in the web admin; health and metrics for machines."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from appliance.services import api
from tests.unit.web.alarms_double import BUNDLE, TOKEN
from tests.unit.web.browse import ADMIN, USER, Browser, signed_in, visible
from tests.unit.web.double import ArchiveDouble
from webadmin.admin.alarms import said
from webadmin.app import create_app

PAGES = ["/admin/alarms", "/admin/alarms/silence", "/admin/alarms/silence/rule", "/admin/notifications",
         "/admin/support"]  # fmt: skip
MAIL = {
    "host": "smtp.example.org", "port": "465", "security": "tls", "user": "mailkeep", "password": "",
    "sender": "archive@example.org", "recipients": "it@example.org, boss@example.org", "language": "de",
    "level": "error", "daily": "1", "daily_hour": "6",
}  # fmt: skip


@pytest.fixture
def admin() -> Browser:
    """An administrator's browser."""
    return signed_in(ADMIN)


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_are_for_administrators(admin: Browser, path: str) -> None:
    assert signed_in(USER).get(path).status_code == 403
    assert admin.get(path).status_code == 200


def test_an_alarm_says_what_is_wrong_since_when_and_who_has_seen_it(admin: Browser) -> None:
    text = admin.text("/admin/alarms")
    assert "2 things need your attention" in text and "1 of them is an error" in text
    assert "91% is in use" in text and "seen by Jonas Müller" in text
    assert "What is over" in text and "The replica “wasabi” is 5 hours behind" in text


def test_an_alarm_is_acknowledged_once_and_stays(admin: Browser) -> None:
    answer = admin.post("/admin/alarms", "/admin/alarms/a1/acknowledge")
    assert answer.headers["location"] == "/admin/alarms?note=alarm-seen"
    assert admin.calls("alarm_acknowledge") == [{"id": "a1"}]
    page = admin.get("/admin/alarms").text
    assert "I have seen it" not in page and "91% is in use" in page


def test_an_alarm_that_is_over_needs_nobody(admin: Browser) -> None:
    answer = admin.post("/admin/alarms", "/admin/alarms/gone/acknowledge")
    assert answer.headers["location"] == "/admin/alarms?note=alarm-over"


def test_nothing_wrong_is_said_so(admin: Browser) -> None:
    admin.archive.standing.clear()
    assert "Nothing is wrong that this box knows of." in admin.text("/admin/alarms")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (api.WatchRule("", "", False, 0, (0,), 0, 60, ""), "never missed"),
        (api.WatchRule("", "", False, 1, (0, 1, 2, 3, 4), 480, 1080, ""), "1 hour, Monday to Friday, 08:00 to 18:00"),
        (api.WatchRule("", "", False, 30, tuple(range(7)), 0, 1440, "UTC"),
         "30 hours, every day, 00:00 to 24:00 in UTC"),
        (api.WatchRule("", "", False, 2, (5, 6), 540, 720, ""), "2 hours, Saturday, Sunday, 09:00 to 12:00"),
    ],
)  # fmt: skip
def test_a_rule_is_said_in_words(rule: api.WatchRule, words: str) -> None:
    assert said(rule) == words


def test_a_rule_of_one_mailbox_is_set_and_taken_away(admin: Browser) -> None:
    page = "/admin/alarms/silence/rule?mailbox=b-1"
    fields = {"mailbox": "b-1", "own": "1", "hours": "3", "day5": "1", "begins": "09:00", "ends": "24:00", "zone": ""}
    assert admin.post(page, "/admin/alarms/silence/rule", fields).status_code == 303
    admin.post(page, "/admin/alarms/silence/rule", {**fields, "own": "0"})
    assert admin.calls("watch_set") == [
        {"mailbox": "b-1", "hours": 3, "days": (5,), "begins": 540, "ends": 1440, "zone": ""},
        {"mailbox": "b-1", "own": False},
    ]


@pytest.mark.parametrize(("field", "value"), [("hours", "many"), ("hours", "9999"), ("begins", "8"), ("ends", "25:00")])
def test_a_rule_that_makes_no_sense_is_told_why(admin: Browser, field: str, value: str) -> None:
    fields = {"mailbox": "", "hours": "3", "day0": "1", "begins": "09:00", "ends": "12:00", "zone": "", field: value}
    answer = admin.post("/admin/alarms/silence/rule", "/admin/alarms/silence/rule", fields)
    assert answer.status_code == 400 and 'role="alert"' in answer.text


def test_mail_settings_are_saved_and_a_password_that_is_not_typed_stays(admin: Browser) -> None:
    assert admin.post("/admin/notifications", "/admin/notifications/mail", MAIL).status_code == 303
    (changes,) = admin.calls("notifying_set")
    assert "password" not in changes
    assert changes["port"] == 465 and changes["daily_hour"] == 6
    assert changes["recipients"] == ("it@example.org", "boss@example.org")
    admin.post("/admin/notifications", "/admin/notifications/mail", {**MAIL, "password": "a secret", "daily": ""})
    changes = admin.calls("notifying_set")[-1]
    assert changes["password"] == "a secret" and changes["daily_hour"] == -1
    assert "a secret" not in admin.get("/admin/notifications").text


def test_mail_settings_that_make_no_sense_keep_what_was_typed(admin: Browser) -> None:
    answer = admin.post("/admin/notifications", "/admin/notifications/mail", {**MAIL, "recipients": ""})
    assert answer.status_code == 400
    assert "at least one address" in visible(answer) and 'value="smtp.example.org"' in answer.text
    answer = admin.post("/admin/notifications", "/admin/notifications/mail", {**MAIL, "port": "mail"})
    assert answer.status_code == 400 and "port as a number" in visible(answer)


def test_a_webhook_gets_a_proposed_secret_that_is_never_shown_again(admin: Browser) -> None:
    fields = {"url": "https://hooks.example.org/mailkeep", "secret": "0" * 64}
    assert admin.post("/admin/notifications", "/admin/notifications/webhook", fields).status_code == 303
    assert admin.calls("notifying_set") == [fields]
    assert "0" * 64 not in admin.get("/admin/notifications").text
    answer = admin.post("/admin/notifications", "/admin/notifications/webhook", {"url": "http://hooks.example.org/"})
    assert answer.status_code == 400 and "over HTTPS only" in visible(answer)


def test_a_test_says_what_came_of_it(admin: Browser) -> None:
    answer = admin.post("/admin/notifications", "/admin/notifications/test")
    assert "does not accept the user name or the password" in visible(answer)
    piece = admin.post("/admin/notifications", "/admin/notifications/test", headers={"HX-Request": "true"})
    assert "<html" not in piece.text and "does not accept" in visible(piece)
    admin.post("/admin/notifications", "/admin/notifications/mail", {**MAIL, "host": ""})
    assert "Nothing is set up yet" in visible(admin.post("/admin/notifications", "/admin/notifications/test"))


def test_a_support_bundle_is_made_and_fetched(admin: Browser) -> None:
    assert admin.post("/admin/support", "/admin/support").status_code == 303
    assert BUNDLE in admin.text("/admin/support")
    answer = admin.get("/admin/support/s1/file")
    assert answer.content.startswith(b"PK") and BUNDLE in answer.headers["content-disposition"]


# -- for machines -----------------------------------------------------------------------------------------------


@pytest.fixture
def archive() -> ArchiveDouble:
    return ArchiveDouble()


def machine(archive: ArchiveDouble, host: str = "127.0.0.1", client: str = "127.0.0.1") -> TestClient[Any]:
    """A program that asks for ``host`` and comes from ``client``."""
    application = create_app(archive)

    async def from_there(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "client": (client, 50_000)}, receive, send)

    return TestClient(from_there, base_url=f"http://{host}:8080", raise_server_exceptions=False)


def test_health_says_what_is_not_ready(archive: ArchiveDouble) -> None:
    asked = machine(archive, "archive.example.org", "192.0.2.7")
    assert asked.get("/health/ready").json() == {"ready": True, "reasons": [], "words": []}
    archive.health_now = api.Health(False, ("locked",), ("The archive is locked.",))
    answer = asked.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["locked"]
    archive.archiver_is_gone = True
    answer = asked.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["reasons"] == ["archiver"]
    assert asked.get("/health/live").status_code == 200


def test_metrics_are_read_on_the_box_and_nowhere_else(archive: ArchiveDouble) -> None:
    answer = machine(archive).get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "set-cookie" not in answer.headers
    for host, client, headers in (
        ("127.0.0.1", "192.0.2.7", {}),
        ("archive.example.org", "127.0.0.1", {}),
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}),
    ):
        answer = machine(archive, host, client).get("/metrics", headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert machine(archive, "localhost", "::1").get("/metrics").status_code == 200


def test_a_token_is_shown_once_and_asked_for_everywhere_from_then_on(admin: Browser) -> None:
    made = admin.post("/admin/notifications", "/admin/notifications/metrics-token")
    assert TOKEN in made.text and TOKEN not in admin.get("/admin/notifications").text
    asked = machine(admin.archive)
    assert asked.get("/metrics").status_code == 401
    assert asked.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    admin.post("/admin/notifications", "/admin/notifications/metrics-token/remove")
    assert asked.get("/metrics").status_code == 200


def test_metrics_of_an_archiver_that_is_gone_are_503(archive: ArchiveDouble) -> None:
    archive.archiver_is_gone = True
    assert machine(archive).get("/metrics").status_code == 503
