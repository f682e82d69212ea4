"""Making a new archive: folders, keys, the system mailbox, and, unattended, an administrator."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from appliance.errors import ConflictError
from appliance.files import FILES, Files
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.keys.keyring import Keyring
from appliance.mail import published
from appliance.services.archive import Archive
from appliance.services.box import running_box
from appliance.services.identity import Identity
from appliance.services.mailboxes import publish
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.settings import events

ADMIN = "admin"

_OF_THE_DISK = frozenset({"lost+found"})
"""What a data disk of its own brings with it."""


class Created(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has to be written down; none of it is shown again."""

    data: str
    recovery_key: str
    admin_user: str = ""
    admin_password: str = ""

    def __repr__(self) -> str:
        return f"Created({self.data}, …)"


def create(paths: Paths, *, passphrase: str | None, keyfile: bool, administrator: bool, hostname: str) -> Created:
    """A new archive in an empty (or missing) folder. Raises ConflictError where something is there already.

    Folders that hold no file do not count: a package or a mounted disk may have made them.
    """
    if any(True for _ in _files(paths.data)):
        raise ConflictError(f"{paths.data} is not empty; it is left as it is. Choose a new folder.")
    for folder in (paths.data, paths.volumes, paths.run, paths.tls, paths.exports):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    for folder in (paths.web_socket.parent, paths.local_socket.parent, published.stats_folder(paths.data)):
        folder.mkdir(mode=0o750, exist_ok=True)
    unlocked, recovery_key = Keyring.create(
        paths.keyring, passphrase=passphrase, keyfile=paths.keyfile if keyfile else None
    )
    unlocked.create_mailbox(SYSTEM_MAILBOX, password=False)
    archive = Archive(paths, unlocked)
    try:
        by = Principal(id="system")
        if hostname:
            archive.record(by, events.GatewaySet(hostname, archive.settings.gateway().size_limit))
        password = ""
        if administrator:
            password = "-".join(secrets.token_hex(2) for _ in range(5))
            Identity(archive).add_administrator(by, "Administrator", ADMIN, password)
        publish(archive)
    finally:
        archive.close()
    return Created(str(paths.data), recovery_key, ADMIN if administrator else "", password)


def discard(paths: Paths, *, files: Files = FILES) -> None:
    """Take away an archive that was being made and never served. Raises ConflictError where it may hold mail."""
    if (running := running_box(paths)) is not None:
        running.close()
        raise ConflictError(f"The archive in {paths.data} is being served; it is left as it is.")
    mailboxes = [one for one in files.names(paths.volumes) if one != SYSTEM_MAILBOX.hex()]
    if any(True for one in mailboxes for _ in _files(paths.volumes / one)):
        raise ConflictError(f"The archive in {paths.data} has mailboxes, and may hold mail; it is left as it is.")
    for found in (*_files(paths.data), paths.keyfile):
        if found.exists() or found.is_symlink():
            files.unlink(found)
            files.sync_directory(found.parent)


def _files(folder: Path) -> list[Path]:
    """All that is not a folder below ``folder``, but for what belongs to the disk itself."""
    if not folder.exists():
        return []
    return [
        one
        for one in folder.rglob("*")
        if not (one.is_dir() and not one.is_symlink()) and one.relative_to(folder).parts[0] not in _OF_THE_DISK
    ]
