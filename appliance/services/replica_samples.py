"""What the replicator has read back of replicas, opened by who has the keys.

The replicator compares what it reads back with hashes, seals and Merkle roots, and has no key that opens mail. It
leaves a sample's volumes, and those of a rehearsed restore, in a folder of the remote's; here each record of them is
decrypted and compared with its commitment. While the archive is locked they wait.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from appliance.cloud.fetching import Fetcher
from appliance.cloud.mending import FOUND
from appliance.cloud.readback import Handed, open_handed
from appliance.cloud.records import Looked
from appliance.cloud.state import ReplicaPaths
from appliance.errors import MailkeepError
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.services.replicator.history import History, Kind

log = logging.getLogger(__name__)

HANDED_BY: Mapping[Handed, Kind] = {"sample": "sample", "rehearsed": "rehearse"}
"""Which kind of run hands over what."""


class Samples:
    """The samples of one open archive."""

    def __init__(self, archive: Archive, writer: Principal) -> None:
        """``writer`` is whose audit line it is if something is wrong."""
        self._archive = archive
        self._writer = writer
        self._fetch = Fetcher(archive.paths.replica_socket)

    def look(self, history: History) -> None:
        """Open what waits. What goes wrong is logged, and tried again by the next call."""
        for remote in history.standings():
            for handed, kind in HANDED_BY.items():
                try:
                    self._look(history, remote, handed, kind)
                except (MailkeepError, OSError) as error:
                    log.warning("what was read back from “%s” could not be opened: %s", remote, error)

    def _look(self, history: History, remote: str, handed: Handed, kind: Kind) -> None:
        keyring = self._archive.keyring
        paths = ReplicaPaths.of(self._archive.paths.data, remote)
        looked = open_handed(paths, handed, keyring, keyring, fetch=self._fetch)
        if looked is not None:
            self._tell(history, remote, kind, looked)

    def _tell(self, history: History, remote: str, kind: Kind, looked: Looked) -> None:
        words = f"{looked.opened} records of it were decrypted and are what was committed to."
        if looked.unopened:
            words += f" {looked.unopened} are in sealed mailboxes, which the archive cannot open."
        if looked.wrong:
            words = f"What was read back is not what was committed to: {looked.wrong}"
            self._archive.note(self._writer, FOUND, f"{remote}: {words}")
            history.change(remote, lambda before: msgspec.structs.replace(before, unsound=words))
        run = next((run for run in history.runs(remote) if run.kind == kind and run.ended), None)
        if run is not None:
            history.tell(run.id, words)
