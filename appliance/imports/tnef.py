"""TNEF streams that somebody kept as files (winmail.dat): one item a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from appliance.imports import items
from appliance.imports.base import Entry, FileError, ItemError, Options
from appliance.mapi.tnef import open_tnef

ID = "item"
LARGEST = 160 * 1024 * 1024
"""Bytes of a stream that is read, which is read as a whole: no mail server takes mail that could hold a larger one."""


def read(file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
    """The item of a TNEF stream. Raises FileError for what is none, and for one that is too large."""
    del name
    file.seek(0)
    stream = file.read(LARGEST + 1)
    if len(stream) > LARGEST:
        raise FileError("It is larger than any winmail.dat that can have come by mail.")
    try:
        yield items.entry(ID, lambda: open_tnef(stream, code_page=options.code_page), options)
    except ItemError as error:
        raise FileError(f"It cannot be read as a winmail.dat. {error}") from error
