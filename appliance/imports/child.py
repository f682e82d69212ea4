"""The nursery: the process that reads imported files, each in a child of its own.

``python -m appliance.imports.child`` gives up files and network, takes orders (``imports.wire``) from a socket on
descriptor 0, and only forks: a child adds limits to its memory and time, reads the one file that it was given, tells
what it finds, and ends. It may crash, hang, or be taken over by a file that was made to do so: then it has that file
and its socket, and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from appliance import confine, decoding
from appliance.imports import formats, scratch, whose, wire
from appliance.imports.base import CHUNK, Entry, FileError, ItemError
from appliance.imports.wire import HEAD, Hello, Order, Report, Trying

_LIBRARIES: Final = tuple(map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/usr/share/zoneinfo")))
_LARGEST_ORDER: Final = 128 * 1024
_LARGEST_INNER_FILE: Final = 1024 * 1024 * 1024  # of an anonymous file in memory, which nothing else bounds
_FILES: Final = 64
_BUFFER: Final = 256 * 1024
_BEAT_BYTES: Final = 16 * 1024 * 1024
_BEAT_ENTRIES: Final = 256
_LONGEST_NAME: Final = 1000  # characters
_DEEPEST: Final = 100  # folders
_FAREWELL_SECONDS: Final = 1.0  # that a child has to end by itself once nobody listens any more

_TOO_MUCH_MEMORY = "Reading it takes more memory than reading may take; most likely it is damaged."


def main() -> None:
    """Be the nursery until the parent closes the socket."""
    confine.die_with_parent()
    confine.undumpable()
    confine.limit(files=_FILES, file_size=_LARGEST_INNER_FILE)
    confine.restrict_filesystem(read=[*confine.code_folders("appliance"), *_LIBRARIES], write=())
    confine.forbid_network()
    with socket.socket(fileno=0) as orders:
        _tell(orders, Report(0))
        _Nursery(orders).serve()


class _Nursery:
    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children: dict[int, int] = {}  # number: process

    def serve(self) -> None:
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._orders, _LARGEST_ORDER, 2)
            if not packet:
                return
            order = decoding.from_msgpack(packet, Order)
            try:
                report = self._end(order.number) if order.end else self._begin(order, *descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            _tell(self._orders, report)

    def _begin(self, order: Order, file: int, channel: int) -> Report:
        # For all children, when the first of them is asked for: most boxes import once and never again.
        formats.load()
        try:
            process = os.fork()
        except OSError as error:
            return Report(order.number, failed=error.strerror or str(error))
        if not process:
            _child(self._orders, order, file, channel)
        self._children[order.number] = process
        return Report(order.number)

    def _end(self, number: int) -> Report:
        """Wait a moment for the child, which ends once it has said all or nobody listens, or kill it."""
        process = self._children.pop(number)
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return Report(number, os.waitstatus_to_exitcode(status))
            time.sleep(0.002)
        os.kill(process, 9)
        os.waitpid(process, 0)
        return Report(number)


def _tell(orders: socket.socket, report: Report) -> None:
    with contextlib.suppress(BrokenPipeError):
        orders.send(msgspec.msgpack.encode(report))


def _child(orders: socket.socket, order: Order, descriptor: int, channel: int) -> NoReturn:
    """What the forked child does, to its end; nothing of the nursery runs in it afterwards."""
    code = 1
    try:
        confine.die_with_parent()
        orders.close()
        confine.limit(memory=order.memory, cpu_seconds=order.cpu_seconds)
        with socket.socket(fileno=channel) as out:
            read(out, order, descriptor)
        code = 0
    except BrokenPipeError:
        code = 0
    finally:
        os._exit(code)


def read(channel: socket.socket, order: Order, descriptor: int) -> None:
    """Read the file ``descriptor`` and tell on ``channel`` what is in it. BrokenPipeError once nobody listens."""
    _Reader(_Out(channel), order, descriptor).run()


class _Out:
    """Frames to the parent, as few writes as can be."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._held = bytearray()

    def put(self, what: bytes, body: bytes | memoryview = b"", *, now: bool = False) -> None:
        self._held += HEAD.pack(what, len(body))
        self._held += body
        if now or len(self._held) >= _BUFFER:
            self._channel.sendall(self._held)
            self._held.clear()

    def why(self, what: bytes, why: object) -> None:
        self.put(what, str(why)[: wire.LONGEST_WHY].encode("utf-8", "replace"), now=True)

    def beat(self) -> None:
        self.put(wire.BEAT, now=True)


