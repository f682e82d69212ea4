"""A remote that is a plain folder, and fails when a test wants it to."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.cloud.remote import Moved, RemoteConfig, RemoteObject, Room
from appliance.errors import ConflictError, ForbiddenError, NotFoundError, RemoteFullError, UnavailableError

Hook = Callable[[str, str], None]
"""Called with the name of a call (``list``, ``put``, ``get``, ``read``, ``delete``) and of the object."""


class Killed(BaseException):
    """The process dies here: nothing of the product catches it."""


class FolderRemote:
    """``Remote`` on a folder. Objects may be looked at and spoiled by hand below ``folder``.

    ``before`` and ``after`` are called around each call and may raise; what ``after`` raises comes when the call has
    had its effect. ``clock`` gives microseconds for ``RemoteObject.modified`` and the locks; ``capacity`` is in bytes.
    """

    def __init__(
        self, folder: Path, config: RemoteConfig | None = None, *, clock: Callable[[], int] | None = None
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config = config or RemoteConfig(name="cellar", type="local", path=str(folder))
        self.clock = clock or (lambda: time.time_ns() // 1000)
        self.before: Hook = lambda call, name: None
        self.after: Hook = lambda call, name: None
        self.calls: list[tuple[str, str]] = []
        self.capacity: int | None = None
        self.locked_until: dict[str, int] = {}
        self._modified: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def names(self, folder: str = "") -> list[str]:
        """All objects, without a call being counted."""
        root = self.folder / folder
        return sorted(path.relative_to(self.folder).as_posix() for path in root.rglob("*") if path.is_file())

    def content(self, name: str) -> bytes:
        """An object's bytes, without a call being counted."""
        return (self.folder / name).read_bytes()

    def spoil(self, name: str, content: bytes | None) -> None:
        """Put other bytes in an object's place, or take it away, as somebody with access to the storage can."""
        if content is None:
            (self.folder / name).unlink()
        else:
            (self.folder / name).write_bytes(content)

    def fail(self, error: BaseException, call: str, *, match: str = "", times: int = 1) -> None:
        """The next ``times`` calls of that kind about an object with ``match`` in its name raise ``error``."""
        left = [times]

        def before(this: str, name: str) -> None:
            if this == call and match in name and left[0] > 0:
                left[0] -= 1
                raise error

        self.before = before

    def list(self, folder: str = "") -> list[RemoteObject]:
        with self._call("list", folder):
            self._stopped = False  # what was stopped was another run's
            return [
                RemoteObject(name, (self.folder / name).stat().st_size, self._modified_at(name))
                for name in self.names(folder)
            ]

    def put(self, source: Path, name: str, moved: Moved | None = None, *, lock_until: int = 0) -> None:
        with self._call("put", name):
            target = self.folder / name
            data = source.read_bytes()
            if moved is not None:
                moved(len(data) // 2)
            with self._lock:
                if self._stopped:
                    raise UnavailableError("The transfer was stopped.")
                if target.exists():
                    if target.read_bytes() != data:
                        raise ConflictError(f"{name} holds something else.")
                    return
                if self.capacity is not None and self._used() + len(data) > self.capacity:
                    raise RemoteFullError(f"{self.config.name} is full.")
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = self.folder.with_name(self.folder.name + ".unfinished")
                unfinished.write_bytes(data)
                unfinished.rename(target)
                self._modified[name] = self.clock()
                if lock_until:
                    self.locked_until[name] = lock_until
            if moved is not None:
                moved(len(data))

    def get(self, name: str, target: Path, moved: Moved | None = None) -> None:
        with self._call("get", name):
            path = self._present(name)
            shutil.copyfile(path, target)
            if moved is not None:
                moved(path.stat().st_size)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        with self._call("read", name):
            data = self._present(name).read_bytes()
            return data[offset:] if size is None else data[offset : offset + size]

    def delete(self, name: str) -> None:
        with self._call("delete", name):
            if self.locked_until.get(name, 0) > self.clock():
                raise ForbiddenError(f"{name} is locked.")
            (self.folder / name).unlink(missing_ok=True)

    def room(self) -> Room:
        return Room(None if self.capacity is None else self.capacity - self._used(), self._used())

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Nothing is held."""

    @contextmanager
    def _call(self, call: str, name: str) -> Iterator[None]:
        with self._lock:
            self.calls.append((call, name))
            self.before(call, name)
        yield
        self.after(call, name)

    def _present(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise NotFoundError(f"There is no {name} at {self.config.name}.")
        return path

    def _modified_at(self, name: str) -> int:
        return self._modified.get(name) or (self.folder / name).stat().st_mtime_ns // 1000

    def _used(self) -> int:
        return sum((self.folder / name).stat().st_size for name in self.names())
