"""Applying one log entry to settings.db: the only code that changes what the log decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import singledispatch
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session as Database

from appliance.mail.published import ALL_OF
from appliance.settings import events, tables
from appliance.settings.addresses import Holding, first_moment
from appliance.settings.columns import lookup

_Named = TypeVar("_Named", tables.Remote, tables.Directory, tables.Profile)
"""What is set up outside, under a name."""


class Context:
    """What an entry is applied to: the transaction, the key of look-ups, and the entry's number and time."""

    def __init__(self, database: Database, lookup_key: bytes, entry: events.Entry) -> None:
        self.database = database
        self.lookup_key = lookup_key
        self.entry = entry


def apply(database: Database, lookup_key: bytes, entry: events.Entry) -> tuple[str, str, str]:
    """Carry out ``entry`` in the transaction ``database``; action, what and reason for its audit line."""
    return _apply(entry.event, Context(database, lookup_key, entry))


@singledispatch
def _apply(event: object, _context: Context) -> tuple[str, str, str]:
    """Returns (action, what, reason) for the audit trail."""
    raise TypeError(f"no such event: {type(event).__name__}")


@_apply.register
def _(event: events.UserPut, context: Context) -> tuple[str, str, str]:
    database = context.database
    user = database.get(tables.User, event.user)
    action = "user.change" if user else "user.create"
    if user is None:
        user = tables.User(id=event.user, origin=event.origin, created_at=context.entry.at, name="", state="")
        database.add(user)
        database.flush()
    user.name, user.state = event.name, event.state
    _hold_addresses(event, context)
    if event.state == "disabled":
        database.execute(delete(tables.Session).where(tables.Session.user_id == event.user))
    return action, f"{event.name} <{', '.join(event.addresses)}> {event.state}", ""


def _hold_addresses(event: events.UserPut, context: Context) -> None:
    database, now, number = context.database, context.entry.at, context.entry.number
    open_rows = {
        row.lookup: row
        for row in database.scalars(
            select(tables.Address).where(tables.Address.user_id == event.user, tables.Address.until.is_(None))
        )
    }
    for rank, address in enumerate(event.addresses):
        key = lookup(context.lookup_key, address)
        row = open_rows.pop(key, None)
        if row is not None:
            row.rank = rank
            continue
        earlier = database.scalars(select(tables.Address).where(tables.Address.lookup == key)).all()
        since = first_moment(Holding(one.user_id, one.since, one.until) for one in earlier)
        database.add(
            tables.Address(
                user_id=event.user,
                lookup=key,
                address=address,
                rank=rank,
                since=since,
                until=None,
                number=number,
            )
        )
    for row in open_rows.values():
        row.until, row.number = now, number


@_apply.register
def _(event: events.PasswordSet, context: Context) -> tuple[str, str, str]:
    user = context.database.get_one(tables.User, event.user)
    user.password = event.phc or None
    context.database.execute(delete(tables.Session).where(tables.Session.user_id == event.user))
    context.database.execute(delete(tables.Invitation).where(tables.Invitation.user_id == event.user))
    return ("password.set" if event.phc else "password.remove"), event.user, ""


@_apply.register
def _(event: events.TotpSet, context: Context) -> tuple[str, str, str]:
    context.database.get_one(tables.User, event.user).totp = event.secret or None
    return ("totp.set" if event.secret else "totp.remove"), event.user, ""


@_apply.register
def _(event: events.InvitationMade, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Invitation).where(tables.Invitation.user_id == event.user))
    context.database.add(tables.Invitation(code_hash=event.code_hash, user_id=event.user, expires=event.expires))
    return "user.invite", event.user, ""


@_apply.register
def _(event: events.InvitationUsed, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Invitation).where(tables.Invitation.code_hash == event.code_hash))
    return "invitation.use", "", ""


@_apply.register
def _(event: events.RoleAsked, context: Context) -> tuple[str, str, str]:
    context.database.add(
        tables.GrantRequest(
            id=event.request, user_id=event.user, role=event.role, reason=event.reason,
            asked_by=context.entry.by, at=context.entry.at,
        )
    )  # fmt: skip
    return "role.ask", f"{event.role} {event.user}", event.reason


