"""The archiver that runs on this box, over its local socket. Loads nothing of the archive itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from appliance import decoding
from appliance.errors import ForbiddenError, UnavailableError
from appliance.language import later
from appliance.services.client import StreamHead
from appliance.services.paths import local_secret_beside
from appliance.services.principal import LOCAL_GROUP
from appliance.services.wire import Call, Reply, error_of, pack, read

T = TypeVar("T")

_decode = msgspec.msgpack.Decoder(Reply).decode


class RunningBox:
    """The archiver that ``serve`` runs, over its local socket."""

    def __init__(self, path: Path, *, session: str = "") -> None:
        """``session`` is that of who signed in at the console: the calls are then made in that person's name.

        Raises FileNotFoundError or ConnectionRefusedError where none runs, ForbiddenError for who may not call.
        """
        self._session = session
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
        with suppress(OSError):  # of a connection that broke off in the middle of a call
            self._stream.close()
        self._socket.close()

    def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer."""
        self._send(method, params)
        reply = self._receive()
        if reply.error is not None:
            raise error_of(reply.error)
        return decoding.from_msgpack(reply.result, kind)

    def stream(self, method: str, /, **params: Any) -> tuple[StreamHead, Iterator[bytes]]:
        """A download."""
        self._send(method, params)
        first = self._receive()
        if first.error is not None:
            raise error_of(first.error)
        return decoding.from_msgpack(first.chunk or b"", StreamHead), self._chunks()

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
            self._stream.write(pack(Call(method=method, token=self._secret, session=self._session, params=params)))
            self._stream.flush()
        except OSError as error:
            raise UnavailableError(later("The archive has stopped. Start it with `mailkeep serve`.")) from error

    def _receive(self) -> Reply:
        try:
            return _decode(read(self._stream) or b"")
        except (OSError, ValueError) as error:  # broken off, or no answer at all
            raise UnavailableError(later("The archive broke off its answer. Nothing was lost; try again.")) from error
