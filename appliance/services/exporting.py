"""Exports: many messages as one ZIP of EML files, with a manifest that lets anybody check them.

An export is made by a thread of the archiver and lies encrypted until it is fetched, with a key that exists in
this process only: after a restart it has to be made again, and nobody finds mail in a forgotten file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import secrets
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.errors import ConflictError, ForbiddenError, MailkeepError, NotFoundError, UsageError
from appliance.mail.query import parse
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.client import StreamHead
from appliance.services.principal import Principal, View
from appliance.services.reading import Download, message_id_of, open_for_export
from appliance.services.searching import scope_of, today

log = logging.getLogger(__name__)

PAGE = 500
"""Hits asked for at a time."""

MOST_PICKED = 1000
"""Messages picked one by one: each is named in the audit trail. More than that is a search."""
MOST_UNFINISHED = 3
MOST_FINISHED = 5
"""Exports of one caller: more are not begun, or the oldest goes. They lie on the disk that mail is received on."""

_FRAME = 1024 * 1024


class Sink(Protocol):
    """What a ZIP can be written to: bytes in order, no going back."""

    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...


class Progress(msgspec.Struct):
    """How far an export is."""

    done: int = 0
    total: int = 0
    left_out: int = 0


def write_zip(
    archive: Archive,
    principal: Principal,
    view: View,
    sink: Sink,
    *,
    query: str = "",
    ids: tuple[str, ...] = (),
    progress: Progress,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Write the messages as ``NNNNNN-<id>.eml`` and ``manifest.csv`` into ``sink``.

    A message that came in several forms (other trace headers, another encoding) has each of them, the second and
    later ones as ``NNNNNN-<id>-2.eml`` and so on. The manifest has a line for each file: file, id, received,
    subject, size, SHA-256, and a line for each message that could not be exported with the reason. Messages are
    compressed one by one, memory does not grow with their number.
    """
    found = iter(ids) if ids else _hits(archive, view, query, progress)
    progress.total = len(ids) or progress.total
    manifest = io.StringIO()
    lines = csv.writer(manifest)
    lines.writerow(["file", "id", "received", "subject", "size", "sha256", "note"])
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as bundle:  # type: ignore[call-overload]
        for id in found:
            if stopped():
                return
            name = f"{progress.done + 1:06d}-{id}"
            try:
                for form, (row, content, subject) in enumerate(open_for_export(archive, principal, view, id), 1):
                    file = f"{name}.eml" if form == 1 else f"{name}-{form}.eml"
                    bundle.writestr(file, content)
                    received = datetime.fromtimestamp(row.received_at / 1e6, UTC).isoformat(timespec="seconds")
                    digest = hashlib.sha256(content).hexdigest()
                    lines.writerow([file, id, received, _inert(subject), len(content), digest, ""])
            except MailkeepError as error:
                progress.left_out += 1
                lines.writerow(["", id, "", "", "", "", error.message])
            progress.done += 1
        bundle.writestr("manifest.csv", manifest.getvalue())


