"""A real archive and a collector in one process, and Anna's mailbox at each kind of source, for what has to hold from
there to the disk and back."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.ledger import Ledger
from appliance.services.collector.told import CollectorKeys
from appliance.services.profiles.proving import Proving
from appliance.services.profiles.teaching import Teaching
from appliance.services.profiles.telling import Telling
from appliance.settings.events import ProfilePut
from appliance.sources import kinds
from appliance.sources.base import Memory, Source
from appliance.sources.graph.options import open_source as open_graph
from appliance.store.format import RecordType
from appliance.store.reader import LogReader, RecordRef
from tests.collector import await_run
from tests.doubles import ews
from tests.doubles.graph import CLIENT, SECRET, TENANT
from tests.doubles.graph_mail import MailDouble
from tests.dovecot import PASSWORD, Dovecot
from tests.scratch import BOX, ScratchArchive, mail

ANNA = "anna@example.com"
LONG_AGO = datetime.now(UTC) - timedelta(days=60)
OLD = ("one", "two", "three", "four")
NEW = "new"
_numbers = itertools.count()


def letter(name: str) -> bytes:
    """A message that came sixty days ago, or, if it is the new one, today."""
    came = datetime.now(UTC) if name == NEW else LONG_AGO
    received = f"Received: from there.example by here.example; {format_datetime(came)}"
    return mail(name, f"about {name} " * 40, message_id=f"{name}@x", headers=received)


def subject(raw: bytes) -> str:
    """The name of a message."""
    return raw.split(b"Subject: ")[1].split(b"\r\n")[0].decode()


class Mailbox(Protocol):
    """Anna's mailbox at a source: ``OLD`` and ``NEW``."""

    def profile(self, **settings: object) -> ProfilePut:
        """What fetches it."""
        ...

    def there(self) -> set[str]:
        """What is still there."""
        ...

    def open(self, name: str, options: dict[str, str], memory: Memory | None = None) -> Source:
        """As ``kinds.open_source``."""
        ...


class OnDovecot:
    """By IMAP or POP3."""

    def __init__(self, kind: str, server: Dovecot, names: Sequence[str] = (*OLD, NEW)) -> None:
        self.user = f"{next(_numbers)}.{ANNA}"
        self._kind, self._server = kind, server
        server.fill(self.user, "INBOX", [letter(name) for name in names if name != NEW])
        for path in (server.folder / "mail" / self.user / "cur").iterdir():
            os.utime(path, times=(LONG_AGO.timestamp(),) * 2)
        if NEW in names:
            server.save(self.user, "INBOX", letter(NEW))

    def profile(self, **settings: object) -> ProfilePut:
        return ProfilePut("office", self._kind, self.options(), **settings)  # type: ignore[arg-type]

    def options(self) -> dict[str, str]:
        port = self._server.plain if self._kind == "imap" else self._server.pop3
        where = {"host": "127.0.0.1", "port": str(port), "security": "none"}
        return {**where, "user": self.user, "password": PASSWORD}

    def there(self) -> set[str]:
        listed = self._server.admin("fetch", "-u", self.user, "hdr.subject", "mailbox", "INBOX", "all")
        return {line.partition(": ")[2] for line in listed.splitlines() if line.startswith("hdr.subject")}

    def open(self, name: str, options: dict[str, str], memory: Memory | None = None) -> Source:
        return kinds.open_source(name, options, memory)


