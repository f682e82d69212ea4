"""The console's one way to the archive: calls to the archiver's local socket, each in a thread of its own.

A call opens a connection and closes it again, so there is none to go stale: the archiver may be restarted, locked and
unlocked between two calls. What goes wrong is a ``MailkeepError`` whose sentence can be shown as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from appliance.errors import UnavailableError
from appliance.files import FILES, create_file
from appliance.language import _
from appliance.services.paths import Paths
from appliance.services.running import RunningBox

T = TypeVar("T")


class Box(Protocol):
    """What the console asks of the archive."""

    async def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """The service's answer. Raises the MailkeepError that the service raised, UnavailableError without one."""
        ...

    async def save(self, place: Path, method: str, /, **params: Any) -> int:
        """A download into a new file that only its owner can read. Returns its size in bytes."""
        ...

    def speak_for(self, session: str) -> None:
        """Make the calls that follow in the name of whose session that is; empty for the box's own."""
        ...


class ArchiverBox:
    """The archiver that runs on this box."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._session = ""

    async def call(self, method: str, kind: type[T], /, **params: Any) -> T:
        """See ``Box.call``."""
        return await asyncio.to_thread(self._call, method, kind, params)

    async def save(self, place: Path, method: str, /, **params: Any) -> int:
        """See ``Box.save``."""
        return await asyncio.to_thread(self._save, place, method, params)

    def speak_for(self, session: str) -> None:
        """See ``Box.speak_for``."""
        self._session = session

    def _call(self, method: str, kind: type[T], params: dict[str, Any]) -> T:
        with self._open() as running:
            return running.call(method, kind, **params)

    def _save(self, place: Path, method: str, params: dict[str, Any]) -> int:
        with self._open() as running:
            _head, chunks = running.stream(method, **params)
            content = b"".join(chunks)
        create_file(FILES, place, content, 0o600)
        return len(content)

    @contextmanager
    def _open(self) -> Iterator[RunningBox]:
        try:
            running = RunningBox(self._paths.local_socket, session=self._session)
        except OSError as error:
            raise UnavailableError(
                _("The archive does not answer: it is not running, or is just being started. Nothing is lost.")
            ) from error
        try:
            yield running
        finally:
            running.close()
