"""``mailkeep restore`` as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import restoring
from appliance.cli.main import main
from appliance.cli.options import read_options
from appliance.errors import UsageError
from tests.burnt import Fire, Replicated, burn_down
from tests.product import MAILKEEP


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Replicated:
    return burn_down(tmp_path_factory.mktemp("burnt"))


@pytest.fixture
def fire(tmp_path: Path, replicated: Replicated) -> Fire:
    return Fire(tmp_path, replicated)


def typed(fire: Fire, *words: str, key: str | None = None) -> Result:
    place = ["--type", "local", f"path={fire.remote.folder}"]
    key = fire.recovery_key if key is None else key
    return CliRunner().invoke(
        main, ["--data", str(fire.data), "restore", *place, "--recovery-key-stdin", *words], input=f"{key}\n"
    )


def status(fire: Fire, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(fire.data), "restore", "status", *words])


def test_it_says_when_mail_can_be_received_and_when_all_is_there(fire: Fire) -> None:
    manifest = fire.manifest()
    done = typed(fire)
    assert done.exit_code == 0, done.output
    assert manifest.chain_head.hex() in done.output and f"Generation {manifest.number}:" in done.output
    assert f"mailkeep --data {fire.data} serve" in done.output
    assert "Everything is there and whole" in done.output
    assert fire.records() == fire.originals
    assert "complete" in status(fire).output


def test_for_scripts_it_says_one_object(fire: Fire) -> None:
    told = json.loads(typed(fire, "--json").output)
    assert told["state"] == "complete" and told["files_left"] == 0 and told["missing"] == []
    assert json.loads(status(fire, "--json").output)["generation"] == told["generation"]


def test_without_waiting_the_volumes_are_still_to_come(fire: Fire) -> None:
    done = typed(fire, "--no-wait", "--json")
    assert done.exit_code == 0 and json.loads(done.output)["state"] == "filling"
    told = json.loads(status(fire, "--json").output)
    assert told["files_left"] == len(fire.absent()) > 0
    assert typed(fire).exit_code == 0 and not fire.absent()


def test_the_list_changes_nothing(fire: Fire) -> None:
    before = fire.remote.names()
    done = typed(fire, "--list", "--json")
    (newest, *_) = json.loads(done.output)["generations"]
    assert (newest["generation"], newest["chain_head"]) == (fire.manifest().number, fire.manifest().chain_head.hex())
    assert fire.remote.names() == before and not fire.data.exists()
    assert newest["chain_head"] in typed(fire, "--list").output


def test_what_is_missing_makes_it_fail_and_is_named(fire: Fire) -> None:
    one = fire.placed(".mka")
    content = bytearray(fire.remote.content(one.object))
    content[one.offset + 2000] ^= 1
    fire.remote.spoil(one.object, bytes(content))
    done = typed(fire)
    assert done.exit_code == 1
    assert f"missing: {one.path.removeprefix('volumes/')}" in done.output and "not complete" in done.output
    assert "INCOMPLETE" in status(fire).output


def test_where_it_comes_from_stands_in_the_audit_trail_once(fire: Fire) -> None:
    from sqlalchemy import select

    from appliance.services.archive import Archive
    from appliance.services.paths import Paths
    from appliance.services.unlock import unlock
    from appliance.settings.tables import AuditRow

    typed(fire, "--no-wait")
    typed(fire)
    archive = Archive(Paths(fire.data), unlock(Paths(fire.data)))
    try:
        with archive.settings.read() as database:
            rows = database.scalars(select(AuditRow).where(AuditRow.action == "archive.restore")).all()
        assert len(rows) == 1 and fire.manifest().chain_head.hex() in rows[0].what
    finally:
        archive.close()


def test_where_it_comes_from_is_written_down_though_the_command_died_before(fire: Fire) -> None:
    """Killed when the archive had its keyring and no line yet: the next who opens it writes the line."""
    from appliance.services import auditing
    from appliance.services.archive import Archive
    from appliance.services.dispatch import Dispatcher
    from appliance.services.paths import Paths
    from appliance.services.unlock import unlock
    from tests.scratch import BOX

    def lines() -> int:
        archive = Archive(Paths(fire.data), unlock(Paths(fire.data)))
        dispatcher = Dispatcher(archive)
        try:
            dispatcher.replicas.start()
            return auditing.audit(archive, BOX, find="archive.restore").total
        finally:
            dispatcher.close()
            archive.close()

    fire.prepare()
    assert lines() == 1 and lines() == 1
    assert typed(fire).exit_code == 0 and lines() == 1


def test_the_command_that_goes_on_writes_where_it_comes_from(fire: Fire) -> None:
    from appliance.services import auditing
    from appliance.services.archive import Archive
    from appliance.services.paths import Paths
    from appliance.services.unlock import unlock
    from tests.scratch import BOX

    fire.prepare()
    assert typed(fire).exit_code == 0
    archive = Archive(Paths(fire.data), unlock(Paths(fire.data)))
    try:
        assert auditing.audit(archive, BOX, find="archive.restore").total == 1
    finally:
        archive.close()


def test_no_secret_stays_in_a_file(fire: Fire) -> None:
    typed(fire, "--no-keyfile", "description=hunter2-of-the-remote")
    assert not fire.keyfile.exists()
    for path in fire.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert fire.recovery_key.encode() not in content and b"hunter2-of-the-remote" not in content, path


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        ((), "J1CJ4-ZSCG6-39KYP-XG3RP-H0EHT-SSNPE-26JY2-M715Q", "opens none of the"),
        ((), "J1CJ4", "A recovery key has"),
        (("--generation", "4711"), None, "no generation 4711"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), None, "--since is after --until"),
        (("path=/nowhere/at/all",), None, "twice"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(
    fire: Fire, words: tuple[str, ...], key: str | None, says: str
) -> None:
    done = typed(fire, *words, key=key)
    assert done.exit_code == 1 and says in done.output
    assert not fire.data.exists()


def test_interrupted_by_ctrl_c_it_says_so_and_the_same_command_goes_on(fire: Fire) -> None:
    words = ["--data", str(fire.data), "restore", "--type", "local", f"path={fire.remote.folder}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([MAILKEEP, *words, "--recovery-key-stdin"], **pipes) as running:  # type: ignore[call-overload]
        running.stdin.write(f"{fire.recovery_key}\n".encode())
        running.stdin.flush()
        deadline = time.monotonic() + 60
        while not (fire.data / "replicas" / "restore").exists() and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert b"Traceback" not in said
    if running.returncode:  # else all was there before the signal came
        assert b"stopped" in said
        assert typed(fire).exit_code == 0
    assert fire.records() == fire.originals


def test_nothing_was_restored_here(fire: Fire) -> None:
    assert "Nothing was ever restored" in status(fire).output
    assert "--type" in CliRunner().invoke(main, ["--data", str(fire.data), "restore"]).output


def test_days_are_whole_and_both_included() -> None:
    first, last = (restoring._DAY.convert(day, None, None) for day in ("2026-03-01", "2026-03-02"))
    span = restoring._span(first, last)
    assert span.until - span.since == 2 * 86_400_000_000
    assert span.meets(span.since, span.since) and not span.meets(span.until, span.until)


def test_options_come_from_the_command_line_files_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setattr("sys.stdin", (tmp_path / "secret").open())
    options = read_options(["user=anna", f"pass=@{tmp_path / 'secret'}", "key=-", "url=https://x/?a=b", "empty="])
    assert options == {
        "user": "anna", "pass": "from a file", "key": "from a file", "url": "https://x/?a=b", "empty": ""
    }  # fmt: skip
    for wrong in (["user"], ["=x"], ["a=1", "a=2"], [f"a=@{tmp_path / 'none'}"], ["a=-"]):
        with pytest.raises(UsageError):
            read_options(wrong)
