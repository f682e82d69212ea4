"""The collector's process: its keys, its socket, its runs."""

from __future__ import annotations

import os
from collections.abc import Callable

from appliance.services.between import Door
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.confinement import CollectorFiles
from appliance.services.collector.door import Desk
from appliance.services.collector.importing import Importing, Opener
from appliance.services.collector.told import CollectorKeys
from appliance.services.paths import Paths


def work(
    paths: Paths, keys: CollectorKeys, opener: Opener, ready: Callable[[], None], last: Callable[[], None]
) -> None:
    """Fetch, import and answer until ``last`` returns; ``ready`` is called when that works. Files are read by
    ``opener``. Raises StorageError, UsageError."""
    os.nice(10)  # receiving and answering go first
    files = CollectorFiles(paths)
    collecting = Collecting(paths, keys, files=files)
    importing = Importing(paths, keys, collecting, opener, files=files)
    door = Door(paths.collector_socket, "collector", Desk(collecting, importing).methods())
    try:
        collecting.start()
        importing.start()
        door.start()
        ready()
        last()
    finally:
        door.close()
        importing.close()
        collecting.close()
