"""settings.db as the rest of the product sees it: read freely, changed only by applying log entries."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    ScalarSelect,
    Select,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session as Database

from appliance import decoding
from appliance.mail.addresses import domain
from appliance.mail.doors import Doors
from appliance.mail.published import ALL_OF
from appliance.settings import events, tables
from appliance.settings.addresses import AddressBook, Holding
from appliance.settings.apply import apply
from appliance.settings.columns import bind_cipher, lookup
from appliance.sqlite import durable, migrate, open_database

NEWEST_REVISION = "0009"
DEFAULT_SIZE_LIMIT = 350 * 1024 * 1024

_SLICE = 500  # values in one IN (...)


class LogPosition(msgspec.Struct, frozen=True):
    """How far the log has been applied: number and digest of the last entry, and where it lies."""

    number: int = 0
    head: bytes = events.GENESIS
    volume: str = ""
    offset: int = 0


class Held(msgspec.Struct, frozen=True):
    """What one legal hold keeps: an archive's mail (empty: all mail) received in a period of microseconds."""

    archive: str
    since: int
    until: int  # 0 for open


class Directory(msgspec.Struct, frozen=True):
    """A directory that users come from, when it was last synchronised (microseconds), and with what result."""

    put: events.DirectoryPut
    synchronised_at: int | None
    result: events.DirectorySynchronised | None


class SignedIn(msgspec.Struct, frozen=True):
    """The user of a session: the primary address (or none), the roles in force, and whether TOTP is on. ``opened`` are
    the others' archives that the user may read."""

    user: str
    name: str
    address: str
    totp: bool
    roles: frozenset[str]
    opened: frozenset[str]


class Person(msgspec.Struct, frozen=True):
    """How a user is called; the address is the primary one, empty where there is none."""

    name: str
    address: str


class Holds(msgspec.Struct, frozen=True):
    """The legal holds in force at one moment."""

    held: tuple[Held, ...]

    def may_erase(self, archives: frozenset[str], received_at: int) -> bool:
        """Whether a record of these archives, received at that time (microseconds), may be erased.

        The one question that every path asks which drops bytes of mail; a legal hold answers no. A record of a
        sealed mailbox is in no archive: nobody knows whose it is, so only a hold on all mail keeps it.
        """
        return not any(
            (not hold.archive or hold.archive in archives)
            and hold.since <= received_at
            and (not hold.until or received_at < hold.until)
            for hold in self.held
        )


