"""A command meets an archive that is served, that rests, or that is just being started."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from appliance.errors import UnavailableError
from appliance.services import api
from appliance.services import box as boxes
from appliance.services.server import Server
from tests.scratch import ScratchArchive


@pytest.fixture
def agent(box: ScratchArchive) -> Iterator[socket.socket]:
    """Something that listens where the key agent does."""
    box.paths.agent_socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.paths.agent_socket))
        listener.listen()
        yield listener


def test_a_resting_archive_has_none(box: ScratchArchive) -> None:
    assert boxes.running_box(box.paths) is None
    _leave_sockets(box)
    assert boxes.running_box(box.paths) is None


def test_an_archiver_that_is_being_started_is_waited_for(box: ScratchArchive, agent: socket.socket) -> None:
    server = Server(box.dispatcher)
    starting = threading.Timer(0.5, server.start)
    starting.start()
    try:
        running = boxes.running_box(box.paths)
        assert running is not None
        assert running.call("lock_state", api.LockState).unlocked
        running.close()
    finally:
        starting.join()
        server.close()


def test_nobody_else_opens_a_served_archive_whose_archiver_does_not_come(
    box: ScratchArchive, agent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "START_SECONDS", 0.2)
    with pytest.raises(UnavailableError, match="being started"), boxes.open_box(box.paths):
        pass


def _leave_sockets(box: ScratchArchive) -> None:
    """What processes that were killed leave behind: names that nobody listens at."""
    for path in (box.paths.agent_socket, box.paths.local_socket):
        path.parent.mkdir(parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
