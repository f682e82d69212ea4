"""Restoring by rclone from real servers, which break off in the middle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from appliance.cloud import bundling, download
from appliance.cloud.rclone import Patience, Rclone
from appliance.errors import UnavailableError
from tests.burnt import Fire, Replicated, burn_down
from tests.remotes import Target, s3_target, sftp_target, webdav_target

pytestmark = pytest.mark.integration

LARGE = 3000


@pytest.fixture(scope="module")
def with_large_objects(tmp_path_factory: pytest.TempPathFactory) -> Replicated:
    """A replica some of whose volumes are objects of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundling, "ALONE", LARGE)
        return burn_down(tmp_path_factory.mktemp("large"), volumes=3)


@pytest.mark.parametrize("target", [s3_target, webdav_target, sftp_target], ids=lambda one: one.__name__)
def test_everything_comes_back_from_a_server_that_dies_meanwhile(
    target: Callable[[Path], AbstractContextManager[Target]], tmp_path: Path, with_large_objects: Replicated,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(download, "RANGE", LARGE)
    rclone = Rclone(tmp_path / "run", patience=Patience(1, (0.05,)))
    try:
        with target(tmp_path / "served") as server:
            shutil.copytree(with_large_objects.folder, server.folder, dirs_exist_ok=True)
            fire = Fire(tmp_path / "fire", with_large_objects)
            fire.remote = rclone.remote(server.named("cellar"))  # type: ignore[assignment]
            fire.prepare()
            server.kill()
            with pytest.raises(UnavailableError):
                fire.fill()
            server.restart()
            assert fire.fill().is_whole
            assert fire.records() == fire.originals
            assert any(name.startswith("epochs/") for name in server.objects())
    finally:
        rclone.close()
