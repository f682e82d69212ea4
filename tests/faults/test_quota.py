"""A remote that fills up for real: a small disk below it, in the middle of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.cloud import bundling
from appliance.cloud.manifests import generation_names, newest
from appliance.cloud.objects import object_name
from appliance.cloud.rclone import Patience, Rclone
from appliance.errors import RemoteFullError
from tests.faults.disks import ext4, fill, tmpfs
from tests.remotes import Target, local_target, sftp_target
from tests.replica_box import ReplicaBox

pytestmark = pytest.mark.faults

LEFT = 3_000_000
"""Bytes that are free when the run begins, and what a disk keeps for root; not all of seven volumes fit."""


@pytest.fixture(params=["ext4", "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    try:
        if request.param == "ext4":
            with ext4(tmp_path, 40, journal=4) as made:
                yield made.root
        else:
            with tmpfs(tmp_path / "disk", 32) as root:
                yield root
    except OSError as error:
        pytest.skip(f"needs a file system of its own: {error}")


@pytest.mark.parametrize("target", [local_target, sftp_target], ids=lambda one: one.__name__)
def test_a_remote_fills_up_in_the_middle_of_a_run(
    target: Callable[[Path], AbstractContextManager[Target]], disk: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bundling, "ALONE", 200_000)
    rclone = Rclone(tmp_path / "run", patience=Patience(1, (0.05,)))
    box = ReplicaBox(tmp_path)
    try:
        with target(disk) as server:
            box.remote = remote = rclone.remote(server.named("cellar", transfers=1))  # type: ignore[assignment]
            box.receive(b"a first one")
            box.run()
            source = random.Random(7)
            for _ in range(7):
                box.receive(source.randbytes(1_200_000))
                box.roll()
            box.sign()
            before = {path: path.read_bytes() for path in box.volumes.rglob("*.*") if path.is_file()}
            filler = fill(disk, leave=LEFT)
            for _ in range(2):
                with pytest.raises(RemoteFullError, match="no room left"):
                    box.run()
            assert {path: path.read_bytes() for path in box.volumes.rglob("*.*") if path.is_file()} == before
            for one in remote.list("objects"):
                assert object_name(sha256(remote.read(one.name)).digest()) == one.name, "half an object"
            first = generation_names(remote)[0][1]
            assert newest(remote, box.keys).number == first, "no half manifest"
            filler.unlink()
            box.run()
            assert newest(remote, box.keys).number > first
            assert box.restored(tmp_path / "restored") == box.originals
    finally:
        rclone.close()
