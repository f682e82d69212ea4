"""A line between a browser and the web face that can be cut: it passes bytes on as they are, until it breaks off."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

PIECE = 256 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing it sends RST


class Wire:
    """A port that leads to another one. Once ``after`` bytes have gone there, everything is cut until ``mend``."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._left: int | None = None
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base(self) -> str:
        """The address of the pages through it."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_after(self, count: int) -> None:
        """Break off when so many more bytes have gone from the browser to the server."""
        with self._lock:
            self._left = count

    def mend(self) -> None:
        """Pass everything on again."""
        with self._lock:
            self._left = None
            self.cut.clear()

    def close(self) -> None:
        """Take it down."""
        self.cut.set()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(browser,), daemon=True).start()

    def _pass(self, browser: socket.socket) -> None:
        with browser, socket.create_connection(("127.0.0.1", self._target)) as server:
            for end in (browser, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with contextlib.suppress(OSError):
                while not self.cut.is_set():
                    ready, _, _ = select.select((browser, server), (), (), 0.2)
                    for end in ready:
                        data = end.recv(PIECE)
                        if not data:
                            return
                        if end is browser:
                            data = self._taken(data)
                        (server if end is browser else browser).sendall(data)

    def _taken(self, data: bytes) -> bytes:
        """What of these bytes still passes."""
        with self._lock:
            if self._left is None:
                return data
            passing = data[: self._left]
            self._left -= len(passing)
            if not self._left:
                self.cut.set()
            return passing


@contextlib.contextmanager
def wired(base: str) -> Iterator[Wire]:
    """A line to the server at ``base``."""
    wire = Wire(int(base.rpartition(":")[2]))
    try:
        yield wire
    finally:
        wire.close()
