"""A whole archive in a scratch folder and in this process: mail goes straight into its log, nothing listens."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from appliance.mail.facts import Provenance
from appliance.services import api, mailboxes, reading, searching, users
from appliance.services.archive import Archive
from appliance.services.compacting import Compacted
from appliance.services.dispatch import Dispatcher
from appliance.services.paths import Paths
from appliance.services.principal import KEYHOLDER, Principal, View
from appliance.services.projecting import Projecting
from appliance.services.setup.create import create
from appliance.services.unlock import unlock
from appliance.services.users import create_from_mail, find_user
from appliance.services.verifying import Checked
from appliance.services.wire import Call
from appliance.store.seal import sign_volume, waiting
from appliance.store.writer import LogWriter

BOX = Principal(id="local:test", name="test", roles=frozenset({"admin", "auditor", KEYHOLDER}))
DOOR = "journal@archive.test"


class ScratchArchive:
    """An archive with one mailbox, whose projections are made when a test says so."""

    def __init__(self, folder: Path, *, unknown: str = "keep", domains: Iterable[str] = ()) -> None:
        self.paths = Paths(folder / "data")
        self.created = create(self.paths, passphrase=None, keyfile=True, administrator=True, hostname="box.test")
        self.open()
        self.mailbox = mailboxes.mailbox_create(
            self.archive, BOX, name="Journal", address=DOOR, unknown=unknown, domains=tuple(domains)
        ).mailbox

    def copied(self, folder: Path) -> ScratchArchive:
        """The same archive in another folder, open: quicker than a new one. This one has to be closed."""
        shutil.copytree(self.paths.data.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
        twin = object.__new__(ScratchArchive)
        twin.paths, twin.created, twin.mailbox = Paths(folder / "data"), self.created, self.mailbox
        twin.open()
        return twin

    def open(self) -> None:
        """Open what ``close`` closed."""
        self.archive = Archive(self.paths, unlock(self.paths))
        self.dispatcher = Dispatcher(self.archive)
        self.writer = LogWriter(self.paths.volumes, "t0", reserve=0)
        self.projecting: Projecting | None = None

    def close(self) -> None:
        """Close everything, as a stopped product does."""
        self.writer.close()
        if self.projecting is not None:
            self.projecting.close()
            self.projecting = None
        self.dispatcher.close()
        self.archive.close()

    def receive(self, *mails: bytes, at: float | None = None, rcpt: str = DOOR, mailbox_id: str = "") -> list[bytes]:
        """Put mail into the log as the gateway does. Returns the record ids."""
        mailbox = bytes.fromhex(mailbox_id or self.mailbox.id)
        key = self.archive.keyring.public_key(mailbox)
        waiting = [
            self.writer.append(
                mailbox,
                key,
                mail,
                Provenance(received_at=int((time.time() if at is None else at) * 1e6), rcpt_to=(rcpt,)),
            )
            for mail in mails
        ]
        return [one.result().record_id for one in waiting]

    def project(self) -> None:
        """Bring catalogue and index up to date."""
        if self.projecting is None:
            self.projecting = Projecting(
                self.paths,
                self.archive.keyring,
                create_user=lambda address: create_from_mail(self.archive, address),
            )
        self.projecting.finish()

    def user(self, primary: str, *aliases: str, name: str = "") -> str:
        """A new user's id."""
        return users.user_create(self.archive, BOX, name=name or primary, primary=primary, aliases=aliases).id

    def view(self, address: str) -> View:
        """What the holder of an address sees."""
        archives = frozenset({find_user(self.archive, address)})
        return View(archives, archives)

    def search(self, query: str, user: str = "", *, limit: int = 500) -> api.SearchPage:
        """Hits in all archives, or as a user sees them."""
        view = self.view(user) if user else BOX.looking(everywhere=True)
        return searching.search_view(self.archive, view, query=query, limit=limit)

    def total(self, query: str, user: str = "") -> int:
        """How many hits."""
        return self.search(query, user, limit=0).total

    def verify(self, *, deep: bool = True) -> Checked:
        """What a check of everything finds."""
        job = self.dispatcher.from_box(Call(method="verify_begin", params={"deep": deep}), BOX)
        while job.finished_at is None:
            time.sleep(0.01)
            job = self.dispatcher.jobs.get(BOX, id=job.id)
        checked: Checked = self.dispatcher.from_box(Call(method="verify_result", params={"id": job.id}), BOX)
        return checked

    def sign(self) -> None:
        """Close what is being written, and seal all that is closed."""
        self.writer.roll()
        self.archive.writer.roll()
        volumes = self.paths.volumes
        with self.archive.chain.held() as chain:
            for volume in list(waiting(volumes, chain)):
                sign_volume(volumes, volume, chain, self.archive.keyring)

    def compact(self) -> Compacted:
        """Seal all that is there, and compact it."""
        self.sign()
        job = self.dispatcher.compactions.begin(BOX)
        while job.finished_at is None:
            time.sleep(0.01)
            job = self.dispatcher.jobs.get(BOX, id=job.id)
        return self.dispatcher.compactions.result(BOX, id=job.id)

    def export(self, id: str, *, report: bool = False) -> bytes:
        """The original of a message."""
        return b"".join(reading.original(self.archive, BOX, id=id, report=report, everywhere=True).chunks)


def mail(
    subject: str = "Hello", text: str = "Some words", *, headers: str = "", sender: str = "anna@example.com",
    to: str = "ben@example.com", message_id: str = "", date: str = "Fri, 20 Nov 2026 08:15:03 +0000",
) -> bytes:  # fmt: skip
    """A plain message with CRLF line ends."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", f"Date: {date}"]
    if message_id:
        lines.append(f"Message-ID: <{message_id}>")
    lines += [one for one in headers.splitlines() if one]
    return ("\r\n".join([*lines, "", text]) + "\r\n").encode()


def report(original: bytes, *lines: str, sender: str = "anna@example.com", boundary: str = "_journal_") -> bytes:
    """A journal report round ``original``; ``lines`` are its recipient lines."""
    envelope = "".join(f"{line}\r\n" for line in (f"Sender: {sender}", "Subject: x", "Message-Id: <x@y>", *lines))
    return (
        b"From: <journal@example.com>\r\nX-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="' + boundary.encode() + b'"\r\n\r\n'
        b"--" + boundary.encode() + b'\r\nContent-Type: text/plain; charset="utf-8"\r\n\r\n' + envelope.encode()
        + b"\r\n--" + boundary.encode() + b"\r\nContent-Type: message/rfc822\r\n\r\n" + original
        + b"\r\n--" + boundary.encode() + b"--\r\n"
    )  # fmt: skip
