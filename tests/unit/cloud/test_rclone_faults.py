"""What goes wrong between here and a remote: what is told, what is left there, and that it goes on afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from appliance.cloud import probe
from appliance.cloud.rclone import LEFTOVER_AGE, TEMPORARY, Patience, Rclone, RcloneRemote
from appliance.errors import MailkeepError, RemoteDeniedError, RemoteFullError, UnavailableError
from tests.remotes import Target, local_target, s3_target, sftp_target, webdav_target

NAME = "objects/ab/abcdef"
SIZE = 6_000_000


class Start(Protocol):
    def __call__(self, folder: Path, *, faults: bool = False) -> AbstractContextManager[Target]: ...


@pytest.fixture
def rclone(tmp_path: Path) -> Iterator[Rclone]:
    rclone = Rclone(tmp_path / "run", patience=Patience(1, (0.05,)))
    yield rclone
    rclone.close()


@pytest.fixture(params=(s3_target, webdav_target, sftp_target), ids=lambda start: start.__name__)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    start: Start = request.param
    with start(tmp_path, faults=True) as one:
        yield one


@pytest.fixture(params=(s3_target, webdav_target), ids=lambda start: start.__name__)
def http_target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    start: Start = request.param
    with start(tmp_path, faults=True) as one:
        yield one


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


def in_the_middle(target: Target, action: Callable[[], None], fault: Callable[[], None]) -> list[MailkeepError]:
    """Do ``action`` over a slow line, and ``fault`` when a third of the bytes have gone."""
    assert target.proxy is not None
    target.proxy.rate = 4_000_000
    raised: list[MailkeepError] = []

    def run() -> None:
        try:
            action()
        except MailkeepError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    before = target.proxy.sent_up
    thread.start()
    while target.proxy.sent_up - before < SIZE / 3 and thread.is_alive():
        time.sleep(0.01)
    assert thread.is_alive(), raised
    fault()
    thread.join(60)
    assert not thread.is_alive()
    target.proxy.rate = 0
    return raised


def assert_nothing_half(remote: RcloneRemote) -> None:
    """What had left the box by then may have arrived in time; what is there, is whole."""
    assert all(one.size == SIZE for one in remote.list())


def test_rclone_killed_in_the_middle(rclone: Rclone, target: Target, source: Path) -> None:
    remote = rclone.remote(target.config)
    assert not remote.list()
    (error,) = in_the_middle(
        target, lambda: remote.put(source, NAME), lambda: os.kill(rclone.pids()[0], signal.SIGKILL)
    )
    assert isinstance(error, UnavailableError)
    assert_nothing_half(remote)
    remote.put(source, NAME)
    assert remote.read(NAME) == source.read_bytes()


def test_the_server_killed_in_the_middle(rclone: Rclone, target: Target, source: Path) -> None:
    remote = rclone.remote(target.config)
    (error,) = in_the_middle(target, lambda: remote.put(source, NAME), target.kill)
    assert isinstance(error, UnavailableError)
    target.restart()
    assert_nothing_half(remote)
    remote.put(source, NAME)
    assert remote.read(NAME) == source.read_bytes()


def test_a_line_that_breaks_once_is_not_noticed(rclone: Rclone, target: Target, source: Path) -> None:
    assert target.proxy is not None
    target.proxy.cut_after = target.proxy.sent_up + SIZE // 2
    remote = rclone.remote(target.config)
    remote.put(source, NAME)
    assert remote.read(NAME) == source.read_bytes()


def test_a_line_that_is_cut(rclone: Rclone, target: Target, source: Path, tmp_path: Path) -> None:
    assert target.proxy is not None
    remote = rclone.remote(target.config)
    remote.put(source, NAME)
    target.proxy.fault = "cut"
    for call in (remote.list, lambda: remote.get(NAME, tmp_path / "back")):
        with pytest.raises(UnavailableError, match="remote"):
            call()
    assert not list(tmp_path.glob("back*"))
    target.proxy.fault = "none"
    assert [one.name for one in remote.list()] == [NAME]


def test_a_transfer_can_be_stopped(rclone: Rclone, target: Target, source: Path) -> None:
    remote = rclone.remote(target.config)
    (error,) = in_the_middle(target, lambda: remote.put(source, NAME), remote.stop)
    assert isinstance(error, UnavailableError)
    assert "stopped" in error.message
    assert_nothing_half(remote)
    remote.put(source, NAME)
    assert remote.read(NAME) == source.read_bytes()


def test_a_server_that_says_nothing_can_be_left(rclone: Rclone, target: Target, source: Path) -> None:
    assert target.proxy is not None
    remote = rclone.remote(target.config)
    remote.put(source, NAME)

    def hang_and_stop() -> None:
        assert target.proxy is not None
        target.proxy.fault = "hang"
        remote.stop()

    (error,) = in_the_middle(target, lambda: remote.put(source, NAME + "x"), hang_and_stop)
    assert isinstance(error, UnavailableError)
    target.proxy.fault = "none"
    assert remote.read(NAME) == source.read_bytes()


def test_a_busy_server_is_asked_again(rclone: Rclone, http_target: Target, source: Path, tmp_path: Path) -> None:
    assert http_target.proxy is not None
    http_target.proxy.fault = "flaky"
    patient = Rclone(tmp_path / "patient", patience=Patience(2, (0.05, 0.05)))
    remote = patient.remote(http_target.config)
    remote.put(source, NAME)
    assert remote.read(NAME) == source.read_bytes()
    patient.close()
    http_target.proxy.fault = "busy"
    with pytest.raises(UnavailableError, match="tried again"):
        rclone.remote(http_target.config).put(source, NAME + "x")


def test_a_full_server_is_told_as_such(rclone: Rclone, http_target: Target, source: Path) -> None:
    assert http_target.proxy is not None
    remote = rclone.remote(http_target.config)
    http_target.proxy.fault = "full"
    with pytest.raises(RemoteFullError, match="no room left"):
        remote.put(source, NAME)
    result = probe.test_remote(remote, size=1000)
    assert not result.written
    assert "no room left" in result.words
    http_target.proxy.fault = "none"
    remote.put(source, NAME)


def test_wrong_credentials_are_told_as_such(rclone: Rclone, target: Target, source: Path) -> None:
    wrong = {"s3": "secret_access_key", "webdav": "pass", "sftp": "pass"}[target.config.type]
    remote = rclone.remote(target.named("wrong", options={**target.config.options, wrong: "not-the-right-one"}))
    for call in (remote.list, lambda: remote.put(source, NAME), lambda: remote.read(NAME), lambda: remote.delete(NAME)):
        with pytest.raises(RemoteDeniedError, match="credentials"):
            call()
    assert "credentials" in probe.test_remote(remote, size=1000).words


def test_what_broke_off_long_ago_is_cleared_away(rclone: Rclone, source: Path, tmp_path: Path) -> None:
    with local_target(tmp_path) as target:
        remote = rclone.remote(target.config)
    remote.put(source, NAME)
    old, fresh = (target.folder / f"objects/ab/{name}{TEMPORARY}" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * LEFTOVER_AGE.total_seconds()
    os.utime(old, (long_ago, long_ago))
    assert [one.name for one in remote.list()] == [NAME]
    assert not old.exists()
    assert fresh.exists()


def test_rclone_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from appliance.cloud.rclone import Rclone;"
        "from appliance.cloud.remote import RemoteConfig;"
        "rclone = Rclone(Path(sys.argv[1]) / 'run');"
        "rclone.remote(RemoteConfig('x', 'local', {}, path=sys.argv[1])).list();"
        "print(*rclone.pids(), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, "rclone outlived the process that it worked for"
        time.sleep(0.05)
