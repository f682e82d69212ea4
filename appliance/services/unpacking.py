"""Unpacking: mail of the archive as plain files in a folder of a remote, each message with its attachments.

What was imported can so be laid out for people and programs that know nothing of the archive. It lies there as it is:
the archive does not encrypt it, and does not watch over it. Nothing there is overwritten, and what is there already
is not sent again, so an unpacking that ended before its time goes on where it is begun anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from appliance.cloud.outside import clean
from appliance.errors import ConflictError, MailkeepError, RemoteDeniedError, RemoteFullError, UnavailableError
from appliance.language import _, later
from appliance.services import api, folders
from appliance.services.archive import Archive
from appliance.services.folders import Chosen
from appliance.services.jobs import Jobs, Progress
from appliance.services.principal import Principal, View
from appliance.services.reading import Unpacked, open_for_unpacking
from appliance.services.replicas import Replicas
from appliance.services.searching import asked_for, scope_of
from appliance.services.sizes import number
from appliance.services.unpacked_places import DEFAULT, MESSAGE, Facts, check, file_names, place
from appliance.services.users import find_user

KIND: Final = "unpack"
AT_ONCE: Final = 4
"""Messages that are written side by side: a cloud takes its time for each file."""
MOST_ALIKE: Final = 10_000
"""Messages whose places would have the same name."""
_ENDS: Final = (UnavailableError, RemoteDeniedError, RemoteFullError)
"""What concerns the remote, and so all messages."""


class _Sums(NamedTuple):
    """What became of messages: files that were written, files that were there, and why one was left out."""

    written: int = 0
    there: int = 0
    left_out: str = ""


class Unpacking:
    """The services of one open archive, for the box's own command line: it acts as an auditor."""

    def __init__(self, archive: Archive, jobs: Jobs, replicas: Replicas) -> None:
        self._archive = archive
        self._jobs = jobs
        self._replicas = replicas

    def methods(self) -> Mapping[str, Callable[..., object]]:
        """The services by name."""
        return {"unpack_begin": self.begin}

    def begin(
        self, principal: Principal, *, remote: str, path: str = "", user: str, query: str = "*", folder: str = "",
        below: bool = True, template: str = DEFAULT, reason: str = "",
    ) -> api.JobInfo:  # fmt: skip
        """Write what a user's archive holds to a folder of a remote, beside the replica: the hits of ``query``, kept to
        a ``folder`` (its id). ``template`` says where each message goes. Raises NotFoundError, UsageError."""
        principal.require("admin")
        principal.require("auditor")
        check(template)
        base = clean(path)
        owner = find_user(self._archive, user)
        view = View(frozenset({owner}), frozenset({owner}))
        chosen = folders.chosen(self._archive, view, folder=folder, below=below)
        asked_for(self._archive, query, chosen)
        self._replicas.require_known(remote)
        within = f" in {'/'.join(chosen.place.path)}" if chosen else ""
        title = f"“{query}”{within} of {user} to {remote}:{base}"

        def work(progress: Progress) -> str:
            return _Run(self._archive, principal, view, self._replicas, remote, base, template).do(
                query, chosen, progress
            )

        because = f", because: {reason}" if reason else ""
        return self._jobs.begin(principal, KIND, f"Unpacking {title}", work, what=f"{title}{because}")


class _Run:
    """One unpacking."""

    def __init__(
        self, archive: Archive, principal: Principal, view: View, replicas: Replicas, remote: str, base: str,
        template: str,
    ) -> None:  # fmt: skip
        self._archive = archive
        self._principal = principal
        self._view = view
        self._replicas = replicas
        self._remote = remote
        self._base = base
        self._template = template
        self._lock = threading.Lock()
        self._places: dict[str, threading.Lock] = {}

    def do(self, query: str, chosen: Chosen | None, progress: Progress) -> str:
        """Write all hits. Raises what concerns the remote."""
        node, scope = asked_for(self._archive, query, chosen), scope_of(self._view)
        total = self._archive.index.search(node, scope, limit=0, facets=False).total
        progress.report(0, total)
        sums: list[_Sums] = []
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="unpack") as threads:
            waiting: set[Future[_Sums]] = set()
            for id in self._archive.index.every(node, scope):
                if progress.stopped():
                    break
                waiting.add(threads.submit(self._message, id, chosen))
                if len(waiting) >= AT_ONCE:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    sums += [one.result() for one in done]
                    progress.report(len(sums), total)
            sums += [one.result() for one in waiting]
        progress.report(len(sums), total)
        return _told(sums)

    def _message(self, id: str, chosen: Chosen | None) -> _Sums:
        written = there = 0
        try:
            for opened in open_for_unpacking(self._archive, self._principal, self._view, id):
                stored = list(self._store(opened, self._facts(opened, id, chosen)))
                written += sum(stored)
                there += len(stored) - sum(stored)
        except _ENDS:
            raise
        except MailkeepError as error:
            return _Sums(written, there, error.message)
        return _Sums(written, there)

    def _facts(self, opened: Unpacked, id: str, chosen: Chosen | None) -> Facts:
        (archive,) = self._view.archives or ("",)
        places = [
            one.path
            for one in folders.places(self._archive, self._view, [opened.row.record_id])
            if chosen is None or one.path[: len(chosen.place.path)] == chosen.place.path
        ]
        people = self._archive.settings.people({archive})
        facts = opened.facts
        return Facts(
            archive=people[archive].address if archive in people else archive, folder=places[0] if places else (),
            date=facts.date if facts.date is not None else opened.row.received_at // 1_000_000,
            subject=facts.subject, sender=facts.from_[0].address if facts.from_ else "", id=id,
        )  # fmt: skip

    def _store(self, opened: Unpacked, facts: Facts) -> Iterator[bool]:
        """Write a message and its attachments; for each file whether it was not there before."""
        for count in range(1, MOST_ALIKE):
            folder = "/".join(part for part in (self._base, place(self._template, facts, count)) if part)
            try:
                with self._place(folder):
                    stored = self._replicas.store(self._remote, f"{folder}/{MESSAGE}", opened.content)
                break
            except ConflictError:  # another message's, or somebody else's
                continue
        else:
            raise ConflictError(later("Too many messages would have the same place. Let the template name more."))
        yield stored
        attachments = list(opened.attachments())
        names = file_names([name for name, _content in attachments])
        for name, (_given, content) in zip(names, attachments, strict=True):
            yield self._replicas.store(self._remote, f"{folder}/{name}", content)

    def _place(self, folder: str) -> threading.Lock:
        """Held by who looks whether a place is free, and takes it. Not all services tell small letters from large."""
        with self._lock:
            return self._places.setdefault(folder.casefold(), threading.Lock())


def _told(sums: list[_Sums]) -> str:
    reasons = [one.left_out for one in sums if one.left_out]
    text = _("{messages} messages: {written} files were written, {there} were there already, {left} messages left out.")
    told = text.format(
        messages=number(len(sums)), written=number(sum(one.written for one in sums)),
        there=number(sum(one.there for one in sums)), left=number(len(reasons)),
    )  # fmt: skip
    return " ".join([told, *dict.fromkeys(reasons[:3])])