class Settings:
    """One open settings.db. Threads may share it; every method is one transaction."""

    def __init__(self, path: Path, *, column_key: bytes, lookup_key: bytes) -> None:
        self._engine: Engine = open_database(path)
        bind_cipher(self._engine, column_key)
        self._lookup_key = lookup_key
        self._doors: tuple[int, Doors] | None = None
        migrate(self._engine, Path(__file__).parent / "migrations", NEWEST_REVISION)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Database]:
        """A transaction for reading."""
        with Database(self._engine) as database:
            yield database

    def lookup(self, address: str) -> bytes:
        """The keyed hash by which an address is found; ``address`` is normalised (``mail.addresses``)."""
        return lookup(self._lookup_key, address)

    # -- the log's side ---------------------------------------------------------------------------------------

    def position(self) -> LogPosition:
        """How far the log has been applied."""
        with self.read() as database:
            row = database.get(tables.Position, 1)
            return LogPosition(row.number, row.head, row.volume, row.offset) if row else LogPosition()

    def apply(self, entry: events.Entry, digest: bytes, volume: str, offset: int) -> None:
        """Apply an entry that is durable in the log, write its audit line, and move the position, in one transaction.

        It need not be on the disk here as well: what a power cut takes from settings.db is applied again.
        """
        position = LogPosition(entry.number, digest, volume, offset)
        event = entry.event
        if isinstance(event, events.Noted):  # each look at a message: no more than it takes
            with self._engine.begin() as connection:
                _write_down(connection, entry, (event.action, event.what, event.reason), position)
            return
        with Database(self._engine) as database, database.begin():
            told = apply(database, self._lookup_key, entry)
            _write_down(database.connection(), entry, told, position)

    def rehearse(self, entry: events.Entry) -> None:
        """Raise what ``apply`` would raise, and change nothing: an entry that is in the log and cannot be applied
        would keep the archive from opening."""
        if isinstance(entry.event, events.Noted):
            return
        with Database(self._engine) as database:
            apply(database, self._lookup_key, entry)
            database.flush()
            database.rollback()

    # -- addresses --------------------------------------------------------------------------------------------

    def address_book(self) -> AddressBook:
        """Who held which address when."""
        with self.read() as database:
            row = database.get(tables.Position, 1)
            rows = database.scalars(select(tables.Address)).all()
            return AddressBook(
                ((one.lookup, Holding(one.user_id, one.since, one.until)) for one in rows),
                frozenset(domain(one.address) for one in rows),
                row.directory if row else 0,
            )

    def touched_addresses(self, after: int) -> list[bytes]:
        """Lookup hashes of addresses whose holder changed in entries numbered over ``after``."""
        with self.read() as database:
            return list(database.scalars(select(tables.Address.lookup).where(tables.Address.number > after).distinct()))

    # -- whose archives may be read by whom -------------------------------------------------------------------

    def opened_to(self, user: str) -> frozenset[str]:
        """The others' archives that a user may read at this moment."""
        with self._engine.connect() as connection:
            return frozenset(connection.execute(_OPENED, {"user": user}).scalars())

    def people(self, ids: Collection[str]) -> dict[str, Person]:
        """How these users are called, by id; who is none is left out."""
        found: dict[str, Person] = {}
        wanted = sorted(ids)
        with self._engine.connect() as connection:
            for start in range(0, len(wanted), _SLICE):
                rows = connection.execute(_PEOPLE, {"ids": wanted[start : start + _SLICE]})
                found.update({row.id: Person(row.name, row.address or "") for row in rows})
        return found

    # -- mailboxes and gateway --------------------------------------------------------------------------------

    def mailboxes(self) -> list[events.MailboxPut]:
        """All mailboxes that are not deleted, oldest first."""
        return [put for put, _, deleted in self.all_mailboxes() if deleted is None]

    def all_mailboxes(self) -> list[tuple[events.MailboxPut, int, int | None]]:
        """All mailboxes ever, each with the times of its creation and deletion (microseconds)."""
        with self.read() as database:
            rows = database.scalars(select(tables.Mailbox).order_by(tables.Mailbox.created_at)).all()
            return [(_mailbox(row), row.created_at, row.deleted_at) for row in rows]

    def mailbox_name(self, mailbox: bytes) -> str:
        """What a mailbox is called; nothing for one that there never was."""
        with self._engine.connect() as connection:
            return connection.execute(_NAME, {"mailbox": mailbox}).scalar() or ""

    def doors(self) -> Doors:
        """The addresses that lead or led to a mailbox: nobody's, and no recipients."""
        version = self.directory_version()
        known = self._doors
        if known is None or known[0] != version:
            with self.read() as database:
                found = database.scalars(select(tables.Door.address)).all()
                domains = frozenset(one[len(ALL_OF) :] for one in found if one.startswith(ALL_OF))
                # Each is encrypted: they are opened only where a domain is caught.
                people = database.scalars(select(tables.Address.address)).all() if domains else ()
            known = self._doors = (
                version,
                Doors(
                    frozenset(one for one in found if not one.startswith(ALL_OF)),
                    domains,
                    frozenset(one for one in people if domain(one) in domains),
                ),
            )
        return known[1]

    def open_doors(self) -> frozenset[str]:
        """The addresses that mailboxes have by name now."""
        with self.read() as database:
            found = database.scalars(select(tables.Door.address).where(tables.Door.until.is_(None)))
            return frozenset(one for one in found if not one.startswith(ALL_OF))

    def closed_doors(self, after: int) -> dict[str, int]:
        """Addresses (or a caught domain, ``ALL_OF``) that no mailbox has any more, with the time (microseconds) at
        which the last one gave them up, where that was later than ``after``.

        An address that its former mailbox catches all the same is not one of them.
        """
        with self.read() as database:
            rows = [(one.address, one.mailbox, one.until) for one in database.scalars(select(tables.Door))]
        open_ = {(mailbox, address) for address, mailbox, until in rows if until is None}
        taken = {address for _, address in open_}
        closed: dict[str, int] = {}
        for address, mailbox, until in rows:
            caught = (mailbox, ALL_OF + domain(address)) in open_
            if until is not None and until > after and address not in taken and not caught:
                closed[address] = max(until, closed.get(address, 0))
        return closed

    def erased_after(self, number: int) -> list[tuple[bytes, bytes, int]]:
        """Records erased by log entries numbered over ``number``, in their order: mailbox, record id, entry."""
        with self.read() as database:
            rows = database.execute(
                select(tables.Erased.mailbox, tables.Erased.record, tables.Erased.number)
                .where(tables.Erased.number > number)
                .order_by(tables.Erased.number)
            )
            return [(mailbox, record, entry) for mailbox, record, entry in rows]

    def timestamping(self) -> str:
        """Where the chain's heads are sent for a timestamp; empty for nowhere."""
        with self.read() as database:
            row = database.get(tables.Timestamping, 1)
            return row.url if row else ""

    def certificate(self) -> events.CertificateSet:
        """Where the certificate comes from; self-signed where nothing was set."""
        with self.read() as database:
            row = database.get(tables.Certificate, 1)
            if row is None:
                return events.CertificateSet("self-signed")
            return decoding.from_json(row.put, events.CertificateSet)

    def gateway(self) -> events.GatewaySet:
        """Host name and limits; the defaults where nothing was set."""
        with self.read() as database:
            row = database.get(tables.Gateway, 1)
            if row is None:
                return events.GatewaySet(hostname="", size_limit=DEFAULT_SIZE_LIMIT)
            return events.GatewaySet(hostname=row.hostname, size_limit=row.size_limit)

    def remotes(self) -> list[events.RemotePut]:
        """The remotes that the archive is replicated to, by name; secrets in the clear."""
        with self.read() as database:
            rows = database.scalars(select(tables.Remote).order_by(tables.Remote.name)).all()
            return [decoding.from_json(row.put, events.RemotePut) for row in rows]

    def replication(self) -> events.ReplicationSet:
        """What holds for all remotes."""
        with self.read() as database:
            row = database.get(tables.Replication, 1)
            return events.ReplicationSet() if row is None else events.ReplicationSet(row.keep_local_days, row.rehearsal)

    def import_folder(self) -> str:
        """The folder of the box whose files are imported by themselves; empty where there is none."""
        with self.read() as database:
            row = database.get(tables.ImportFolder, 1)
            return "" if row is None else row.path

    # -- directories ------------------------------------------------------------------------------------------

    def directories(self) -> list[Directory]:
        """The directories that users come from, by name; secrets in the clear."""
        with self.read() as database:
            return [
                Directory(
                    decoding.from_json(row.put, events.DirectoryPut),
                    row.synchronised_at,
                    decoding.from_json(row.result, events.DirectorySynchronised) if row.result else None,
                )
                for row in database.scalars(select(tables.Directory).order_by(tables.Directory.name))
            ]

    def links(self, directory: str) -> list[events.Link]:
        """The entries of a directory that are users here."""
        with self.read() as database:
            rows = database.scalars(select(tables.Link.put).where(tables.Link.directory == directory))
            return [decoding.from_json(put, events.Link) for put in rows]

    def links_of(self, user: str) -> dict[str, events.Link]:
        """The entries that a user is, by directory."""
        with self.read() as database:
            rows = database.scalars(select(tables.Link).where(tables.Link.user_id == user))
            return {row.directory: decoding.from_json(row.put, events.Link) for row in rows}

    def linked_users(self) -> dict[str, str]:
        """The directory that each user comes from, by user id."""
        with self.read() as database:
            rows = database.execute(select(tables.Link.user_id, tables.Link.directory)).all()
            return {row.user_id: row.directory for row in rows}

    # -- archiving profiles -----------------------------------------------------------------------------------

    def profiles(self) -> list[events.ProfilePut]:
        """The archiving profiles, by name; secrets in the clear."""
        with self.read() as database:
            rows = database.scalars(select(tables.Profile).order_by(tables.Profile.name)).all()
            return [decoding.from_json(row.put, events.ProfilePut) for row in rows]

    # -- watching and telling ---------------------------------------------------------------------------------

    def watches(self) -> dict[bytes, events.WatchSet]:
        """When silence raises an alarm, by mailbox; under the empty one what holds for those without their own."""
        with self.read() as database:
            rows = database.scalars(select(tables.Watch)).all()
            return {row.mailbox: decoding.from_json(row.rule, events.WatchSet) for row in rows}

    def notifying(self) -> tuple[events.NotifyingSet, float]:
        """How alarms are told, and since when (seconds); the defaults, which tell nobody, where nothing was set."""
        with self.read() as database:
            row = database.get(tables.Notifying, 1)
            if row is None:
                return events.NotifyingSet(), 0.0
            return decoding.from_json(row.put, events.NotifyingSet), row.at / 1e6

    def metrics_token(self) -> bytes:
        """SHA-256 of the token with which metrics are read; empty where there is none."""
        with self.read() as database:
            row = database.get(tables.MetricsToken, 1)
            return row.token_hash if row else b""

    # -- sessions: the one table that the log does not know ---------------------------------------------------
    #
    # A power cut may take the newest of them: people sign in again. It must not bring one back that was ended. Those
    # that an entry of the log ends, are ended again with it.

    def session_open(self, token_hash: bytes, user: str, expires_at: int) -> None:
        """Remember a signed-in browser."""
        now = int(time.time())
        with Database(self._engine) as database, database.begin():
            database.execute(delete(tables.Session).where(tables.Session.expires_at < now))
            database.add(tables.Session(token_hash=token_hash, user_id=user, created_at=now, expires_at=expires_at))

    def session_of(self, token_hash: bytes) -> SignedIn | None:
        """Who a session belongs to; None where it has ended, or its user is not active."""
        with self._engine.connect() as connection:
            rows = connection.execute(_SESSION, {"token": token_hash, "now": time.time()}).all()
        if not rows:
            return None
        first = rows[0]
        return SignedIn(
            user=first.id, name=first.name, address=first.address or "", totp=first.totp,
            roles=frozenset(row.role for row in rows if row.role), opened=frozenset((first.opened or "").split()),
        )  # fmt: skip

    def session_end(self, token_hash: bytes) -> None:
        """Forget a session, durably."""
        with durable(self._engine) as connection:
            connection.execute(delete(tables.Session).where(tables.Session.token_hash == token_hash))

    # -- holds ------------------------------------------------------------------------------------------------

    def holds(self) -> Holds:
        """The legal holds in force."""
        with self.read() as database:
            rows = database.execute(select(tables.Hold.archive, tables.Hold.since, tables.Hold.until))
            return Holds(tuple(Held(archive, since, until) for archive, since, until in rows))

    def may_erase(self, archives: frozenset[str], received_at: int) -> bool:
        """``Holds.may_erase`` at this moment."""
        return self.holds().may_erase(archives, received_at)

    def directory_version(self) -> int:
        """Number of the last entry that changed users or mailboxes; cheap, for noticing another process's changes."""
        with self._engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT max(directory) FROM position").scalar() or 0)

    def count_users(self) -> int:
        """How many users there are."""
        with self.read() as database:
            return database.scalar(select(func.count()).select_from(tables.User)) or 0