@_apply.register
def _(event: events.RoleGranted, context: Context) -> tuple[str, str, str]:
    context.database.merge(
        tables.Grant(
            user_id=event.user, role=event.role, reason=event.reason, granted_by=context.entry.by,
            at=context.entry.at,
        )
    )  # fmt: skip
    if event.request:
        context.database.execute(delete(tables.GrantRequest).where(tables.GrantRequest.id == event.request))
    return "role.grant", f"{event.role} {event.user}", event.reason


@_apply.register
def _(event: events.RoleRefused, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.GrantRequest).where(tables.GrantRequest.id == event.request))
    return "role.refuse", event.request, ""


@_apply.register
def _(event: events.RoleRevoked, context: Context) -> tuple[str, str, str]:
    context.database.execute(
        delete(tables.Grant).where(tables.Grant.user_id == event.user, tables.Grant.role == event.role)
    )
    return "role.revoke", f"{event.role} {event.user}", ""


@_apply.register
def _(event: events.ArchiveOpened, context: Context) -> tuple[str, str, str]:
    context.database.merge(
        tables.Access(
            user_id=event.user, archive=event.archive, reason=event.reason, opened_by=context.entry.by,
            at=context.entry.at,
        )
    )  # fmt: skip
    return "access.open", f"{event.archive} to {event.user}", event.reason


@_apply.register
def _(event: events.ArchiveClosed, context: Context) -> tuple[str, str, str]:
    context.database.execute(
        delete(tables.Access).where(tables.Access.user_id == event.user, tables.Access.archive == event.archive)
    )
    return "access.close", f"{event.archive} to {event.user}", ""


@_apply.register
def _(event: events.MailboxPut, context: Context) -> tuple[str, str, str]:
    row = context.database.get(tables.Mailbox, event.mailbox)
    action = "mailbox.change" if row else "mailbox.create"
    if row is None:
        row = tables.Mailbox(id=event.mailbox, created_at=context.entry.at)
        context.database.add(row)
    row.name, row.address, row.state, row.unknown = event.name, event.address, event.state, event.unknown
    row.networks, row.tls_required = json.dumps(event.networks), event.tls_required
    row.domains, row.description = json.dumps(event.domains), event.description or None
    row.aliases, row.catch_all, row.sealed = json.dumps(event.aliases), json.dumps(event.catch_all), event.sealed
    row.delete_after_pull, row.retention_days = event.delete_after_pull, event.retention_days
    if event.state == "deleted":
        row.deleted_at = context.entry.at
        action = "mailbox.delete"
    context.database.flush()
    _open_doors(event, context)
    return action, " ".join(_told(event)), ""


def _open_doors(event: events.MailboxPut, context: Context) -> None:
    """The addresses that lead to the mailbox from now on; what it had beside them has led there until now."""
    wanted = {event.address, *event.aliases, *(ALL_OF + domain for domain in event.catch_all)}
    if event.state == "deleted":
        wanted = set()
    rows = context.database.scalars(select(tables.Door).where(tables.Door.mailbox == event.mailbox)).all()
    for row in rows:
        if row.address in wanted:
            row.until = None
        elif row.until is None:
            row.until = context.entry.at
    for address in sorted(wanted - {row.address for row in rows}):
        context.database.add(tables.Door(address=address, mailbox=event.mailbox, until=None))


def _told(event: events.MailboxPut) -> Iterator[str]:
    """A mailbox in words, as the audit trail shows it."""
    yield f"{event.name} <{event.address}> {event.state} unknown={event.unknown}"
    if event.sealed:
        yield "sealed"
    for name, values in (
        ("aliases", event.aliases), ("catch-all", event.catch_all), ("networks", event.networks),
        ("domains", event.domains),
    ):  # fmt: skip
        if values:
            yield f"{name}={','.join(values)}"
    if event.tls_required:
        yield "TLS-required"
    if event.delete_after_pull:
        yield "delete-after-pull"
    if event.retention_days:
        yield f"retention={event.retention_days}-days"


