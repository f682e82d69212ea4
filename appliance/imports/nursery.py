"""The parent's handle of the nursery: a process that does nothing but fork children, each of which reads one file.

A process that reads mail for others cannot start its readers itself: it has given up the right to execute, and a
process with threads must not fork. So it starts the nursery (``imports.child``) before either, and asks it later.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from types import TracebackType

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.imports.wire import Order, Report

_START_SECONDS = 60.0
_ANSWER_SECONDS = 30.0
_LARGEST_REPORT = 64 * 1024


class Nursery:
    """The process that forks readers. Start it in the main thread, before others run and before the process is
    confined: it dies with the thread that started it. Its methods may be called by any thread.

    Raises UnavailableError where it cannot be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-m", "appliance.imports.child"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
                )
            self._channel.settimeout(_START_SECONDS)
            self._answer(0)
            self._channel.settimeout(_ANSWER_SECONDS)
        except (OSError, UnavailableError) as error:
            self.close()
            raise _gone() from error

    @property
    def pid(self) -> int:
        """Of the nursery's process."""
        return self._process.pid

    def wait(self) -> None:
        """Return when the nursery has ended, however it did."""
        self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def begin(self, order: Order, descriptor: int) -> tuple[int, socket.socket]:
        """Fork a child for ``order``, with the file ``descriptor``; its number, and the socket on which it speaks.

        The order's own number does not matter. Raises UnavailableError.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs, self._lock:
                self._number += 1
                order = msgspec.structs.replace(order, number=self._number)
                socket.send_fds(self._channel, [msgspec.msgpack.encode(order)], [descriptor, theirs.fileno()])
                report = self._answer(order.number)
        except (OSError, UnavailableError) as error:
            ours.close()
            raise _gone() from error
        if report.failed:
            ours.close()
            raise UnavailableError(f"No process for reading files can be started: {report.failed}. Nothing is lost.")
        return order.number, ours

    def end(self, number: int) -> int | None:
        """See a child off: its exit code, or the negative number of the signal that ended it; None where it went on
        and was killed. To be called once for each child. Raises UnavailableError."""
        try:
            with self._lock:
                self._channel.send(msgspec.msgpack.encode(Order(number, end=True)))
                return self._answer(number).code
        except OSError as error:
            raise _gone() from error

    def close(self) -> None:
        """End the nursery, and with it all its children."""
        self._channel.close()
        process = getattr(self, "_process", None)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            process.wait()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, number: int) -> Report:
        while True:
            packet = self._channel.recv(_LARGEST_REPORT)
            if not packet:
                raise _gone()
            report = decoding.from_msgpack(packet, Report)
            if report.number == number:  # an answer that came too late is passed over
                return report


def _gone() -> UnavailableError:
    return UnavailableError(
        "The process that starts readers of files is not there. Nothing is lost: imports go on once this part of the"
        " archive has been started again."
    )
