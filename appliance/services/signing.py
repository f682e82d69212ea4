"""The archiver's duties between calls: signing volumes that take no more records, and telling the gateway late."""

from __future__ import annotations

import logging
import threading

from appliance.errors import ConflictError, DamageError, MailkeepError
from appliance.services.archive import Archive
from appliance.services.mailboxes import publish
from appliance.store.seal import Chain, sign_volume, waiting

log = logging.getLogger(__name__)

SECONDS = 5.0
ROLL_SECONDS = 3600.0


class Signer:
    """A thread that re-reads each closed or left volume, and signs it into the chain."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._stop = threading.Event()
        self._chain: Chain | None = None
        self._unsound: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="signer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after a last round for the volumes that the gateway workers closed when they stopped."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            if not self._archive.gateway_is_told:
                publish(self._archive)
            self._archive.writer.roll(older_than=ROLL_SECONDS)
            self._sign()
        except (MailkeepError, OSError) as error:
            log.error("signing: %s", error)

    def _sign(self) -> None:
        volumes, keyring = self._archive.paths.volumes, self._archive.keyring
        if self._chain is None:
            self._chain = Chain.load(volumes, archive_id=keyring.archive_id, verify_key=keyring.verify_key)
        for volume in list(waiting(volumes, self._chain)):
            if volume in self._unsound:
                continue
            try:
                sign_volume(volumes, volume, self._chain, keyring)
            except DamageError as error:
                # Never signed as if it were whole; `verify` and the status page tell of it.
                self._unsound.add(volume)
                log.error("not signed: %s", error.message)
            except ConflictError:
                continue  # its writer came first
