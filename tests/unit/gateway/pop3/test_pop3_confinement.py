"""A pull server in an attacker's hands reaches nothing but what it serves, and changes nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.keys.certificate import ensure_certificate
from appliance.mail.published import GatewaySettings, encode, settings_path

TAKEN_OVER = """
import socket, sys
from pathlib import Path
import gateway.pop3.__main__  # as the worker: what it needs of the system is loaded before
from gateway.pop3.confinement import confine_worker
from gateway.tls import server_context

data = Path(sys.argv[1])
if not confine_worker(data):
    sys.exit("unconfined")


def tried(what, action):
    try:
        action()
        print("did", what)
    except PermissionError:
        pass


for name in ("keyring.json", "settings.db", "run/local/secret", "run/agent/archiver.key"):
    tried("read " + name, (data / name).read_bytes)
tried("read keyfile", Path(str(data) + ".keyfile").read_bytes)
tried("read /proc", Path("/proc/self/mem").open)
for name in ("volumes/x", "gateway/gateway.json", "tls/key.pem", "run/pull/secret", "gateway/erased/y"):
    tried("write " + name, lambda: (data / name).open("w"))
tried("remove a volume", (data / "volumes/v").unlink)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    tried(f"open a socket of {family}", lambda: socket.socket(family).close())

(data / "volumes/v").read_bytes()
(data / "run/pull/secret").read_bytes()
(data / "run/pull/locks/z").write_bytes(b"")
with socket.socket(socket.AF_UNIX) as client:
    client.connect(str(data / "run/pull/archive.sock"))
server_context(data / "tls/certificate.pem", data / "tls/key.pem")
print("serves")
"""


def test_a_worker_that_was_taken_over(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for folder in ("run/local", "run/agent", "run/pull", "volumes", "gateway/erased"):
        (data / folder).mkdir(parents=True)
    for name in ("keyring.json", "settings.db", "run/local/secret", "run/agent/archiver.key", "run/pull/secret"):
        (data / name).write_text("secret")
    (data / "volumes" / "v").write_text("a volume")
    data.with_name("data.keyfile").write_text("secret")
    settings_path(data).write_bytes(encode(GatewaySettings(version=1, hostname="x")))
    ensure_certificate(data / "tls", "localhost")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(data / "run/pull/archive.sock"))
        listener.listen()
        done = subprocess.run(
            [sys.executable, "-c", TAKEN_OVER, str(data)], capture_output=True, text=True, timeout=60, check=False
        )
    if "unconfined" in done.stderr:
        pytest.skip("this kernel has no Landlock or no seccomp")
    assert done.stdout == "serves\n", done.stdout + done.stderr
