"""Imports in memory for tests of the faces: takes files as the archive does, and reads them when it is told to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from appliance.errors import ConflictError, DamageError, MailkeepError, NotFoundError, UnavailableError, UsageError
from appliance.services import api

UNREAD = 2
"""Files of one import that may wait to be read before another one is taken."""
ARCHIVES = ("anna@x.test", "ben@x.test", "anna.berg@example.org")


class Outcome(msgspec.Struct, frozen=True):
    """What reading a file comes to."""

    counts: api.ImportCounts
    problems: tuple[tuple[str, str, str, str], ...] = ()  # folder, item, what, why
    words: str = ""  # with these the file cannot be read
    format: str = "tar"


def one_a_line(_file: api.ImportFile, content: bytes) -> Outcome:
    """Each line is an item, and archived; one that begins with “!” has failed, one with “-” is not wanted."""
    lines = [line for line in content.decode("latin-1").split("\n") if line.strip("\0")]
    failed = [line for line in lines if line.startswith("!")]
    left = [line for line in lines if line.startswith("-")]
    archived = len(lines) - len(failed) - len(left)
    return Outcome(
        api.ImportCounts(len(lines), archived, 0, len(left), len(failed), sum(map(len, lines))),
        (
            *(("Inbox", line[1:], "failed", "It is damaged.") for line in failed),
            *(("Calendar", line[1:], "skipped", "It is an appointment.") for line in left),
        ),
    )


class ImportsDouble:
    """Every service of imports, each as a method with the service's name."""

    def __init__(self, *, reads: Callable[[api.ImportFile, bytes], Outcome] = one_a_line) -> None:
        self.known: dict[int, api.ImportInfo] = {}
        self.bytes: dict[tuple[int, int], bytearray] = {}
        self.reads = reads
        self.reading = True
        """Whether files are read as soon as they have arrived."""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.breaking: dict[str, int] = {}
        """How often a service's answer is lost, after it has done what was asked."""
        self.remotes: dict[str, dict[str, bytes]] = {}
        """What lies on remotes: by their names, files by path."""
        self.watched = ""
        self.watched_entries: tuple[api.ImportWatchEntry, ...] = ()
        self.trouble: dict[str, MailkeepError] = {}
        """What a service answers instead of doing anything."""

    def ask(self, method: str, **params: Any) -> Any:
        """One call, as it may go."""
        self.calls.append((method, params))
        if method in self.trouble:
            raise self.trouble[method]
        answer = getattr(self, method)(**params)
        if self.breaking.get(method, 0):
            self.breaking[method] -= 1
            raise UnavailableError("The archive broke off its answer. Nothing was lost; try again.")
        return answer

    def asked(self, method: str) -> list[dict[str, Any]]:
        """With what a service was called."""
        return [params for name, params in self.calls if name == method]

    # -- the services -----------------------------------------------------------------------------------------

    def imports(self, *, limit: int = 50) -> tuple[api.ImportInfo, ...]:
        found = sorted(self.known.values(), key=lambda one: one.id, reverse=True)
        return tuple(msgspec.structs.replace(one, files=(), problems=()) for one in found[:limit])

    def import_get(self, *, id: int, problems: int = 1000) -> api.ImportInfo:
        if id not in self.known:
            raise NotFoundError("There is no such import any more.")
        one = self.known[id]
        listed = one.problems[:problems]
        unlisted = one.unlisted + len(one.problems) - len(listed)
        return msgspec.structs.replace(one, problems=listed, unlisted=unlisted)

    def import_begin(
        self, *, title: str, archive: str = "", owners: Any = "archive", folder: tuple[str, ...] = (),
        dry_run: bool = False, recovered: bool = False, others: bool = False, code_page: str = "",
    ) -> api.ImportInfo:  # fmt: skip
        self._checked(archive)
        if code_page == "nonsense":
            raise UsageError("There is no code page “nonsense”.")
        id = max(self.known, default=0) + 1
        self.known[id] = api.ImportInfo(
            id=id, title=title, owners=owners, archive=archive, folder=tuple(folder), dry_run=dry_run,
            recovered=recovered, others=others, state="arriving", by="admin", queued=int(time.time()), begun=None,
            ended=None, counts=api.ImportCounts(),
        )  # fmt: skip
        return self.known[id]

    def import_file(
        self, *, id: int, name: str, size: int, archive: str = "", folder: tuple[str, ...] = (), password: str = ""
    ) -> api.ImportFile:
        one = self._open(id)
        self._checked(archive)
        if sum(1 for file in one.files if file.state in ("arriving", "waiting", "running")) >= UNREAD:
            raise UnavailableError("Two files of this import have not been read yet.")
        made = api.ImportFile(
            number=len(one.files) + 1, name=name, size=size, arrived=0, state="arriving", counts=api.ImportCounts(),
            archive=archive or one.archive, target=tuple(folder) or one.folder,
        )  # fmt: skip
        self.bytes[id, made.number] = bytearray()
        self._put(id, made)
        return made

    def import_write(self, *, id: int, file: int, offset: int, data: bytes) -> int:
        self._open(id)
        have = self.bytes[id, file]
        assert len(data) <= api.IMPORT_CHUNK
        if offset > len(have):
            raise ConflictError("There is a gap before these bytes.")
        have.extend(data[len(have) - offset :])
        self._put(id, msgspec.structs.replace(self._file(id, file), arrived=len(have)))
        return len(have)

    def import_arrived(self, *, id: int, file: int, sha256: str = "") -> api.ImportFile:
        self.import_get(id=id)
        one, have = self._file(id, file), self.bytes[id, file]
        if one.state != "arriving":
            return one
        if len(have) != one.size:
            raise ConflictError("Bytes are missing.")
        if sha256 and hashlib.sha256(have).hexdigest() != sha256:
            have.clear()
            self._put(id, msgspec.structs.replace(one, arrived=0))
            raise DamageError("Its SHA-256 is another one; it arrives anew.")
        self._put(id, msgspec.structs.replace(one, state="waiting", sha256=hashlib.sha256(have).hexdigest()))
        if self.reading:
            self.read(id)
        return self._file(id, file)

    def import_complete(self, *, id: int) -> api.ImportInfo:
        if self.import_get(id=id).state == "arriving":
            self.known[id] = msgspec.structs.replace(self.known[id], state="running")
            self._end(id)
        return self.known[id]

    def import_from_remote(
        self, *, id: int, remote: str, paths: Sequence[str], archive: str = "", folder: tuple[str, ...] = (),
        password: str = "", last: bool = False,
    ) -> api.ImportInfo:  # fmt: skip
        for path in paths:
            if path not in self.remotes.get(remote, {}):
                raise NotFoundError(f"There is no file “{path}” on the remote “{remote}”.")
        for path in paths:
            data = self.remotes[remote][path]
            name = path.rpartition("/")[2]
            file = self.import_file(id=id, name=name, size=len(data), archive=archive, folder=folder)
            self.import_write(id=id, file=file.number, offset=0, data=data)
            self.import_arrived(id=id, file=file.number)
        return self.import_complete(id=id) if last else self.known[id]

    def remote_files(self, *, name: str, folder: str = "") -> api.RemoteListing:
        if name not in self.remotes:
            raise NotFoundError(f"There is no remote called “{name}”.")
        files = self.remotes[name]
        below = {path: path.removeprefix(f"{folder}/" if folder else "") for path in files if path.startswith(folder)}
        folders = {rest.partition("/")[0] for rest in below.values() if "/" in rest}
        entries = [api.RemoteEntry(f"{folder}/{one}".lstrip("/"), True, -1, 0) for one in sorted(folders)]
        entries += [
            api.RemoteEntry(path, False, len(files[path]), 0) for path, rest in below.items() if "/" not in rest
        ]
        return api.RemoteListing(name, folder, tuple(entries))

    def import_watch(self) -> api.ImportWatch:
        return api.ImportWatch(self.watched, "", self.watched_entries)

    def import_watch_set(self, *, folder: str) -> api.ImportWatch:
        self.watched = folder
        return self.import_watch()

    def import_stop(self, *, id: int) -> api.ImportInfo:
        self.import_get(id=id)
        one = self.known[id]
        if one.ended is not None:
            return one
        files = tuple(
            msgspec.structs.replace(file, state="stopped") if file.state != "done" else file for file in one.files
        )
        self.known[id] = msgspec.structs.replace(one, state="stopped", ended=int(time.time()), files=files)
        return self.known[id]

    def import_report(self, *, id: int, form: str) -> bytes:
        one = self.import_get(id=id)
        return f"{form} of import {one.id}: {one.counts.found} found\r\n".encode()

    # -- what the collector would do --------------------------------------------------------------------------

    def read(self, id: int) -> None:
        """Read all files of an import that have arrived."""
        for file in self.known[id].files:
            if file.state == "waiting":
                self._read(id, file)
        self._end(id)

    def _read(self, id: int, file: api.ImportFile) -> None:
        outcome = self.reads(file, bytes(self.bytes[id, file.number]))
        state: api.ImportState = "failed" if outcome.words else "done"
        one = self.known[id]
        problems = tuple(api.ImportProblem(file.number, *each) for each in outcome.problems)  # type: ignore[arg-type]
        self.known[id] = msgspec.structs.replace(
            one, begun=one.begun or int(time.time()), problems=one.problems + problems, counts=_sum(one, outcome)
        )
        self._put(
            id,
            msgspec.structs.replace(
                file, state=state, counts=outcome.counts, words=outcome.words, format=outcome.format
            ),
        )

    def _end(self, id: int) -> None:
        one = self.known[id]
        if one.state == "running" and all(file.state in ("done", "failed") for file in one.files):
            self.known[id] = msgspec.structs.replace(one, state="done", ended=int(time.time()))

    def _open(self, id: int) -> api.ImportInfo:
        self.import_get(id=id)
        one = self.known[id]
        if one.state != "arriving":
            raise ConflictError("This import takes no more files.")
        return one

    def _file(self, id: int, number: int) -> api.ImportFile:
        for file in self.known[id].files:
            if file.number == number:
                return file
        raise NotFoundError("This import has no such file.")

    def _put(self, id: int, file: api.ImportFile) -> None:
        one = self.known[id]
        files = (*(each for each in one.files if each.number != file.number), file)
        self.known[id] = msgspec.structs.replace(
            one, files=tuple(sorted(files, key=lambda each: each.number)), files_all=len(files),
            size=sum(each.size for each in files),
            files_done=sum(1 for each in files if each.state in ("done", "failed", "stopped")),
        )  # fmt: skip

    def _checked(self, archive: str) -> None:
        if archive and archive not in ARCHIVES:
            raise NotFoundError(f"No user has the address {archive}.")


def _sum(one: api.ImportInfo, outcome: Outcome) -> api.ImportCounts:
    fields = api.ImportCounts.__struct_fields__
    return api.ImportCounts(**{key: getattr(one.counts, key) + getattr(outcome.counts, key) for key in fields})