def metrics_token_in(path: Path) -> bytes:
    """SHA-256 of the token with which metrics are read, from the settings of a locked archive; empty without one.

    Raises UnavailableError, StorageError, DamageError.
    """
    if not path.exists():
        return b""
    engine = open_database(path)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("metrics_token"):
                return b""
            return connection.execute(select(tables.MetricsToken.token_hash)).scalar() or b""
    finally:
        engine.dispose()


def _mailbox(row: tables.Mailbox) -> events.MailboxPut:
    return events.MailboxPut(
        mailbox=row.id, name=row.name, address=row.address, state=row.state, unknown=row.unknown,  # type: ignore[arg-type]
        networks=tuple(json.loads(row.networks)), tls_required=row.tls_required,
        domains=tuple(json.loads(row.domains)), description=row.description or "",
        aliases=tuple(json.loads(row.aliases)), catch_all=tuple(json.loads(row.catch_all)), sealed=row.sealed,
        delete_after_pull=row.delete_after_pull, retention_days=row.retention_days,
    )  # fmt: skip


def _write_down(connection: Connection, entry: events.Entry, told: tuple[str, str, str], position: LogPosition) -> None:
    """The entry's audit line (action, what, reason), and how far the log has been applied with it."""
    action, what, reason = told
    connection.execute(
        _AUDIT,
        {
            "number": entry.number, "at": entry.at, "by": entry.by, "action": action, "what": what, "reason": reason,
            "client": entry.client,
        },
    )  # fmt: skip
    changes_directory = isinstance(entry.event, events.UserPut | events.MailboxPut)
    connection.execute(
        _MOVE,
        {
            "id": 1, "number": position.number, "head": position.head, "volume": position.volume,
            "offset": position.offset, "directory": entry.number if changes_directory else 0,
        },
    )  # fmt: skip


