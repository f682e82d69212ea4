"""Sending files into the archive: one while the one before is read, over lost connections, until all are dealt with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from appliance.cli.following import Box
from appliance.cli.import_parcels import Parcel
from appliance.cli.import_remote import OnRemote
from appliance.errors import ConflictError, DamageError, DiskFullError, LockedError, UnavailableError
from appliance.services import api

T = TypeVar("T")

PATIENCE: Final = 300.0
"""Seconds without an answer before an import is given up."""
PAUSE: Final = 0.5
LOOK_EVERY: Final = 1.0
"""Seconds between two looks at what has become of the items, while a file is being sent."""
TRIES: Final = 3
"""How often a file is sent that does not arrive as it is."""
STOP_SECONDS: Final = 60.0
MOST_PROBLEMS: Final = 20_000
"""Items that were not archived of which the reasons are asked for in the end."""
_UNREAD: Final = ("waiting", "running")
_AWAY: Final = (UnavailableError, LockedError)
"""What is said while the archive is started again, too."""

Shown = Callable[[api.ImportInfo | None, int, str], None]
"""Shows how far it is: the import as it was last seen, bytes that have been sent, and what is waited for."""


class Connection(Box, Protocol):
    """The services, until it is closed."""

    def close(self) -> None:
        """Hang up."""
        ...


class Line:
    """The archive's services, also after a connection was lost. ``connect`` raises UnavailableError."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._box: Connection | None = None

    def call(self, method: str, kind: type[T], /, **params: object) -> T:
        """The service's answer. After one that it is away the next call is made over a new connection."""
        if self._box is None:
            self._box = self._connect()
        try:
            return self._box.call(method, kind, **params)
        except _AWAY:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        if self._box is not None:
            self._box.close()
            self._box = None


