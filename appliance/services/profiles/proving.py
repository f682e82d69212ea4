"""Archived copies read back for the collector, before their originals are deleted at the source.

The collector has no key that opens mail. It writes into its ledger which records it wants to be sure of; here each is
read from the disk, not from what the kernel remembers of it, opened, and compared with what was fetched.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from appliance.errors import MailkeepError
from appliance.files import Files
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services.archive import Archive
from appliance.services.collector.depositing import content_of
from appliance.services.collector.ledger import Ledger
from appliance.store.reader import LogReader

log = logging.getLogger(__name__)

SECONDS: Final = 0.5
"""Between two looks whether the collector wants to be sure of something."""
_AT_A_TIME: Final = 100


class _FromDisk(Files):
    """Files of which the kernel forgets what it has read or written before: what is on the disk counts."""

    def open(self, path: Path) -> int:
        descriptor = super().open(path)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return descriptor


class Proving:
    """The answers of one open archive. Used by one thread."""

    def __init__(self, archive: Archive, ledger: Callable[[], Ledger | None]) -> None:
        self._archive = archive
        self._ledger = ledger
        self._reader = LogReader(archive.paths.volumes, archive.keyring, fetch=archive.fetch, files=_FromDisk())

    def round(self) -> None:
        """Answer what is asked. Raises StorageError, UnavailableError from the ledger."""
        ledger = self._ledger()
        wanted = () if ledger is None else ledger.unproven(_AT_A_TIME)
        if ledger is None or not wanted or not any(one.delete_after_days for one in self._archive.settings.profiles()):
            return
        key = self._archive.keyring.content_key(IMPORTS_MAILBOX)
        for record, content in wanted:
            sound = self._is_sound(record, content, key)
            if sound is not None:
                ledger.prove({record: sound})

    def _is_sound(self, record: bytes, content: bytes, key: bytes) -> bool | None:
        """Whether the record holds what was fetched; None while it is not in the catalogue yet."""
        _message, rows = self._archive.catalogue.records_of(record)
        row = next((one for one in rows if one.record_id == record and one.mailbox == IMPORTS_MAILBOX), None)
        if row is None:
            return None
        digest = sha256()
        try:
            for chunk in self._reader.stream(row.volume, row.offset):
                digest.update(chunk)
        except (MailkeepError, OSError) as error:
            log.error("record %s cannot be read back and stays at its source: %s", record.hex(), error)
            return False
        if hmac.compare_digest(content_of(key, digest.digest()), content):
            return True
        log.error("record %s is not what was fetched; it stays at its source", record.hex())
        return False
