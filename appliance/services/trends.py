"""How a few numbers went in the last hour: a sample each minute, in memory, for curves on the overview.

They begin anew with the process. What has to be known for longer is scraped from ``/metrics``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from appliance.errors import MailkeepError
from appliance.services import api
from appliance.services.looking import Looking
from appliance.services.principal import Principal
from appliance.services.repeating import Repeating

log = logging.getLogger(__name__)

SAMPLE_SECONDS: Final = 60.0
SAMPLES: Final = 60


class Trends:
    """The samples of one open archive."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._samples: deque[tuple[int, int, float]] = deque(maxlen=SAMPLES)
        self._sampling = Repeating("trends", self._sample_or_say, SAMPLE_SECONDS)

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"trends": self.trends}

    def start(self) -> None:
        """Take the first sample soon, and go on."""
        self._sampling.start()

    def close(self) -> None:
        """Take no more."""
        self._sampling.close()

    def trends(self, principal: Principal) -> api.Trends:
        """The samples so far."""
        principal.require("admin")
        samples = tuple(self._samples)
        return api.Trends(
            seconds=int(SAMPLE_SECONDS),
            backlog=tuple(one[0] for one in samples),
            disk_used=tuple(one[1] for one in samples),
            replica_lag=tuple(one[2] for one in samples),
        )

    def sample(self) -> None:
        """Take one, of the last minute."""
        now = self._looking.recent(SAMPLE_SECONDS).status
        lag = max((one.lag_seconds for one in now.replicas if one.state != "paused"), default=0.0)
        self._samples.append((now.backlog, now.disk_total - now.disk_free, lag))

    def _sample_or_say(self) -> None:
        try:
            self.sample()
        except MailkeepError as error:
            log.warning("a sample for the overview could not be taken: %s", error.message)
