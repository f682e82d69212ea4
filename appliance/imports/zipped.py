"""ZIP archives of mail (APPNOTE.TXT), mailkeep's own exports among them.

The archive's directory says what is in it. Entries that lie over one another, as in bombs that unpack the same bytes
again and again, are refused.
"""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from appliance.imports import apple, exported
from appliance.imports.base import Entry, FileError, ItemError, Options
from appliance.imports.tree import Member, Tree, Within
from appliance.imports.unpacking import Budget, Unpacked, Window, buffered

MOST_MEMBERS: Final = 1_000_000
_ENCRYPTED, _UTF8, _STRONG = 0x1, 0x800, 0x40
_AES = 99  # compression method of WinZip's AES
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_ERRORS: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, RuntimeError)
_LOCAL_HEADER = 30
_END = 22
_IN_ZIP64 = 0xFFFF  # more entries than the field can hold
_LINK, _TYPE = 0o120000, 0o170000

_NO_DIRECTORY = (
    "Its directory, which is at the end of a ZIP archive, is missing or damaged: the file was cut, or is none. Let it"
    " be copied or downloaded once more."
)
_OVERLAPPING = (
    "Its entries lie over one another, as only in archives that are made to fill disks. Nothing of it is read."
)
_LOCKED = "It is encrypted: the password is needed to read it."
_NOT_OPENED = "The password does not open it."
_STRONGLY_ENCRYPTED = (
    "It is encrypted in a way that is not read here (AES). Unpack it, and import what is in it, or pack it again"
    " without a password."
)
_TOO_MANY = f"It has more than {MOST_MEMBERS:,} entries. Pack its folders one by one."
_DAMAGED = "Its bytes in the archive are damaged."


def read(file: BinaryIO, name: str, options: Options, within: Within | None = None) -> Iterator[Entry]:
    """As ``imports.base.Reader``; ids are the members' names. ``within`` where it lies in another archive."""
    within = within or Within(Budget(_size(file)))
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise FileError(_NO_DIRECTORY) from error
    with archive:
        infos = archive.infolist()
        if len(infos) > MOST_MEMBERS:
            raise FileError(_TOO_MANY)
        _require_whole(archive, file)
        _require_apart(infos)
        _require_readable(archive, infos, options)
        opened = _Opened(archive, file, options, within.budget)
        if exported.is_export(archive, opened.stream):
            yield from exported.entries(archive, opened.stream)
            return
        infos.sort(key=lambda info: not _is_needed_first(info.filename))
        yield from Tree(name, options, within).entries(opened.member(info) for info in infos if not _is_folder(info))


class _Opened:
    """An archive whose members are read within a budget."""

    def __init__(self, archive: zipfile.ZipFile, file: BinaryIO, options: Options, budget: Budget) -> None:
        self._archive = archive
        self._file = file
        self._options = options
        self._budget = budget

    def member(self, info: zipfile.ZipInfo) -> Member:
        path = _name(info, self._options)
        if info.create_system == 3 and (info.external_attr >> 16) & _TYPE == _LINK:
            return Member(path, lambda: self.stream(info), left="It is a link; links are not followed.")
        if info.compress_type not in _METHODS:
            return Member(path, lambda: self.stream(info), broken="It is compressed in a way that is not read here.")
        stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & _ENCRYPTED
        direct = (lambda: self._direct(info)) if stored else None
        return Member(path, lambda: self.stream(info), direct=direct, later=lambda: self.stream(info))

    def stream(self, info: zipfile.ZipInfo) -> BinaryIO:
        password = self._options.password.encode() or None
        try:
            stream = self._archive.open(info, pwd=password)
        except _ERRORS as error:
            raise ItemError(_DAMAGED) from error
        return buffered(Unpacked(stream, self._budget, _ERRORS, ItemError(_DAMAGED)))

    def _direct(self, info: zipfile.ZipInfo) -> BinaryIO:
        self._file.seek(info.header_offset)
        header = self._file.read(_LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return buffered(Window(self._file, info.header_offset + _LOCAL_HEADER + lengths, info.file_size))


def _is_needed_first(name: str) -> bool:
    """Whether a member says something of others: in tar archives of folders such ones come first by their names."""
    return name.endswith(".mh_sequences") or apple.attachment(name) is not None


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith("/")


def _require_whole(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """Raises FileError where the directory has not as many entries as its end says (APPNOTE.TXT section 4.3.16):
    ``zipfile`` reads on as long as it is told, and never compares."""
    file.seek(_size(file) - _END - len(archive.comment))
    end = file.read(_END)
    told = int.from_bytes(end[10:12], "little")
    if not end.startswith(b"PK\5\6") or (told != _IN_ZIP64 and told != len(archive.filelist) & _IN_ZIP64):
        raise FileError(_NO_DIRECTORY)
    if not archive.filelist:
        raise FileError("There is nothing in it.")


def _require_apart(infos: list[zipfile.ZipInfo]) -> None:
    end = 0
    for start, size in sorted((info.header_offset, info.compress_size) for info in infos):
        if start < end:
            raise FileError(_OVERLAPPING)
        end = start + _LOCAL_HEADER + size


def _require_readable(archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo], options: Options) -> None:
    """Raises FileError for an archive with encrypted members that the password does not open."""
    encrypted = [info for info in infos if info.flag_bits & _ENCRYPTED and not _is_folder(info)]
    if any(info.compress_type == _AES or info.flag_bits & _STRONG for info in encrypted):
        raise FileError(_STRONGLY_ENCRYPTED)
    if encrypted and not options.password:
        raise FileError(_LOCKED)
    if encrypted:
        try:
            archive.open(encrypted[0], pwd=options.password.encode()).close()
        except RuntimeError as error:
            raise FileError(_NOT_OPENED) from error
        except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError):
            return  # told when it is read


def _name(info: zipfile.ZipInfo, options: Options) -> str:
    """A member's name. Without the flag for UTF-8 it is in the code page of a system long gone (APPNOTE.TXT appendix
    D), or, as most programs write it, UTF-8 all the same."""
    if info.flag_bits & _UTF8:
        return info.filename
    written = info.filename.encode("cp437", "replace")
    for encoding in ("utf-8", options.code_page or "cp437"):
        try:
            return written.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return info.filename


def _size(file: BinaryIO) -> int:
    file.seek(0, os.SEEK_END)
    return file.tell()
