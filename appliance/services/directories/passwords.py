"""Signing in with the password of a directory: for who has none here, and holds no role.

An administrator or auditor has a password of their own: whoever runs the directory could become one otherwise.
"""

from __future__ import annotations

import secrets

import msgspec
from sqlalchemy import select

from appliance.services.archive import Archive
from appliance.services.directories import errand
from appliance.settings import events, tables


class Asked(msgspec.Struct, frozen=True):
    """Which directory is to be asked, and about whom. ``person`` that is nobody there is asked about in vain, so that
    an address that nobody has takes as long."""

    directory: events.DirectoryPut
    person: str

    def is_right(self, password: str) -> bool:
        """Whether it is the person's password there. Raises UnavailableError, RemoteDeniedError."""
        return bool(password) and errand.is_right(self.directory.kind, self.directory.options, self.person, password)


def whom_to_ask(archive: Archive, user: tables.User | None) -> Asked | None:
    """Who knows the password of a user who has none here; None where nobody does. ``user`` None is an address that
    nobody signs in with."""
    able = [one.put for one in archive.settings.directories() if one.put.signs_in]
    if not able:
        return None
    if user is None:
        return Asked(able[0], secrets.token_hex(16))
    with archive.settings.read() as database:
        if database.scalar(select(tables.Grant.role).where(tables.Grant.user_id == user.id).limit(1)):
            return None
    links = archive.settings.links_of(user.id)
    found = ((put, links[put.name]) for put in able if put.name in links)
    return next((Asked(put, link.person) for put, link in found if link.state == "active"), None)
