"""Whose archives may be read by whom, beside their owners and auditors: opened and closed by an administrator.

Who may read another's archive sees of it what its owner sees, hidden recipients among it, and changes nothing. Each
look is in the audit trail with the archive's name. A right that is closed is closed at once: each call asks anew, and
what goes on meanwhile (an export) asks with each message.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, func, select

from appliance.errors import ConflictError, ForbiddenError, NotFoundError, UsageError
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import Principal, View, closed
from appliance.settings import events, tables


def access_list(
    archive: Archive, principal: Principal, *, user: str = "", whose: str = ""
) -> tuple[api.AccessInfo, ...]:
    """Who may read which archive, by the readers' names and the archives': all of it, or what ``user`` may read, or
    by whom that of ``whose`` may be read (ids of users)."""
    principal.require("admin")
    wanted: list[ColumnElement[bool]] = []
    if user:
        wanted.append(tables.Access.user_id == user)
    if whose:
        wanted.append(tables.Access.archive == whose)
    with archive.settings.read() as database:
        rows = database.scalars(select(tables.Access).where(*wanted)).all()
    people = archive.settings.people({id for row in rows for id in (row.user_id, row.archive, row.opened_by)})
    found = [
        api.AccessInfo(
            user=row.user_id, user_name=people[row.user_id].name, user_address=people[row.user_id].address,
            archive=row.archive, archive_name=people[row.archive].name, archive_address=people[row.archive].address,
            reason=row.reason, opened_by=people[row.opened_by].name if row.opened_by in people else row.opened_by,
            since=row.at // 1_000_000,
        )
        for row in rows
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda one: (one.user_name.casefold(), one.archive_name.casefold(), one.archive)))


def access_open(archive: Archive, principal: Principal, *, user: str, whose: str, reason: str) -> api.AccessInfo:
    """Let ``user`` read the archive of ``whose`` (ids of users). Nobody does that for themself."""
    principal.require("admin")
    if not reason.strip():
        raise UsageError(later("Give a reason. It stays in the audit trail."))
    people = archive.settings.people({user, whose})
    if user not in people or whose not in people:
        raise NotFoundError(later("There is no such user."))
    if user == whose:
        raise UsageError(later("That is this user’s own archive."))
    if user == principal.id:
        raise ForbiddenError(_not_oneself(archive))
    if whose in archive.settings.opened_to(user):
        raise ConflictError(later("This archive is open to that user already."))
    archive.record(principal, events.ArchiveOpened(user, whose, reason.strip()))
    (opened,) = access_list(archive, principal, user=user, whose=whose)
    return opened


def access_close(archive: Archive, principal: Principal, *, user: str, whose: str) -> None:
    """Let ``user`` read the archive of ``whose`` no more, from this moment on."""
    principal.require("admin")
    if whose not in archive.settings.opened_to(user):
        raise NotFoundError(later("This archive is not open to that user."))
    archive.record(principal, events.ArchiveClosed(user, whose))


def access_mine(archive: Archive, principal: Principal) -> tuple[api.ArchiveReader, ...]:
    """Who may read the caller's own archive, those who have been for longest first."""
    with archive.settings.read() as database:
        rows = database.scalars(
            select(tables.Access).where(tables.Access.archive == principal.id).order_by(tables.Access.at)
        ).all()
    people = archive.settings.people({row.user_id for row in rows})
    return tuple(
        api.ArchiveReader(people[row.user_id].name, people[row.user_id].address, row.at // 1_000_000) for row in rows
    )


def others(archive: Archive, ids: Collection[str]) -> tuple[api.OtherArchive, ...]:
    """The archives with these ids as a face names them, by name."""
    people = archive.settings.people(ids) if ids else {}
    named = (api.OtherArchive(id, one.name, one.address) for id, one in people.items())
    return tuple(sorted(named, key=lambda one: (one.name.casefold(), one.id)))


def require_still_open(archive: Archive, principal: Principal, view: View) -> None:
    """Raises ForbiddenError where an archive of the view was closed to the caller since the view was made."""
    if view.others and not view.others <= archive.settings.opened_to(principal.id):
        raise closed()


def _not_oneself(archive: Archive) -> str:
    with archive.settings.read() as database:
        administrators = database.scalar(
            select(func.count())
            .select_from(tables.Grant)
            .join(tables.User, tables.User.id == tables.Grant.user_id)
            .where(tables.Grant.role == "admin", tables.User.state == "active")
        )
    if (administrators or 0) < 2:
        return later(
            "Nobody opens an archive to themself, and there is no other administrator to do it. Make one, or have it "
            "done on the box with `mailkeep user open`."
        )
    return later("Nobody opens an archive to themself. Ask another administrator to do it.")
