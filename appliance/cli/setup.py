"""Making a new archive: folders, keys, the system mailbox, and, unattended, an administrator."""

from __future__ import annotations

import secrets

import msgspec

from appliance.errors import ConflictError
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.keys.keyring import Keyring
from appliance.mail import published
from appliance.services.archive import Archive
from appliance.services.identity import Identity
from appliance.services.mailboxes import publish
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.settings import events

ADMIN = "admin"


class Created(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has to be written down; none of it is shown again."""

    data: str
    recovery_key: str
    admin_user: str = ""
    admin_password: str = ""


def create(paths: Paths, *, passphrase: str | None, keyfile: bool, administrator: bool, hostname: str) -> Created:
    """A new archive in an empty (or missing) folder. Raises ConflictError where one is there already."""
    if paths.data.exists() and any(paths.data.iterdir()):
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
