"""The box's own way to the services: over the archiver's local socket, or, where none runs, in this process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.dispatch import Dispatcher
from appliance.services.paths import Paths
from appliance.services.projecting import Projecting
from appliance.services.reading import Download
from appliance.services.running import RunningBox
from appliance.services.server import local_principal
from appliance.services.unlock import Secret, unlock
from appliance.services.users import create_from_mail
from appliance.services.wire import Call

__all__ = ["OwnBox", "RunningBox", "open_box", "running_box"]

T = TypeVar("T")

START_SECONDS = 30.0
"""How long an archiver that is being started is waited for."""
START_PAUSE = 0.1


class OwnBox:
    """The services in this process, for a box on which nothing runs."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._principal = local_principal(os.getuid())

    def project(self) -> None:
        """Project what the log holds, since no projector runs here."""
        archive = self.dispatcher.archive
        projecting = Projecting(archive.paths, archive.keyring, create_user=partial(create_from_mail, archive))
        projecting.finish()
        projecting.close()

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer."""
        answer = self.dispatcher.from_box(Call(method=method, params=params), self._principal)
        # Through the wire's types, so that both ways give the same.
        return decoding.from_values(msgspec.to_builtins(answer, builtin_types=(bytes,)), kind)

    def stream(self, method: str, /, **params: Any) -> tuple[StreamHead, Iterator[bytes]]:
        """A download."""
        answer = self.dispatcher.from_box(Call(method=method, params=params), self._principal)
        if not isinstance(answer, Download):
            raise UnavailableError(f"{method} is no download.")
        return answer.head, answer.chunks


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
    if running is None:
        archive = Archive(paths, unlock(paths, secret))
        try:
            dispatcher = Dispatcher(archive)
            try:
                yield OwnBox(dispatcher)
            finally:
                dispatcher.close()
        finally:
            archive.close()
    else:
        try:
            yield running
        finally:
            running.close()
