"""A folder on its way into the archive: as a tar archive that is made while it is sent.

The archive (POSIX.1-2001 pax, IEEE Std 1003.1 "pax Interchange Format") is never on a disk. Its members stand in the
order of their paths' bytes and its headers hold path, size and time of change, so that a folder that has not changed
gives the same bytes again. A file that has gone, or has another size when its turn comes, keeps its room as a member of
the type ``CHANGED``, which no reader takes for a file.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from appliance.errors import UsageError
from appliance.imports import placing

PIECE: Final = 1024 * 1024
"""Most bytes that are read at a time."""
CHANGED: Final = b"Z"
"""Type of a member whose file is not as it was: POSIX leaves capital letters to whoever writes the archive."""
LARGE_MBOX: Final = 256 * 1024 * 1024
"""From here on an mbox file goes by itself: the box keeps a file until it has been read."""
_BY_THEMSELVES: Final = (
    *(".pst", ".ost", ".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"),
    *(".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"),
)
_END: Final = bytes(2 * tarfile.BLOCKSIZE)
_MOST_NAMED: Final = 3


class Member(NamedTuple):
    """A file in a folder; ``name`` is its path in the folder, ``mtime`` in seconds."""

    path: Path
    name: str
    size: int
    mtime: int


class Folder(NamedTuple):
    """What was found in a folder: ``members`` go as one archive, ``others`` each by itself; ``links`` do not go."""

    members: tuple[Member, ...]
    others: tuple[Member, ...]
    links: tuple[str, ...]


def look_through(folder: Path) -> Folder:
    """All files of a folder and of those in it. Raises UsageError where there is none, or one cannot be read."""
    members: list[Member] = []
    others: list[Member] = []
    links: list[str] = []
    unreadable: list[str] = []
    for path in _walk(folder, unreadable):
        known = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(known.st_mode):
            links.append(name)
        elif stat.S_ISREG(known.st_mode):
            if not os.access(path, os.R_OK):
                unreadable.append(name)
                continue
            one = Member(path, name, known.st_size, int(known.st_mtime))
            (others if _goes_by_itself(one) else members).append(one)
    if unreadable:
        named = ", ".join(unreadable[:_MOST_NAMED]) + ("" if len(unreadable) <= _MOST_NAMED else " …")
        raise UsageError(
            f"{len(unreadable)} of what is in {folder} cannot be read by you: {named}. Nothing was imported; make it "
            "readable, or run the command as somebody who may read it."
        )
    if not members and not others:
        raise UsageError(f"There is no file in {folder}. Nothing was imported.")
    return Folder(tuple(members), tuple(others), tuple(links))


def folder_of(one: Member, top: str) -> tuple[str, ...]:
    """The mail folder that a file stands for which goes by itself, as it would in the archive of the folder ``top``."""
    return placing.container(placing.placed(placing.names(one.name), top))


def tar_size(members: Sequence[Member]) -> int:
    """Bytes of the archive of these files."""
    return sum(len(_header(one)) + _padded(one.size) for one in members) + len(_END)


def tar_of(members: Sequence[Member], changed: Callable[[str], None]) -> Iterator[bytes]:
    """The archive, in pieces. ``changed`` is told the name of each file that is not as it was when it was looked at.

    Raises UsageError where a file is cut short while it is read.
    """
    for one in members:
        file = _opened(one)
        if file is None:
            changed(one.name)
            yield _header(one, CHANGED)
            yield from _zeros(_padded(one.size))
            continue
        with file:
            yield _header(one)
            left = one.size
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise UsageError(
                        f"{one.path} became shorter while it was read. Try again when nothing writes to it."
                    )
                left -= len(piece)
                yield piece
        yield bytes(_padded(one.size) - one.size)
    yield _END


def _walk(folder: Path, unreadable: list[str]) -> Iterator[Path]:
    """Everything in it that is no folder, in the order of the paths' bytes."""
    try:
        found = sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError:
        unreadable.append(folder.as_posix())
        return
    for path in found:
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, unreadable)
        else:
            yield path


def _goes_by_itself(one: Member) -> bool:
    if one.name.lower().endswith(_BY_THEMSELVES):
        return True
    if one.size < LARGE_MBOX:
        return False
    with one.path.open("rb") as file:
        return file.read(5) == b"From "


def _opened(one: Member) -> BinaryIO | None:
    """The file, if it still is what was looked at."""
    try:
        file = one.path.open("rb")
    except OSError:
        return None
    if os.fstat(file.fileno()).st_size == one.size:
        return file
    file.close()
    return None


def _header(one: Member, kind: bytes = tarfile.REGTYPE) -> bytes:
    head = tarfile.TarInfo(one.name)
    head.size, head.mtime, head.mode, head.type = one.size, one.mtime, 0o644, kind
    return head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        piece = min(count, PIECE)
        yield bytes(piece)
        count -= piece
