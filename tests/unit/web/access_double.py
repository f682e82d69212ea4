"""The part of the double that knows whose archives may be read by whom."""

from __future__ import annotations

from typing import Any

from appliance.errors import ConflictError, ForbiddenError, NotFoundError
from appliance.services import api

SINCE = 1_794_000_000


class AccessDouble:
    """Rights in memory; mixed into ``ArchiveDouble``."""

    state: Any

    def _admin(self, token: str) -> None:
        raise NotImplementedError

    def _caller(self, token: str) -> api.Caller:
        raise NotImplementedError

    def begin_access(self) -> None:
        """Mei Lin may read the archive of Tomás Ferreira."""
        self.rights: dict[tuple[str, str], str] = {("u-4", "u-3"): "Looks after his customers while he is away"}

    def opened(self, user: str) -> tuple[api.OtherArchive, ...]:
        """The others' archives that a user may read."""
        people = [self.state.accounts[whose].user for reader, whose in self.rights if reader == user]
        return tuple(
            api.OtherArchive(one.id, one.name, one.primary) for one in sorted(people, key=lambda one: one.name)
        )

    def archives(self, caller: api.Caller, whose: str) -> frozenset[str]:
        """The archives that a question is about."""
        opened = {one.id for one in caller.opened}
        if whose and whose not in (api.ALL, caller.user_id, *opened):
            raise ForbiddenError("This archive is not open to you, or not any more.")
        return frozenset({caller.user_id, *opened} if whose == api.ALL else {whose or caller.user_id})

    async def user_by_address(self, token: str, *, address: str) -> api.UserInfo:
        self._admin(token)
        for account in self.state.accounts.values():
            if address in (account.user.primary, *account.user.aliases):
                found: api.UserInfo = account.user
                return found
        raise NotFoundError(f"No user has the address {address}.")

    async def access_list(self, token: str, *, user: str = "", whose: str = "") -> tuple[api.AccessInfo, ...]:
        self._admin(token)
        return tuple(
            self._info(reader, other) for reader, other in self.rights if user in ("", reader) and whose in ("", other)
        )

    async def access_open(self, token: str, *, user: str, whose: str, reason: str) -> api.AccessInfo:
        self._admin(token)
        if user == self._caller(token).user_id:
            raise ForbiddenError("Nobody opens an archive to themself. Ask another administrator to do it.")
        if (user, whose) in self.rights:
            raise ConflictError("This archive is open to that user already.")
        self.rights[user, whose] = reason
        return self._info(user, whose)

    async def access_close(self, token: str, *, user: str, whose: str) -> None:
        self._admin(token)
        if self.rights.pop((user, whose), None) is None:
            raise NotFoundError("This archive is not open to that user.")

    async def access_mine(self, token: str) -> tuple[api.ArchiveReader, ...]:
        me = self._caller(token).user_id
        people = [self.state.accounts[reader].user for reader, whose in self.rights if whose == me]
        return tuple(api.ArchiveReader(one.name, one.primary, SINCE) for one in people)

    def _info(self, user: str, whose: str) -> api.AccessInfo:
        reader, owner = self.state.accounts[user].user, self.state.accounts[whose].user
        return api.AccessInfo(
            user=user, user_name=reader.name, user_address=reader.primary, archive=whose, archive_name=owner.name,
            archive_address=owner.primary, reason=self.rights[user, whose], opened_by="Jonas Müller", since=SINCE,
        )  # fmt: skip
