"""The only module that calls the operating system about the log, its seals and the keyring.

Durability rules live here, once: a name is durable only after its directory has been synced, and a file is
replaced by writing beside it, syncing, renaming and syncing the directory. The writer, the reader and the keyring
take a ``Files`` object, so a test can hand them one whose Nth call fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

Buffer = bytes | bytearray | memoryview

_PIECE = 1024 * 1024
_MOST_BUFFERS = min(os.sysconf("SC_IOV_MAX"), 1024)


class Files:
    """One method for each call; every one raises OSError as the system gives it."""

    def create(self, path: Path, mode: int = 0o660) -> int:
        """A new, empty file, open for reading and writing; FileExistsError where the name is taken."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def open(self, path: Path) -> int:
        """An existing file, open for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def reopen(self, path: Path) -> int:
        """An existing file, open for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``; fewer only at the end of the file."""
        return os.pread(descriptor, size, offset)

    def write(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers one after the other at ``offset``; the number of bytes taken, which may be fewer."""
        return os.pwritev(descriptor, buffers, offset)

    def size(self, descriptor: int) -> int:
        """Length of the file in bytes."""
        return os.fstat(descriptor).st_size

    def sync_data(self, descriptor: int) -> None:
        """Return when the file's bytes and length are on disk (fdatasync)."""
        os.fdatasync(descriptor)

    def sync(self, descriptor: int) -> None:
        """Return when the file and all that is known about it are on disk (fsync)."""
        os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory are on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, path: Path, mode: int = 0o770) -> None:
        """A new directory; FileExistsError where the name is taken."""
        path.mkdir(mode)

    def exists(self, path: Path) -> bool:
        """Whether there is a file or directory of that name."""
        return path.exists()

    def stamp(self, path: Path) -> tuple[int, int, int] | None:
        """What tells one state of a file that is replaced from the next; None where there is no such file."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted; none where there is no such directory."""
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, a Path each costs ten times as much
        except FileNotFoundError:
            return []

    def rename(self, source: Path, target: Path) -> None:
        """Give ``source`` the name ``target``, replacing what had it."""
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        """A second name for a file, on the same file system; FileExistsError where it is taken."""
        target.hardlink_to(source)

    def unlink(self, path: Path) -> None:
        """Take the name away."""
        path.unlink()

    def free(self, path: Path) -> int:
        """Bytes that an ordinary user may still write on the file system of ``path``."""
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize

    def lock(self, descriptor: int) -> bool:
        """Take the file for this process until the descriptor closes; False where another one has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_locked(self, descriptor: int) -> bool:
        """Whether somebody holds the file by ``lock``."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False


class ConfinedFiles(Files):
    """The log's way to the disk in a confined process: the data folder itself cannot be opened there any more.

    It need not be: before it gave that up, the process has made the names in it that matter, and synced it.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory are on disk; those in the data folder are."""
        if path != self._data:
            super().sync_directory(path)


FILES = Files()


def write_all(files: Files, descriptor: int, buffers: Iterable[Buffer], offset: int) -> int:
    """Write every byte of ``buffers`` from ``offset`` on, in as many calls as it takes; the end offset."""
    waiting = [buffer for buffer in buffers if len(buffer)]
    first = 0
    while first < len(waiting):
        taken = files.write(descriptor, waiting[first : first + _MOST_BUFFERS], offset)
        offset += taken
        while taken and taken >= len(waiting[first]):
            taken -= len(waiting[first])
            first += 1
        if taken:
            waiting[first] = memoryview(waiting[first])[taken:]
    return offset


def read_exactly(files: Files, descriptor: int, size: int, offset: int) -> bytes:
    """``size`` bytes from ``offset``, or what there is up to the end of the file."""
    data = files.read(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing:
        data = files.read(descriptor, missing, offset + size - missing)
        if not data:
            break
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)


def read_file(files: Files, path: Path) -> bytes:
    """All bytes of a file."""
    descriptor = files.open(path)
    try:
        return read_exactly(files, descriptor, files.size(descriptor), 0)
    finally:
        files.close(descriptor)


def create_directory(files: Files, path: Path) -> None:
    """``path`` is a directory whose name is durable, made now or found there."""
    with contextlib.suppress(FileExistsError):
        files.make_directory(path)
    files.sync_directory(path.parent)


def read_pieces(files: Files, path: Path) -> Iterator[bytes]:
    """All bytes of a file, at most 1 MiB at a time."""
    descriptor = files.open(path)
    try:
        offset = 0
        while piece := read_exactly(files, descriptor, _PIECE, offset):
            yield piece
            offset += len(piece)
    finally:
        files.close(descriptor)


def file_digest(files: Files, path: Path) -> bytes:
    """SHA-256 of a file."""
    digest = sha256()
    for piece in read_pieces(files, path):
        digest.update(piece)
    return digest.digest()


def write_file(files: Files, path: Path, pieces: Iterable[Buffer], mode: int = 0o600) -> int:
    """A new file of ``pieces``, on the disk on return; its size in bytes. Where that fails there is none.

    The name is durable once the caller has synced the directory. FileExistsError where the name is taken.
    """
    descriptor = files.create(path, mode)
    try:
        size = 0
        for piece in pieces:
            size = write_all(files, descriptor, [piece], size)
        files.sync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(path)
        raise
    finally:
        files.close(descriptor)
    return size


def create_file(files: Files, path: Path, data: bytes, mode: int = 0o600) -> None:
    """A new file with ``data`` in it, durable with its name. FileExistsError where the name is taken."""
    write_file(files, path, [data], mode)
    files.sync_directory(path.parent)


@contextlib.contextmanager
def lock_held(files: Files, path: Path) -> Iterator[bool]:
    """Hold the lock on a file, made where absent, until the end of the block; False where somebody else has it."""
    with contextlib.suppress(FileExistsError):
        files.close(files.create(path, 0o600))
    descriptor = files.open(path)
    try:
        yield files.lock(descriptor)
    finally:
        files.close(descriptor)


def replace_file(files: Files, path: Path, data: bytes, mode: int = 0o600) -> None:
    """``path`` holds ``data`` afterwards, or what it held before, whenever the power goes; durable on return."""
    beside = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        files.unlink(beside)
    descriptor = files.create(beside, mode)
    try:
        write_all(files, descriptor, [data], 0)
        files.sync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            files.unlink(beside)
        raise
    finally:
        files.close(descriptor)
    files.rename(beside, path)
    files.sync_directory(path.parent)