def _move() -> Insert:
    made = upsert(tables.Position)
    new = made.excluded
    return made.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "number": new.number, "head": new.head, "volume": new.volume, "offset": new.offset,
            "directory": func.max(tables.Position.directory, new.directory),
        },
    )  # fmt: skip


def _session() -> Select[Any]:
    """The user of a session, once for each role."""
    user = tables.User
    # In the same statement: most have none, and whoever signed in is looked up with each call.
    opened = (
        select(func.group_concat(tables.Access.archive, " ")).where(tables.Access.user_id == user.id).scalar_subquery()
    )
    return (
        select(
            user.id, user.name, user.totp.is_not(None).label("totp"), _primary().label("address"),
            opened.label("opened"), tables.Grant.role,
        )
        .join(tables.Session, tables.Session.user_id == user.id)
        .outerjoin(tables.Grant, tables.Grant.user_id == user.id)
        .where(tables.Session.token_hash == bindparam("token"), tables.Session.expires_at > bindparam("now"))
        .where(user.state == "active")
    )  # fmt: skip


def _primary() -> ScalarSelect[str]:
    """The primary address of the user of the statement that it becomes part of."""
    held = tables.Address
    return (
        select(held.address)
        .where(held.user_id == tables.User.id, held.until.is_(None))
        .order_by(held.rank)
        .limit(1)
        .scalar_subquery()
    )


# Made once: putting them together takes as long as running them.
_AUDIT = insert(tables.AuditRow)
_MOVE = _move()
_SESSION = _session()
_OPENED = select(tables.Access.archive).where(tables.Access.user_id == bindparam("user"))
_PEOPLE = select(tables.User.id, tables.User.name, _primary().label("address")).where(
    tables.User.id.in_(bindparam("ids", expanding=True))
)
_NAME = select(tables.Mailbox.name).where(tables.Mailbox.id == bindparam("mailbox"))
