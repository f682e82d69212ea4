"""The watched folder: what lies in it, what of it is finished, and where it goes when it has been taken in.

::

    ADDRESS/anna.pst             is imported into the archive of the user with that address
    ADDRESS/Old mail/…           the same, all of it below a folder “Old mail”
    done/ADDRESS/anna.pst        was imported; beside it anna.pst.report.html
    failed/ADDRESS/…             could not be read, or not to its end

Nothing is ever deleted, and nothing is touched that is not below an address.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import msgspec

from appliance.errors import StorageError, UsageError
from appliance.files import FILES, Files, write_file
from appliance.imports.packing import folder_of, look_through
from appliance.language import _, later
from appliance.services.imports.supplies import Wanted

DONE: Final = "done"
FAILED: Final = "failed"
_REPORT: Final = ".report.html"
_BEING_WRITTEN: Final = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download")
_MOST_FILES: Final = 500_000


class Found(msgspec.Struct, frozen=True):
    """What somebody put there for an archive. ``stamp`` is another as soon as anything in it is; ``trouble`` says why
    it cannot be taken in."""

    address: str
    path: Path
    stamp: bytes = b""
    trouble: str = ""

    @property
    def name(self) -> str:
        """Its path in the watched folder."""
        return f"{self.address}/{self.path.name}"


def check_folder(folder: Path, data: Path) -> None:
    """Raise UsageError, in words, where a folder cannot be watched."""
    if not folder.is_absolute() or ".." in folder.parts:
        raise UsageError(later("The path of a folder on this machine has to begin with /."))
    if not folder.is_dir():
        text = later("There is no folder {folder} on this box, or the archive may not look there.")
        raise UsageError(text, folder=folder)
    real, own = folder.resolve(), data.resolve()
    if real == own or own in real.parents or real in own.parents:
        raise UsageError(later("The archive's own folder cannot be watched. Take a folder of its own."))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(
            later(
                "The archive may not write to {folder}, and so cannot put away what it has imported. Installed as a "
                "package it may write to /var/lib/mailkeep-import."
            ),
            folder=folder,
        )


def look(folder: Path) -> Iterator[Found]:
    """Everything that lies in it for somebody. Raises OSError."""
    for owner in _listed(folder):
        if owner.name in (DONE, FAILED) or owner.name.startswith("."):
            continue
        if owner.is_symlink() or not owner.is_dir():
            text = _("It lies beside the folders: put it into a folder that is called as the address of its owner.")
            yield Found("", owner, trouble=text)
            continue
        if "@" not in owner.name:
            yield Found("", owner, trouble=_("The folder's name is no address; it is left alone."))
            continue
        try:
            entries = list(_listed(owner))
        except OSError as error:
            yield Found("", owner, trouble=_cannot_be_read(error))
            continue
        for entry in entries:
            if not entry.name.startswith(".") and not entry.name.lower().endswith(_BEING_WRITTEN):
                yield _found(owner, entry)


def contents(found: Found) -> list[Wanted]:
    """What an import of it takes in: a file, or what a folder comes to. Raises UsageError where there is nothing."""
    if not found.path.is_dir():
        return [Wanted(path=_text(found.path))]
    top = _text(found.path.name)
    inside = look_through(found.path)
    files = [Wanted(path=_text(found.path), packed=True, folder=(top,))] if inside.members else []
    alone = [one for one in inside.others if one.size]
    return files + [Wanted(path=_text(one.path), folder=(top, *folder_of(one, top))) for one in alone]


def put_away(folder: Path, name: str, into: Literal["done", "failed"], report: bytes, *, files: Files = FILES) -> None:
    """Move what was imported, with its report beside it. What was moved before a crash only gets its report.

    Raises StorageError where that cannot be; nothing is lost then.
    """
    source = folder / name
    target = folder / into / Path(name).parent
    try:
        for place in (target.parent, target):
            with suppress(FileExistsError):
                files.make_directory(place)
                files.sync_directory(place.parent)
        if os.path.lexists(source):
            moved = _free(target, source.name)
            files.rename(source, moved)
            files.sync_directory(source.parent)
        else:
            moved = target / source.name
        beside = moved.with_name(moved.name + _REPORT)
        if not files.exists(beside):
            write_file(files, beside, [report], 0o640)
        files.sync_directory(target)
    except OSError as error:
        text = later("“{name}” was imported and could not be moved to “{into}”: {reason}.")
        raise StorageError(text, name=name, into=into, reason=error.strerror or error) from error


def _found(owner: Path, entry: Path) -> Found:
    try:
        stamp, size = _stamp(entry)
    except OSError as error:
        return Found(owner.name, entry, trouble=_cannot_be_read(error))
    if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
        return Found(owner.name, entry, trouble=_("It is no file or folder: links are not followed."))
    if not size:
        return Found(owner.name, entry, trouble=_("It is empty."))
    if not os.access(entry, os.R_OK) or not os.access(owner, os.W_OK | os.X_OK):
        text = _("The archive may not read it, or not move it away afterwards. Give its group the right to.")
        return Found(owner.name, entry, trouble=text)
    return Found(owner.name, entry, stamp)


def _stamp(entry: Path) -> tuple[bytes, int]:
    """What tells one state of a file or folder from the next, and its bytes. Raises OSError."""
    digest, total = sha256(), 0
    for count, path in enumerate(_all(entry)):
        status = path.lstat()
        told = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n"
        digest.update(told.encode(errors="surrogateescape"))
        if stat.S_ISREG(status.st_mode):
            total += status.st_size
        if count >= _MOST_FILES:
            break
    return digest.digest(), total


def _all(entry: Path) -> Iterator[Path]:
    yield entry
    if entry.is_dir() and not entry.is_symlink():
        for path in _listed(entry):
            yield from _all(path)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))


def _text(path: Path | str) -> str:
    """A path as it is remembered. Raises UsageError where it is no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        text = later("The name “{name}” is not in UTF-8. Give it another one.")
        raise UsageError(text, name=ascii(str(path))) from error
    return str(path)


def _free(target: Path, name: str) -> Path:
    """A path there that nothing has, nor its report."""
    stem, dot, ending = name.partition(".")
    for number in range(1, _MOST_FILES):
        one = target / (name if number == 1 else f"{stem} ({number}){dot}{ending}")
        if not os.path.lexists(one) and not os.path.lexists(one.with_name(one.name + _REPORT)):
            return one
    raise FileExistsError(f"{name} is there too often")


def _cannot_be_read(error: OSError) -> str:
    return _("It cannot be read: {reason}.").format(reason=error.strerror or error)
