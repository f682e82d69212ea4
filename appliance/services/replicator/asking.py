"""Asking the replicator, from another process of the box."""

from __future__ import annotations

import socket
import time
from typing import Any, Final, TypeVar

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.language import later
from appliance.services.paths import Paths
from appliance.services.wire import Call, Reply, error_of, pack, read

START_SECONDS: Final = 20.0
"""How long a replicator that is being started is waited for."""
ANSWER_SECONDS: Final = 600.0
"""How long an answer may take: the longest is the test of a slow remote."""

_PAUSE: Final = 0.1

T = TypeVar("T")


def ask(paths: Paths, method: str, kind: type[T], /, **params: Any) -> T:
    """The replicator's answer to one call (``door.Desk``); asked again where it ends before it has answered, as it
    does when the archive is locked or unlocked. Raises UnavailableError, and what it raises."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            reply = _answer(paths, method, params)
            break
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    later(
                        "The replicator does not answer; it waits for the archive to be unlocked, or is being started. "
                        "Nothing was lost; try again shortly."
                    )
                ) from error
        time.sleep(_PAUSE)
    if reply.error is not None:
        raise error_of(reply.error)
    return decoding.from_msgpack(reply.result, kind)


def _answer(paths: Paths, method: str, params: dict[str, Any]) -> Reply:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_SECONDS)
        line.connect(str(paths.replica_socket))
        with line.makefile("rwb") as stream:
            stream.write(pack(Call(method=method, token=paths.replica_secret.read_text("ascii"), params=params)))
            stream.flush()
            return decoding.from_msgpack(read(stream) or b"", Reply)
