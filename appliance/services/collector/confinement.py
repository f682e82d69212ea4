"""What the collector may touch: its own files, the folder of the log that fetched mail goes to, and what it takes to
reach a server by its name over TLS.

Whoever takes this process over, from a mail server that it talks to, has the profiles' credentials and what is fetched
from then on. The keyring, the keyfile, the databases, what other mailboxes hold and the replicas' key are out of its
reach, even where all run under one user (docs/decisions/0174).
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from appliance import confine
from appliance.files import FILES, ConfinedFiles, create_directory
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.mail.published import roll_path
from appliance.services.paths import Paths
from appliance.store import absent

log = logging.getLogger(__name__)

_SYSTEM: Final = ("/etc", "/usr/lib", "/usr/share", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf",
                  "/dev/urandom")  # fmt: skip
"""Libraries that are loaded late, the resolver's settings, certificates of authorities, time zones."""
_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class CollectorFiles(ConfinedFiles):
    """The log's way to the disk in the confined collector.

    It cannot read the list of volumes that are on replicas only, which for it is as if there were none: it looks for
    what it has written itself, on this disk.
    """

    def __init__(self, paths: Paths) -> None:
        super().__init__(paths.data)
        self._absent = paths.volumes / absent.NAME

    def stamp(self, path: Path) -> tuple[int, int, int] | None:
        """As ``Files.stamp``; of that list, that there is none."""
        return None if path == self._absent else super().stamp(path)


def confine_collector(paths: Paths) -> bool:
    """Give up all but what fetching needs; call it when the keys are there and before other threads run.

    Makes the folders that are written to first, since only what exists can be allowed. Returns whether the kernel
    enforces it. Raises OSError.
    """
    log_folder = paths.volumes / IMPORTS_MAILBOX.hex()
    writable = (log_folder, paths.collecting, paths.collector_socket.parent)
    for folder in (paths.volumes, paths.run, *writable):
        if not folder.is_dir():
            create_directory(FILES, folder)
    with contextlib.suppress(PermissionError):  # another user's, who has made these folders and synced them
        FILES.sync_directory(paths.data)
    authorities = [Path(place) for name in _AUTHORITIES if (place := os.environ.get(name))]
    readable = (paths.agent_secret("collector").parent, roll_path(paths.data).parent)
    enforced = confine.restrict_filesystem(
        read=(*readable, *confine.code_folders("appliance"), *map(Path, _SYSTEM), *authorities),
        write=writable,
        names=(paths.volumes,),
    )
    if not enforced:
        log.warning("this kernel has no Landlock: the collector's file access is its user's")
    return enforced
