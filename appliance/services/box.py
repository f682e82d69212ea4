"""The box's own way to the services: over the archiver's local socket, or, where none runs, in this process."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from appliance.errors import UnavailableError
from appliance.services.paths import Paths
from appliance.services.running import RunningBox
from appliance.services.unlock import Secret

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox

__all__ = ["RunningBox", "open_box", "running_box"]

START_SECONDS = 30.0
"""How long an archiver that is being started is waited for."""
START_PAUSE = 0.1


def running_box(paths: Paths) -> RunningBox | None:
    """The archiver that ``serve`` runs; None where nothing is served.

    An archiver that is being started (again) is waited for: nobody else may open the archive meanwhile. Raises
    UnavailableError where that takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return RunningBox(paths.local_socket)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if not _is_served(paths):
                return None
            if time.monotonic() > deadline:
                raise UnavailableError("The archive is being started. Try again shortly.") from error
            time.sleep(START_PAUSE)


def _is_served(paths: Paths) -> bool:
    """Whether there is a key agent, which ``serve`` starts first and stops last."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        try:
            door.connect(str(paths.agent_socket))
        except OSError:
            return False
    return True


@contextmanager
def open_box(paths: Paths, secret: Secret | None = None) -> Iterator[RunningBox | OwnBox]:
    """The services of a data folder, wherever they run."""
    running = running_box(paths)
    if running is not None:
        with closing(running):
            yield running
        return
    # All of the archive's services, which take longer to load than a running archiver to answer.
    from appliance.services.own_box import opened

    with opened(paths, secret) as own:
        yield own
