"""The people of a Microsoft Entra tenant, read through Microsoft Graph.

    GET /users · /groups/{id}/transitiveMembers · /directory/deletedItems/microsoft.graph.user · POST /$batch

https://learn.microsoft.com/en-us/graph/api/user-list, …/group-list-transitivemembers, …/directory-deleteditems-list,
…/user-get-mailboxsettings
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from appliance.checks import Check
from appliance.directory.base import LeftOut, Listing, Person, Progress
from appliance.directory.trying import clock, problem, tried
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from appliance.language import _, later, ngettext
from appliance.mail.addresses import domain, local_part, normalise
from appliance.vendor import findings
from appliance.vendor.graph import BATCH, Graph
from appliance.vendor.microsoft import Application
from appliance.vendor.web import BRIEF, Patience, RefusedError

_USERS_RIGHT: Final = "User.Read.All"
_GROUPS_RIGHT: Final = "GroupMember.Read.All"
_MAILBOXES_RIGHT: Final = "MailboxSettings.Read"
"""Permissions, as Microsoft Graph calls them."""

_PAGE = "999"  # the most that Graph gives at a time
_SELECT: Final = "id,displayName,mail,userPrincipalName,proxyAddresses,accountEnabled,assignedLicenses,userType"
_USERS = {"$select": _SELECT, "$top": _PAGE}
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_DELETED = "/directory/deletedItems/microsoft.graph.user"


class User(msgspec.Struct, frozen=True, rename="camel"):
    """What Graph says of a user (https://learn.microsoft.com/en-us/graph/api/resources/user)."""

    id: str
    display_name: str | None = None
    mail: str | None = None
    user_principal_name: str | None = None
    proxy_addresses: tuple[str, ...] | None = None
    account_enabled: bool | None = None
    assigned_licenses: tuple[Mapping[str, object], ...] | None = None
    user_type: str | None = None


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Group(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    display_name: str | None = None


class EntraDirectory:
    """A tenant's directory. ``opened`` connects to its Microsoft Graph; ``groups``, ``licensed`` and ``shared`` are as
    the options of ``entra.KIND``."""

    def __init__(
        self,
        application: Application,
        opened: Callable[[Patience], Graph],
        *,
        groups: tuple[str, ...] = (),
        licensed: bool = False,
        shared: bool = False,
    ) -> None:
        self._application = application
        self._opened = opened
        self._groups = groups
        self._licensed = licensed
        self._shared = shared

    def people(self, progress: Progress) -> Listing:
        """Everybody whom the options select, and those whose accounts were deleted in the last 30 days."""
        with self._opened(Patience()) as graph:
            return self._listing(graph, progress)

    def check(self) -> Iterator[Check]:
        """Sign in, then try each permission that the options need."""
        yield from self._certificate()
        with self._opened(BRIEF) as graph:
            try:
                graph.sign_in()
            except MailkeepError as error:
                yield problem(_("sign-in"), error)
                return
            yield Check(_("sign-in"), "ok", _("Microsoft Entra ID lets the application in."))
            yield from clock(graph.skew, "Microsoft")
            yield from tried(self._attempts(graph))

    def _listing(self, graph: Graph, progress: Progress) -> Listing:
        def seen(count: int) -> None:
            if not self._shared:
                progress(count, None)

        users = _by_id(_users(graph, seen))
        if not users:
            raise UnavailableError(later("Microsoft Graph lists no user at all. Nothing was changed."))
        members = self._members(graph, users)
        chosen = [one for one in users.values() if _is_own(one) and (members is None or one.id in members)]
        purposes = self._purposes(graph, chosen, progress)
        excluded = len(users) - len(chosen)
        people: list[Person] = []
        left_out: list[LeftOut] = []
        for one in chosen:
            shared = purposes.get(one.id) == "shared"
            if self._licensed and not shared and not one.assigned_licenses:
                excluded += 1
            elif not (addresses := _addresses(one)):
                left_out.append(LeftOut(_name(one), _("The account has no mail address."), one.id))
            else:
                people.append(_person(one, addresses, shared=shared))
        deleted = _by_id(_deleted(graph))
        gone = {id: one for id, one in deleted.items() if _is_own(one) and _addresses(one)}
        excluded += len(deleted) - len(gone)
        people = [one for one in people if one.id not in gone]  # deleted after the users were read
        taken = {address for one in people for address in one.addresses}
        people.extend(_deleted_person(one, taken) for one in gone.values())
        progress(len(users), len(users))
        return Listing(tuple(people), tuple(left_out), excluded)

    def _members(self, graph: Graph, users: Collection[str]) -> set[str] | None:
        """Who is in one of the groups, by id; None where no group is named."""
        if not self._groups:
            return None
        members: set[str] = set()
        for name in self._groups:
            inside = _members_of(graph, _group(graph, name)) & set(users)
            if not inside:
                # Taken as it is, everybody would be gone from the archive's directory.
                raise UsageError(
                    later(
                        "No user is in the group “{name}”, as far as the application can see. Nothing was changed. "
                        "Where its membership is hidden, the application needs Microsoft Graph's permission "
                        "Member.Read.Hidden."
                    ),
                    name=name,
                )
            members |= inside
        return members

    def _purposes(self, graph: Graph, users: Sequence[User], progress: Progress) -> dict[str, str]:
        """What the users' mailboxes are for, where that is to be asked; "" for who has no mailbox."""
        asked = [one for one in users if self._shared and _addresses(one)]
        found: dict[str, str] = {}
        for begin in range(0, len(asked), BATCH):
            some = asked[begin : begin + BATCH]
            replies = graph.batch([f"/users/{one.id}/mailboxSettings/userPurpose" for one in some])
            for one, reply in zip(some, replies, strict=True):
                found[one.id] = _purpose(one, reply.status, reply.reason, reply.body)
            progress(begin + len(some), len(asked))
        return found

    def _certificate(self) -> Iterator[Check]:
        if (certificate := self._application.certificate) is None:
            return
        state, text = findings.certificate(certificate.not_before, certificate.not_after, datetime.now(UTC))
        yield Check(_("certificate"), state, text)

    def _attempts(self, graph: Graph) -> Iterator[tuple[str, Callable[[], Check]]]:
        some: list[User] = []

        def users() -> Check:
            with _permission(_USERS_RIGHT):
                some.extend(graph.get("/users", _Some, {"$select": _SELECT, "$top": "20"}).value)
            return Check(_USERS_RIGHT, "ok", _("Users, their addresses and licences can be read."))

        def deleted() -> Check:
            with _permission(_USERS_RIGHT):
                graph.get(_DELETED, _Some, {"$select": _SELECT, "$top": "1"})
            return Check(_("deleted accounts"), "ok", _("Deleted accounts can be read."))

        def group(name: str) -> Check:
            count = len(_members_of(graph, _group(graph, name)))
            if not count:
                text = _(
                    "The group “{name}” has no members that can be seen. Where its membership is hidden, the "
                    "application needs Microsoft Graph's permission Member.Read.Hidden."
                )
                return Check(_GROUPS_RIGHT, "problem", text.format(name=name))
            text = ngettext("The group “{name}” has {count} member.", "The group “{name}” has {count} members.", count)
            return Check(_GROUPS_RIGHT, "ok", text.format(name=name, count=count))

        def shared() -> Check:
            with_address = [one for one in some if _addresses(one)]
            if not with_address:
                return Check(_MAILBOXES_RIGHT, "warning", _("There was no mailbox to try it with."))
            self._purposes(graph, with_address, lambda _done, _total: None)
            return Check(_MAILBOXES_RIGHT, "ok", _("What a mailbox is for can be read."))

        yield _USERS_RIGHT, users
        yield _("deleted accounts"), deleted
        for name in self._groups:
            yield _GROUPS_RIGHT, partial(group, name)
        if self._shared:
            yield _MAILBOXES_RIGHT, shared


class _Some(msgspec.Struct, frozen=True):
    """A first page, which is enough."""

    value: tuple[User, ...]


def _users(graph: Graph, seen: Callable[[int], None]) -> list[User]:
    with _permission(_USERS_RIGHT):
        return graph.every("/users", User, _USERS, seen)


def _deleted(graph: Graph) -> list[User]:
    with _permission(_USERS_RIGHT):
        return graph.every(_DELETED, User, _USERS)


def _group(graph: Graph, name: str) -> str:
    """The id of a group that is named by its id, its name or its address. Raises UsageError."""
    with _permission(_GROUPS_RIGHT):
        if _GUID.fullmatch(name):
            try:
                return graph.get(f"/groups/{name.lower()}", _Group, {"$select": "id,displayName"}).id
            except RefusedError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                raise UsageError(later("There is no group with the object id {id} in the tenant."), id=name) from error
        by = "mail" if "@" in name else "displayName"
        quoted = name.replace("'", "''")  # OData 4.01, part 2, section 5.1.1.14.1
        found = graph.every("/groups", _Group, {"$filter": f"{by} eq '{quoted}'", "$select": "id,displayName"})
    if not found:
        raise UsageError(
            later("There is no group “{name}” in the tenant. Give its name, its mail address or its object id."),
            name=name,
        )
    if len(found) > 1:
        raise UsageError(
            later(
                "There are {count} groups “{name}” in the tenant. Give the object id of the one that is meant: {ids}."
            ),
            count=len(found),
            name=name,
            ids=", ".join(one.id for one in found),
        )
    return found[0].id


def _members_of(graph: Graph, group: str) -> set[str]:
    """The ids of all that is in a group and in groups in it: users, and things that are none."""
    with _permission(_GROUPS_RIGHT):
        # Without a cast to users, which would be answered from an index that may be behind.
        found = graph.every(f"/groups/{group}/transitiveMembers", _Id, {"$select": "id", "$top": _PAGE})
    return {one.id.lower() for one in found}


def _purpose(user: User, status: int, reason: str, body: object) -> str:
    if status == HTTPStatus.OK and isinstance(body, dict) and isinstance(body.get("value"), str):
        return str(body["value"])
    if status == HTTPStatus.NOT_FOUND:  # MailboxNotEnabledForRESTAPI: no mailbox in Exchange Online
        return ""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise RemoteDeniedError(
            later(
                "Exchange Online does not say what the mailbox of {name} is for ({reason}). The application needs "
                "Microsoft Graph's permission {permission}: in the Microsoft Entra admin center, under App "
                "registrations, open the application, API permissions, Add a permission, Microsoft Graph, Application "
                "permissions, {permission}; then Grant admin consent. Where a policy limits the application to some "
                "mailboxes, it has to name all that the directory lists, or shared ones cannot be told apart."
            ),
            name=_name(user),
            reason=reason or status,
            permission=_MAILBOXES_RIGHT,
        )
    raise UnavailableError(
        later(
            "Exchange Online could not say what the mailbox of {name} is for ({reason}). Nothing was changed; it is "
            "tried again later."
        ),
        name=_name(user),
        reason=reason or status,
    )


@contextmanager
def _permission(name: str) -> Iterator[None]:
    """What a refusal in here means: the permission is missing."""
    try:
        yield
    except RefusedError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        raise RemoteDeniedError(
            later(
                "The application may not read this ({reason}). It needs Microsoft Graph's permission {permission}: in "
                "the Microsoft Entra admin center, under App registrations, open the application, API permissions, Add "
                "a permission, Microsoft Graph, Application permissions, {permission}; then Grant admin consent."
            ),
            reason=error.reason or error.status,
            permission=name,
        ) from error


def _by_id(users: Sequence[User]) -> dict[str, User]:
    """Each once: who changes while pages are read may be on two of them."""
    return {one.id.lower(): msgspec.structs.replace(one, id=one.id.lower()) for one in users}


def _is_own(user: User) -> bool:
    """Guests have their mailboxes elsewhere. Accounts that were never given a type are members."""
    return (user.user_type or "").lower() != "guest"


def _name(user: User) -> str:
    return user.display_name or user.user_principal_name or user.id


def _addresses(user: User) -> tuple[str, ...]:
    """The primary one first: ``SMTP:`` marks it, ``smtp:`` the others; X500:, SIP: and so on are no mail addresses."""
    given = [one.partition(":") for one in user.proxy_addresses or ()]
    primary = [address for scheme, _, address in given if scheme == "SMTP"]
    others = [address for scheme, _, address in given if scheme.lower() == "smtp"]
    written = map(normalise, (*primary, user.mail or "", *others))
    return tuple(dict.fromkeys(one for one in written if domain(one) and local_part(one)))


def _person(user: User, addresses: tuple[str, ...], *, shared: bool) -> Person:
    login = normalise(user.user_principal_name or "")
    # The account behind a shared mailbox cannot sign in, and is not meant to: its mailbox is in use all the same.
    disabled = user.account_enabled is False and not shared
    return Person(
        id=user.id,
        name=_name(user),
        addresses=addresses,
        kind="shared" if shared else "user",
        state="disabled" if disabled else "active",
        login="" if login == addresses[0] else login,
    )


def _deleted_person(user: User, taken: Collection[str]) -> Person:
    """Without the addresses that somebody else has been given since, and without its sign-in name, which Entra garbles
    when it deletes an account."""
    addresses = tuple(one for one in _addresses(user) if one not in taken)
    return Person(id=user.id, name=_name(user), addresses=addresses, state="deleted")
