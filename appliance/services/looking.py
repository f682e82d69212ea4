"""How the archive is, looked at once for all who ask: a look at a million messages takes seconds.

The watch for alarms, the overview's samples, pages that ask again every few seconds and whoever scrapes the metrics
share the newest look. Who asks once gets one of now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from appliance.services import alarming, api
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.services.status import Look, look

REST: Final = 10.0
"""A look is good for so many times what it took: looking takes a tenth of one processor at most, whoever asks."""
LONGEST_GOOD: Final = 30.0
"""Seconds for which a look is good at most."""

T = TypeVar("T")


class SharedLook(Generic[T]):
    """The newest result of ``look``, with its age. Threads may share it: one looks, the others wait for it."""

    def __init__(self, look: Callable[[], T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: tuple[T] | None = None
        self._begun = self._took = 0.0

    def now(self) -> T:
        """A look that was begun after this was asked."""
        return self._not_before(self._clock())

    def lately(self, seconds: float | None = None) -> T:
        """A look that was begun at most ``seconds`` ago; without them, one that is good yet (``REST``)."""
        asked = self._clock()
        if seconds is None:
            seconds = self._took + min(self._took * REST, LONGEST_GOOD)
        return self._not_before(asked - seconds)

    def _not_before(self, moment: float) -> T:
        with self._lock:
            if self._newest is None or self._begun < moment:
                begun = self._clock()
                self._newest = (self._look(),)
                self._begun, self._took = begun, self._clock() - begun
            return self._newest[0]


class Looking:
    """The looks at one open archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._looks = SharedLook(lambda: look(archive))

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"status": self.status}

    def status(self, principal: Principal, *, recent: bool = False) -> api.Status:
        """The numbers of the status page; those of a recent look will do for who asks again and again."""
        principal.require("admin")
        return self.lately() if recent else self.now()

    def now(self) -> api.Status:
        """The numbers of this moment."""
        return self._looks.now().status

    def lately(self) -> api.Status:
        """The numbers of a recent look."""
        return self.recent().status

    def recent(self, seconds: float | None = None) -> Look:
        """A look that was taken lately (``SharedLook.lately``), with the alarms as they are now: somebody may have
        acknowledged one meanwhile."""
        found = self._looks.lately(seconds)
        if not self._archive.alarms.keeps:
            return found
        alarms = tuple(map(alarming.info, self._archive.alarms.standing))
        return found._replace(status=msgspec.structs.replace(found.status, alarms=alarms))
