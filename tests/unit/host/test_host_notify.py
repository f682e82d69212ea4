"""Telling systemd how a process is: what arrives on the notification socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield end


def told(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_systemd_hears_ready_alive_status_and_stopping_and_children_say_nothing(manager, monkeypatch, capsys) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    notifier = Notifier.from_environment()
    notifier.ready()
    notifier.status("waits")
    notifier.alive()
    notifier.stopping()
    assert [told(manager) for _ in range(4)] == ["READY=1", "STATUS=waits", "WATCHDOG=1", "STOPPING=1"]
    assert notifier.interval == 10
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(os.environ)
    assert capsys.readouterr().out == ""


def test_alive_may_be_said_at_every_turn_and_is_told_now_and_then(manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3600000000")
    notifier = Notifier.from_environment()
    for _ in range(1000):
        notifier.alive()
    notifier.stopping()
    assert [told(manager), told(manager)] == ["WATCHDOG=1", "STOPPING=1"]


def test_a_watchdog_of_another_process_is_not_ours(manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier.from_environment().interval is None


def test_long_work_is_announced_and_the_watchdog_comes_back_after_it(manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    with Notifier.from_environment().patience(3600):
        pass
    assert [told(manager), told(manager)] == ["WATCHDOG_USEC=3600000000", "WATCHDOG_USEC=20000000"]


def test_without_systemd_ready_is_a_line_and_nothing_else_is_said(monkeypatch, capsys) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier.from_environment()
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    assert capsys.readouterr().out == "ready\n"


def test_a_program_that_becomes_another_leaves_its_way_to_it(manager, monkeypatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    code = """
import os, sys
from appliance.host.notify import Notifier
from appliance import confine
notifier = Notifier.from_environment()
if len(sys.argv) == 1:
    assert confine.forbid_network()  # as the key agent: no other socket can be opened any more
    notifier.hand_over()
    os.execv(sys.executable, [*sys.orig_argv, "again"])
notifier.ready()
notifier.alive()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[3])
    assert [told(manager), told(manager)] == ["READY=1", "WATCHDOG=1"]