class Sending:
    """One import on its way. ``run`` brings it to its end; ``stop`` ends it before."""

    def __init__(
        self, line: Line, parcels: Sequence[Parcel], shown: Shown, fetched: Sequence[OnRemote] = (), password: str = ""
    ) -> None:
        """``fetched`` are files that the archive gets from remotes by itself, after the parcels; ``password`` is
        theirs."""
        self._line = line
        self._parcels = tuple(parcels)
        self._fetched = tuple(fetched)
        self._password = password
        self._shown = shown
        self._import: api.ImportInfo | None = None
        self._sent = 0
        self._looked = 0.0
        self.said: dict[int, str] = {}
        """What each file of the import is called here, by its number."""

    @property
    def id(self) -> int | None:
        """The import's number, once it has begun."""
        return self._import.id if self._import is not None else None

    def run(self, title: str, settings: Mapping[str, Any]) -> api.ImportInfo:
        """Send everything and wait until it has been read; the import at its end.

        Raises UsageError for a file that changes meanwhile, UnavailableError where nobody answers for ``PATIENCE``
        seconds, and what the services raise.
        """
        begun = self._line.call("import_begin", api.ImportInfo, title=title, **settings)
        self._import = begun
        for parcel in self._parcels:
            self._send(parcel, self._register(parcel, begun))
            if self._look().ended is not None:  # somebody else has stopped it
                return self._end()
        if self._fetched:
            self._fetch(begun.id)
        else:
            self._again("import_complete", api.ImportInfo, id=begun.id)
        return self._end()

    def stop(self) -> api.ImportInfo | None:
        """Ask it to end, and wait until it has; None where it had not begun."""
        if self.id is None:
            return None
        self._again("import_stop", api.ImportInfo, id=self.id)
        until = time.monotonic() + STOP_SECONDS
        while self._look().ended is None and time.monotonic() < until:
            time.sleep(PAUSE)
        return self._with_problems()

    # -- files ------------------------------------------------------------------------------------------------

    def _fetch(self, id: int) -> None:
        """Have the archive fetch what lies on remotes. Raises what the remotes raise, before anything is fetched."""
        for one in self._fetched:
            self._again(
                "import_from_remote", api.ImportInfo, id=id, remote=one.remote, paths=(one.path,),
                password=self._password, last=one is self._fetched[-1],
            )  # fmt: skip

    def _register(self, parcel: Parcel, begun: api.ImportInfo) -> int:
        """The file's number, as soon as the archive takes another file."""
        folder = () if parcel.folder == begun.folder else parcel.folder
        while True:
            try:
                made = self._line.call(
                    "import_file", api.ImportFile, id=begun.id, name=parcel.name, size=parcel.size,
                    archive=parcel.archive, folder=folder, password=parcel.password,
                )  # fmt: skip
            except (*_AWAY, DiskFullError) as error:
                now = self._look()
                known = next((file for file in now.files if file.number not in self.said), None)
                if known is not None:  # it was taken, and the answer was lost
                    made = known
                elif isinstance(error, DiskFullError) and not any(file.state in _UNREAD for file in now.files):
                    raise  # there will be no more room than there is
                elif now.ended is not None:
                    raise ConflictError(f"The import has ended: {now.words or 'somebody stopped it.'}") from error
                else:
                    self._shown(now, self._sent, error.message)
                    time.sleep(PAUSE)
                    continue
            self.said[made.number] = parcel.said
            return made.number

    def _send(self, parcel: Parcel, number: int) -> None:
        """All of a file; anew where it has not arrived as it is."""
        before = self._sent
        for left in reversed(range(TRIES)):
            self._sent = before
            try:
                self._send_once(parcel, number)
                break
            except (ConflictError, DamageError):
                if not left or self._look().ended is not None:
                    raise

    def _send_once(self, parcel: Parcel, number: int) -> None:
        digest, at = hashlib.sha256(), 0
        for data in _chunks(parcel.pieces()):
            digest.update(data)
            self._write(number, at, data)
            at += len(data)
            self._sent += len(data)
            if time.monotonic() - self._looked > LOOK_EVERY:
                self._look()
        self._again("import_arrived", api.ImportFile, id=self.id, file=number, sha256=digest.hexdigest())

    def _write(self, number: int, at: int, data: bytes) -> None:
        """Some bytes of a file. Raises ConflictError where those before them are there no more."""
        for left in reversed(range(TRIES)):
            try:
                self._again("import_write", int, id=self.id, file=number, offset=at, data=data)
                return
            except ConflictError:  # perhaps the call whose answer was lost is still at it
                time.sleep(PAUSE)
                arrived = next((file.arrived for file in self._look().files if file.number == number), 0)
                if arrived >= at + len(data):
                    return
                if not left or arrived < at:
                    raise

    # -- asking -----------------------------------------------------------------------------------------------

    def _end(self) -> api.ImportInfo:
        while (now := self._look()).ended is None:
            time.sleep(PAUSE)
        others = [file.number for file in now.files if file.number not in self.said]
        self.said.update(zip(others, map(str, self._fetched), strict=False))
        return self._with_problems()

    def _with_problems(self) -> api.ImportInfo:
        return self._again("import_get", api.ImportInfo, id=self.id, problems=MOST_PROBLEMS)

    def _look(self) -> api.ImportInfo:
        self._import = self._again("import_get", api.ImportInfo, id=self.id, problems=0)
        self._looked = time.monotonic()
        self._shown(self._import, self._sent, "")
        return self._import

    def _again(self, method: str, kind: type[T], /, **params: object) -> T:
        """The service's answer, asked for again and again while there is none; what is asked so does no harm twice."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._line.call(method, kind, **params)
            except _AWAY as error:
                if time.monotonic() > until:
                    raise
                self._shown(self._import, self._sent, error.message)
                time.sleep(PAUSE)


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of ``api.IMPORT_CHUNK``; the last one is what is left."""
    waiting = bytearray()
    for piece in pieces:
        if not waiting and len(piece) == api.IMPORT_CHUNK:
            yield piece
            continue
        waiting += piece
        while len(waiting) >= api.IMPORT_CHUNK:
            yield bytes(waiting[: api.IMPORT_CHUNK])
            del waiting[: api.IMPORT_CHUNK]
    if waiting:
        yield bytes(waiting)
