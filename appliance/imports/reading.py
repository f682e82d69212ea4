"""Reading one imported file, whatever it does to the process that reads it.

    with Reading(nursery, Opened(descriptor, size), "anna.pst", Options()) as reading:
        for event in reading:
            if isinstance(event, Arriving):
                for piece in event.pieces:
                    …

A child of the nursery reads the file and says beforehand which item it is about to try. Where it dies on one, takes
too much memory, or does not get on, that item is broken, and another child goes on behind it. Where a child was killed
by nobody here (by the kernel, for want of memory on the box, or by hand), the same item is tried once more, since it
may well be innocent.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from appliance import decoding
from appliance.errors import UnavailableError
from appliance.imports import wire
from appliance.imports.base import FileError, ItemError, Kind, Meta, Options
from appliance.imports.scratch import DamagedError
from appliance.imports.wire import HEAD, Hello, Order, Trying
from appliance.mail.folders import Role

_T = TypeVar("_T", bound=msgspec.Struct)

__all__ = ["Arriving", "Broken", "Event", "Left", "Nursing", "Opened", "Reading"]

MEMORY: Final = 1024 * 1024 * 1024
"""Address space of a child, bytes."""
PATIENCE: Final = 60.0
"""Seconds that a child may take without getting on."""
LARGEST: Final = 2 * 1024 * 1024 * 1024
"""Bytes of a message; what is larger is no mail, and would never end."""
_CPU_SECONDS: Final = 3600  # of one child, whatever its file is …
_CPU_BYTES: Final = 500_000  # … and a second more for each so many bytes of it
_MOST_DEATHS: Final = 100
_MOST_TIMES_LATE: Final = 10

_DIED: Final = "Reading it ended the process that read it; most likely it is damaged, or made to do so."
_KILLED: Final = "The process that read it was killed, twice; most likely the box has too little memory."
_LATE: Final = "Reading it took longer than reading may take; most likely it is damaged."
_HUGE: Final = "It is larger than any message may be, or never ends."


class Opened(NamedTuple):
    """A file to be read: a descriptor that is open for reading, the file's size in bytes, and, for one that lies sealed
    (``imports.scratch``), its key. The descriptor's own position is neither used nor moved."""

    descriptor: int
    size: int
    key: bytes = b""


class Arriving(NamedTuple):
    """A message. ``pieces`` are to be read to their end, or given up, before the next event is asked for; they raise
    ItemError where the rest cannot be had, and the message is broken then. Other fields as ``imports.base.Entry``."""

    number: int
    id: str
    folder: tuple[str, ...]
    kind: Kind
    role: Role
    meta: Meta
    pieces: Iterator[bytes]


class Left(NamedTuple):
    """An item that is not wanted, and why."""

    number: int
    id: str
    folder: tuple[str, ...]
    why: str


class Broken(NamedTuple):
    """An item that cannot be read, and why."""

    number: int
    id: str
    folder: tuple[str, ...]
    why: str


Event = Arriving | Left | Broken


class Nursing(Protocol):
    """Who starts children: ``imports.nursery.Nursery``."""

    def begin(self, order: Order, descriptor: int) -> tuple[int, socket.socket]: ...

    def end(self, number: int) -> int | None: ...


