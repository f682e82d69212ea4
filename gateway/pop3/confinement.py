"""What the pull server may touch: the log to read, what the archiver publishes, Unix sockets; nothing to write.

Whoever takes this process over has what its sessions have open at that moment: the mail of those mailboxes whose
passwords pass through it. He cannot change or remove anything, reach the keyring, the databases, the index or the
box's own sockets' secrets, or connect to the network (docs/decisions/0070).
"""

from __future__ import annotations

import logging
from pathlib import Path

from appliance import confine
from appliance.files import FILES, create_directory
from appliance.mail.published import settings_path
from appliance.services.paths import Paths
from gateway.confinement import code_folders, most_open_files
from gateway.pop3.door import LOCKS

log = logging.getLogger(__name__)


def confine_worker(data: Path) -> bool:
    """Give up all but what a worker needs; call it when its ports are open and before other threads run.

    Returns whether the kernel enforces all of it.
    """
    locks, pull = data / LOCKS, data / LOCKS.parent
    readable = (settings_path(data).parent, data / "tls", data / "volumes")
    for folder in (*readable, pull.parent, pull, locks):
        if not folder.is_dir():
            create_directory(FILES, folder)
    confine.die_with_parent()
    confine.limit(files=most_open_files())
    confine.undumpable()
    secret = Paths(data).agent_secret("pull").parent
    files = confine.restrict_filesystem(read=(*readable, pull, secret, *code_folders()), write=(locks,))
    sockets = confine.only_unix_sockets()
    if not files:
        log.warning("this kernel has no Landlock: the worker's file access is its user's")
    if not sockets:
        log.warning("the worker could not give up opening connections")
    return files and sockets