class OnGraph:
    """In a tenant of Microsoft's."""

    def __init__(self, graph: MailDouble) -> None:
        graph.permissions = {"Mail.ReadWrite"}
        self._graph, self._box = graph, graph.box(ANNA)
        for name in OLD:
            self._box.add(letter(name), received=f"{LONG_AGO:%Y-%m-%dT%H:%M:%SZ}")
        self._box.add(letter(NEW), received=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def profile(self, **settings: object) -> ProfilePut:
        places = {"authority": self._graph.url, "graph": self._graph.url}
        options = {"tenant": TENANT, "client": CLIENT, "secret": SECRET, "user": ANNA, **places}
        return ProfilePut("office", "graph", options, **settings)  # type: ignore[arg-type]

    def there(self) -> set[str]:
        return {subject(one.mime) for one in self._box.messages.values()}

    def open(self, name: str, options: dict[str, str], memory: Memory | None = None) -> Source:
        assert name == "graph"
        return open_graph(options, memory, tls=self._graph.tls, sleep=lambda _seconds: None)


class OnExchange:
    """On an Exchange server."""

    def __init__(self, exchange: ews.EwsDouble) -> None:
        self._exchange, self.box = exchange, exchange.box(ANNA)
        for name in OLD:
            self.box.put(letter(name), received=f"{LONG_AGO:%Y-%m-%dT%H:%M:%SZ}")
        self.box.put(letter(NEW), received=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")

    def profile(self, **settings: object) -> ProfilePut:
        options = {
            "server": f"{self._exchange.url}{ews.PATH}", "user": ews.USER, "password": ews.PASSWORD, "sign_in": "basic",
            "ca": self._exchange.trusted.read_text(),
        }  # fmt: skip
        return ProfilePut("office", "ews", options, **settings)  # type: ignore[arg-type]

    def there(self) -> set[str]:
        return {subject(one.mime) for one in self.box.inbox.letters.values()}

    def open(self, name: str, options: dict[str, str], memory: Memory | None = None) -> Source:
        return kinds.open_source(name, options, memory)


class DeadError(Exception):
    """The archiver has been killed."""


class Mortal(Ledger):
    """The ledger, as an archiver has it that is killed when it has given its word so many times."""

    def __init__(self, path: Path, keys: CollectorKeys, words: int) -> None:
        super().__init__(path, keys)
        self._left = words

    def prove(self, found: Mapping[bytes, bool]) -> None:
        if not self._left:
            raise DeadError
        self._left -= 1
        super().prove(found)


class Office:
    """A real archive and a collector beside it, in this process."""

    def __init__(self, folder: Path, mailbox: Mailbox) -> None:
        self.box = ScratchArchive(folder)
        self._mailbox = mailbox
        self._owner = self.box.user(ANNA)
        Telling(self.box.archive).prepare()
        self.open()
        self.tell()
        self.learn()

    def open(self) -> None:
        """Go on with the archive, where it is now."""
        self._telling = Telling(self.box.archive)
        self.ledger = Ledger(self.box.paths.ledger, self._telling.keys())
        self.collecting = Collecting(self.box.paths, self._telling.keys(), opener=self._mailbox.open)
        self.collecting.start()

    def close(self) -> None:
        """End it all."""
        self.collecting.close()
        self.ledger.close()
        self.box.close()

    def learn(self) -> None:
        """The archiver looks whether a new ledger is to be told what is archived."""
        Teaching(self.box.archive, lambda: self.ledger).round()

    def tell(self, **settings: object) -> None:
        """The profile is so from now on."""
        put = self._mailbox.profile(archive=self._owner, **settings)
        self.box.archive.record(BOX, put)
        self.retell()

    def retell(self) -> None:
        """The collector is told how things are."""
        self._telling.tell()

    def run(self) -> api.ProfileRun:
        """A run, to its end."""
        return await_run(self.collecting, self.collecting.begin("office"))

    @contextmanager
    def archiver(self, words: int | None = None) -> Iterator[None]:
        """It reads archived copies back, for so long."""
        keys = self._telling.keys()
        ledger = self.ledger if words is None else Mortal(self.box.paths.ledger, keys, words)
        proving, ended = Proving(self.box.archive, lambda: ledger), threading.Event()

        def work() -> None:
            while not ended.wait(0.02):
                try:
                    proving.round()
                except DeadError:
                    return

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if ledger is not self.ledger:
                ledger.close()

    def archived(self) -> dict[str, RecordRef]:
        """Where each fetched message lies in the log."""
        reader = LogReader(self.box.paths.volumes, self.box.archive.keyring)
        return {
            subject(reader.read(ref).original): ref
            for volume in reader.volumes(IMPORTS_MAILBOX)
            for ref in reader.scan(volume)
            if isinstance(ref, RecordRef) and ref.type == RecordType.MESSAGE
        }


def rot(volumes: Path, ref: RecordRef) -> None:
    """Some of what a record holds is not what was written, from now on."""
    with (volumes / ref.volume).open("r+b") as file:
        file.seek(ref.offset + ref.length // 2)
        octets = file.read(8)
        file.seek(-8, os.SEEK_CUR)
        file.write(bytes(255 - octet for octet in octets))
