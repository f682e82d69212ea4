"""Where the collector has its keys from: the key agent, or what lies on the box for the time in which that is locked.

The agent gives it one key, made of the service key; where the service key itself lies on the box, the collector makes
the same of it and forgets it. Neither opens mail. It cannot read the keyring, so the agent names the archive.
"""

from __future__ import annotations

import logging
from uuid import UUID

from appliance.errors import MailkeepError
from appliance.keys.agent_client import Agent
from appliance.services.collector.told import CollectorKeys
from appliance.services.paths import Paths
from appliance.services.service_key import stored_service_key

log = logging.getLogger(__name__)


def keys_of_agent(agent: Agent) -> CollectorKeys:
    """The keys from an unlocked key agent. Raises LockedError, UnavailableError."""
    return CollectorKeys.from_key(agent.collector_key())


def keys_on_the_box(paths: Paths, agent: Agent) -> CollectorKeys | None:
    """The keys that need nobody to unlock anything; None where there are none that can be used."""
    try:
        service = stored_service_key(paths)
        return CollectorKeys.of(service, UUID(bytes=agent.state().archive)) if service is not None else None
    except MailkeepError as error:
        log.error("%s", error.message)
        return None
