"""A full check: every object that a kept generation names, and every file of this box that the newest one names.

It may be done in slices, so that replication has its turn between them; what was found whole is marked and not looked
at again in the same check.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import msgspec

from appliance.cloud.audited import STOPPED, Audited, Tally, check_held
from appliance.cloud.checked import LONGEST_ROUND, CheckedFile
from appliance.cloud.clock import not_ahead
from appliance.cloud.comparing import Compared, Here, Objects
from appliance.cloud.findings import ReplicaFinding
from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.named import Known, Named, look
from appliance.cloud.objects import parse_epoch, parse_generation
from appliance.cloud.remote import Moved, Remote, RemoteObject, TellsHashes
from appliance.cloud.state import ReplicaPaths
from appliance.cloud.upload import Progress
from appliance.errors import UnavailableError
from appliance.files import FILES, Files

SAVE_SECONDS: Final = 30.0
"""Between two writings of how far it is: what a killed process has to do again."""

_LOOK_SECONDS: Final = 0.2
_MOST_UNNAMED: Final = 3
_OBJECT: Final = re.compile(r"objects/([0-9a-f]{2})/\1[0-9a-f]{62}|keyrings/[0-9a-f]{64}")
_PROBES: Final = "probes/"
"""Where a test of the remote writes."""


def full(
    paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, progress: Progress, *, now: int,
    enough: Callable[[], bool] = lambda: False, files: Files = FILES,
) -> Audited:  # fmt: skip
    """Compare all objects that a kept generation names with the listing and with their hashes, and this box's files
    with what the newest generation says of them.

    ``enough`` ends a slice: the next call goes on from there. Raises as ``sample``.
    """
    with check_held(paths, remote, keys, files):
        check = _Full(paths, remote, keys, progress, now, enough, files)
        try:
            return check.run()
        finally:
            check.save()


class _Full:
    """A full check, or a slice of one."""

    def __init__(
        self, paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, progress: Progress, now: int,
        enough: Callable[[], bool], files: Files,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._remote = remote
        self._keys = keys
        self._progress = progress
        self._enough = enough
        self._files = files
        self._file = CheckedFile(paths, keys, files=files)
        checked = self._file.load()
        if max(checked.begun, checked.ended) != not_ahead(max(checked.begun, checked.ended), now):
            # Looked at while the clock was wrong: nobody can tell how long that is ago.
            checked = msgspec.structs.replace(checked, begun=0, ended=0, here="")
        if not checked.is_under_way or now > checked.begun + LONGEST_ROUND:
            checked = msgspec.structs.replace(checked, begun=max(now, checked.ended + 1), here="")
        self._now = max(now, checked.begun)  # whatever happened to the clock
        self._checked = checked
        self._marks = {name: mark for name, mark in checked.objects.items() if mark.at == not_ahead(mark.at, now)}
        self._tally = Tally()
        self._saved = time.monotonic()

    def run(self) -> Audited:
        listed = [one for one in self._remote.list() if not one.name.startswith(_PROBES)]
        named = look(
            self._paths, self._remote, self._keys, listed, self._checked, now=self._now, every=True, files=self._files
        )
        sizes = {one.name: one for one in listed}
        # What is needed no more may have gone, and comes back under this name only as what it was.
        self._marks = {name: mark for name, mark in self._marks.items() if name in named.objects}
        objects = Objects(
            self._paths.data, self._remote, files=self._files, stopped=self._progress.stopped, now=self._now,
            sizes=sizes, told=self._told(), marks=dict(self._marks),
        )  # fmt: skip
        done = self._compare_objects(named, objects, sizes) and self._compare_here(named)
        self._tally.findings += _strangers(listed, named)
        self._tally.objects = sum(self._is_done(name) for name in named.objects)
        if done:
            config = self._remote.config
            self._checked = msgspec.structs.replace(
                self._checked, ended=self._now, here="", generations=named.generations,
                keeping=(config.keep_daily, config.keep_weekly),
            )  # fmt: skip
        return self._tally.audited(named, full=True, now=self._now, is_complete=done)

    def save(self) -> None:
        """Keep how far it came. Raises OSError."""
        self._saved = time.monotonic()
        self._file.save(msgspec.structs.replace(self._checked, objects=self._marks))

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self.save()

    def _told(self) -> dict[str, tuple[str, str]]:
        if not isinstance(self._remote, TellsHashes):
            return {}
        return {**self._remote.hashes("objects"), **self._remote.hashes("keyrings")}

    def _is_done(self, name: str) -> bool:
        mark = self._marks.get(name)
        return mark is not None and mark.at >= self._checked.begun

    def _compare_objects(self, named: Named, objects: Objects, sizes: dict[str, RemoteObject]) -> bool:
        """Whether all objects have been compared."""
        todo = [one for name, one in sorted(named.objects.items()) if not self._is_done(name)]
        total = sum(sizes[one.name].size for one in todo if one.name in sizes)

        def take(known: Known, compared: Compared) -> None:
            if compared.finding is not None and not known.is_newest and known.name in self._checked.told:
                compared = compared._replace(finding=_earlier(compared.finding))
            self._tally.take(compared)
            if compared.mark is not None:
                self._marks[known.name] = compared.mark
            else:
                self._marks.pop(known.name, None)

        return self._in_parallel(todo, sizes, total, objects, take)

    def _in_parallel(
        self, todo: Sequence[Known], sizes: dict[str, RemoteObject], total: int, objects: Objects,
        take: Callable[[Known, Compared], None],
    ) -> bool:  # fmt: skip
        done = 0
        moved: dict[str, int] = {}
        pending: dict[Future[Compared], Known] = {}
        left = iter(todo)
        error: BaseException | None = None
        ended = False
        at_a_time = max(1, self._remote.config.transfers)
        with ThreadPoolExecutor(at_a_time) as threads:
            while True:
                ended = ended or self._enough() or self._progress.stopped() or error is not None
                for known in itertools.islice(left, 0 if ended else at_a_time - len(pending)):
                    pending[threads.submit(objects.compare, known, _counting(moved, known.name))] = known
                if not pending:
                    break
                for future in wait(pending, _LOOK_SECONDS, FIRST_COMPLETED).done:
                    known = pending.pop(future)
                    moved.pop(known.name, None)
                    done += sizes[known.name].size if known.name in sizes else 0
                    if (failure := future.exception()) is None:
                        take(known, future.result())
                    else:
                        error = error or failure
                self._progress.report(min(total, done + sum(list(moved.values()))), total, "objects compared")
                self._save_now_and_then()
        if error is not None:
            raise error
        if self._progress.stopped():
            raise UnavailableError(STOPPED)
        return next(left, None) is None

    def _compare_here(self, named: Named) -> bool:
        """Whether all of this box's files have been compared."""
        here = Here(self._paths.volumes, self._keys, files=self._files)
        hurt = set(self._checked.damaged_here)
        files = sorted(named.files.values(), key=lambda one: one.path)
        todo = [one for one in files if one.path > self._checked.here or one.path in hurt]
        total, done = sum(one.size for one in todo), 0
        for one in todo:
            if self._progress.stopped():
                raise UnavailableError(STOPPED)
            if self._enough():
                return False
            finding = here.compare(one)
            self._tally.add(finding)
            hurt.discard(one.path)
            if finding is not None and finding.is_here:
                hurt.add(one.path)
            done += one.size
            self._tally.here += 1
            self._checked = msgspec.structs.replace(
                self._checked, here=max(self._checked.here, one.path), damaged_here=frozenset(hurt)
            )
            self._progress.report(done, total, "files here compared")
            self._save_now_and_then()
        return True


