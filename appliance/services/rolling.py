"""The archiver's answer to a request to close all volumes now: its own, which hold settings and audit trail."""

from __future__ import annotations

import logging
import threading

from appliance.errors import MailkeepError
from appliance.mail.published import roll_path
from appliance.services.archive import Archive
from appliance.store.rolling import RollRequests

log = logging.getLogger(__name__)

SECONDS = 0.2


class Roller:
    """A thread that looks for requests and closes the archiver's volumes."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._requests = RollRequests(roll_path(archive.paths.data))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="roller", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            if self._requests.asked():
                try:
                    self._archive.writer.roll()
                except MailkeepError as error:
                    log.error("a volume could not be closed: %s", error.message)
