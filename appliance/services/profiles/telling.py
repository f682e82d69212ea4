"""Telling the collector: the profiles, whose which address is, and where fetched mail goes."""

from __future__ import annotations

import threading

from sqlalchemy import select

from appliance.errors import StorageError
from appliance.language import later
from appliance.mail.addresses import domain
from appliance.mail.places import IMPORTS_MAILBOX
from appliance.services.archive import Archive
from appliance.services.collector.told import CollectorKeys, Holder, Person, Told, write_told
from appliance.settings import tables
from appliance.settings.store import Settings

_NEVER = -1


class Telling:
    """Keeps what the collector is told as the settings are."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._told = _NEVER
        """The last entry of the log that changed whose an address is, as of what the collector was told."""

    def keys(self) -> CollectorKeys:
        """What the collector holds of this archive. Raises LockedError."""
        keyring = self._archive.keyring
        return CollectorKeys.of(keyring.key("service"), keyring.archive_id)

    def prepare(self) -> None:
        """Make sure that there is a mailbox for what is fetched; a crash in between leaves one that is used then.
        Raises KeyringError."""
        keyring = self._archive.keyring
        keyring.refresh()
        if IMPORTS_MAILBOX not in keyring.mailboxes:
            keyring.create_mailbox(IMPORTS_MAILBOX, password=False)

    def tell(self) -> None:
        """Tell all of it; nothing where there never was a profile.

        Raises StorageError: what was changed is in force, and the collector is told as soon as the disk takes it.
        """
        with self._lock:
            self._told = _NEVER
            settings, keyring = self._archive.settings, self._archive.keyring
            version = settings.directory_version()
            if IMPORTS_MAILBOX in keyring.mailboxes:
                told = Told(
                    IMPORTS_MAILBOX, keyring.public_key(IMPORTS_MAILBOX), keyring.content_key(IMPORTS_MAILBOX),
                    tuple(settings.profiles()), people(settings), holders(settings),
                )  # fmt: skip
                try:
                    write_told(self._archive.paths.collecting, self.keys(), told)
                except OSError as error:
                    text = later(
                        "The disk did not take it ({reason}). What was changed is in force; the collector is told of "
                        "it as soon as the disk takes writes again."
                    )
                    raise StorageError(text, reason=error.strerror or error) from error
            self._told = version

    def keep_told(self) -> None:
        """Tell it anew if an address has changed hands since, or telling has failed. Raises StorageError."""
        if self._told != self._archive.settings.directory_version():
            self.tell()


def people(settings: Settings) -> tuple[Person, ...]:
    """All users that have a mail address now, disabled ones too: their archives stay, and go on."""
    with settings.read() as database:
        held: dict[str, tuple[str, ...]] = {}
        for row in database.scalars(
            select(tables.Address)
            .where(tables.Address.until.is_(None))
            .order_by(tables.Address.rank, tables.Address.id)
        ):
            if domain(row.address):  # the first administrator's may be a bare name
                held[row.user_id] = (*held.get(row.user_id, ()), row.address)
        names = {row.id: row.name for row in database.scalars(select(tables.User))}
    return tuple(Person(user, names.get(user, ""), addresses) for user, addresses in sorted(held.items()))


def holders(settings: Settings) -> tuple[Holder, ...]:
    """Who held which mail address when, as ``settings.addresses`` has it."""
    with settings.read() as database:
        rows = database.scalars(select(tables.Address).order_by(tables.Address.id))
        return tuple(Holder(one.address, one.user_id, one.since, one.until) for one in rows if domain(one.address))
