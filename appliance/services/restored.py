"""The line of a restored archive's audit trail that says where it comes from."""

from __future__ import annotations

import contextlib
from typing import Final

from sqlalchemy import select

from appliance.cloud.restore_state import RestoreFolder
from appliance.errors import DamageError, NotFoundError
from appliance.services.archive import Archive
from appliance.services.principal import SYSTEM
from appliance.services.service_key import keys_of
from appliance.settings.tables import AuditRow

RESTORED: Final = "archive.restore"
"""The action in the audit trail."""


def note_restore(archive: Archive) -> None:
    """Write the line if the archive was restored and has it not yet: whoever opens it first, since the restore may have
    died before it did. Raises StorageError."""
    with contextlib.suppress(NotFoundError, DamageError):
        manifest = RestoreFolder(archive.paths.data).load(keys_of(archive.keyring)).manifest
        what = (
            f"generation {manifest.number} of epoch {manifest.epoch}, {manifest.records} records, chain head "
            f"{manifest.chain_number} {manifest.chain_head.hex()}"
        )
        with archive.settings.read() as database:
            lines = database.scalars(select(AuditRow.what).where(AuditRow.action == RESTORED)).all()
        if what not in lines:
            archive.note(SYSTEM, RESTORED, what)
