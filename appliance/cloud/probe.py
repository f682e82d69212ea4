"""Whether a remote works, found out by using it: a probe is written, read back, compared and deleted."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from appliance.cloud.remote import Remote, Room
from appliance.errors import MailkeepError
from appliance.framing import Failure, failure_of
from appliance.language import later

PROBE_SIZE: Final = 4 * 1024 * 1024


class RemoteTest(msgspec.Struct, frozen=True):
    """How far a test came. Speeds are bytes a second of one transfer, 0 where it did not come so far."""

    written: bool = False
    read: bool = False
    deleted: bool = False
    bytes_per_second_up: float = 0.0
    bytes_per_second_down: float = 0.0
    room: Room = Room()
    words: str = ""
    failure: Failure | None = None
    """The error that ended it, if one did."""

    @property
    def passed(self) -> bool:
        """Whether the remote does all that replication needs."""
        return self.written and self.read and self.deleted


def test_remote(remote: Remote, *, size: int = PROBE_SIZE) -> RemoteTest:
    """Use a remote once. What goes wrong is in ``words``, not raised; the probe is removed if that is possible."""
    result = RemoteTest()
    name = f"probes/{os.urandom(16).hex()}"
    data = os.urandom(size)
    try:
        with tempfile.TemporaryDirectory(prefix="mailkeep-probe-") as folder:
            source = Path(folder) / "probe"
            source.write_bytes(data)
            started = time.monotonic()
            remote.put(source, name)
            up = size / (time.monotonic() - started)
        result = msgspec.structs.replace(result, written=True, bytes_per_second_up=up)
        started = time.monotonic()
        back = remote.read(name)
        down = size / (time.monotonic() - started)
        if back != data:
            return _ended(
                remote, name, result, later("What came back is not what was written: this remote cannot be relied on.")
            )
        result = msgspec.structs.replace(result, read=True, bytes_per_second_down=down)
        remote.delete(name)
        result = msgspec.structs.replace(result, deleted=True)
        return msgspec.structs.replace(
            result, room=remote.room(), words=later("A probe was written, read back, compared and deleted.")
        )
    except MailkeepError as error:
        return _ended(remote, name, msgspec.structs.replace(result, failure=failure_of(error)), error.message)


test_remote.__test__ = False  # type: ignore[attr-defined]  # pytest collects what is called test_


def _ended(remote: Remote, name: str, result: RemoteTest, words: str) -> RemoteTest:
    if result.written and not result.deleted:
        with contextlib.suppress(MailkeepError):
            remote.delete(name)
    return msgspec.structs.replace(result, words=words)