@_apply.register
def _(event: events.RecordsErased, context: Context) -> tuple[str, str, str]:
    for record in event.records:
        context.database.merge(tables.Erased(record=record, mailbox=event.mailbox, number=context.entry.number))
    mailbox = context.database.get(tables.Mailbox, event.mailbox)
    address = mailbox.address if mailbox else event.mailbox.hex()
    return "records.erase", f"{len(event.records)} of {address} ({event.why})", ""


@_apply.register
def _(event: events.TimestampingSet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.Timestamping(id=1, url=event.url))
    return "timestamping.set", event.url, ""


@_apply.register
def _(event: events.CertificateSet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.Certificate(id=1, put=msgspec.json.encode(event).decode()))
    return "certificate.set", " ".join((event.source, *event.names, event.directory)).strip(), ""


@_apply.register
def _(event: events.RemotePut, context: Context) -> tuple[str, str, str]:
    action = f"remote.{_put(tables.Remote, event, context)}"
    return action, " ".join(_remote_told(event)), ""


def _put(
    table: type[_Named], event: events.RemotePut | events.DirectoryPut | events.ProfilePut, context: Context
) -> str:
    """The row of that name holds the event: "add" where there was none before, else "change"."""
    row = context.database.get(table, event.name)
    found = "change" if row else "add"
    if row is None:
        row = table(name=event.name)
        context.database.add(row)
    row.put = msgspec.json.encode(event).decode()
    return found


def _remote_told(event: events.RemotePut) -> Iterator[str]:
    """A remote in words: where it is, and nothing else of what its options hold."""
    yield f"{event.name} {event.kind} interval={event.interval}-seconds"
    for key in ("host", "url", "endpoint"):
        if host := _host(event.options.get(key, "")):
            yield f"{key}={host}"
    if event.paused:
        yield "paused"
    if event.lock_days:
        yield f"lock={event.lock_days}-days-{event.lock_mode.lower()}"
    if event.bandwidth:
        yield f"bandwidth={event.bandwidth.replace(' ', ';')}"


def _host(address: str) -> str:
    """The host in an address or URL, which may have a password in it; empty where there is none."""
    try:
        return (urlsplit(address if "://" in address else f"//{address}").hostname or "").replace(" ", ";")
    except ValueError:
        return "?"


@_apply.register
def _(event: events.RemoteRemoved, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Remote).where(tables.Remote.name == event.name))
    return "remote.remove", event.name, ""


@_apply.register
def _(event: events.ReplicationSet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.Replication(id=1, keep_local_days=event.keep_local_days, rehearsal=event.rehearsal))
    told = f"keep-local={event.keep_local_days}-days rehearsal={'on' if event.rehearsal else 'off'}"
    return "replication.set", told, ""


@_apply.register
def _(event: events.ImportFolderSet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.ImportFolder(id=1, path=event.path))
    return "imports.watch", event.path or "off", ""


@_apply.register
def _(event: events.DirectoryPut, context: Context) -> tuple[str, str, str]:
    action = f"directory.{_put(tables.Directory, event, context)}"
    told = [event.name, event.kind, f"interval={event.interval}-seconds"]
    if host := _host(event.options.get("url", "")):
        told.append(f"url={host}")
    if event.signs_in:
        told.append("signs-in")
    return action, " ".join(told), ""


@_apply.register
def _(event: events.DirectoryRemoved, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Directory).where(tables.Directory.name == event.name))
    context.database.execute(delete(tables.Link).where(tables.Link.directory == event.name))
    return "directory.remove", event.name, ""


@_apply.register
def _(event: events.PeopleLinked, context: Context) -> tuple[str, str, str]:
    for link in event.links:
        context.database.merge(
            tables.Link(
                directory=event.directory, lookup=lookup(context.lookup_key, link.person), user_id=link.user,
                put=msgspec.json.encode(link).decode(),
            )
        )  # fmt: skip
    return "directory.link", f"{event.directory} {len(event.links)} users", ""


