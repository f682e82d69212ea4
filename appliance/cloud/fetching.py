"""Getting back volumes that are on replicas only.

``Fetcher`` is what readers of the log have: it asks the replicator, which knows the remotes. ``place`` is for whoever
has downloaded a file: it checks it and gives it its name.
"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Any, Final

import msgspec

from appliance import decoding, framing
from appliance.errors import DamageError, MailkeepError, UnavailableError, UsageError
from appliance.files import FILES, Files
from appliance.framing import Failure
from appliance.store.absent import AbsentFiles
from appliance.store.failures import storage_error
from appliance.store.names import UNFINISHED_SUFFIX, is_mailbox_folder, parse_archive, parse_volume
from appliance.store.survey import file_hash

ANSWER_SECONDS: Final = 900.0
"""How long one volume may take: 72 MiB at 80 kB a second."""

_LARGEST_ANSWER: Final = 64 * 1024
_ARRIVING: Final = "arriving."
"""Begins the name of a file that is being downloaded: no writer has such a name, so none takes it for its own."""


class _Call(msgspec.Struct, frozen=True):
    method: str
    token: str
    params: dict[str, Any]


class _Reply(msgspec.Struct, frozen=True):
    error: Failure | None = None


class Fetcher:
    """``fetch`` for a ``LogReader``. Threads may share it; each call has a connection of its own."""

    def __init__(self, place: Path, *, seconds: float = ANSWER_SECONDS) -> None:
        """``place`` is the replicator's socket; the secret to be named lies beside it."""
        self._place = place
        self._seconds = seconds

    def __call__(self, path: str) -> None:
        """Return when a volume or archive volume is in its place. Raises UnavailableError in words."""
        try:
            reply = self._ask(path)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise UnavailableError(
                "This mail is on a replica only, and the part of mailkeep that gets it back does not answer. Nothing "
                "is lost. Start mailkeep with `mailkeep serve`, or try again in a minute."
            ) from error
        if reply.error is not None:
            raise UnavailableError(reply.error.message)

    def _ask(self, path: str) -> _Reply:
        secret = self._place.with_name("secret").read_text("ascii")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._seconds)
            connection.connect(str(self._place))
            connection.sendall(framing.pack(_Call("fetch", secret, {"path": path}), _LARGEST_ANSWER))
            with connection.makefile("rb") as stream:
                raw = framing.read(stream, _LARGEST_ANSWER)
        return decoding.from_msgpack(raw or b"", _Reply)


def arriving(volumes: Path, path: str) -> Path:
    """Where to download a volume or archive volume to, so that ``place`` can give it its name. Raises UsageError."""
    _check_path(path)
    folder, _, name = path.partition("/")
    return volumes / folder / f"{_ARRIVING}{name}{UNFINISHED_SUFFIX}"


def remove_arriving(volumes: Path, *, files: Files = FILES) -> None:
    """Remove what was being downloaded when the power went. To be called while nobody downloads.

    Raises StorageError.
    """
    try:
        for folder in filter(is_mailbox_folder, files.names(volumes)):
            for name in files.names(volumes / folder):
                if name.startswith(_ARRIVING):
                    files.unlink(volumes / folder / name)
    except OSError as error:
        raise storage_error(error) from error


def put_back(volumes: Path, path: str, source: Path, digest: bytes, *, files: Files = FILES) -> None:
    """Give a downloaded file its name, if its SHA-256 is ``digest``; durable on return. ``source`` is gone afterwards.

    The list of absent files still names it, which does no harm: of many files it is changed once, at the end.
    Raises DamageError where it is another file, UsageError for a path that is no volume's, StorageError.
    """
    _check_path(path)
    target = volumes / path
    try:
        descriptor = files.open(source)
        try:
            same = file_hash(files, descriptor, files.size(descriptor)) == digest
            if same:
                files.sync(descriptor)
        finally:
            files.close(descriptor)
        if not same:
            files.unlink(source)
            raise DamageError(f"{path} came back from the replica as another file than it went. It was not taken.")
        files.rename(source, target)
        files.sync_directory(target.parent)
    except OSError as error:
        raise storage_error(error) from error


def place(volumes: Path, path: str, source: Path, digest: bytes, *, files: Files = FILES) -> None:
    """As ``put_back``, and off the list of absent files."""
    put_back(volumes, path, source, digest, files=files)
    with contextlib.suppress(MailkeepError):  # the file is there, so it counts as there
        AbsentFiles(volumes, files=files).remove([path])


def _check_path(path: str) -> None:
    if parse_volume(path) is None and parse_archive(path) is None:
        raise UsageError(f"{path!r} is not the path of a volume.")