class _DeadError(Exception):
    """A child is not there any more, or must not be: ``why``. ``innocent``: nothing says that what it read did it;
    ``late``: it did not get on."""

    def __init__(self, why: str, *, innocent: bool = False, late: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.innocent = innocent
        self.late = late


class Reading:
    """One file, gone through once, from the item ``skip`` on. ``format`` and ``expected`` (how many items the file says
    it has) are known with the first event.

    Iterating raises FileError where the file, or the rest of it, cannot be read, DamagedError where the sealed file is
    not what was written, and UnavailableError where the nursery is not there. One thread at a time.
    """

    def __init__(
        self,
        nursery: Nursing,
        opened: Opened,
        name: str,
        options: Options,
        *,
        skip: int = 0,
        patience: float = PATIENCE,
        memory: int = MEMORY,
    ) -> None:
        self.format = ""
        self.expected: int | None = None
        self._nursery = nursery
        self._opened = opened
        self._order = Order(
            0,
            name=name,
            size=opened.size,
            key=opened.key,
            options=options,
            memory=memory,
            cpu_seconds=_CPU_SECONDS + opened.size // _CPU_BYTES,
        )
        self._patience = patience
        self._next = skip
        self._child: _Child | None = None
        self._deaths = 0
        self._late = 0
        self._again = -1  # the item that is tried once more
        self._failure: FileError | None = None
        self._stuck_at = -1  # the item before which a child has died without having told anything

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while True:
            trying: Trying | None = None
            try:
                child = self._present()
                trying = child.trying(self._next)
                if trying is None:
                    return
                event, message = self._event(child, trying)
            except _DeadError as death:
                broken = self._after(death, trying)
                if broken is not None:
                    yield broken
            else:
                self._next = trying.number + 1
                yield event
                if message is not None:
                    message.drain()
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _present(self) -> _Child:
        if self._child is None:
            order = msgspec.structs.replace(self._order, skip=self._next)
            self._child = _Child(self._nursery, order, self._opened.descriptor, self._patience)
            hello = self._child.hello()
            self.format, self.expected = hello.format, hello.expected
        return self._child

    def _event(self, child: _Child, trying: Trying) -> tuple[Event, _Pieces | None]:
        what, body = child.frame(wire.MESSAGE, wire.LEFT, wire.BROKEN)
        number, id, folder = trying.number, trying.id, trying.folder
        if what == wire.MESSAGE:
            pieces = _Pieces(self, trying)
            meta = _decoded(body, Meta)
            return Arriving(number, id, folder, trying.kind, trying.role, meta, pieces.read()), pieces
        kind = Left if what == wire.LEFT else Broken
        return kind(number, id, folder, _text(body)), None

    def _after(self, death: _DeadError, trying: Trying | None) -> Broken | None:
        """What is to be done about a child that has died, before the next one is started: the item that is to blame, or
        None where nothing is yet."""
        self._bury(death)
        if trying is not None:
            if self._failure is None and death.innocent and self._again != trying.number:
                self._again = trying.number
                return None
            self._next = trying.number + 1
            return Broken(trying.number, trying.id, trying.folder, death.why)
        if self._failure is None and self._stuck_at != self._next:
            self._stuck_at = self._next
            return None
        words = f"What comes after {self._next} items cannot be read. {death.why}"
        self.fail(FileError(words))
        return Broken(self._next, "", (), words)

    def _bury(self, death: _DeadError) -> None:
        self.close()
        self._deaths += 1
        self._late += death.late
        if self._deaths > _MOST_DEATHS or self._late > _MOST_TIMES_LATE:
            self.fail(
                FileError(f"Reading it has failed {self._deaths} times in different places; the rest was given up.")
            )

    def fail(self, error: FileError) -> None:
        """Raise ``error`` instead of the next event."""
        if self._failure is None:
            self._failure = error

    def resume(self, trying: Trying, death: _DeadError, told: int) -> _Child:
        """Another child, that has told the first ``told`` bytes of the message in which the one before has died; raises
        ItemError where there is none to be had."""
        self._bury(death)
        if self._failure is not None or not death.innocent or self._again == trying.number:
            raise ItemError(death.why)
        self._again = trying.number
        self._next = trying.number
        try:
            child = self._present()
            if child.trying(trying.number) != trying:
                raise _DeadError(_DIED)
            child.frame(wire.MESSAGE)
            child.pass_over(told)
        except _DeadError as again:
            self.close()
            raise ItemError(again.why) from None
        finally:
            self._next = trying.number + 1
        return child

    @property
    def child(self) -> _Child | None:
        """The child that reads now."""
        return self._child


class _Pieces:
    """A message's bytes, from whichever child can give them."""

    def __init__(self, reading: Reading, trying: Trying) -> None:
        self._reading = reading
        self._trying = trying
        self._told = 0
        self._over = False

    def read(self) -> Iterator[bytes]:
        while not self._over:
            piece = self._piece()
            if piece:
                yield piece

    def drain(self) -> None:
        """Pass over what was not read."""
        with contextlib.suppress(ItemError):
            for _ in self.read():
                pass

    def _piece(self) -> bytes:
        child = self._reading.child
        try:
            if child is None:
                raise ItemError(_DIED)
            try:
                what, body = child.frame(wire.PIECE, wire.END, wire.SPOILT)
            except _DeadError as death:
                child = self._reading.resume(self._trying, death, self._told)
                what, body = child.frame(wire.PIECE, wire.END, wire.SPOILT)
        except (FileError, _DeadError) as error:
            self._over = True
            self._reading.close()
            if isinstance(error, FileError):
                self._reading.fail(error)
            raise ItemError(str(error)) from None
        except (ItemError, UnavailableError):
            self._over = True
            raise
        if what != wire.PIECE:
            self._over = True
            if what == wire.SPOILT:
                raise ItemError(_text(body))
            return b""
        self._told += len(body)
        if self._told > LARGEST:
            self._over = True
            self._reading.close()
            raise ItemError(_HUGE)
        return body


class _Child:
    """One child, and what it says."""

    def __init__(self, nursery: Nursing, order: Order, descriptor: int, patience: float) -> None:
        self._nursery = nursery
        self._skip = order.skip
        self._number, self._channel = nursery.begin(order, descriptor)
        self._channel.settimeout(patience)
        self._incoming = self._channel.makefile("rb", 256 * 1024)
        self._rest = b""

    def hello(self) -> Hello:
        _, body = self.frame(wire.HELLO)
        return _decoded(body, Hello)

    def trying(self, expected: int) -> Trying | None:
        """The next item, which has the number ``expected``; None at the end."""
        what, body = self.frame(wire.TRYING, wire.DONE)
        if what == wire.DONE:
            return None
        trying = _decoded(body, Trying)
        if trying.number != expected:
            raise _DeadError(_DIED)
        return trying

    def pass_over(self, count: int) -> None:
        """Read ``count`` bytes of a message that somebody has had already."""
        while count:
            _, body = self.frame(wire.PIECE)
            self._rest = body[count:]
            count -= min(count, len(body))

    def frame(self, *expected: bytes) -> tuple[bytes, bytes]:
        """The next frame that is one of ``expected``; raises what others say, and _DeadError."""
        if self._rest:
            piece, self._rest = self._rest, b""
            return wire.PIECE, piece
        what, body = self._read()
        while what == wire.BEAT:
            what, body = self._read()
        if what in expected:
            return what, body
        if what == wire.FAILED:
            raise FileError(_text(body))
        if what == wire.DAMAGED:
            raise DamagedError(_text(body))
        raise _DeadError(_DIED)

    def _read(self) -> tuple[bytes, bytes]:
        try:
            head = self._incoming.read(HEAD.size)
            if len(head) == HEAD.size:
                what, length = HEAD.unpack(head)
                if length <= wire.LONGEST:
                    body = self._incoming.read(length) if length else b""
                    if len(body) == length:
                        return what, body
        except TimeoutError:
            raise _DeadError(_LATE, late=True) from None
        except OSError:
            pass
        raise self._death()

    def _death(self) -> _DeadError:
        if self.end() == -signal.SIGKILL:
            return _DeadError(_KILLED, innocent=True)
        return _DeadError(_DIED)

    def end(self) -> int | None:
        """See it off; its exit code the first time."""
        if self._number < 0:
            return None
        number, self._number = self._number, -1
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._incoming.close()
        self._channel.close()
        return self._nursery.end(number)


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return decoding.from_msgpack(body, kind)
    except msgspec.DecodeError:
        raise _DeadError(_DIED) from None
