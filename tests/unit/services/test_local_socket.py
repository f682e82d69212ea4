"""The box's own socket is not for processes that were kept from the box's files, though they run as the same user."""

from __future__ import annotations

import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest

from appliance.errors import ForbiddenError
from appliance.services import api, server
from appliance.services.box import RunningBox
from appliance.services.locked import Locked
from appliance.services.server import Server, local_principal
from appliance.services.slots import Slots
from appliance.services.unlock import agent_of
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
if not confine_to_own_files(argparse.Namespace(data=data, tls_cert=None, tls_key=None, redirect_to=None)):
    sys.exit("unconfined")
try:
    RunningBox(data / "run" / "local" / "archive.sock").call("status", api.Status)
except Exception as error:
    print(type(error).__name__)
"""


KEY_CALLS: dict[str, dict[str, str]] = {
    "lock": {},
    "slot_add_passphrase": {"passphrase": "three words of four"},
    "slot_add_keyfile": {"path": "/nowhere/keyfile"},
    "slot_add_credential": {},
    "slot_change_passphrase": {"id": "00000000", "passphrase": "three words of four"},
    "slot_remove": {"id": "00000000"},
    "slot_recovery_begin": {},
    "slot_recovery_confirm": {"text": "x"},
    "slot_new_key": {"passphrase": "three words of four"},
}


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


def test_members_of_the_group_look_into_mail_and_leave_the_keys_alone(
    box: ScratchArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = pwd.getpwnam("nobody")
    with pytest.raises(ForbiddenError):
        local_principal(member.pw_uid)
    monkeypatch.setattr(server, "_group_id", lambda _name: member.pw_gid)
    principal = local_principal(member.pw_uid)
    box.dispatcher.from_box(Call(method="local_search", params={"query": "x", "reason": "test"}), principal)
    assert box.dispatcher.from_box(Call(method="slots"), principal)
    slots = box.archive.keyring.slots()
    for method, params in KEY_CALLS.items():
        with pytest.raises(ForbiddenError, match="root and the archive's own user"):
            box.dispatcher.from_box(Call(method=method, params=params), principal)
    with pytest.raises(ForbiddenError, match="root and the archive's own user"):
        Locked(box.paths, agent_of(box.paths, "archiver")).from_box(Call(method="unlock"), principal)
    assert box.archive.keyring.slots() == slots


def test_every_call_that_changes_a_slot_is_among_those_that_members_are_refused(box: ScratchArchive) -> None:
    assert {*Slots(box.archive).methods(), "lock"} == {*KEY_CALLS, "slots"}


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
