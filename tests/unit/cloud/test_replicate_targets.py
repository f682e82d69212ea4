"""Replication by rclone to real servers: what comes back is what was acknowledged."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.cloud import bundling
from appliance.cloud.collect import collect
from appliance.cloud.manifests import generation_names
from appliance.cloud.rclone import Patience, Rclone
from appliance.errors import UnavailableError
from tests.remotes import Target, s3_target, sftp_target, webdav_target
from tests.replica_box import HOUR, ReplicaBox

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("target", [s3_target, webdav_target, sftp_target], ids=lambda one: one.__name__)
def test_a_replica_on_a_server(
    target: Callable[[Path], AbstractContextManager[Target]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles and a large object; the server dies once and the next run goes on; garbage goes."""
    monkeypatch.setattr(bundling, "ALONE", 200_000)
    rclone = Rclone(tmp_path / "run", patience=Patience(1, (0.05,)))
    try:
        with target(tmp_path / "served") as server:
            box = ReplicaBox(tmp_path)
            remote = rclone.remote(server.named("cellar", keep_daily=1, keep_weekly=0))
            box.remote = remote  # type: ignore[assignment]
            source = random.Random(1)
            for size in (1_000, 50_000, 600_000):
                box.receive(source.randbytes(size))
                box.roll()
            box.write_settings("anna")
            box.write_projections(1)
            box.sign()
            box.run()
            server.kill()
            box.receive(b"while it was down")
            with pytest.raises(UnavailableError):
                box.run()
            server.restart()
            box.compact()
            box.run()
            box.receive(b"last")
            box.run(after=HOUR)
            assert box.restored(tmp_path / "before") == box.originals
            before = len(remote.list())
            collect(remote, box.keys, box.progress, now=time.time_ns() // 1000)  # the server's times are of today
            assert len(remote.list()) < before
            assert len(generation_names(remote)) == 1
            assert box.restored(tmp_path / "after") == box.originals
            remote.close()
    finally:
        rclone.close()
