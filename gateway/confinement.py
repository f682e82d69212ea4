"""What a gateway worker may touch: the published settings, the certificate, the volumes, its own counters.

Whoever takes this process over holds public keys and the messages in transit, nothing else: the keyfile, the
keyring, the databases, the archiver's sockets and other processes' memory are out of its reach, even where
all run under one user (docs/decisions/0022).
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import resource
import sysconfig
from pathlib import Path

from appliance import confine
from appliance.files import FILES, Files
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


class ConfinedFiles(Files):
    """The log's way to the disk in a confined worker: the data folder itself cannot be opened there any more.

    It need not be: ``confine_worker`` has made the names in it that matter, and synced it.
    """

    def __init__(self, data: Path) -> None:
        self._data = data

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory are on disk; those in the data folder are."""
        if path != self._data:
            super().sync_directory(path)


def most_open_files() -> int:
    """As many as may be had: each connection, volume and stream is one, and the usual soft limit is 1,024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)


def code_folders() -> list[Path]:
    """Folders of modules, which may be loaded late; never the folder above them, which may hold the data."""
    folders = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    for package in ("appliance", "gateway"):
        spec = importlib.util.find_spec(package)
        folders += [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return folders
