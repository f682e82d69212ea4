"""The audit trail: how looks into mail stand in it, and how auditors and administrators read it."""

from __future__ import annotations

import re

from sqlalchemy import func, or_, select

from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import Principal
from appliance.settings import tables

_WORD = re.compile(r"[\w-]+")

CONTENT_ACTIONS = ("search", "search.everywhere", "attachment.open", "export.begin", "export.download", "unpack.begin")
"""Actions whose ``what`` can hold words of somebody's mail or search: for auditors only."""

OTHERS = ".other"
"""Ends the action of a look into archives that are not the caller's own; its ``what`` begins with whose they are."""


def note_look(
    archive: Archive, principal: Principal, action: str, what: str, others: frozenset[str] = frozenset()
) -> None:
    """Write an audit line for a look into mail; ``others`` are the archives in it that are not the caller's own."""
    archive.note(principal, *look(action, what, others))


def look(action: str, what: str, others: frozenset[str]) -> tuple[str, str]:
    """Action and ``what`` of the audit line of such a look."""
    return (action + OTHERS, f"{', '.join(sorted(others))}: {what}") if others else (action, what)


def audit(archive: Archive, principal: Principal, *, find: str = "", offset: int = 0, limit: int = 50) -> api.AuditPage:
    """The audit trail, newest first. ``find`` narrows it to an action, such as ``sign-in``, or a person's name.

    An administrator who is no auditor sees who did what, but not what was searched for.
    """
    if not principal.roles & {"admin", "auditor"}:
        principal.require("auditor")
    wanted = find.strip()
    with archive.settings.read() as database:
        names = {row.id: row.name for row in database.scalars(select(tables.User))}
        # Names are encrypted one by one, so they are compared here and not in SQL.
        people = [id for id, name in names.items() if wanted.casefold() in name.casefold()]
        condition = or_(
            tables.AuditRow.action.startswith(wanted, autoescape=True),
            tables.AuditRow.by == wanted,
            tables.AuditRow.by.in_(people),
        )
        total = database.scalar(select(func.count()).select_from(tables.AuditRow).where(condition)) or 0
        rows = database.scalars(
            select(tables.AuditRow)
            .where(condition)
            .order_by(tables.AuditRow.number.desc())
            .offset(max(offset, 0))
            .limit(min(max(limit, 0), 500))
        ).all()
    hide = not principal.is_auditor
    return api.AuditPage(
        total,
        tuple(
            api.AuditLine(
                number=row.number, at=row.at // 1_000_000, who=names.get(row.by, row.by), action=row.action,
                what=_readable(_without_content(row) if hide else row.what, names), reason=row.reason,
            )
            for row in rows
        ),
    )  # fmt: skip


def _without_content(row: tables.AuditRow) -> str:
    """``what`` without words of somebody's mail or search."""
    if row.action.removesuffix(OTHERS) not in CONTENT_ACTIONS:
        return row.what
    return row.what.partition(":")[0] if row.action.endswith(OTHERS) else ""


def _readable(what: str, names: dict[str, str]) -> str:
    """``what`` with the ids of users replaced by their names."""
    return _WORD.sub(lambda word: names.get(word[0], word[0]), what)
