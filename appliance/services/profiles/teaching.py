"""Telling a new ledger what is archived already, so that what is fetched once more is recognised.

A ledger is new on a new box, after a restore, and where it was lost or damaged. The collector fetches nothing before it
knows; it has no key to find out by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services.archive import Archive
from appliance.services.collector.ledger import Ledger


class Teaching:
    """What one open archive tells. Used by one thread."""

    def __init__(self, archive: Archive, ledger: Callable[[], Ledger | None]) -> None:
        self._archive = archive
        self._ledger = ledger

    def round(self) -> None:
        """Tell a ledger that knows nothing, as soon as all of it is in the catalogue. Raises StorageError,
        UnavailableError."""
        ledger = self._ledger()
        if ledger is not None and not ledger.has_learned() and self._is_projected():
            ledger.learn(self._archive.catalogue.contents(IMPORTS_MAILBOX))

    def _is_projected(self) -> bool:
        cursors = self._archive.catalogue.cursors()
        for volume in self._archive.reader.volumes(IMPORTS_MAILBOX):
            cursor, finished = cursors.get(volume.path, (0, False))
            if not finished and cursor < volume.size:
                return False
        return True
