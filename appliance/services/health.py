"""Whether mail is taken in and can be read now: for load balancers, monitors and ``mailkeep health``.

Anybody may ask, so it says no more than the sign-in page shows anyhow.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.language import _
from appliance.services import api, status
from appliance.services.alarms.conditions import UNHEARD_SECONDS
from appliance.services.paths import Paths

LOCKED, GATEWAY, ARCHIVER = "locked", "gateway", "archiver"


def health(paths: Paths, now: float, *, unlocked: bool) -> api.Health:
    """How it is at ``now`` (seconds)."""
    reasons = [] if unlocked else [LOCKED]
    workers = status.workers(paths.data)
    if workers and all(now - one.updated_at / 1e6 > UNHEARD_SECONDS for one in workers):
        reasons.append(GATEWAY)
    return told(*reasons)


def told(*reasons: str) -> api.Health:
    """The answer where these are the reasons for not being ready; ready without any."""
    return api.Health(not reasons, reasons, tuple(_WORDS[one]() for one in reasons))


_WORDS: dict[str, Callable[[], str]] = {
    LOCKED: lambda: _("The archive is locked. Mail is received; nothing can be read until it is unlocked."),
    GATEWAY: lambda: _("The gateway has not been heard of for a minute. Senders try again; look whether it runs."),
    ARCHIVER: lambda: _("The archive does not answer. Mail is received if the gateway runs; look at the services."),
}