def _strangers(listed: Sequence[RemoteObject], named: Named) -> list[ReplicaFinding]:
    """What nobody needs: left by a run that was broken off, or put there by somebody else."""
    found: list[ReplicaFinding] = []
    unnamed: list[RemoteObject] = []
    for one in listed:
        if one.name in named.objects or parse_generation(one.name) or parse_epoch(one.name) is not None:
            continue
        if _OBJECT.fullmatch(one.name):
            unnamed.append(one)
        else:
            words = f"{one.name}, of {one.size} bytes, was not put there by mailkeep. Nothing was done with it."
            found.append(ReplicaFinding("stranger", one.name, words))
    if unnamed and named.manifest is not None:
        names = ", ".join(one.name for one in unnamed[:_MOST_UNNAMED])
        words = (
            f"{len(unnamed)} objects of {sum(one.size for one in unnamed)} bytes are needed by no generation: left by "
            f"a run that was broken off, or put there by somebody else ({names}). The daily "
            "clearing removes them after two days."
        )
        found.append(ReplicaFinding("unnamed", unnamed[0].name, words))
    return found


def _earlier(finding: ReplicaFinding) -> ReplicaFinding:
    """What cannot be mended and will pass: the newest generation has it elsewhere."""
    words = f"{finding.words} This was told before. Only earlier generations need it, until they are cleared away."
    return msgspec.structs.replace(finding, kind="earlier", words=words)


def _counting(moved: dict[str, int], name: str) -> Moved:
    def counted(size: int) -> None:
        moved[name] = size

    return counted
