"""The box's own way to the services: over the archiver's local socket, or, where none runs, in this process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance.errors import ForbiddenError, UnavailableError
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.dispatch import Dispatcher
from appliance.services.paths import Paths, local_secret_beside
from appliance.services.projecting import Projecting
from appliance.services.reading import Download
from appliance.services.server import LOCAL_GROUP, local_principal
from appliance.services.unlock import Secret, unlock
from appliance.services.users import create_from_mail
from appliance.services.wire import Call, Reply, error_of, pack, read

T = TypeVar("T")

START_SECONDS = 30.0
"""How long an archiver that is being started is waited for."""
START_PAUSE = 0.1

_decode = msgspec.msgpack.Decoder(Reply).decode


class RunningBox:
    """The archiver that ``serve`` runs, over its local socket."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError or ConnectionRefusedError where none runs, ForbiddenError for who may not call."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
            self._secret = local_secret_beside(path).read_text("ascii")
        except PermissionError as error:
            self._socket.close()
            raise ForbiddenError(
                f"Only root and members of the group {LOCAL_GROUP} may use the archive's command line."
            ) from error
        except OSError:
            self._socket.close()
            raise
        self._stream = self._socket.makefile("rwb")

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer."""
        self._send(method, params)
        reply = self._receive()
        if reply.error is not None:
            raise error_of(reply.error)
        return msgspec.msgpack.decode(reply.result, type=kind)

    def stream(self, method: str, /, **params: Any) -> tuple[StreamHead, Iterator[bytes]]:
        """A download."""
        self._send(method, params)
        first = self._receive()
        if first.error is not None:
            raise error_of(first.error)
        return msgspec.msgpack.decode(first.chunk or b"", type=StreamHead), self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        while True:
            reply = self._receive()
            if reply.error is not None:
                raise error_of(reply.error)
            if reply.chunk is None:
                return
            yield reply.chunk

    def _send(self, method: str, params: dict[str, Any]) -> None:
        try:
            self._stream.write(pack(Call(method=method, token=self._secret, params=params)))
            self._stream.flush()
        except OSError as error:
            raise UnavailableError("The archive has stopped. Start it with `mailkeep serve`.") from error

    def _receive(self) -> Reply:
        try:
            return _decode(read(self._stream) or b"")
        except (OSError, ValueError) as error:  # broken off, or no answer at all
            raise UnavailableError("The archive broke off its answer. Nothing was lost; try again.") from error


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
        return msgspec.convert(msgspec.to_builtins(answer, builtin_types=(bytes,)), kind)

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
