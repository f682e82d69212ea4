"""One child of the pool as its parent sees it: the process, the jobs it has, the bytes under way."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

import msgspec

from appliance.extract.limits import reading_seconds
from appliance.extract.protocol import ANSWER, REQUEST, Job

GRACE = 1.0  # seconds beyond a limit that the child keeps itself, before it is killed
_START_SECONDS = 60.0  # a fresh interpreter on a busy machine
_RECEIVE = 256 * 1024


class Task:
    """One job on its way; ``future`` belongs to whoever asked."""

    __slots__ = ("future", "job", "raw", "started")

    def __init__(self, job: Job, raw: bytes, future: Future[Any]) -> None:
        self.job = job
        self.raw = raw
        self.future = future
        self.started = False

    def seconds(self) -> float:
        """The time a child may take for it."""
        return reading_seconds(len(self.raw)) + self.job.seconds + GRACE


class Worker:
    """One child and what is on its way to and from it."""

    channel: socket.socket  # set while ``process`` is

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.retiring = False
        self.tasks: deque[Task] = deque()
        self.outgoing: deque[memoryview] = deque()
        self.deadline: float | None = None
        self._incoming = bytearray()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of mail in the hands of this child."""
        return sum(len(task.raw) for task in self.tasks)

    def start(self, memory: int) -> None:
        """Start a fresh interpreter that inherits its end of the socket and nothing else."""
        self.channel, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-B", "-m", "appliance.extract.child", str(memory)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1"},
                )
        except OSError:
            self.channel.close()
            raise
        self.channel.setblocking(False)
        self.deadline = time.monotonic() + _START_SECONDS

    def stop(self) -> list[Task]:
        """Kill the child and give back the jobs it had."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.channel.close()
        tasks = list(self.tasks)
        self._begin_anew()
        return tasks

    def send(self, task: Task) -> None:
        """Queue a job for the child."""
        job = msgspec.msgpack.encode(task.job)
        self.outgoing.append(memoryview(REQUEST.pack(len(job), len(task.raw)) + job))
        self.outgoing.append(memoryview(task.raw))
        self.tasks.append(task)
        if len(self.tasks) == 1:
            self.restart_clock()

    def write(self) -> None:
        """Write what the socket takes. Raises OSError when the child is gone."""
        while self.outgoing:
            try:
                sent = self.channel.send(self.outgoing[0])
            except BlockingIOError:
                return
            if sent < len(self.outgoing[0]):
                self.outgoing[0] = self.outgoing[0][sent:]
            else:
                self.outgoing.popleft()

    def receive(self) -> bool:
        """Read what is there; False when the child has closed its end."""
        try:
            chunk = self.channel.recv(_RECEIVE)
        except BlockingIOError:
            return True
        self._incoming += chunk
        return bool(chunk)

    def frames(self) -> list[bytes]:
        """The whole frames received since the last call."""
        found = []
        position = 0
        while len(self._incoming) - position >= ANSWER.size:
            (length,) = ANSWER.unpack_from(self._incoming, position)
            end = position + ANSWER.size + length
            if len(self._incoming) < end:
                break
            found.append(bytes(memoryview(self._incoming)[position + ANSWER.size : end]))
            position = end
        del self._incoming[:position]
        return found

    def restart_clock(self) -> None:
        """The time limit of the first job begins now."""
        self.deadline = time.monotonic() + self.tasks[0].seconds() if self.tasks else None

    def is_late(self, now: float) -> bool:
        """Whether the first job, or the start, is over its time."""
        return self.deadline is not None and now > self.deadline
