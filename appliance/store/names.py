"""Where a volume lies: ``<mailbox, 32 hex>/<writer>-<sequence, 8 digits>.mkv``, its seal beside it.

An archive volume, which stands in for others, is named likewise and ends in ``.mka``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from appliance.errors import UsageError

VOLUME_SUFFIX = ".mkv"
ARCHIVE_SUFFIX = ".mka"
SEAL_SUFFIX = ".seal"
UNFINISHED_SUFFIX = ".new"
"""Ends the name of a file that is being made; nothing in it was ever confirmed."""

COMPACTED = "c0"
"""In a writer's place in the name of an archive volume whose records were compressed anew."""
DROPPED = "d0"
"""In a writer's place in the name of an archive volume that is a copy of another volume without erased records."""

_WRITER = re.compile(r"[a-z][a-z0-9]{0,15}")
_FOLDER = re.compile(r"[0-9a-f]{32}")
_VOLUME = re.compile(rf"([0-9a-f]{{32}})/({_WRITER.pattern})-([0-9]{{8}}){re.escape(VOLUME_SUFFIX)}")
_ARCHIVE = re.compile(rf"([0-9a-f]{{32}})/({COMPACTED}|{DROPPED})-([0-9]{{8}}){re.escape(ARCHIVE_SUFFIX)}")


class VolumeName(NamedTuple):
    """A volume's path, taken apart."""

    mailbox: bytes
    writer: str
    sequence: int

    def __str__(self) -> str:
        return f"{self.mailbox.hex()}/{self.file}"

    @property
    def file(self) -> str:
        """The name inside the mailbox's folder."""
        return f"{self.writer}-{self.sequence:08d}{VOLUME_SUFFIX}"


class ArchiveName(NamedTuple):
    """An archive volume's path, taken apart."""

    mailbox: bytes
    kind: str  # COMPACTED or DROPPED
    sequence: int  # from 1, for one mailbox and kind

    def __str__(self) -> str:
        return f"{self.mailbox.hex()}/{self.file}"

    @property
    def file(self) -> str:
        """The name inside the mailbox's folder."""
        return f"{self.kind}-{self.sequence:08d}{ARCHIVE_SUFFIX}"


def check_writer(name: str) -> str:
    """``name`` if it can name a writer: a letter, then up to 15 letters and digits. Raises UsageError."""
    if not _WRITER.fullmatch(name) or name in (COMPACTED, DROPPED):
        raise UsageError(
            f"{name!r} cannot name a writer: a small letter, then up to 15 small letters and digits, and neither "
            f"{COMPACTED} nor {DROPPED}."
        )
    return name


def parse_volume(path: str) -> VolumeName | None:
    """The name in a path relative to the volumes folder; None where it is not a volume's."""
    found = _VOLUME.fullmatch(path)
    if found is None or found[2] in (COMPACTED, DROPPED):
        return None
    return VolumeName(bytes.fromhex(found[1]), found[2], int(found[3]))


def parse_archive(path: str) -> ArchiveName | None:
    """The name in an archive volume's path relative to the volumes folder; None where it is none."""
    found = _ARCHIVE.fullmatch(path)
    return None if found is None else ArchiveName(bytes.fromhex(found[1]), found[2], int(found[3]))


def is_mailbox_folder(name: str) -> bool:
    """Whether a folder below the volumes folder is a mailbox's."""
    return _FOLDER.fullmatch(name) is not None


def volume_name(path: str) -> VolumeName:
    """As ``parse_volume``, but UsageError where it is no volume's path: none points outside the folder."""
    name = parse_volume(path)
    if name is None:
        raise UsageError(f"{path!r} is not the path of a volume.")
    return name


def seal_path(volume: str) -> str:
    """The path of a volume's, or an archive volume's, seal."""
    return volume.removesuffix(VOLUME_SUFFIX).removesuffix(ARCHIVE_SUFFIX) + SEAL_SUFFIX


def sealed_by(seal: str) -> str | None:
    """The path of the volume or archive volume that a seal of this path is for; None where it is no seal's."""
    if not seal.endswith(SEAL_SUFFIX):
        return None
    stem = seal.removesuffix(SEAL_SUFFIX)
    if parse_archive(stem + ARCHIVE_SUFFIX) is not None:
        return stem + ARCHIVE_SUFFIX
    return stem + VOLUME_SUFFIX if parse_volume(stem + VOLUME_SUFFIX) is not None else None
