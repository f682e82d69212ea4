"""The archiver's duties between calls: signing volumes that take no more records, telling the gateway late, and
erasing mail of sealed mailboxes that is older than they keep it."""

from __future__ import annotations

import logging
import threading
import time

from appliance.errors import ConflictError, DamageError, LockedError, MailkeepError
from appliance.services import erasing
from appliance.services.archive import Archive
from appliance.services.mailboxes import publish
from appliance.store.seal import sign_volume, waiting

log = logging.getLogger(__name__)

SECONDS = 5.0
ROLL_SECONDS = 3600.0
ERASE_SECONDS = 3600.0
ERASE_AGAIN_SECONDS = 300.0
"""After an erasing that failed: it may have copied much before the disk was full."""


class Signer:
    """A thread that re-reads each closed or left volume, and signs it into the chain."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._stop = threading.Event()
        self._unsound: set[str] = set()
        self._erase_at = 0.0
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
            self._erase()
        except LockedError:
            return  # the keys were taken away: this process is about to end
        except (MailkeepError, OSError) as error:
            log.error("signing: %s", error)

    def _erase(self) -> None:
        """Once an hour: what is too old counts as gone, and the ciphertext of what is gone is dropped."""
        if time.monotonic() < self._erase_at:
            return
        self._erase_at = time.monotonic() + ERASE_AGAIN_SECONDS
        erasing.apply_retention(self._archive)
        with self._archive.chain.held() as chain:
            erasing.drop_erased(self._archive, chain)
        self._erase_at = time.monotonic() + ERASE_SECONDS

    def _sign(self) -> None:
        volumes = self._archive.paths.volumes
        with self._archive.chain.held() as chain:
            for volume in list(waiting(volumes, chain)):
                if volume in self._unsound:
                    continue
                try:
                    sign_volume(volumes, volume, chain, self._archive.keyring)
                except DamageError as error:
                    # Never signed as if it were whole; `verify` and the status page tell of it.
                    self._unsound.add(volume)
                    log.error("not signed: %s", error.message)
                except ConflictError:
                    continue  # its writer came first