class _Reader:
    """Reads one file and tells what is in it."""

    def __init__(self, out: _Out, order: Order, descriptor: int) -> None:
        self._out = out
        self._order = order
        raw = (
            scratch.ScratchFile(descriptor, order.size, order.key)
            if order.key
            else scratch.PlainFile(descriptor, order.size)
        )
        self._watched = _Watched(raw, out.beat)
        self._file = io.BufferedReader(self._watched, _BUFFER)

    def run(self) -> None:
        try:
            self._run()
            self._out.put(wire.DONE, now=True)
        except BrokenPipeError:
            raise
        except Exception as error:
            if self._watched.damaged is not None:
                self._out.why(wire.DAMAGED, self._watched.damaged)
            else:
                self._out.why(wire.FAILED, _words(error, "The rest of it"))

    def _run(self) -> None:
        order = self._order
        head = self._file.read(formats.HEAD)
        self._file.seek(0)
        format = formats.recognise(head, order.name)
        self._out.put(wire.HELLO, msgspec.msgpack.encode(Hello(format.name, formats.expected(format))), now=True)
        for number, entry in enumerate(format.read(self._file, order.name, order.options)):
            if number >= order.skip:
                self._tell(number, entry)
            elif number % _BEAT_ENTRIES == 0:
                self._out.beat()

    def _tell(self, number: int, entry: Entry) -> None:
        folder = tuple(_short(name) for name in entry.folder[:_DEEPEST])
        trying = Trying(number, _short(entry.id), folder, entry.kind, entry.role)
        self._out.put(wire.TRYING, msgspec.msgpack.encode(trying), now=entry.content is not None)
        if entry.content is None:
            self._out.why(wire.LEFT if entry.left else wire.BROKEN, entry.left or entry.broken)
            return
        begun = False
        try:
            message = whose.completed(entry.content(), addresses=self._order.options.addresses)
            pieces = _bounded(message.pieces)
            first = next(pieces, b"")  # what fails at once has not begun
            self._out.put(wire.MESSAGE, msgspec.msgpack.encode(message.meta))
            begun = True
            self._out.put(wire.PIECE, first)
            for piece in pieces:
                self._out.put(wire.PIECE, piece)
            self._out.put(wire.END, now=True)
        except BrokenPipeError:
            raise
        except Exception as error:
            if self._watched.damaged is not None:  # that is no fault of the item, whatever its reader made of it
                raise
            self._out.why(wire.SPOILT if begun else wire.BROKEN, _words(error, "It"))
            if isinstance(error, FileError):
                raise


def _short(name: str) -> str:
    """A name as it can be told: what is longer than names are keeps its beginning, and is no other's all the same."""
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}…{sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"
    return name if name.isascii() else name.encode("utf-8", "replace").decode()


def _words(error: Exception, what: str) -> str:
    if isinstance(error, ItemError | FileError):
        return str(error)
    if isinstance(error, MemoryError):
        return _TOO_MUCH_MEMORY
    return f"{what} cannot be read ({type(error).__name__})."


def _bounded(pieces: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    """The pieces, large ones cut to the size of a frame, without empty ones."""
    for piece in pieces:
        if len(piece) <= wire.LONGEST:
            if piece:
                yield piece
        else:
            held = memoryview(piece)
            yield from (held[at : at + CHUNK] for at in range(0, len(held), CHUNK))


class _Watched(io.RawIOBase):
    """A file of which somebody is told each time that reading has come further than ever before.

    ``damaged`` is what was found of a scratch file: readers may take it for a fault of what is in it.
    """

    def __init__(self, raw: io.RawIOBase, beat: Callable[[], None]) -> None:
        self.damaged: scratch.DamagedError | None = None
        self._raw = raw
        self._beat = beat
        self._next = _BEAT_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        try:
            count: int = self._raw.readinto(buffer)
        except scratch.DamagedError as error:
            self.damaged = error
            raise
        if (position := self._raw.tell()) >= self._next:
            self._next = position + _BEAT_BYTES
            self._beat()
        return count

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()


if __name__ == "__main__":
    main()
