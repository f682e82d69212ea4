"""Files on their way into an import: their bytes, sealed on the disk, chunk by chunk, wherever they come from."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance.errors import ConflictError, DamageError, DiskFullError, StorageError, UnavailableError
from appliance.files import FILES, Files, create_directory
from appliance.imports.base import FileError
from appliance.imports.scratch import FRAME, ScratchFile, ScratchWriter, sealed_size
from appliance.language import later
from appliance.services.collector.importing_ledger import Imports
from appliance.services.collector.told import CollectorKeys
from appliance.store.failures import is_full
from appliance.store.writer import RESERVE

if TYPE_CHECKING:
    from hashlib import _Hash

MOST_OPEN: Final = 16
"""Files that are kept open between two of their chunks."""
_PIECE: Final = 16 * FRAME


class _Open:
    """A file that is on its way. ``digest`` is of the bytes before ``hashed``."""

    def __init__(self, path: Path, key: bytes, size: int, writer: ScratchWriter) -> None:
        self.path = path
        self.key = key
        self.size = size
        self.writer = writer
        self.digest: _Hash = hashlib.sha256()
        self.hashed = 0

    def close(self) -> None:
        self.writer.close()


class Arriving:
    """The scratch folder. Threads may share it; one of them at a time is served for each file."""

    def __init__(
        self, scratch: Path, keys: Callable[[], CollectorKeys], imports: Callable[[], Imports], *, files: Files = FILES,
        reserve: int = RESERVE,
    ) -> None:  # fmt: skip
        """``reserve`` bytes of the disk are left for mail that comes in."""
        self._scratch = scratch
        self._keys = keys
        self._imports = imports
        self._files = files
        self._reserve = reserve
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[int, int], _Open] = OrderedDict()
        self._busy: set[tuple[int, int]] = set()
        self._closed = False

    def prepare(self, size: int, *, archives: bool) -> str:
        """A name in the scratch folder for a file of so many bytes. Where its mail is archived, too, room for that is
        wanted as well. Raises DiskFullError, StorageError."""
        try:
            create_directory(self._files, self._scratch)
            free = self._files.free(self._scratch)
        except OSError as error:
            raise _refused(error) from error
        wanted = sealed_size(size) + self._imports().room_wanted() + (size if archives else 0) + self._reserve
        if free < wanted:
            raise DiskFullError(
                later(
                    "There are {free} MB free on the disk of the archive, and {wanted} MB are needed to import this "
                    "file. Nothing was changed; make room, or import smaller files."
                ),
                free=free // 1_000_000, wanted=wanted // 1_000_000,
            )  # fmt: skip
        return secrets.token_hex(16)

    def write(self, id: int, number: int, offset: int, data: bytes) -> int:
        """Some bytes of a file; how many have arrived, durably, which is where to go on. Chunks are of 64 KiB at least,
        but for the last. Raises NotFoundError, ConflictError, DiskFullError, StorageError."""
        with self._one(id, number) as one:
            before = one.writer.arrived
            if offset > before or offset + len(data) > one.size:
                text = later("These bytes do not follow those that have arrived: {arrived} of {size}.")
                raise ConflictError(text, arrived=before, size=one.size)
            try:
                if self._files.free(self._scratch) < self._reserve + len(data):
                    raise _no_room()
                arrived = one.writer.write(offset, data)
            except OSError as error:
                self._forget(id, number)
                raise _refused(error) from error
            if arrived > before:
                if one.hashed == before:
                    one.digest.update(memoryview(data)[before - offset : arrived - offset])
                    one.hashed = arrived
                self._imports().note_arrived(id, number, arrived)
            return arrived

    def whole(self, id: int, number: int, sha256: str) -> None:
        """All of a file has arrived: it may be read from now on. ``sha256`` in hex, or empty where nobody knows it.

        Raises ConflictError where bytes are missing, DamageError where it is another file than that, or is damaged on
        this disk: then it begins anew.
        """
        with self._one(id, number) as one:
            if one.writer.arrived < one.size:
                text = later("{missing} bytes of this file have not arrived yet.")
                raise ConflictError(text, missing=one.size - one.writer.arrived)
            try:
                found = self._digest(one)
            except OSError as error:
                raise _refused(error) from error
            except FileError:
                found = ""
            if not found or (sha256 and sha256.lower() != found):
                self._begin_anew(id, number, one)
                raise DamageError(
                    later(
                        "What has arrived is not the file that was sent: its SHA-256 is another. Nothing was "
                        "imported of it; send it once more from the beginning."
                    )
                )
            self._imports().whole(id, number, found)
        self._forget(id, number)

    def digest(self, id: int, number: int, kind: str) -> str:
        """A hash (hex) of a file all of whose bytes have arrived, of a kind that hashlib knows. Raises NotFoundError,
        ConflictError, DamageError where it is damaged on this disk, StorageError."""
        with self._one(id, number) as one:
            digest = hashlib.new(kind)
            try:
                for piece in self._pieces(one):
                    digest.update(piece)
            except OSError as error:
                raise _refused(error) from error
            except FileError as error:
                self._begin_anew(id, number, one)
                raise DamageError(str(error)) from error
            return digest.hexdigest()

    def begin_anew(self, id: int, number: int) -> None:
        """What has arrived of a file is another file: it begins anew. Raises NotFoundError, ConflictError."""
        with self._one(id, number) as one:
            self._begin_anew(id, number, one)

    def forget(self, id: int) -> None:
        """Close what is open of an import that has ended."""
        with self._lock:
            mine = [key for key in self._open if key[0] == id and key not in self._busy]
            closing = [self._open.pop(key) for key in mine]
        for one in closing:
            one.close()

    def sweep(self) -> None:
        """Remove what no import needs any more: what a crash left, and what was stopped. Raises OSError."""
        there = self._files.names(self._scratch)
        wanted = self._imports().scratches()  # asked for last: a file is in the ledger before it is on the disk
        for name in there:
            if name not in wanted:
                with suppress(FileNotFoundError):
                    self._files.unlink(self._scratch / name)

    def close(self) -> None:
        """Close all files, those that a call is busy with when it is over; they go on arriving in another process."""
        with self._lock:
            self._closed = True
            closing = [self._open.pop(key) for key in list(self._open) if key not in self._busy]
        for one in closing:
            one.close()

    # -- helpers ----------------------------------------------------------------------------------------------

    @contextmanager
    def _one(self, id: int, number: int) -> Iterator[_Open]:
        """A file, for this thread alone."""
        key = id, number
        with self._lock:
            if self._closed:
                raise UnavailableError(later("The archive is being closed. What has arrived is safe; send on later."))
            if key in self._busy:
                raise ConflictError(later("Another call brings bytes of this file just now. Go on when it is over."))
            self._busy.add(key)
        try:
            yield self._opened(id, number)
        finally:
            with self._lock:
                self._busy.discard(key)
                left = self._open.pop(key, None) if self._closed else None
            if left is not None:
                left.close()

    def _opened(self, id: int, number: int) -> _Open:
        told = self._imports().arriving(id, number)
        with self._lock:
            one = self._open.get((id, number))
            if one is not None and one.path.name == told.scratch:
                self._open.move_to_end((id, number))
                return one
        self._forget(id, number)
        one = self._reopened(id, number, told.size, told.arrived, told.scratch)
        with self._lock:
            self._open[id, number] = one
            idle = [key for key in self._open if key not in self._busy]
            closing = [self._open.pop(key) for key in idle[: max(len(self._open) - MOST_OPEN, 0)]]
        for other in closing:
            other.close()
        return one

    def _reopened(self, id: int, number: int, size: int, arrived: int, scratch: str) -> _Open:
        path, key = self._scratch / scratch, self._keys().scratch_key(scratch)
        try:
            try:
                writer = ScratchWriter(self._files, path, key, size=size, arrived=arrived)
            except FileNotFoundError:
                if not arrived:
                    raise
                self._imports().arrives_anew(id, number, scratch)
                writer = ScratchWriter(self._files, path, key, size=size)
        except OSError as error:
            raise _refused(error) from error
        return _Open(path, key, size, writer)

    def _digest(self, one: _Open) -> str:
        """SHA-256 of a whole file; read back where not all of it came through this process. Raises FileError for one
        that is damaged on this disk, OSError."""
        if one.hashed < one.size:
            one.digest = hashlib.sha256()
            for piece in self._pieces(one):
                one.digest.update(piece)
            one.hashed = one.size
        return one.digest.hexdigest()

    def _pieces(self, one: _Open) -> Iterator[bytes]:
        """What has arrived, read back. Raises FileError, OSError."""
        descriptor = self._files.open(one.path)
        try:
            file = ScratchFile(descriptor, one.size, one.key)
            while piece := file.read(_PIECE):
                yield piece
        finally:
            self._files.close(descriptor)

    def _begin_anew(self, id: int, number: int, one: _Open) -> None:
        self._forget(id, number)
        self._imports().arrives_anew(id, number, secrets.token_hex(16))
        with suppress(OSError):  # it is swept away later
            self._files.unlink(one.path)

    def _forget(self, id: int, number: int) -> None:
        with self._lock:
            one = self._open.pop((id, number), None)
        if one is not None:
            one.close()


def _refused(error: OSError) -> StorageError:
    """What somebody is told who sends a file that the disk does not take."""
    if is_full(error):
        return _no_room()
    text = later("The disk of the archive did not take the file ({reason}). What has arrived is safe; send on later.")
    return StorageError(text, reason=error.strerror or error)


def _no_room() -> StorageError:
    return DiskFullError(
        later(
            "There is no room on the disk of the archive for more of this file. What has arrived is safe; make room, "
            "then go on."
        )
    )
