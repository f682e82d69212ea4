"""The collector's process: its keys, its socket, its runs."""

from __future__ import annotations

import os
from collections.abc import Callable

from appliance.services.between import Door
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.confinement import CollectorFiles
from appliance.services.collector.door import Desk
from appliance.services.collector.told import CollectorKeys
from appliance.services.paths import Paths


def work(paths: Paths, keys: CollectorKeys, ready: Callable[[], None], last: Callable[[], None]) -> None:
    """Fetch and answer until ``last`` returns; ``ready`` is called then. Raises StorageError, UsageError."""
    os.nice(10)  # receiving and answering go first
    collecting = Collecting(paths, keys, files=CollectorFiles(paths))
    door = Door(paths.collector_socket, "collector", Desk(collecting).methods())
    try:
        collecting.start()
        door.start()
        ready()
        last()
    finally:
        door.close()
        collecting.close()
