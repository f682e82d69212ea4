"""Exports: many messages as one ZIP of EML files, with a manifest that lets anybody check them.

An export is made by a thread of the archiver and lies encrypted until it is fetched, with a key that exists in
this process only: after a restart it has to be made again, and nobody finds mail in a forgotten file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import ForbiddenError, MailkeepError, UsageError
from appliance.services import api
from appliance.services.access import require_still_open
from appliance.services.archive import Archive
from appliance.services.auditing import look, note_look
from appliance.services.client import StreamHead
from appliance.services.folders import Chosen
from appliance.services.folders import chosen as folder_chosen
from appliance.services.jobs import Jobs, Progress
from appliance.services.principal import Principal, View
from appliance.services.reading import Download, message_id_of, open_for_export
from appliance.services.searching import asked_for, scope_of

KIND = "export"

MOST_PICKED = 1000
"""Messages picked one by one: each is named in the audit trail. More than that is a search."""
_FRAME = 1024 * 1024


class Sink(Protocol):
    """What a ZIP can be written to: bytes in order, no going back."""

    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...


def write_zip(
    archive: Archive,
    principal: Principal,
    view: View,
    sink: Sink,
    *,
    query: str = "",
    chosen: Chosen | None = None,
    ids: tuple[str, ...] = (),
    progress: Progress,
) -> int:
    """Write the messages as ``NNNNNN-<id>.eml`` and ``manifest.csv`` into ``sink``.

    A message that came in several forms (other trace headers, another encoding) has each of them, the second and
    later ones as ``NNNNNN-<id>-2.eml`` and so on. The manifest has a line for each file: file, id, received,
    subject, size, SHA-256, and a line for each message that could not be exported with the reason. Messages are
    compressed one by one, memory does not grow with their number. Returns how many could not be exported.
    Raises ForbiddenError where an archive of the view is closed to the caller meanwhile.
    """
    left_out = 0
    progress.report(0, len(ids))
    found = iter(ids) if ids else _hits(archive, view, query, chosen, progress)
    manifest = io.StringIO()
    lines = csv.writer(manifest)
    lines.writerow(["file", "id", "received", "subject", "size", "sha256", "note"])
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as bundle:  # type: ignore[call-overload]
        for id in found:
            if progress.stopped():
                return left_out
            require_still_open(archive, principal, view)
            name = f"{progress.done + 1:06d}-{id}"
            try:
                for form, (row, content, subject) in enumerate(open_for_export(archive, principal, view, id), 1):
                    file = f"{name}.eml" if form == 1 else f"{name}-{form}.eml"
                    bundle.writestr(file, content)
                    received = datetime.fromtimestamp(row.received_at / 1e6, UTC).isoformat(timespec="seconds")
                    digest = hashlib.sha256(content).hexdigest()
                    lines.writerow([file, id, received, inert(subject), len(content), digest, ""])
            except MailkeepError as error:
                left_out += 1
                lines.writerow(["", id, "", "", "", "", error.message])
            progress.report(progress.done + 1, progress.total)
        bundle.writestr("manifest.csv", manifest.getvalue())
    return left_out


class Exports:
    """The exports of this process: begun, running, ready to be fetched."""

    def __init__(self, archive: Archive, jobs: Jobs) -> None:
        self._archive = archive
        self._jobs = jobs
        archive.paths.exports.mkdir(mode=0o700, exist_ok=True)
        for left in archive.paths.exports.iterdir():
            left.unlink()

    def begin(
        self,
        principal: Principal,
        *,
        query: str = "",
        ids: Sequence[str] = (),
        everywhere: bool = False,
        whose: str = "",
        folder: str = "",
        below: bool = False,
    ) -> api.JobInfo:
        """Start an export of all hits of ``query``, or of ``ids``; all but these as in ``searching.search``."""
        view = principal.looking(everywhere=everywhere, whose=whose)
        if len(ids) > MOST_PICKED:
            raise UsageError(f"Up to {MOST_PICKED} messages can be picked. Export a search instead.")
        chosen = folder_chosen(self._archive, view, folder=folder, below=below)
        asked_for(self._archive, query, chosen)
        picked = tuple(message_id_of(self._archive, one) for one in ids)
        within = f" in {' / '.join(chosen.place.path)}" if chosen else ""
        what = f"{len(picked)} messages" if picked else f"all hits of “{query}”{within}"
        file = EncryptedFile(self._archive.paths.exports / secrets.token_hex(8))

        def work(progress: Progress) -> str:
            left_out = write_zip(
                self._archive, principal, view, file, query=query, chosen=chosen, ids=picked, progress=progress
            )
            file.finish()
            progress.result = _Finished(f"Export of {what}", name, view, file)
            return f"{left_out} left out, see manifest.csv" if left_out else ""

        name = datetime.fromtimestamp(self._archive.clock()).strftime("mail-%Y-%m-%d-%H%M.zip")
        action, told = look(f"{KIND}.begin", " ".join((what, *picked)), view.others)
        return self._jobs.begin(
            principal, KIND, f"Export of {what}", work, action=action, what=told, download=name, gone=file.remove
        )

    def download(self, principal: Principal, *, id: str) -> Download:
        """The finished ZIP. Who is no auditor any more, or may not read that archive, gets nothing of it."""
        made = self._jobs.result(principal, id=id)
        if not isinstance(made, _Finished):
            raise UsageError("There is nothing to fetch from this job.")
        if made.view.archives is None and not principal.is_auditor:
            raise ForbiddenError("You are no auditor any more.")
        require_still_open(self._archive, principal, made.view)
        note_look(self._archive, principal, "export.download", made.title, made.view.others)
        return Download(StreamHead(made.name, "application/zip", made.file.size), self._pieces(principal, made))

    def _pieces(self, principal: Principal, made: _Finished) -> Iterator[bytes]:
        for piece in made.file.read():
            require_still_open(self._archive, principal, made.view)
            yield piece


class _Finished(NamedTuple):
    """An export that can be fetched."""

    title: str
    name: str
    view: View
    file: EncryptedFile


class EncryptedFile:
    """A file that is written and read once each, in frames of AES-256-GCM with a key held in memory only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = AESGCM(AESGCM.generate_key(256))
        self._file: BinaryIO | None = None  # until there is something to write
        self._buffer = bytearray()
        self._frames = 0
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Append."""
        self._buffer += data
        self.size += len(data)
        while len(self._buffer) >= _FRAME:
            self._frame(bytes(self._buffer[:_FRAME]))
            del self._buffer[:_FRAME]
        return len(data)

    def flush(self) -> None:
        """Nothing to do: a frame is written when it is full."""

    def finish(self) -> None:
        """No more will be written."""
        self._frame(bytes(self._buffer))
        self._buffer.clear()
        if self._file is not None:
            self._file.close()

    def read(self) -> Iterator[bytes]:
        """The content, in pieces."""
        with self._path.open("rb") as file:
            for number in range(self._frames):
                length = int.from_bytes(file.read(4), "big")
                yield self._key.decrypt(number.to_bytes(12, "big"), file.read(length), b"")

    def remove(self) -> None:
        """Throw it away."""
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _frame(self, plain: bytes) -> None:
        if self._file is None:
            self._path.touch(mode=0o600, exist_ok=False)
            self._file = self._path.open("wb")
        sealed = self._key.encrypt(self._frames.to_bytes(12, "big"), plain, b"")
        self._file.write(len(sealed).to_bytes(4, "big") + sealed)
        self._frames += 1


def _hits(archive: Archive, view: View, query: str, chosen: Chosen | None, progress: Progress) -> Iterator[str]:
    """The ids of all hits, each once: quarter by quarter as they came in, those of one by date."""
    node, scope = asked_for(archive, query, chosen), scope_of(view)
    progress.report(progress.done, archive.index.search(node, scope, limit=0, facets=False).total)
    yield from archive.index.every(node, scope)


def inert(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return "'" + text if text[:1] in "=+-@\t\r" else text
