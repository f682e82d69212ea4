"""The replicator's process: its key, its socket, its runs.

It has one key, which seals what names a replica and opens no mail: from the key agent while the archive is unlocked, or
from what lies on the box for the time in which it is locked. Without either it waits to be unlocked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from appliance.cloud.manifests import ReplicaKeys
from appliance.errors import MailkeepError
from appliance.services.between import Door
from appliance.services.paths import Paths
from appliance.services.replicator.door import Desk
from appliance.services.replicator.replication import Replication
from appliance.services.service_key import keys_of, stored_keys
from appliance.services.unlock import agent_keys, agent_of

log = logging.getLogger(__name__)


def keys_on_the_box(paths: Paths) -> ReplicaKeys | None:
    """The keys that need nobody to unlock anything; None where there are none that can be used."""
    try:
        return stored_keys(paths)
    except MailkeepError as error:
        log.error("%s", error.message)
        return None


def keys_of_agent(paths: Paths) -> ReplicaKeys:
    """The keys from an unlocked key agent. Raises LockedError, UnavailableError."""
    keys = agent_keys(paths, "replica")
    try:
        return keys_of(keys)
    finally:
        keys.close()


def work(paths: Paths, keys: ReplicaKeys, ready: Callable[[], None], last: Callable[[], None]) -> None:
    """Replicate and answer until ``last`` returns; ``ready`` is called then. Raises StorageError, UsageError."""
    os.nice(10)  # receiving and answering go first
    replication = Replication(paths, keys, is_unlocked=agent_of(paths, "replica").is_unlocked)
    door = Door(paths.replica_socket, "replica", Desk(replication).methods())
    try:
        replication.start()
        door.start()
        ready()
        last()
    finally:
        door.close()
        replication.close()
