"""What the box's own console asks: signing in, in whose name its calls are made, and the curves of the last hour."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.errors import ForbiddenError, SignInError, UsageError
from appliance.host import processes
from appliance.services import api
from appliance.services.principal import Principal
from appliance.services.running import RunningBox
from appliance.services.server import Server
from appliance.services.wire import Call
from tests.scratch import BOX, ScratchArchive

GROUP_MEMBER = Principal(id="local:jo", name="jo", roles=frozenset({"admin", "auditor"}))
"""Somebody of the group mailkeep-audit, who holds no keys."""


def ask(box: ScratchArchive, method: str, session: str = "", who: Principal = BOX, **params: Any) -> Any:
    return box.dispatcher.from_box(Call(method=method, session=session, params=params), who)


def sign_in(box: ScratchArchive, address: str = "", password: str = "") -> str:
    signed_in: api.SignedIn = ask(
        box, "console_sign_in", address=address or box.created.admin_user,
        password=password or box.created.admin_password,
    )  # fmt: skip
    return signed_in.token


def last_line(box: ScratchArchive) -> api.AuditLine:
    page: api.AuditPage = ask(box, "audit", limit=1)
    return page.lines[0]


def test_what_is_done_after_signing_in_is_done_by_that_person(box: ScratchArchive) -> None:
    session = sign_in(box)
    ask(box, "mailbox_change", session, id=box.mailbox.id, state="suspended")
    by_admin = last_line(box)
    ask(box, "mailbox_change", id=box.mailbox.id, state="active")
    by_box = last_line(box)
    assert by_box.who == "local:test"
    assert by_admin.who == "Administrator"


def test_a_wrong_password_is_refused_and_audited(box: ScratchArchive) -> None:
    with pytest.raises(SignInError):
        sign_in(box, password="a wrong password")
    assert last_line(box).action == "sign-in.failed"


def test_only_administrators_sign_in_at_the_box(box: ScratchArchive) -> None:
    user = box.user("ben@example.com")
    (invitation,) = ask(box, "user_invite", ids=[user])
    box.dispatcher.identity.accept_invitation(code=invitation.code, password="a good password", client="192.0.2.1")
    with pytest.raises(ForbiddenError):
        sign_in(box, "ben@example.com", "a good password")


def test_signing_out_ends_the_session(box: ScratchArchive) -> None:
    session = sign_in(box)
    ask(box, "console_sign_out", session)
    with pytest.raises(SignInError):
        ask(box, "status", session)


def test_a_person_has_their_own_rights_and_the_keys_only_where_the_box_has_them(box: ScratchArchive) -> None:
    """An administrator is no auditor at the console either, and does not become root by a member of the group."""
    session = sign_in(box)
    with pytest.raises(ForbiddenError):
        ask(box, "local_search", session, query="*")
    with pytest.raises(ForbiddenError):
        ask(box, "slot_remove", session, GROUP_MEMBER, id="00000000")
    ask(box, "slot_add_passphrase", session, passphrase="a few unrelated words", name="Anna")
    assert last_line(box).action == "slot.add"


def test_the_session_travels_over_the_socket(box: ScratchArchive) -> None:
    session = sign_in(box)
    server = Server(box.dispatcher)
    server.start()
    try:
        running = RunningBox(box.paths.local_socket, session=session)
        running.call("machine_act", type(None), act="restart", what="")
        running.close()
        line = last_line(box)
        assert line.action == "machine.restart"
        assert not line.who.startswith("local:")
        refused = RunningBox(box.paths.local_socket, session="no such session")
        with pytest.raises(SignInError):
            refused.call("status", api.Status)
        refused.close()
    finally:
        server.close()


def test_only_known_acts_are_written_down(box: ScratchArchive) -> None:
    with pytest.raises(UsageError):
        ask(box, "machine_act", act="anything", what="")


def test_the_session_of_a_web_call_is_not_taken_from_elsewhere(box: ScratchArchive) -> None:
    """The web socket knows one session, the token: the console's field means nothing there."""
    session = sign_in(box)
    with pytest.raises(SignInError):
        box.dispatcher.from_web(Call(method="status", session=session))


def test_curves_grow_by_a_sample(box: ScratchArchive) -> None:
    before: api.Trends = ask(box, "trends")
    box.dispatcher.trends.sample()
    after: api.Trends = ask(box, "trends")
    assert len(after.backlog) == len(before.backlog) + 1
    assert after.disk_used[-1] > 0
    assert msgspec.convert(msgspec.to_builtins(after), api.Trends) == after


def test_processes_of_another_folder_are_not_listed(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    pause = "import time; time.sleep(60)"
    children = [
        subprocess.Popen([sys.executable, "-c", pause, "serve", "--data", str(place)]) for place in (mine, other)
    ] + [subprocess.Popen([sys.executable, "-c", pause, "serve", "--data", "mine"], cwd=tmp_path)]
    try:
        # Popen returns while the kernel is still at exec: a process has no arguments for a moment then (proc(5)).
        deadline = time.monotonic() + 10
        while not all(Path(f"/proc/{child.pid}/cmdline").read_bytes().endswith(b"\0") for child in children):
            assert time.monotonic() < deadline
        found = processes.of(mine)
        assert {one.pid for one in found} == {children[0].pid, children[2].pid}
        assert {one.part for one in found} == {"supervisor"}
    finally:
        for child in children:
            child.kill()
            child.wait()
