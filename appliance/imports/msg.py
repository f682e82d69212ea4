"""MSG files and Outlook's templates (.oft): one item a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from appliance.imports import items
from appliance.imports.base import Entry, FileError, ItemError, Options
from appliance.mapi.msg import open_msg

ID = "item"


def read(file: BinaryIO, name: str, options: Options) -> Iterator[Entry]:
    """The item of an MSG file. Raises FileError for any other compound file, and for one that is damaged."""
    del name
    try:
        yield items.entry(ID, lambda: open_msg(file, code_page=options.code_page), options)
    except ItemError as error:
        raise FileError(f"It cannot be read as an Outlook message. {error}") from error
