"""A collector in the hands of a mail server that it talked to reaches nothing but what it fetches with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.keys.envelope import MailboxKeyPair
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.store.absent import AbsentFile, AbsentFiles
from appliance.store.reader import LogReader

TAKEN_OVER = """
import os, socket, ssl, sys
from pathlib import Path
import appliance.services.collector.process  # as the process: what it needs is loaded before
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services.between import Door, answers
from appliance.services.collector.confinement import CollectorFiles, confine_collector
from appliance.services.collector.ledger import Ledger
from appliance.services.collector.told import CollectorKeys, Told, read_told, write_told
from appliance.services.paths import Paths
from appliance.sources import kinds
from appliance.store.reader import LogReader
from appliance.store.writer import LogWriter

data, port, public = Path(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
paths = Paths(data)
if not confine_collector(paths):
    sys.exit("unconfined")


def tried(what, action):
    try:
        action()
        print("did", what)
    except PermissionError:
        pass


for name in (
    "keyring.json", "settings.db", "jobs.db", "replicas/remotes", "run/local/secret", "run/replica/secret",
    "run/agent/archiver/secret", "run/agent/replica/secret", f"volumes/{'ab' * 16}/g0-00000001.mkv", "volumes/absent",
):
    tried("read " + name, (data / name).read_bytes)
    tried("write " + name, lambda: (data / name).open("ab"))
for beside in ("keyfile", "servicekey"):
    tried("read " + beside, Path(f"{data}.{beside}").read_bytes)
tried("read memory", Path("/proc/self/mem").open)
tried("list the data folder", lambda: os.listdir(data))
tried("remove another mailbox's volume", (data / "volumes" / ("ab" * 16) / "g0-00000001.mkv").unlink)
tried("make a mailbox's folder", (data / "volumes" / ("cd" * 16)).mkdir)
tried("run a program", lambda: os.posix_spawn("/bin/true", ["true"], {}))

writer = LogWriter(paths.volumes, "s0", files=CollectorFiles(paths))
writer.append(IMPORTS_MAILBOX, public, b"fetched").result()
stream = writer.stream(IMPORTS_MAILBOX, public)
stream.write(b"long")
stream.commit()
writer.close()
assert len(LogReader(paths.volumes, files=CollectorFiles(paths)).volumes(IMPORTS_MAILBOX)) == 2
keys = CollectorKeys(b"s" * 32, b"c" * 32)
ledger = Ledger(paths.ledger, keys)
assert ledger.add("all", asked=True)
ledger.close()
assert read_told(paths.collecting, keys) is None
paths.agent_secret("collector").read_bytes()
(data / "gateway" / "roll").read_bytes()
door = Door(paths.collector_socket, "collector", {})
door.start()
answers(paths.collector_socket)
door.close()
for kind, options in (
    ("gmail", {"user": "anna@example.com", "client": "c", "secret": "s"}),
    ("graph", {"tenant": "contoso.com", "client": "00000000-0000-0000-0000-000000000001", "secret": "s"}),
):
    kinds.open_source(kind, options)  # which loads a lot
ssl.create_default_context()
socket.create_connection(("localhost", port), 10).close()
print("fetches")
"""


def test_a_collector_that_was_taken_over(tmp_path: Path) -> None:
    data = tmp_path / "data"
    secret = [
        *("keyring.json", "settings.db", "jobs.db", "replicas/remotes", "run/local/secret", "run/replica/secret"),
        *(f"run/agent/{role}/secret" for role in ("archiver", "replica", "collector")),
        *(f"volumes/{'ab' * 16}/g0-00000001.mkv", "gateway/roll"),
    ]
    for name in secret:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("1")
    for beside in ("keyfile", "servicekey"):
        data.with_name(f"data.{beside}").write_text("secret")
    AbsentFiles(data / "volumes").add([AbsentFile(f"{'ab' * 16}/g0-00000002.mkv", 1, bytes(32))])
    public = MailboxKeyPair.generate().public
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", TAKEN_OVER, str(data), str(server.getsockname()[1]), public.hex()],
            capture_output=True, text=True, timeout=120, check=False, cwd="/",
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
    if "unconfined" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert done.stdout == "fetches\n", done.stdout + done.stderr
    assert [volume.writer for volume in LogReader(data / "volumes").volumes(IMPORTS_MAILBOX)] == ["s0", "s0"]
