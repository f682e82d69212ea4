"""What the POP3 server asks of the archiver: to note that a mailbox is read, and to erase what a reader has deleted."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance.errors import UnavailableError
from appliance.services.wire import Call, Reply, error_of, pack, read

SECONDS = 120.0
"""How long an answer may take; a large erasure is one durable write."""
RECORDS_AT_ONCE = 5000

_decode = msgspec.msgpack.Decoder(Reply).decode


class Archiver:
    """Calls on the pull socket. Methods block, and raise the error that the archiver raised, or UnavailableError."""

    def __init__(self, place: Path, secret: Path) -> None:
        self._place = place
        self._secret = secret

    def reading(self, grant: str, client: str) -> None:
        """Have written down that a client reads the mailbox that ``grant`` stands for."""
        self._call("reading", grant=grant, client=client)

    def may_erase(self, grant: str) -> None:
        """Return if the mailbox that ``grant`` stands for could be erased from now."""
        self._call("may_erase", grant=grant)

    def erase(self, grant: str, records: Sequence[bytes]) -> None:
        """Return when all these records are erased for good."""
        for batch in _batches(records):
            self._call("erase", grant=grant, records=batch)

    def _call(self, method: str, **params: Any) -> None:
        try:
            call = Call(method=method, token=self._secret.read_text("ascii"), params=params)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(SECONDS)
                connection.connect(str(self._place))
                connection.sendall(pack(call))
                with connection.makefile("rb") as stream:
                    reply = _decode(read(stream) or b"")
        except (OSError, ValueError) as error:  # broken off, or no answer at all
            raise UnavailableError("The archiver does not answer just now. Nothing was lost; try again.") from error
        if reply.error is not None:
            raise error_of(reply.error)


def _batches(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(records), RECORDS_AT_ONCE):
        yield records[first : first + RECORDS_AT_ONCE]
