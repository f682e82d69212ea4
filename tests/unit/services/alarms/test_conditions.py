"""Conditions: what is wrong at which figure, what holds until it is clearly over, and a sentence for each."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import pytest

from appliance.language import speaking
from appliance.mail.published import WorkerStats
from appliance.services.alarms import words
from appliance.services.alarms.conditions import Certificate, Disagreement, Observed, Quiet, Tries, troubles
from appliance.services.alarms.trouble import Level, Trouble
from appliance.services.alarms.working_time import WorkingTime

NOW = 1_795_435_200.0  # Monday, 23 Nov 2026, 12:00 UTC
ALWAYS = WorkingTime(hours=6, days=tuple(range(7)), begins=0, ends=1440, zone="UTC")
FINE = Observed(now=NOW, disk_used=0.5)


def found(held: Mapping[str, Level] | None = None, **seen: Any) -> dict[str, Trouble]:
    """Troubles by kind, where those of ``held`` are held to be wrong already."""
    observed = Observed(**{"now": NOW, "disk_used": 0.5, **seen})
    return {one.kind: one for one in troubles(observed, lambda kind, _about: (held or {}).get(kind))}


def test_nothing_is_wrong_with_a_box_that_is_fine() -> None:
    assert not found(
        workers=(WorkerStats(0, 1, 0, int(NOW * 1e6)),), certificate=Certificate(60, 365), late=200.0,
        quiet=(Quiet("m", "door@archive.test", NOW - 3600, True, ALWAYS),), tries=Tries(5, 1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("used", "held", "level"),
    [
        (0.799, None, None), (0.80, None, "warning"), (0.79, "warning", "warning"), (0.779, "warning", None),
        (0.90, "warning", "error"), (0.89, "error", "error"), (0.875, "error", "warning"), (0.77, "error", None),
    ],
)  # fmt: skip
def test_the_disk_has_two_limits_and_does_not_flap(used: float, held: Level | None, level: Level | None) -> None:
    seen = found({"disk": held} if held else None, disk_used=used)
    assert (seen["disk"].level if "disk" in seen else None) == level


@pytest.mark.parametrize(
    ("late", "held", "level"),
    [
        (299.0, False, None), (301.0, False, "warning"), (200.0, True, "warning"), (59.0, True, None),
        (3700.0, False, "error"),
    ],
)  # fmt: skip
def test_mail_that_is_late_is_told_until_it_is_caught_up(late: float, held: bool, level: Level | None) -> None:
    seen = found({"late": "warning"} if held else None, late=late)
    assert (seen["late"].level if "late" in seen else None) == level


@pytest.mark.parametrize(
    ("days", "lifetime", "level"),
    [
        (31, 365, None), (29, 365, "warning"), (6.9, 365, "error"), (-3, 365, "error"),
        (29, 90, None), (22, 90, "warning"),  # renewed by itself with 30 days left
        (1.4, 6, "warning"), (0.5, 6, "error"),
    ],
)  # fmt: skip
def test_a_certificate_ends_soon_by_the_measure_of_its_life(days: float, lifetime: float, level: Level | None) -> None:
    seen = found(certificate=Certificate(days, lifetime))
    assert (seen["certificate"].level if "certificate" in seen else None) == level


def test_a_locked_box_says_until_when_nothing_is_lost_by_its_certificate() -> None:
    def told(**certificate: float) -> str:
        seen = found(waiting=3, certificate=Certificate(lifetime_days=90, **certificate))
        return words.sentence("locked", seen["locked"].figures)

    assert "3 messages wait to be read in" in told(days_left=80)
    assert "until 2027-02-11 nothing is lost" in told(days_left=80)
    assert "ended on 2026-11-21" in told(days_left=-2)
    assert "ertificate" not in told(days_left=3000), "nobody has to think of it for years"
    soon = found(waiting=0, certificate=Certificate(5, 90))["certificate"]
    assert "is not renewed while the archive is locked" in words.sentence("certificate", soon.figures)
    unlocked = found(certificate=Certificate(5, 90))["certificate"]
    assert "locked" not in words.sentence("certificate", unlocked.figures)


def test_guessing_is_told_until_it_is_rare() -> None:
    assert "sign-in" not in found(tries=Tries(29, 1))
    assert found(tries=Tries(30, 2))["sign-in"].level == "warning"
    assert found(tries=Tries(300, 2))["sign-in"].level == "error"
    assert "sign-in" in found({"sign-in": "warning"}, tries=Tries(12, 1))
    assert "sign-in" not in found({"sign-in": "warning"}, tries=Tries(9, 1))


def test_silence_counts_in_working_time_only() -> None:
    def quiet(hours: float, working: WorkingTime = ALWAYS, *, ever: bool = True) -> dict[str, Trouble]:
        return found(quiet=(Quiet("m1", "door@archive.test", NOW - hours * 3600, ever, working),))

    assert not quiet(5.9)
    assert "door@archive.test for 7 hours" in _said(quiet(7)["silence"])
    assert not quiet(1000, WorkingTime(hours=0))
    assert not quiet(64, WorkingTime(hours=6, zone="UTC")), "Friday evening to Monday noon is four hours of work"
    assert "since it was set up 7 hours ago" in _said(quiet(7, ever=False)["silence"])


def test_a_worker_that_is_not_heard_of_is_told_apart_from_the_others() -> None:
    here, gone = WorkerStats(0, 1, 0, int(NOW * 1e6)), WorkerStats(3, 1, 0, int((NOW - 61) * 1e6))
    (only,) = troubles(Observed(NOW, 0.1, workers=(here, gone)), lambda _kind, _about: None)
    assert (only.kind, only.about, only.level) == ("gateway", "3", "error")


EVERYTHING = {
    "waiting": 3, "disk_used": 0.95, "memory_used": 0.97, "plain_swaps": ("/dev/sda2",), "damaged": 2, "late": 4000.0,
    "disagreement": Disagreement(1, 2, 3, 4), "workers": (WorkerStats(1, 1, 0, 0),), "turned_away": {"a@b.test": 3},
    "quiet": (Quiet("m", "door@archive.test", 0, True, ALWAYS),), "unstamped_days": 4,
    "certificate": Certificate(2, 365), "tries": Tries(99, 4),
    "reported": (
        Trouble("verify", "error", figures={"errors": 2}),
        Trouble("directory", "warning", "staff", {"name": "staff", "hours": 30}),
        Trouble("profile", "warning", "office", {"name": "office", "hours": 30}),
        Trouble("undelivered", "warning", "mail", {"way": "mail", "why": "smtp:25 cannot be reached."}),
    ),
    "replicas": (
        Trouble("replica-unknown", "warning", figures={"trouble": "No."}),
        *(Trouble(kind, "error", "nas", {"name": "nas", "trouble": "No."})
          for kind in ("replica-unsound", "replica-clock", "replica-superseded", "replica-empty")),
        Trouble("replica-behind", "error", "nas", {"name": "nas", "lag": 7300.0, "waiting": 1, "trouble": ""}),
        Trouble("unreplicated", "warning", figures={"count": 1}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_kind_has_a_title_and_a_whole_sentence(language: str) -> None:
    seen = found(**EVERYTHING)
    assert set(seen) == set(words.KINDS)
    with speaking(language):
        for kind, one in seen.items():
            sentence = words.sentence(kind, one.figures)
            assert sentence[0] in string.ascii_uppercase + string.digits + "ÄÖÜ" and sentence.endswith("."), sentence
            assert "{" not in sentence and "None" not in sentence
            assert words.title(kind) and "{" not in words.title(kind)


def test_figures_of_another_version_still_give_a_sentence() -> None:
    for kind in words.KINDS:
        assert words.sentence(kind, {})
    assert words.title("of-tomorrow") == words.sentence("of-tomorrow", {}) == "of-tomorrow"


def _said(trouble: Trouble) -> str:
    return words.sentence(trouble.kind, trouble.figures)
