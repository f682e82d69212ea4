"""What this product has exported before: a ZIP archive of EML files with ``manifest.csv`` with their SHA-256.

Files are taken as they are, to the byte. One that is not what was exported is archived all the same, and said.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import BinaryIO, Final

import msgspec

from appliance.imports import eml
from appliance.imports.base import CHUNK, Entry, ItemError, Message

MANIFEST: Final = "manifest.csv"
COLUMNS: Final = ["file", "id", "received", "subject", "size", "sha256", "note"]

_ALTERED = "It is not what was exported: its SHA-256 is not the one that the export's manifest has."
_NOT_IN_MANIFEST = "The export's manifest does not have it."
_MISSING = "The export's manifest has it, but the archive does not."
_LEFT_OUT = "It was left out of the export: {why}"


def is_export(archive: zipfile.ZipFile, stream: Callable[[zipfile.ZipInfo], BinaryIO]) -> bool:
    """Whether an archive is one of ours: it has a manifest, which is whole, and says so."""
    if MANIFEST not in archive.NameToInfo:
        return False
    try:
        with stream(archive.getinfo(MANIFEST)) as manifest:
            head = manifest.read(200).decode("utf-8", "replace")
            while manifest.read(CHUNK):
                pass
    except ItemError:
        return False
    return next(csv.reader([head.split("\n", 1)[0].strip("\r\ufeff")]), []) == COLUMNS


def entries(archive: zipfile.ZipFile, stream: Callable[[zipfile.ZipInfo], BinaryIO]) -> Iterator[Entry]:
    """The manifest's messages in its order, then what it does not have."""
    infos = {info.filename: info for info in archive.infolist() if info.filename != MANIFEST}
    with stream(archive.getinfo(MANIFEST)) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8", "replace", newline="")):
            file, note = row.get("file") or "", row.get("note") or ""
            info = infos.pop(file, None)
            if info is not None:
                yield _entry(info, stream, row.get("sha256") or "", row.get("received") or "")
            elif file:
                yield Entry(file, (), broken=_MISSING)
            else:
                yield Entry(row.get("id") or "", (), left=_LEFT_OUT.format(why=note))
    for info in infos.values():
        yield Entry(info.filename, (), left=_NOT_IN_MANIFEST)


def _entry(info: zipfile.ZipInfo, stream: Callable[[zipfile.ZipInfo], BinaryIO], digest: str, received: str) -> Entry:
    def content() -> Message:
        found = hashlib.sha256()
        with stream(info) as once:
            while piece := once.read(CHUNK):
                found.update(piece)
        made = eml.message(eml.pieces_of(stream(info)), received=_moment(received), as_is=True)
        if found.hexdigest() == digest:
            return made
        return made._replace(meta=msgspec.structs.replace(made.meta, exact=False, warnings=(_ALTERED,)))

    return Entry(info.filename, (), content=content)


def _moment(received: str) -> int | None:
    try:
        return int(datetime.fromisoformat(received).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None
