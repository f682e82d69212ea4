"""tar archives of mail (POSIX.1-2017 pax, ustar, GNU), read from their beginning to their end."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final

from appliance.imports.base import Entry, FileError, ItemError, Options
from appliance.imports.packing import CHANGED
from appliance.imports.tree import Member, Tree, Within
from appliance.imports.unpacking import Budget, Unpacked, Window, buffered

_BLOCKS: Final = 1024 * 1024
_ERRORS: Final = (tarfile.TarError, EOFError, OSError, ValueError)

_LINK = "It is a link to {target}, which is read where it lies itself."
_CHANGED = "It was changed or removed while its folder was sent. Import the folder again: nothing comes in twice."
_DEVICE = "It is a device or a pipe, and no file."
_NO_TAR = "It is no tar archive, or damaged from its beginning."
_DAMAGED = "The archive is damaged behind {path}; what comes after cannot be read. Let it be copied once more."
_CUT = (
    "The archive has no end mark behind {path}: it was cut there, most likely, and has lost what came after. Let it be"
    " copied once more."
)
_ENDS = "The archive ends before this file does."


def read(file: BinaryIO, name: str, options: Options, within: Within | None = None) -> Iterator[Entry]:
    """As ``imports.base.Reader``; ids are the members' names. ``within`` where it lies in another archive.

    A file that can only be read from its beginning to its end will do.
    """
    seekable = file.seekable()
    if within is None:
        file.seek(0, os.SEEK_END)
        within = Within(Budget(file.tell()))
        file.seek(0)
    yield from Tree(name, options, within).entries(_members(file, within.budget, seekable=seekable))


class _Info(tarfile.TarInfo):
    """A header, that remembers in the archive why there is none more: ``tarfile`` takes a damaged one for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _Info:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            archive.stopped_by = error  # type: ignore[attr-defined]
            raise


def _members(file: BinaryIO, budget: Budget, *, seekable: bool) -> Iterator[Member]:
    last = "its beginning"
    try:
        archive = tarfile.open(  # noqa: SIM115 - closing it would read to its end
            fileobj=file, mode="r:" if seekable else "r|", tarinfo=_Info, bufsize=_BLOCKS, errors="surrogateescape"
        )
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise FileError(_NO_TAR) from error
    while True:
        try:
            info = archive.next()
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise FileError(_DAMAGED.format(path=last)) from error
        if info is None:
            break
        archive.members = []  # type: ignore[attr-defined]  # they are kept for looking up, which nobody does
        last = _text(info.name)
        if not info.isdir():
            yield _member(archive, info, file, budget, seekable=seekable)
    stopped = getattr(archive, "stopped_by", None)
    if not isinstance(stopped, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
        cut = stopped is None or isinstance(stopped, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]
        raise FileError((_CUT if cut else _DAMAGED).format(path=last))


def _member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, file: BinaryIO, budget: Budget, *, seekable: bool
) -> Member:
    path = _text(info.name)

    def stream() -> BinaryIO:
        found = archive.extractfile(info)
        if found is None:  # of what is no file, and that is never opened
            raise ItemError(_DEVICE)
        return buffered(Unpacked(found, budget, _ERRORS, ItemError(_ENDS)))

    def direct() -> BinaryIO:
        return buffered(Window(file, info.offset_data, info.size))

    if info.issym() or info.islnk():
        return Member(path, stream, left=_LINK.format(target=_text(info.linkname)))
    if info.type == CHANGED:
        return Member(path, stream, broken=_CHANGED)
    if not info.isreg():
        return Member(path, stream, left=_DEVICE)
    anywhere = direct if seekable and not info.issparse() else None
    return Member(path, stream, direct=anywhere, later=anywhere)


def _text(name: str) -> str:
    """A name, which is UTF-8, or in a code page that nobody knows."""
    written = name.encode("utf-8", "surrogateescape")
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError:
        return written.decode("cp1252", "replace")
