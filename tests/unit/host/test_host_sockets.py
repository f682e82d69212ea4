"""Sockets that the service manager hands over."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.host.sockets import inherited, plain_ip

CODE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.environ["LISTEN_PID"] = str(os.getpid())
from appliance.host.sockets import inherited
found = inherited()
for name in ("smtp", "https"):
    listener, = found[name]
    print(name, listener.getsockname()[1], listener.getblocking(), os.get_inheritable(listener.fileno()))
print(inherited(), "LISTEN_FDS" in os.environ)
"""


def test_they_come_by_name_once_and_no_child_gets_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as smtp, socket.create_server(("127.0.0.1", 0)) as https:
        for listener in (smtp, https):
            os.set_inheritable(listener.fileno(), True)
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(smtp.fileno()), str(https.fileno())],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "smtp:https"}, cwd=Path(__file__).parents[3],
            close_fds=False, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        ports = [listener.getsockname()[1] for listener in (smtp, https)]
    assert done.stdout.splitlines() == [
        f"smtp {ports[0]} False False",
        f"https {ports[1]} False False",
        "{} False",
    ]


def test_those_of_another_process_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert inherited() == {}


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:1", "::ffff:1"),
    ],
)
def test_an_ipv4_client_has_its_ipv4_address_on_whatever_socket(told: str, plain: str) -> None:
    assert plain_ip(told) == plain
