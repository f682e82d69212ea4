"""What ``mailkeep import`` sends: files as they are, folders as archives; whose each becomes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.errors import UsageError
from appliance.imports.packing import PIECE, Member, folder_of, look_through, tar_of, tar_size

_COLUMNS: Final = ("file", "archive", "folder")
_LARGEST_MAP: Final = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Parcel:
    """One file for the archive. ``said`` is what it is called here, ``name`` its name without folders. ``pieces`` gives
    its bytes from the beginning, each time anew, and raises UsageError where it changes meanwhile. ``archive`` (an
    address) and ``folder`` are set where they are others than the import's; ``missing`` is filled with the names of
    files of a folder that were no more what they had been."""

    said: str
    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]
    archive: str = ""
    folder: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    missing: list[str] = field(default_factory=list)


def folder_path(text: str) -> tuple[str, ...]:
    """A folder that somebody typed: ``Old mail/2010``."""
    return tuple(part for part in (one.strip() for one in text.split("/")) if part)


def parcels_of(
    path: Path, *, archive: str = "", folder: tuple[str, ...] = (), told: Callable[[str], None]
) -> Iterator[Parcel]:
    """What a path comes to: itself, or the files of a folder. ``told`` gets what does not go, in a sentence.

    Raises UsageError for what cannot be read, or holds nothing.
    """
    if path.is_dir():
        yield from _folder(path, archive, folder, told)
    else:
        yield _file(_looked_at(path), str(path), archive, folder)


def read_map(path: Path, *, told: Callable[[str], None]) -> list[Parcel]:
    """What a CSV file (UTF-8, apart by commas or semicolons) with the columns file, archive and perhaps folder says.

    Files are named from the folder that the CSV file is in. Raises UsageError with the line where something is wrong.
    """
    found: list[Parcel] = []
    for number, row in _rows(path):
        named, archive = row.get("file", ""), row.get("archive", "")
        if not named or not archive:
            raise UsageError(f"{path}, line {number}: file and archive are both needed. Nothing was imported.")
        at = path.parent / named
        if not at.exists():
            raise UsageError(f"{path}, line {number}: there is no {at}. Nothing was imported.")
        found += parcels_of(at, archive=archive, folder=folder_path(row.get("folder", "")), told=told)
    if not found:
        raise UsageError(f"{path} names no files: it needs the columns file and archive, and a line for each file.")
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_MAP).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a CSV file in UTF-8.") from error
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    columns: list[str] = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = [cell.lower() for cell in cells]
                if not {"file", "archive"} <= set(columns) <= set(_COLUMNS):
                    raise UsageError(f"The first line of {path} has to be file,archive or file,archive,folder.")
            else:
                yield reader.line_num, dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}.") from error


def _looked_at(path: Path) -> Member:
    try:
        known = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}. Nothing was imported.") from error
    if not path.is_file():
        raise UsageError(f"{path} is neither a file nor a folder. Nothing was imported.")
    if not known.st_size:
        raise UsageError(f"{path} is empty. Nothing was imported.")
    return Member(path, path.name, known.st_size, int(known.st_mtime))


def _folder(path: Path, archive: str, folder: tuple[str, ...], told: Callable[[str], None]) -> Iterator[Parcel]:
    found = look_through(path)
    top = path.resolve().name or "folder"
    if found.links:
        told(f"{len(found.links)} symbolic links in {path} are not followed: what they point to does not go.")
    if found.members:
        missing: list[str] = []
        yield Parcel(
            said=str(path), name=f"{top}.tar", size=tar_size(found.members),
            pieces=lambda: _tar(found.members, missing), archive=archive, folder=folder, missing=missing,
        )  # fmt: skip
    for one in found.others:
        if one.size:
            yield _file(one, str(path / one.name), archive, (*folder, *folder_of(one, top)))


def _tar(members: Sequence[Member], missing: list[str]) -> Iterator[bytes]:
    missing.clear()  # it may be begun again
    return tar_of(members, missing.append)


def _file(one: Member, said: str, archive: str, folder: tuple[str, ...]) -> Parcel:
    return Parcel(said, one.path.name, one.size, lambda: _pieces(one), archive, folder)


def _pieces(one: Member) -> Iterator[bytes]:
    try:
        with one.path.open("rb") as file:
            left = one.size
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    break
                left -= len(piece)
                yield piece
            now = os.fstat(file.fileno())
    except OSError as error:
        raise UsageError(f"{one.path} cannot be read to its end: {error.strerror}.") from error
    if left or (now.st_size, int(now.st_mtime)) != (one.size, one.mtime):
        raise UsageError(f"{one.path} was changed while it was read. Import it again when nothing writes to it.")
