"""Compressed files: a tar archive, or a single file that is read from its beginning to its end (mbox, EML).

gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878). Nothing is unpacked to a disk; what can only be read at any place
(PST, MSG, ZIP) has to be unpacked by whoever imports it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

import zstandard

from appliance.imports import eml as single
from appliance.imports import emlx, formats, mbox, tarred
from appliance.imports.base import Entry, FileError, Options
from appliance.imports.tree import Within
from appliance.imports.unpacking import Begun, Budget, Readable, Unpacked, buffered

_ERRORS: Final = (zlib.error, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)

_DAMAGED = (
    "The compressed data are damaged or end too early; what comes after cannot be read. Let it be copied once more."
)
_TO_UNPACK = "It is a compressed file of another kind ({title}). Unpack it, and import what is in it."


def read(file: BinaryIO, name: str, options: Options, within: Within | None = None) -> Iterator[Entry]:
    """As ``imports.base.Reader``. ``within`` where it lies in an archive; then it may be a file that can only be read
    from its beginning to its end."""
    if within is None:
        file.seek(0, os.SEEK_END)
        within = Within(Budget(file.tell()))
        file.seek(0)
    stream = buffered(Unpacked(_decompressed(file), within.budget, _ERRORS, FileError(_DAMAGED)))
    head = b""
    while len(head) < formats.HEAD and (piece := stream.read(formats.HEAD - len(head))):
        head += piece
    again = buffered(Begun(head, stream))
    format = formats.recognise(head, name.rpartition(".")[0] or name)
    if format.name == "tar":
        yield from tarred.read(again, name, options, within)
    elif format.name == "mbox":
        yield from mbox.read(again, name, options)
    elif format.name == "emlx":
        yield Entry("", (), content=lambda: emlx.message(again))
    elif format.name == "eml":
        yield Entry("", (), content=lambda: single.message(single.pieces_of(again)))
    else:
        raise FileError(_TO_UNPACK.format(title=format.title))


def _decompressed(file: BinaryIO) -> Readable:
    head = file.read(6)
    whole = _from_beginning(head, file)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=whole, mode="rb")
    if head.startswith(b"BZh"):
        return bz2.BZ2File(whole)
    if head.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(whole)
    return zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True)


def _from_beginning(head: bytes, file: BinaryIO) -> BinaryIO:
    if file.seekable():
        file.seek(0)
        return file
    return buffered(Begun(head, file))
