"""A power cut takes from settings.db only what the log gives back, and brings back no session that was ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from appliance.services import users
from appliance.services.archive import Archive
from appliance.services.paths import Paths
from appliance.services.unlock import unlock
from appliance.settings.store import Settings
from tests.faults.disks import ext4, mounted
from tests.scratch import BOX, ScratchArchive

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("as_root"), pytest.mark.timeout(300)]

STAYS, SIGNED_OUT, DISABLED = (letter * 32 for letter in (b"s", b"o", b"d"))


def test_a_session_that_was_ended_does_not_come_back_with_the_power(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk:
        box = ScratchArchive(disk.root)
        anna, ben = box.user("anna@example.com"), box.user("ben@example.com")
        for token, user in ((STAYS, anna), (SIGNED_OUT, anna), (DISABLED, ben)):
            box.archive.settings.session_open(token, user, int(time.time()) + 3600)
        os.sync()
        box.archive.settings.session_end(SIGNED_OUT)
        users.user_change(box.archive, BOX, id=ben, state="disabled")
        image = disk.cut(tmp_path / "cut.img")
        box.close()
    with mounted(image, tmp_path / "cut") as root:
        paths = Paths(root / "data")
        keys = unlock(paths)
        left = Settings(paths.settings, column_key=keys.key("settings"), lookup_key=keys.key("settings-lookup"))
        assert _user(left, DISABLED) == ben, "the power cut took nothing: the test shows nothing"
        left.close()
        archive = Archive(paths, keys)
        try:
            found = [_user(archive.settings, token) for token in (STAYS, SIGNED_OUT, DISABLED)]
        finally:
            archive.close()
    assert found == [anna, None, None]


def _user(settings: Settings, token: bytes) -> str | None:
    found = settings.session_of(token)
    return found.user if found else None
