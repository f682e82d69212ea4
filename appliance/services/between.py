"""Calls between the archive's own processes: a Unix socket that answers by name, and the secret that lies beside it.

Whoever cannot read the secret cannot call: processes that face the network cannot.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from appliance import decoding
from appliance.errors import UnavailableError, UsageError
from appliance.files import FILES, replace_file
from appliance.services.calling import Service
from appliance.services.paths import local_secret_beside
from appliance.services.server import Answer, Listeners, guarded
from appliance.services.wire import Call, Reply, error_of, pack, read

START_SECONDS: Final = 20.0
"""How long a process that is being started is waited for."""
ANSWER_SECONDS: Final = 600.0
"""How long an answer may take: the longest is the test of something slow outside."""

_PAUSE: Final = 0.1

T = TypeVar("T")


class Door:
    """A socket that answers calls of ``methods``, each in a thread of its own."""

    def __init__(self, place: Path, realm: str, methods: Mapping[str, Callable[..., Any]]) -> None:
        """``realm`` is what the log calls those who come without the secret."""
        self._place = place
        self._realm = realm
        self._services = {name: Service(function) for name, function in methods.items()}
        self._secret = secrets.token_hex(32)
        self._listeners = Listeners()

    def start(self) -> None:
        """Answer until ``close``. Raises OSError."""
        replace_file(FILES, local_secret_beside(self._place), self._secret.encode("ascii"), 0o640)
        self._listeners.open(self._place, self._accept)

    def close(self) -> None:
        """Stop listening."""
        self._listeners.close()

    def _accept(self, _connection: socket.socket) -> Answer:
        return guarded(self._realm, self._secret, self._answer)

    def _answer(self, call: Call) -> Any:
        service = self._services.get(call.method)
        if service is None:
            raise UsageError("There is no such service.")
        return service(params=call.params)


def ask(place: Path, late: str, method: str, kind: type[T], /, **params: Any) -> T:
    """The answer to one call at the door ``place``; asked again where it ends before it has answered, as it does when
    the archive is locked or unlocked. Raises UnavailableError with the sentence ``late``, and what the call raises."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            reply = _answer(place, method, params)
            break
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise UnavailableError(late) from error
        time.sleep(_PAUSE)
    if reply.error is not None:
        raise error_of(reply.error)
    return decoding.from_msgpack(reply.result, kind)


def answers(place: Path) -> None:
    """Return when somebody has answered at the door, whatever was said. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(str(place))
        with door.makefile("rwb") as stream:
            stream.write(pack(Call(method="")))
            stream.flush()
            if not read(stream):
                raise ConnectionResetError("the other process hung up")


def _answer(place: Path, method: str, params: dict[str, Any]) -> Reply:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_SECONDS)
        line.connect(str(place))
        with line.makefile("rwb") as stream:
            secret = local_secret_beside(place).read_text("ascii")
            stream.write(pack(Call(method=method, token=secret, params=params)))
            stream.flush()
            return decoding.from_msgpack(read(stream) or b"", Reply)
