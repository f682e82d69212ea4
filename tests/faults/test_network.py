"""The line to a remote goes down in the middle: nobody waits for ever, nothing half is taken for whole, all goes on."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import pytest

from appliance.cloud import bundling, rclone
from appliance.cloud.manifests import generation_names, newest
from appliance.cloud.objects import object_name
from appliance.cloud.rclone import Patience, Rclone, RcloneRemote
from appliance.cloud.remote import Remote
from appliance.cloud.restore import fill, prepare
from appliance.errors import MailkeepError, UnavailableError
from tests.burnt import Fire, burn_down
from tests.namespaces import Namespace, namespace
from tests.remotes import Target, s3_target, sftp_target, webdav_target
from tests.replica_box import Quiet, ReplicaBox

pytestmark = pytest.mark.faults

SIZE = 11_000_000
SLOW, SLOWEST = "2M", "512k"
"""Bytes a second, so that there is a middle. The first 4 MiB go at once: rclone saves up to that much of its limit."""
BOUND = 120
"""Seconds in which an error has to come, far more than rclone is told to wait here."""
WHOLE = os.environ.get("MAILKEEP_FAULT_STEP") == "1"
"""Each test with each kind of server, not with one."""


class Start(Protocol):
    def __call__(self, folder: Path, *, within: Namespace | None = None) -> AbstractContextManager[Target]: ...


def over(quick: Start) -> pytest.MarkDecorator:
    """Which servers the line leads to."""
    starts = (s3_target, webdav_target, sftp_target) if WHOLE else (quick,)
    return pytest.mark.parametrize("target", starts, indirect=True, ids=lambda start: start.__name__)


@pytest.fixture
def line() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, line: Namespace) -> Iterator[Target]:
    start: Start = request.param
    with start(tmp_path / "served", within=line) as one:
        yield one


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rclone]:
    """rclone, which waits seconds for what it waits minutes for in a box."""
    monkeypatch.setattr(rclone, "_FLAGS", ("--contimeout", "1s", "--timeout", "3s"))
    made = Rclone(tmp_path / "run", patience=Patience(1, (0.05,)))
    yield made
    made.close()


def in_time(action: Callable[[], object]) -> MailkeepError | None:
    """What ``action`` raised, and that it came to an end."""
    raised: list[MailkeepError] = []

    def run() -> None:
        try:
            action()
        except MailkeepError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive(), "it waits for ever"
    return raised[0] if raised else None


def once_moved(count: Callable[[], int], size: int, action: Callable[[], None]) -> threading.Thread:
    """Do ``action`` when so many bytes more have gone over the line."""
    before, deadline = count(), time.monotonic() + BOUND

    def wait() -> None:
        while count() - before < size and time.monotonic() < deadline:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def assert_nothing_half(remote: Remote) -> None:
    """Whatever has the name of an object holds its bytes."""
    for one in remote.list("objects"):
        assert object_name(sha256(remote.read(one.name)).digest()) == one.name


@over(webdav_target)
@pytest.mark.parametrize("back", [True, False], ids=["comes back", "stays down"])
def test_the_line_goes_down_under_an_upload_and_a_download(
    opened: Rclone, target: Target, line: Namespace, tmp_path: Path, back: bool
) -> None:
    content = os.urandom(SIZE)
    (tmp_path / "source").write_bytes(content)
    name = object_name(sha256(content).digest())
    slow = opened.remote(target.named("slow", bandwidth=SLOW if back else SLOWEST))
    quick = opened.remote(target.config)

    def cut() -> None:
        line.cut()
        if back:
            time.sleep(1)
            line.join()

    def upload(remote: Remote) -> None:
        remote.put(tmp_path / "source", name)

    def download(remote: Remote) -> None:
        remote.get(name, tmp_path / "back")

    for action, count in ((upload, lambda: line.sent), (download, lambda: line.received)):
        cutting = once_moved(count, SIZE // 3, cut)
        error = in_time(partial(action, slow))
        cutting.join()
        line.join()
        assert error is None or isinstance(error, UnavailableError)
        assert back or error is not None, "nothing came over a line that was down"
        assert_nothing_half(quick)
        if error is not None:
            assert "safe on this box" in error.message and not (tmp_path / "back").exists()
            action(quick)
    assert (tmp_path / "back").read_bytes() == content


@over(s3_target)
def test_replication_goes_on_after_the_line_was_down(
    opened: Rclone, target: Target, line: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "ALONE", 200_000)
    box = ReplicaBox(tmp_path)
    box.remote = opened.remote(target.named("cellar", bandwidth=SLOW))  # type: ignore[assignment]
    source = random.Random(5)
    box.receive(b"a first one")
    box.run()
    for _ in range(4):
        box.receive(source.randbytes(1_500_000))
        box.roll()
    box.sign()
    before = {path: path.read_bytes() for path in box.volumes.rglob("*.*") if path.is_file()}
    cutting = once_moved(lambda: line.sent, 2_000_000, line.cut)
    error = in_time(box.run)
    cutting.join()
    assert isinstance(error, UnavailableError)
    assert isinstance(in_time(box.run), UnavailableError), "and no run hangs while it is down"
    assert before == {path: path.read_bytes() for path in box.volumes.rglob("*.*") if path.is_file()}
    line.join()
    assert_nothing_half(box.remote)
    assert newest(box.remote, box.keys).number == generation_names(box.remote)[0][1], "no half manifest"
    box.run()
    assert box.restored(tmp_path / "restored") == box.originals


@over(sftp_target)
def test_a_restore_goes_on_after_the_line_was_down(
    opened: Rclone, target: Target, line: Namespace, tmp_path: Path
) -> None:
    fire = Fire(tmp_path, burn_down(tmp_path / "burnt", volumes=8))
    remote = opened.remote(target.config)
    for name in fire.remote.names():
        remote.put(fire.remote.folder / name, name)
    there = {one.name: one.size for one in remote.list()}

    def prepared() -> object:
        return prepare(fire.data, remote, fire.recovery_key, keyfile=fire.keyfile, progress=Quiet())

    for step, calls in ((prepared, 4), (lambda: fill(fire.data, remote, fire.keys, Quiet()), 1)):
        _after_calls(remote, calls, line.cut)
        assert isinstance(in_time(step), UnavailableError)
        line.join()
        assert in_time(step) is None
    assert fire.records() == fire.originals and not fire.absent()
    after = {one.name: one.size for one in remote.list() if not one.name.startswith("epochs/")}
    assert after == {name: size for name, size in there.items() if not name.startswith("epochs/")}


def _after_calls(remote: RcloneRemote, calls: int, action: Callable[[], None]) -> None:
    """Do ``action`` when the remote has been read so often, just before it is read again."""
    left, read = [calls], type(remote).read

    def counted(name: str, offset: int = 0, size: int | None = None) -> bytes:
        left[0] -= 1
        if left[0] == 0:
            action()
        return read(remote, name, offset, size)

    remote.read = counted  # type: ignore[method-assign]
