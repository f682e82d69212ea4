"""The command line about alarms, notifications, health, metrics and support bundles."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.services.setup import create


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive on which nothing runs."""
    from appliance.services.paths import Paths

    folder = tmp_path_factory.mktemp("cli") / "data"
    create.create(Paths(folder), passphrase=None, keyfile=True, administrator=True, hostname="box.test")
    return folder


def run(data: Path, *words: str, said: str = "") -> Result:
    return CliRunner().invoke(main, ["--data", str(data), *words], input=said)


def test_alarms_are_listed_and_none_is_success(data: Path) -> None:
    done = run(data, "alarms", "--json")
    assert json.loads(done.stdout)["over"] == []
    assert done.exit_code == (1 if json.loads(done.stdout)["standing"] else 0)
    assert run(data, "alarms", "acknowledge", "gone").exit_code == 1


def test_silence_is_set_in_words(data: Path) -> None:
    done = run(
        data, "alarms", "silence", "--hours", "3", "--days", "mon,Sat", "--from", "9:30", "--to", "24:00", "--json"
    )
    (rule,) = json.loads(done.stdout)
    assert (rule["hours"], rule["days"], rule["begins"], rule["ends"]) == (3, [0, 5], 570, 1440)
    assert "mon,sat" in run(data, "alarms", "silence").stdout
    for wrong in (
        ("--days", "someday"),
        ("--from", "25:00"),
        ("--mailbox", "nobody@example.com"),
        ("--zone", "Nowhere"),
    ):
        assert run(data, "alarms", "silence", *wrong).exit_code == 1


def test_how_people_are_told_is_set_and_shown_without_secrets(data: Path) -> None:
    given = ("--host", "smtp.example.com", "--user", "mailkeep", "--from", "a@example.com", "--to", "b@example.com")
    assert run(data, "notify", "mail", *given, "--password-stdin", said="a password\n").exit_code == 0
    made = json.loads(run(data, "notify", "webhook", "https://hooks.example.com/x", "--json").stdout)
    assert len(made["secret"]) == 64
    run(data, "notify", "daily", "off")
    shown = json.loads(run(data, "notify", "show", "--json").stdout)
    assert shown["has_password"] and shown["recipients"] == ["b@example.com"] and shown["daily_hour"] is None
    words = run(data, "notify", "show").stdout
    assert "smtp.example.com:587" in words and "a password" not in words and made["secret"] not in words
    assert run(data, "notify", "daily", "noon").exit_code == 1


def test_health_of_what_does_not_run_is_3(data: Path) -> None:
    done = run(data, "health", "--json")
    assert done.exit_code == 3 and json.loads(done.stdout)["reasons"] == ["archiver"]


def test_metrics_are_printed_and_a_token_is_made(data: Path) -> None:
    assert "mailkeep_unlocked 1.0" in run(data, "metrics").stdout
    assert run(data, "metrics", "token").stdout.startswith("mkm_")
    assert run(data, "metrics", "token", "--remove").exit_code == 0


def test_a_support_bundle_is_written_to_a_file_of_ones_own(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle.zip"
    done = run(data, "support-bundle", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as made:
        assert "status.json" in made.namelist() and made.testzip() is None