@_apply.register
def _(event: events.DirectorySynchronised, context: Context) -> tuple[str, str, str]:
    row = context.database.get(tables.Directory, event.name)
    if row is not None:
        row.synchronised_at, row.result = context.entry.at, msgspec.json.encode(event).decode()
    told = f"{event.name} created={event.created} changed={event.changed} unchanged={event.unchanged}"
    return "directory.synchronise", f"{told} refused={event.refused} disabled={event.disabled}", ""


@_apply.register
def _(event: events.ProfilePut, context: Context) -> tuple[str, str, str]:
    action = f"profile.{_put(tables.Profile, event, context)}"
    return action, " ".join(_profile_told(event)), ""


def _profile_told(event: events.ProfilePut) -> Iterator[str]:
    """A profile in words: from where, into whose archive, when; nothing else of what its options hold."""
    yield f"{event.name} {event.kind}"
    for key in ("host", "url"):
        if host := _host(event.options.get(key, "")):
            yield f"{key}={host}"
    if event.archive:
        yield f"archive={event.archive}"
    if event.chosen:
        yield f"users={event.users}-{len(event.chosen)}"
    if event.interval or event.cron:
        yield f"interval={event.interval}-seconds" if event.interval else f"cron={event.cron.replace(' ', '_')}"
    if event.delete_after_days:
        yield f"delete-after={event.delete_after_days}-days"
    if event.paused:
        yield "paused"


@_apply.register
def _(event: events.ProfileRemoved, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Profile).where(tables.Profile.name == event.name))
    return "profile.remove", event.name, ""


@_apply.register
def _(event: events.GatewaySet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.Gateway(id=1, hostname=event.hostname, size_limit=event.size_limit))
    return "gateway.set", f"{event.hostname} {event.size_limit}", ""


@_apply.register
def _(event: events.WatchSet, context: Context) -> tuple[str, str, str]:
    whose = "all"
    if event.mailbox:
        row = context.database.get(tables.Mailbox, event.mailbox)
        whose = row.address if row else event.mailbox.hex()
    context.database.execute(delete(tables.Watch).where(tables.Watch.mailbox == event.mailbox))
    if not event.own:
        return "watch.set", f"{whose} as-all", ""
    context.database.add(tables.Watch(mailbox=event.mailbox, rule=msgspec.json.encode(event).decode()))
    days = ",".join(map(str, event.days))
    told = f"{whose} hours={event.hours} days={days} minutes={event.begins}-{event.ends} zone={event.zone or 'local'}"
    return "watch.set", told, ""


@_apply.register
def _(event: events.NotifyingSet, context: Context) -> tuple[str, str, str]:
    put = msgspec.json.encode(event).decode()
    context.database.merge(tables.Notifying(id=1, at=context.entry.at, put=put))
    told = [f"level={event.level}", f"daily={'off' if event.daily_hour is None else event.daily_hour}"]
    if event.host:
        told += [f"mail={event.host}:{event.port}", f"to={','.join(event.recipients)}"]
    if event.url:
        told.append(f"webhook={_host(event.url)}")
    return "notifying.set", " ".join(told), ""


@_apply.register
def _(event: events.MetricsTokenSet, context: Context) -> tuple[str, str, str]:
    context.database.merge(tables.MetricsToken(id=1, token_hash=event.token_hash))
    return ("metrics-token.set" if event.token_hash else "metrics-token.remove"), "", ""


@_apply.register
def _(event: events.HoldPlaced, context: Context) -> tuple[str, str, str]:
    context.database.merge(
        tables.Hold(id=event.hold, reason=event.reason, archive=event.archive, since=event.since, until=event.until)
    )
    return "hold.place", f"{event.hold} {event.archive or 'all archives'}", event.reason


@_apply.register
def _(event: events.HoldReleased, context: Context) -> tuple[str, str, str]:
    context.database.execute(delete(tables.Hold).where(tables.Hold.id == event.hold))
    return "hold.release", event.hold, ""
