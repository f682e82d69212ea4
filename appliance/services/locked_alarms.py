"""Alarms of a locked archive: looked for without a key, and told where the box has the service key."""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.errors import MailkeepError
from appliance.services import api
from appliance.services.alarming import Watch
from appliance.services.locked_status import LockedStatus
from appliance.services.notifying import daily
from appliance.services.notifying.delivery import Delivery, deliver
from appliance.services.notifying.letters import Part
from appliance.services.notifying.locked_setup import read_setup
from appliance.services.notifying.notifier import Notifier, Setup
from appliance.services.paths import Paths
from appliance.services.seals import SealFiles
from appliance.services.service_key import stored_keys

log = logging.getLogger(__name__)


class LockedAlarms:
    """The watch and the notifier until the archive is unlocked."""

    def __init__(
        self, paths: Paths, numbers: LockedStatus, look: Callable[[], api.Status], *,
        deliver: Callable[[Delivery], str] = deliver,
    ) -> None:  # fmt: skip
        self._paths = paths
        self._numbers = numbers
        self._look = look
        self._watch = Watch(look)
        self.notifier = Notifier(numbers.alarms, self._setup, clock=numbers.clock, daily=self._daily, deliver=deliver)

    def start(self) -> None:
        """Begin."""
        self._numbers.alarms.keeps = True
        self._watch.start()
        self.notifier.start()

    def close(self) -> None:
        """End; the open archive goes on with the same alarms."""
        self._watch.close()
        self.notifier.close()

    def _setup(self) -> Setup | None:
        try:
            keys = stored_keys(self._paths)
            return None if keys is None else read_setup(self._paths, keys)
        except (MailkeepError, OSError) as error:
            log.warning("nobody can be told of alarms while the archive is locked: %s", error)
            return None

    def _daily(self, setup: Setup) -> tuple[str, list[Part], str] | None:
        now, book = self._numbers.clock(), self._numbers.alarms.book
        day = daily.due(book.daily, setup.told.daily_hour, now, setup.since, None)
        if day is None:
            return None
        newest = SealFiles(self._paths.volumes).newest()
        about = daily.Day(
            now=now,
            status=self._look(),
            received=None,
            head=None if newest is None else (newest.number, newest.hash.hex()),
            standing=book.standing,
            over=[one for one in book.over if (one.until or 0) > daily.yesterday(now)],
        )
        return *daily.letter(about, host=setup.host, language=setup.told.language), day
