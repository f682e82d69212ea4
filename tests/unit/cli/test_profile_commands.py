"""``mailkeep profile`` against an archive that is served, with a collector that answers as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.checks import Check
from appliance.cli.main import main
from appliance.services import api
from appliance.services.profiles.managing import Profiles
from appliance.services.server import Server
from tests.profiles_double import CollectorDouble
from tests.scratch import ScratchArchive

COUNTS = api.ProfileCounts(10, 5, 3, 2, 0, 0, 4096)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[ScratchArchive]:
    archive = ScratchArchive(tmp_path)
    server = Server(archive.dispatcher)
    server.start()
    yield archive
    server.close()
    archive.close()


@pytest.fixture
def collector(box: ScratchArchive, monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorDouble]:
    double = CollectorDouble(box)
    monkeypatch.setattr(Profiles, "_ask", lambda profiles, *asked, **params: double.answer(profiles, *asked, **params))
    yield double
    double.close()


def run(box: ScratchArchive, *words: str, given: str = "") -> Result:
    return CliRunner().invoke(main, ["--data", str(box.paths.data), "profile", *words], input=given)


def added(box: ScratchArchive, *words: str) -> dict[str, Any]:
    done = run(
        box, "add", "office", "--kind", "imap", "host=imap.x.test", "user=anna@x.test", "password=-", *words, "--json",
        given="quite-secret\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def ends(collector: CollectorDouble, counts: api.ProfileCounts, state: Any = "done", words: str = "") -> None:
    """The next run that begins comes to this end a moment later."""

    def work() -> None:
        deadline = time.monotonic() + 60
        while not (waiting := [id for id, _, state in collector.ledger.unfinished() if state == "running"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        collector.fetched(waiting[0], counts)
        if counts.failed:
            collector.failures(waiting[0], *map(str, range(counts.failed)))
        collector.ledger.end(waiting[0], state, words)

    threading.Thread(target=work, daemon=True).start()


def test_a_profile_is_added_with_what_was_said(box: ScratchArchive, collector: CollectorDouble) -> None:
    box.user("anna@x.test")
    box.user("ben@x.test")
    made = added(
        box, "--archive", "anna@x.test", "--user", "ben@x.test", "--include", "Projects", "--exclude", "",
        "--since", "2026-01-31", "--older-than", "30", "--largest", "25M", "--only-read", "--sender", "@y.test",
        "--every", "30m", "--parallel", "8", "--rate", "1.5M",
    )  # fmt: skip
    assert made["archive"] == "anna@x.test" and (made["users"], made["chosen"]) == ("only", ["ben@x.test"])
    assert (made["include"], made["exclude"]) == (["Projects"], [])
    assert (made["largest"], made["interval"], made["rate"]) == (25 * 1024**2, 1800, 1024**2 * 3 // 2)
    assert (made["older_than_days"], made["only_read"], made["parallel"]) == (30, True, 8)
    assert "quite-secret" not in json.dumps(made)
    told = collector.told()
    assert told is not None and told.profiles[0].options["password"] == "quite-secret"
    changed = run(box, "change", "office", "--cron", "0 3 * * *", "--read-or-not", "--archive", "", "--users", "all")
    assert changed.exit_code == 0, changed.stderr
    (one,) = json.loads(run(box, "list", "--json").stdout)
    assert (one["cron"], one["interval"], one["only_read"], one["archive"]) == ("0 3 * * *", 0, False, "")
    assert (one["users"], one["include"], one["since"]) == ("all", ["Projects"], "2026-01-31")
    assert "0 3 * * *" in run(box, "list").stdout and "by address" in run(box, "list").stdout


def test_a_run_is_followed_to_its_end_and_told_in_figures(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    ends(collector, COUNTS)
    done = run(box, "run", "office")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == "10 seen: 5 new (4.0 KB), 3 archived before, 2 filtered out, 0 failed."
    ends(collector, COUNTS)
    told = json.loads(run(box, "run", "office", "--json").stdout)
    assert (told["state"], told["seen"], told["new"], told["bytes"]) == ("done", 10, 5, 4096)
    history = json.loads(run(box, "history", "office").stdout)  # no terminal: for a script
    assert [one["id"] for one in history] == [told["id"], told["id"] - 1]
    for one in history:
        assert one["seen"] == one["new"] + one["already"] + one["filtered"] + one["failed"]
        assert {"id", "state", "begun", "ended", "seen", "new", "already", "filtered", "failed"} <= one.keys()
    assert run(box, "history", "office", "--text").stdout.count("done") == 2


def test_messages_that_failed_are_listed_and_are_no_success(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    ends(collector, api.ProfileCounts(25, 2, 0, 0, 23), words="23 messages could not be fetched.")
    done = run(box, "run", "office")
    assert done.exit_code == 1 and "23 failed" in done.stdout
    assert done.stderr.count("The server does not give it.") == 20
    assert "And 3 more: `mailkeep profile history office --run 1`" in done.stderr
    one = run(box, "history", "office", "--run", "1", "--text")
    assert one.stdout.count("FAILED  anna, INBOX") == 23 and "anna" in one.stdout
    told = json.loads(run(box, "history", "office", "--run", "1", "--json").stdout)
    assert len(told["failures"]) == 23 and told["accounts"][0]["failed"] == 23
    ends(collector, api.ProfileCounts(), "failed", "The server does not answer.")
    failed = run(box, "run", "office", "--json")
    assert failed.exit_code == 1 and json.loads(failed.stdout)["words"] == "The server does not answer."
    assert "office: The server does not answer." in run(box, "list").stderr


def test_what_one_account_has_to_say_is_said_once(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    collector.words = "The password is wrong."
    ends(collector, api.ProfileCounts(), "failed", "anna: The password is wrong.")
    done = run(box, "run", "office")
    assert done.exit_code == 1 and done.stderr.count("The password is wrong.") == 1
    ends(collector, api.ProfileCounts(), "failed", "2 accounts failed: anna, ben.")
    assert "anna: The password is wrong." in run(box, "run", "office").stderr


def test_it_need_not_be_waited_for_and_can_be_stopped(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    assert json.loads(run(box, "run", "office", "--no-wait", "--json").stdout)["run"] == 1
    assert run(box, "stop", "office").exit_code == 0
    assert [one["state"] for one in json.loads(run(box, "history", "office", "--json").stdout)] == ["stopped"]
    again = run(box, "stop", "office")
    assert again.exit_code == 1 and "Nothing is being fetched" in again.stderr
    ends(collector, COUNTS, "stopped", "Stopped.")
    assert run(box, "run", "office").exit_code == 1, "somebody else has stopped it"


def test_ctrl_c_stops_it(box: ScratchArchive, collector: CollectorDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    added(box)

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("appliance.cli.profile_runs.time.sleep", interrupted)
        assert run(box, "run", "office").exit_code == 1
    assert [one["state"] for one in json.loads(run(box, "history", "office", "--json").stdout)] == ["stopped"]


def test_pausing_lasts_until_it_is_resumed(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box, "--every", "1h")
    assert "every 1h" in (listed := run(box, "list").stdout) and "shortly" in listed
    for word, paused in (("pause", True), ("resume", False)):
        assert run(box, word, "office").exit_code == 0
        assert json.loads(run(box, "list", "--json").stdout)[0]["paused"] is paused
        told = collector.told()
        assert told is not None and told.profiles[0].paused is paused


def test_a_test_that_finds_a_problem_fails(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    well = run(box, "test", "office")
    assert well.exit_code == 0 and "OK       accounts: 1 account is archived." in well.stdout
    collector.checks = (*collector.checks, Check("sign-in", "problem", "The password is wrong."))
    wrong = run(box, "test", "office")
    assert wrong.exit_code == 1 and "PROBLEM  sign-in: The password is wrong." in wrong.stdout
    assert json.loads(run(box, "test", "office", "--json").stdout)[-1]["state"] == "problem"


def test_what_would_be_deleted_is_listed(box: ScratchArchive, collector: CollectorDouble) -> None:
    assert added(box)["delete_after_days"] == 0
    assert run(box, "change", "office", "--delete-after", "90").exit_code == 0
    told = run(box, "deletions", "office").stdout
    assert "3 messages, 4.0 KB" in told and "INBOX" in told and "And 2 more" in told
    assert json.loads(run(box, "deletions", "office", "--after", "7", "--json").stdout)["count"] == 3
    assert [params["after_days"] for method, params in collector.asked if method == "deletions"] == [0, 7]
    ends(collector, api.ProfileCounts(1, 0, 1, 0, 0, deleted=3))
    assert "0 failed; 3 deleted there." in run(box, "run", "office").stdout


def test_kinds_say_what_they_need(box: ScratchArchive) -> None:
    told = run(box, "kinds").stdout
    assert "imap: IMAP" in told and "host=… (needed)" in told


def test_mistakes_are_sentences(box: ScratchArchive, collector: CollectorDouble) -> None:
    added(box)
    for words, code, why in (
        (("add", "b", "--kind", "imap", "host=h"), 1, "A password is missing"),
        (("add", "office", "--kind", "imap", "host=h", "password=p"), 1, "already"),
        (("change", "office", "--every", "soon"), 2, "no time such as 30m"),
        (("change", "office", "--largest", "huge"), 2, "no size such as 25M"),
        (("run", "other"), 1, "no profile called “other”"),
        (("history", "other"), 1, "no profile called “other”"),
        (("history", "office", "--run", "9"), 1, "no such run"),
        (("remove", "other"), 1, "no profile called “other”"),
    ):
        done = run(box, *words)
        assert done.exit_code == code and why in done.stderr, words
    removed = run(box, "remove", "office")
    assert removed.exit_code == 0 and "What was fetched by it stays." in removed.stdout
    assert json.loads(run(box, "list", "--json").stdout) == []
