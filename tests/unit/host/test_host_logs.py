"""What a line of log looks like, and what can never be in it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import StorageError
from appliance.host import logs

ROOT = Path(__file__).parents[3]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    monkeypatch.delenv(logs.FORMAT, raising=False)
    out = io.StringIO()
    logs.set_up("gateway 0", stream=out)
    yield out
    root.handlers[:], root.level = before
    logging.captureWarnings(False)


def test_a_line_names_process_level_and_what_is_to_be_counted(lines: io.StringIO) -> None:
    logging.getLogger("a").warning("volume %d closed", 3, extra={"mailbox": "aa", "why": "too old"})
    assert lines.getvalue() == "gateway 0: WARNING volume 3 closed mailbox=aa why='too old'\n"


def test_debug_lines_are_left_out(lines: io.StringIO) -> None:
    logging.getLogger("a").debug("recipient <anna@example.com>")
    assert lines.getvalue() == ""


def test_an_unforeseen_error_tells_where_and_not_what_it_says(lines: io.StringIO) -> None:
    quoted = "@".join(("anna", "example.com"))
    try:
        raise KeyError(quoted)
    except KeyError:
        logging.getLogger("a").exception("a call failed")
    assert "test_host_logs.py" in lines.getvalue()
    assert lines.getvalue().endswith("KeyError\n")
    assert quoted not in lines.getvalue()


def test_errors_that_are_made_for_people_are_told_whole(lines: io.StringIO) -> None:
    logging.getLogger("a").error("not stored", exc_info=StorageError("The disk is full."))
    assert "The disk is full." in lines.getvalue()


def test_json_for_those_who_collect(monkeypatch, lines: io.StringIO) -> None:
    monkeypatch.setenv(logs.FORMAT, "json")
    out = io.StringIO()
    logs.set_up("web", stream=out)
    logging.getLogger("a.b").error("no", extra={"count": 2})
    assert json.loads(out.getvalue()) == {
        "process": "web", "logger": "a.b", "level": "error", "event": "no", "count": 2,
    }  # fmt: skip


def test_journald_gets_each_line_with_its_priority(tmp_path: Path) -> None:
    code = """
import logging
from appliance.host import logs
logs.set_up("web")
logging.info("one")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("two")
"""
    place = tmp_path / "journal"
    with place.open("wb") as journal:
        status = os.fstat(journal.fileno())
        subprocess.run(
            [sys.executable, "-c", code], check=True, timeout=60, cwd=ROOT, stderr=journal,
            env={**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
        )  # fmt: skip
    first, second, *rest = place.read_text().splitlines()
    assert (first, second) == ("<6>one", "<3>two")
    assert rest and all(line.startswith("<3>") for line in rest)
    assert rest[-1] == "<3>ZeroDivisionError"
