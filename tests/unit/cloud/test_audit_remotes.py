"""Checks of replicas that lie on real servers: what the service itself says is used, and does not hide tampering."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.cloud import audit
from appliance.cloud.audit import Audited
from appliance.cloud.manifests import files_of, newest
from appliance.cloud.mending import mend
from appliance.cloud.rclone import Rclone
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths
from tests.remotes import RCLONE, Target, local_target, s3_target
from tests.replica_box import MINUTE, ReplicaBox

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not RCLONE.exists(), reason="rclone is not in this virtual environment"),
]


@pytest.fixture(params=[s3_target, local_target])
def replicated(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ReplicaBox, Target, Callable[[], Audited]]]:
    make: Callable[[Path], AbstractContextManager[Target]] = request.param
    box = ReplicaBox(tmp_path / "box")
    rclone = Rclone(tmp_path / "run")
    with make(tmp_path / "target") as target:
        remote: Remote = rclone.remote(target.config)
        box.remote = remote  # type: ignore[assignment]
        box.paths = ReplicaPaths.of(box.data, target.config.name)
        box.receive(b"one", random.Random(1).randbytes(300_000))
        box.roll()
        box.sign()
        box.run()
        box.receive(b"two")
        box.roll()
        box.sign()
        box.run()

        def full() -> Audited:
            box.now += MINUTE
            return audit.full(box.paths, remote, box.keys, box.progress, now=box.now)

        yield box, target, full
    rclone.close()


def test_a_replica_on_a_server_is_found_whole_and_tampering_is_named(
    replicated: tuple[ReplicaBox, Target, Callable[[], Audited]], tmp_path: Path
) -> None:
    box, target, full = replicated
    whole = full()
    assert whole.is_whole and whole.objects >= 4
    found = audit.sample(
        box.paths, box.remote, box.keys, box.progress, now=box.now, opener=box.keyring, rng=random.Random(1)
    )
    assert (found.is_whole, found.files, found.opened) == (True, 2, 3)
    mail = files_of(newest(box.remote, box.keys), box.remote, box.keys)
    first, second = sorted({one.object for path, one in mail.items() if path.endswith(".mkv")})[:2]
    altered = bytearray((target.folder / first).read_bytes())
    altered[100] ^= 1
    (target.folder / first).write_bytes(altered)
    (target.folder / second).unlink()
    tampered = full()
    assert {(one.kind, one.name) for one in tampered.findings} == {("altered", first), ("missing", second)}
    mend(box.paths, box.remote, box.keys, tampered, lambda action, what: None, now=box.now)
    box.run()
    assert full().is_whole
    assert box.restored(tmp_path / "restored") == box.originals


def test_what_the_service_tells_is_not_read_again(
    replicated: tuple[ReplicaBox, Target, Callable[[], Audited]], monkeypatch: pytest.MonkeyPatch
) -> None:
    box, _target, full = replicated
    read: list[str] = []
    reading = type(box.remote).read

    def counted(remote: Remote, name: str, offset: int = 0, size: int | None = None) -> bytes:
        read.append(name)
        return reading(remote, name, offset, size)  # type: ignore[arg-type]

    full()
    monkeypatch.setattr(type(box.remote), "read", counted)
    assert full().is_whole
    inventory = newest(box.remote, box.keys).inventory
    assert not [name for name in read if name.startswith("objects/") and name != inventory]