class Exports:
    """The exports of this process: begun, running, ready to be fetched."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._jobs: dict[str, _Job] = {}
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Semaphore(1)
        archive.paths.exports.mkdir(mode=0o700, exist_ok=True)
        for left in archive.paths.exports.iterdir():
            left.unlink()

    def begin(
        self, principal: Principal, *, query: str = "", ids: Sequence[str] = (), everywhere: bool = False
    ) -> api.JobInfo:
        """Start an export of all hits of ``query``, or of ``ids``."""
        view = principal.looking(everywhere=everywhere)
        if len(ids) > MOST_PICKED:
            raise UsageError(f"Up to {MOST_PICKED} messages can be picked. Export a search instead.")
        parse(query, today=today(self._archive))
        picked = tuple(message_id_of(self._archive, one) for one in ids)
        what = f"{len(picked)} messages" if picked else f"all hits of “{query}”"
        job = _Job(secrets.token_hex(8), principal, view, query, picked, f"Export of {what}")
        with self._lock:
            self._make_room(principal)
            self._jobs[job.id] = job
        try:
            self._archive.note(principal, "export.begin", " ".join((what, *picked)))
        except MailkeepError:
            with self._lock:
                del self._jobs[job.id]
            raise
        threading.Thread(target=self._run, args=(job,), name=f"export-{job.id}", daemon=True).start()
        return job.info()

    def list(self, principal: Principal) -> tuple[api.JobInfo, ...]:
        """The caller's exports, newest first."""
        with self._lock:
            mine = [job for job in self._jobs.values() if job.principal.id == principal.id]
        return tuple(job.info() for job in sorted(mine, key=lambda job: job.started_at, reverse=True))

    def get(self, principal: Principal, *, id: str) -> api.JobInfo:
        """One of the caller's exports."""
        return self._find(principal, id).info()

    def stop(self, principal: Principal, *, id: str) -> api.JobInfo:
        """Stop an export; what it has made so far is thrown away."""
        job = self._find(principal, id)
        job.stop.set()
        return job.info()

    def download(self, principal: Principal, *, id: str) -> Download:
        """The finished ZIP. An auditor who is none any more gets nothing of other people's mail."""
        job = self._find(principal, id)
        if job.view.archives is None and not principal.is_auditor:
            raise ForbiddenError("You are no auditor any more.")
        if job.state != "done" or job.file is None:
            raise UsageError("This export is not ready.")
        self._archive.note(principal, "export.download", job.title)
        return Download(StreamHead(job.name, "application/zip", job.file.size), job.file.read())

    def _make_room(self, principal: Principal) -> None:
        mine = [job for job in self._jobs.values() if job.principal.id == principal.id]
        if sum(job.finished_at is None for job in mine) >= MOST_UNFINISHED:
            raise ConflictError(f"{MOST_UNFINISHED} exports of yours are not finished yet. Wait for one, or stop it.")
        finished = sorted((job for job in mine if job.finished_at is not None), key=lambda job: job.started_at)
        for job in finished[: max(len(finished) - MOST_FINISHED + 1, 0)]:
            del self._jobs[job.id]
            if job.file is not None:
                job.file.remove()

    def _find(self, principal: Principal, id: str) -> _Job:
        with self._lock:
            job = self._jobs.get(id)
        if job is None or job.principal.id != principal.id:
            raise NotFoundError("There is no such export.")
        return job

    def _run(self, job: _Job) -> None:
        with self._one_at_a_time:
            job.state = "running"
            try:
                job.file = EncryptedFile(self._archive.paths.exports / job.id)
                write_zip(
                    self._archive, job.principal, job.view, job.file, query=job.query, ids=job.ids,
                    progress=job.progress, stopped=job.stop.is_set,
                )  # fmt: skip
                job.file.finish()
                job.message = f"{job.progress.left_out} left out, see manifest.csv" if job.progress.left_out else ""
                job.state = "stopped" if job.stop.is_set() else "done"
            except MailkeepError as error:
                self._failed(job, error.message)
            except OSError:
                self._failed(job, "The disk did not take it.")
            except Exception:  # an export that nobody ends would be waited for for ever
                self._failed(job, "Something went wrong inside mailkeep; the log has the details.")
            if job.state != "done" and job.file is not None:
                job.file.remove()
            job.finished_at = int(time.time())

    @staticmethod
    def _failed(job: _Job, message: str) -> None:
        log.exception("export %s failed", job.id)
        job.state, job.message = "failed", message


class _Job:
    """One export and how it stands."""

    def __init__(self, id: str, principal: Principal, view: View, query: str, ids: tuple[str, ...], title: str) -> None:
        self.id, self.title = id, title
        self.principal, self.view = principal, view
        self.query, self.ids = query, ids
        self.state = "waiting"
        self.progress = Progress()
        self.message = ""
        self.started_at = int(time.time())
        self.finished_at: int | None = None
        self.stop = threading.Event()
        self.file: EncryptedFile | None = None

    @property
    def name(self) -> str:
        """What the file is called when it is fetched."""
        return datetime.fromtimestamp(self.started_at).strftime("mail-%Y-%m-%d-%H%M.zip")

    def info(self) -> api.JobInfo:
        """The job as a face shows it."""
        return api.JobInfo(
            id=self.id, kind="export", title=self.title, state=self.state,  # type: ignore[arg-type]
            done=self.progress.done, total=self.progress.total, message=self.message,
            started_at=self.started_at, finished_at=self.finished_at,
            download=self.name if self.state == "done" else "",
        )  # fmt: skip


class EncryptedFile:
    """A file that is written and read once each, in frames of AES-256-GCM with a key held in memory only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = AESGCM(AESGCM.generate_key(256))
        path.touch(mode=0o600, exist_ok=False)
        self._file: BinaryIO = path.open("wb")
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
        self._file.close()

    def read(self) -> Iterator[bytes]:
        """The content, in pieces."""
        with self._path.open("rb") as file:
            for number in range(self._frames):
                length = int.from_bytes(file.read(4), "big")
                yield self._key.decrypt(number.to_bytes(12, "big"), file.read(length), b"")

    def remove(self) -> None:
        """Throw it away."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _frame(self, plain: bytes) -> None:
        sealed = self._key.encrypt(self._frames.to_bytes(12, "big"), plain, b"")
        self._file.write(len(sealed).to_bytes(4, "big") + sealed)
        self._frames += 1


def _hits(archive: Archive, view: View, query: str, progress: Progress) -> Iterator[str]:
    """The ids of all hits, oldest first, each once also where mail that comes in meanwhile moves a page."""
    node = parse(query, today=today(archive))
    offset, given = 0, set[str]()
    while True:
        page = archive.index.search(node, scope_of(view), sort="date-asc", offset=offset, limit=PAGE, facets=False)
        progress.total = page.total
        if not page.hits:
            return
        new = [one.id for one in page.hits if one.id not in given]
        given.update(new)
        yield from new
        offset += len(page.hits)


def _inert(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return "'" + text if text[:1] in "=+-@\t\r" else text
