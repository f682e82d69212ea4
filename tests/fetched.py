"""Mail as if it had been fetched: messages and their places, straight into the log of a ``ScratchArchive``."""

from __future__ import annotations

import time

from appliance.errors import ConflictError
from appliance.mail import places
from appliance.mail.facts import Provenance
from appliance.mail.folders import Role
from appliance.mail.places import IMPORTS_MAILBOX, Place
from appliance.store.format import RecordType
from appliance.store.writer import LogWriter
from tests.scratch import ScratchArchive


class Fetched:
    """Writes as the collector does. Each ``Fetched`` of one archive needs a ``writer`` name of its own."""

    def __init__(self, box: ScratchArchive, writer: str = "s0") -> None:
        keyring = box.archive.keyring
        try:
            keyring.create_mailbox(IMPORTS_MAILBOX, password=False)
        except ConflictError:
            keyring.refresh()
        self._public_key = keyring.public_key(IMPORTS_MAILBOX)
        self._volumes = box.paths.volumes
        self._writer = LogWriter(box.paths.volumes, writer, reserve=0)

    def message(self, raw: bytes, *, at: float | None = None, belongs_to: tuple[str, ...] = ()) -> bytes:
        """A message, imported by address where it ``belongs_to`` some; the id of its record."""
        received_at = int((time.time() if at is None else at) * 1e6)
        source = "import" if belongs_to else "sync"
        provenance = Provenance(source=source, received_at=received_at, belongs_to=belongs_to)
        return self._writer.append(IMPORTS_MAILBOX, self._public_key, raw, provenance).result().record_id

    def lay(self, record: bytes, archive: str, *folder: str, role: Role = "", at: int = 1) -> None:
        """That the message lay in a folder of that user's."""
        self.place(Place(record=record, archive=archive, folder=folder, role=role, profile="office", at=at))

    def place(self, *found: Place) -> None:
        """Any places, in one record."""
        self.raw_place(places.encode(found))

    def raw_place(self, raw: bytes, mailbox: bytes = IMPORTS_MAILBOX, public_key: bytes = b"") -> None:
        """A record of type place with whatever in it, in whichever mailbox."""
        key = public_key or self._public_key
        self._writer.append(mailbox, key, raw, Provenance(), type=RecordType.PLACE).result()

    def fetch(self, raw: bytes, archive: str, *folder: str, role: Role = "", at: float | None = None) -> bytes:
        """A message with its one place."""
        record = self.message(raw, at=at)
        self.lay(record, archive, *folder, role=role)
        return record

    def roll(self) -> None:
        """What comes next is in another volume."""
        self._writer.roll()

    def close(self) -> None:
        """End the last volume."""
        self._writer.close()
