"""Imports whose files the archive fetches by itself, as faces see them: from remotes, and out of the watched folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

import msgspec

from appliance.cloud.outside import clean
from appliance.errors import ConflictError, UsageError
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.collector.ledger import Ledger
from appliance.services.imports.from_remote import RemoteSource
from appliance.services.imports.local_files import local_source
from appliance.services.imports.managing import ImportServices
from appliance.services.imports.supplies import Supplies, Wanted
from appliance.services.imports.supplying import Source, Supplying
from appliance.services.imports.watching import Watching
from appliance.services.principal import Principal
from appliance.services.profiles.telling import Telling
from appliance.services.replicas import Replicas


class ImportFetching:
    """The services of one open archive."""

    def __init__(self, archive: Archive, imports: ImportServices, replicas: Replicas, telling: Telling) -> None:
        self._archive = archive
        self._imports = imports
        self._replicas = replicas
        self._telling = telling
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None
        self._supplies: Supplies | None = None
        self.supplying = Supplying(imports, self._known, self._source, clock=archive.clock)
        self.watching = Watching(archive, imports, self._opened)
        imports.completed = self._with_awaited

    def methods(self) -> Mapping[str, Callable[..., object]]:
        """The services by name."""
        return {"import_from_remote": self.from_remote, "import_complete": self.complete, **self.watching.methods()}

    def start(self) -> None:
        """Fetch from now on what imports wait for."""
        self.supplying.start()
        self.watching.start()

    def close(self) -> None:
        """End. What is under way goes on at the next start."""
        self.watching.close()
        self.supplying.close()
        if self._ledger is not None:
            self._ledger.close()

    def from_remote(
        self, principal: Principal, *, id: int, remote: str, paths: Sequence[str], archive: str = "",
        folder: Sequence[str] = (), password: str = "", last: bool = False,
    ) -> api.ImportInfo:  # fmt: skip
        """Have the archive fetch files of a remote into an import, one after the other; with ``last`` the import ends
        when all are read. Raises NotFoundError for what is not there, ConflictError where the import takes no more,
        and what the remote raises."""
        principal.require("admin")
        files = [
            Wanted(remote=remote, path=clean(path), archive=archive, folder=tuple(folder), password=password)
            for path in paths
        ]
        now = self._imports.get(principal, id=id, problems=0)
        if now.ended is not None:
            raise ConflictError(later("This import takes no more files. Begin another one."))
        if not (archive or now.archive or now.owners == "addresses"):
            name = PurePosixPath(files[0].path).name if files else ""
            raise UsageError(later("Say which archive the file “{name}” goes to."), name=name)
        for one in files:
            self._replicas.file(remote, one.path)
        for one in files:
            self._archive.note(principal, "import.fetch", f"import {id}: {remote}:{one.path}")
        self._opened().want(id, files, last=last)
        return self._imports.get(principal, id=id, problems=0)

    def complete(self, principal: Principal, *, id: int) -> api.ImportInfo:
        """No more files come, but for those that the archive still fetches. Raises NotFoundError, ConflictError while a
        file has not arrived that somebody sends."""
        supplies = self._known()
        if supplies is None or supplies.next(id) is None:
            return self._imports.complete(principal, id=id)
        principal.require("admin")
        with suppress(ConflictError):  # it was said before
            supplies.want(id, (), last=True)
        return self._imports.get(principal, id=id, problems=0)

    # -- helpers ----------------------------------------------------------------------------------------------

    def _opened(self) -> Supplies:
        with self._opening:
            if self._supplies is None:
                self._ledger = Ledger(self._archive.paths.ledger, self._telling.keys())
                self._supplies = Supplies(self._ledger)
            return self._supplies

    def _known(self) -> Supplies | None:
        """What is to be fetched; None where nobody has imported or fetched anything yet."""
        return self._opened() if self._supplies is not None or self._archive.paths.ledger.exists() else None

    def _source(self, wanted: Wanted) -> Source:
        if wanted.remote:
            return RemoteSource(self._replicas, wanted.remote, wanted.path)
        return local_source(wanted)

    def _with_awaited(self, shown: Sequence[api.ImportInfo]) -> tuple[api.ImportInfo, ...]:
        """Imports with how many files they are to get by themselves, and why they do not get them just now."""
        supplies = self._known()
        open_ones = [one.id for one in shown if one.ended is None]
        if supplies is None or not open_ones:
            return tuple(shown)
        awaited = supplies.awaited(open_ones)
        return tuple(
            msgspec.structs.replace(
                one, awaited=awaited.get(one.id, 0), words=one.words or self.supplying.trouble(one.id)
            )
            if one.ended is None
            else one
            for one in shown
        )
