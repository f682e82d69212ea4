"""A collector in this process, on an empty data folder, and what is in its log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from appliance.files import FILES, Files
from appliance.keys.envelope import MailboxKeyPair
from appliance.mail import places
from appliance.mail.places import IMPORTS_MAILBOX, Place
from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.told import CollectorKeys, Person, Told, write_told
from appliance.services.paths import Paths
from appliance.settings.events import ProfilePut
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef

SECONDS = 60.0
CONTENT_KEY = bytes(range(32))
KEYS = CollectorKeys.of(bytes(32), UUID(int=1))
ANNA = Person("anna-id", "Anna", ("anna@example.com", "a@example.com"))
BEN = Person("ben-id", "Ben", ("ben@example.com",))


class Bench:
    """A data folder with what the archiver would have told. ``collecting`` is there while it runs."""

    def __init__(self, folder: Path) -> None:
        self.paths = Paths(folder / "data")
        self.paths.volumes.mkdir(parents=True)
        self.keys = KEYS
        self.pair = MailboxKeyPair.generate()
        self.people: tuple[Person, ...] = (ANNA, BEN)
        self.profiles: tuple[ProfilePut, ...] = ()
        self.collecting: Collecting | None = None

    def volume_key(self, _mailbox: bytes, sealed: bytes, info: bytes) -> bytes:
        """As ``store.reader.KeyOpener``."""
        return self.pair.open_sealed(sealed, info)

    def tell(self, *profiles: ProfilePut) -> None:
        """What the archiver says from now on."""
        self.profiles = profiles
        told = Told(IMPORTS_MAILBOX, self.pair.public, CONTENT_KEY, self.profiles, self.people)
        write_told(self.paths.collecting, self.keys, told)

    @contextmanager
    def running(self, *, files: Files = FILES, **options: Any) -> Iterator[Collecting]:
        """The collector, started."""
        self.collecting = Collecting(self.paths, self.keys, files=files, **options)
        self.collecting.ledger.learn(())
        self.collecting.start()
        try:
            yield self.collecting
        finally:
            self.collecting.close()
            self.collecting = None

    def run(self, profile: str) -> api.ProfileRun:
        """Have a profile run, to its end."""
        assert self.collecting is not None
        return self.ended(self.collecting.begin(profile))

    def ended(self, id: int) -> api.ProfileRun:
        """A run, once it is over."""
        assert self.collecting is not None
        return await_run(self.collecting, id)

    # -- the log ----------------------------------------------------------------------------------------------

    def records(self) -> tuple[dict[bytes, bytes], list[Place]]:
        """All messages by their records' ids, and all places."""
        reader, messages, found = LogReader(self.paths.volumes, self), {}, []
        for volume in reader.volumes(IMPORTS_MAILBOX):
            for ref in reader.scan(volume):
                assert isinstance(ref, RecordRef), ref
                original = reader.read(ref).original
                if ref.type == RecordType.PLACE:
                    found += places.decode(original)
                else:
                    messages[ref.record_id] = original
        return messages, found

    def archived(self) -> Counter[tuple[str, tuple[str, ...], bytes]]:
        """What is where: archive, folder, and the SHA-256 of the message; how often each place is in the log."""
        messages, found = self.records()
        return Counter((one.archive, one.folder, sha256(messages[one.record]).digest()) for one in found)


def await_run(collecting: Collecting, id: int, seconds: float = SECONDS) -> api.ProfileRun:
    """A run, once it is over."""
    deadline = time.monotonic() + seconds
    while (run := collecting.ledger.run(id)).ended is None:
        assert time.monotonic() < deadline, run
        time.sleep(0.02)
    return run


def imap(name: str = "all", /, *, port: int, password: str, **settings: Any) -> ProfilePut:
    """A profile of an IMAP server on this machine."""
    options = {"host": "127.0.0.1", "port": str(port), "security": "none", "password": password}
    options |= settings.pop("options", {})
    return ProfilePut(name, "imap", options, **settings)
