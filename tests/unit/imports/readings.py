"""Going through files as the product does, in a child of a nursery, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from appliance.imports.base import FileError, ItemError, Options
from appliance.imports.reading import Arriving, Event, Nursing, Opened, Reading


class Came(NamedTuple):
    """A message that came, or as much of it as did; ``why`` its rest did not."""

    event: Arriving
    raw: bytes
    why: str = ""


class Gone(NamedTuple):
    """A file that was gone through: what came, what did not, how it ended."""

    format: str
    events: list[Event]
    came: list[Came]
    error: FileError | None

    @property
    def whole(self) -> list[Came]:
        """Messages that came whole."""
        return [one for one in self.came if not one.why]

    def others(self, kind: type) -> list[Event]:
        """Events of that kind."""
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def opened(raw: bytes | Path) -> Iterator[Opened]:
    """A file with these bytes, or that file."""
    if isinstance(raw, Path):
        descriptor = os.open(raw, os.O_RDONLY)
    else:
        descriptor = os.memfd_create("file")
        os.write(descriptor, raw)
    try:
        yield Opened(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def gone_through(
    nursery: Nursing,
    raw: bytes | Path,
    name: str = "file",
    options: Options | None = None,
    *,
    skip: int = 0,
    patience: float = 30.0,
    memory: int = 1024 * 1024 * 1024,
) -> Gone:
    """All that a file gives."""
    events: list[Event] = []
    came: list[Came] = []
    error = None
    with (
        opened(raw) as file,
        Reading(nursery, file, name, options or Options(), skip=skip, patience=patience, memory=memory) as reading,
    ):
        try:
            for event in reading:
                events.append(event)
                if isinstance(event, Arriving):
                    came.append(_came(event))
        except FileError as failure:
            error = failure
    return Gone(reading.format, events, came, error)


def _came(event: Arriving) -> Came:
    raw = bytearray()
    try:
        for piece in event.pieces:
            raw += piece
    except ItemError as error:
        return Came(event, bytes(raw), str(error))
    return Came(event, bytes(raw))
