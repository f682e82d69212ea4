"""What a gateway worker may touch: the published settings, the certificate, the volumes, its own counters.

Whoever takes this process over holds public keys and the messages in transit, nothing else: the keyfile, the
keyring, the databases, the archiver's sockets and other processes' memory are out of its reach, even where
all run under one user (docs/decisions/0022).
"""

from __future__ import annotations

import contextlib
import logging
import resource
from pathlib import Path

from appliance import confine
from appliance.files import FILES
from appliance.mail.published import settings_path, stats_folder

log = logging.getLogger(__name__)

_MOST_OPEN_FILES = 65_536


def confine_worker(data: Path) -> bool:
    """Give up all but what a worker needs; call it when its ports are open and before other threads run.

    Makes the folders that it will write to first, since only what exists can be allowed. Returns whether
    the kernel enforces all of it.
    """
    writable = (data / "volumes", stats_folder(data))
    readable = (settings_path(data).parent, data / "tls")
    for folder in (*writable, *readable):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user's, who has made these folders and synced them
        FILES.sync_directory(data)
    confine.die_with_parent()  # a worker that outlives its supervisor would write beside its successor
    confine.limit(files=most_open_files())
    confine.undumpable()
    files = confine.restrict_filesystem(read=(*readable, *code_folders()), write=writable)
    sockets = confine.forbid_network()
    if not files:
        log.warning("this kernel has no Landlock: the worker's file access is its user's")
    if not sockets:
        log.warning("the worker could not give up opening connections")
    return files and sockets


def most_open_files() -> int:
    """As many as may be had: each connection, volume and stream is one, and the usual soft limit is 1,024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)


def code_folders() -> list[Path]:
    """Folders of the worker's modules."""
    return confine.code_folders("appliance", "gateway")
