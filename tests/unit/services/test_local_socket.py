"""The box's own socket is not for processes that were kept from the box's files, though they run as the same user."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.server import Server
from appliance.services.wire import LENGTH, Call, Reply, pack
from tests.scratch import ScratchArchive

TAKEN_OVER = """
import argparse, sys
from pathlib import Path
from webadmin.__main__ import confine_to_own_files
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.wire import Call

data = Path(sys.argv[1])
if not confine_to_own_files(argparse.Namespace(data=data, tls_cert=None, tls_key=None)):
    sys.exit("unconfined")
try:
    RunningBox(data / "run" / "local" / "archive.sock").call("status", api.Status)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture
def serving(box: ScratchArchive) -> Iterator[ScratchArchive]:
    server = Server(box.dispatcher)
    server.start()
    yield box
    server.close()


def test_who_can_read_the_secret_may_call(serving: ScratchArchive) -> None:
    running = RunningBox(serving.paths.local_socket)
    assert running.call("status", api.Status).users == 1
    running.close()


@pytest.mark.parametrize("token", ["", "guess", "é" * 32])
def test_who_does_not_name_the_secret_is_refused(serving: ScratchArchive, token: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(serving.paths.local_socket))
        connection.sendall(pack(Call(method="status", token=token)))
        stream = connection.makefile("rb")
        (length,) = LENGTH.unpack(stream.read(LENGTH.size))
        reply = msgspec.msgpack.decode(stream.read(length), type=Reply)
    assert reply.error is not None and reply.error.code == "forbidden"


def test_a_confined_web_process_does_not_get_in(serving: ScratchArchive) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TAKEN_OVER, str(serving.paths.data)], capture_output=True, text=True, timeout=60
    )
    if "unconfined" in done.stderr:
        pytest.skip("this kernel has no Landlock")
    assert done.stdout.strip() == "ForbiddenError", done.stderr
