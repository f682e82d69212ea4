"""The people of a Google Workspace, read through the Admin SDK's Directory API.

    GET /admin/directory/v1/users · /admin/directory/v1/groups/{group}/members

https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list, …/members/list
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Final, Literal, Self, TypeVar
from urllib.parse import quote

import msgspec

from appliance.checks import Check
from appliance.directory.base import LeftOut, Listing, Person, Progress, State
from appliance.directory.google import MEMBERS, USERS
from appliance.directory.trying import clock, problem, tried
from appliance.errors import MailkeepError, RemoteDeniedError, UnavailableError, UsageError
from appliance.language import _, later, ngettext
from appliance.mail.addresses import domain, local_part, normalise
from appliance.vendor.google import SIGN_IN, ServiceAccount, Tokens
from appliance.vendor.web import BRIEF, Api, Http, Patience, RefusedError

TITLE: Final = "Google Directory API"

_BUSY = frozenset({"quotaExceeded", "userRateLimitExceeded", "rateLimitExceeded"})
_READINGS = 3  # of a list whose place is lost again and again
_USER_FIELDS = "id,primaryEmail,name/fullName,aliases,nonEditableAliases,suspended,archived,orgUnitPath"
_USER_PAGE = {
    "customer": "my_customer",
    "maxResults": "500",
    "projection": "basic",  # all but custom fields, which are none of our business
    "fields": f"kind,nextPageToken,users({_USER_FIELDS})",
}
_MEMBER_PAGE = {
    "includeDerivedMembership": "true",
    "maxResults": "200",
    "fields": "kind,nextPageToken,members(id,type)",
}


class _Name(msgspec.Struct, frozen=True, rename="camel"):
    full_name: str = ""


class User(msgspec.Struct, frozen=True, rename="camel"):
    """What the API says of a user (…/reference/rest/v1/users#User).

    ``emails`` is not among it: beside the addresses of the Workspace it holds whatever private addresses the person
    put into their profile, and mail of those is not the company's.
    """

    id: str
    primary_email: str = ""
    name: _Name = _Name()
    aliases: tuple[str, ...] = ()
    non_editable_aliases: tuple[str, ...] = ()
    suspended: bool = False
    archived: bool = False
    org_unit_path: str = ""


class _Users(msgspec.Struct, frozen=True, rename="camel"):
    """A page. One without users has no list of them: ``kind`` tells it from an answer to something else."""

    kind: Literal["admin#directory#users"]
    users: tuple[User, ...] = ()
    next_page_token: str = ""


class _Member(msgspec.Struct, frozen=True):
    id: str = ""
    type: str = ""


class _Members(msgspec.Struct, frozen=True, rename="camel"):
    kind: Literal["admin#directory#members"]
    members: tuple[_Member, ...] = ()
    next_page_token: str = ""


P = TypeVar("P", _Users, _Members)


class Admin:
    """The Directory API, asked by a service account for an administrator."""

    def __init__(
        self,
        account: ServiceAccount,
        *,
        host: str,
        tls: ssl.SSLContext | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sign_in = Http(SIGN_IN, tls=tls, patience=patience, sleep=sleep)
        self._http = Http(TITLE, tls=tls, patience=patience, sleep=sleep, busy=_BUSY)
        tokens = Tokens(account, self._sign_in)
        # A token for each: Google gives none at all where one of its scopes was not delegated.
        self._tokens = {scope: tokens.of((scope,)) for scope in (USERS, MEMBERS)}
        self._apis = {
            scope: Api(self._http, f"{host}/admin/directory/v1", token) for scope, token in self._tokens.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sign_in.close()
        self._http.close()

    @property
    def skew(self) -> float | None:
        """Seconds that Google's clock is ahead of ours; None before the first answer."""
        return self._sign_in.skew if self._http.skew is None else self._http.skew

    def sign_in(self, scope: str) -> None:
        """Get a token. Raises RemoteDeniedError and UnavailableError."""
        self._tokens[scope]()

    def some_users(self, *, deleted: bool) -> tuple[User, ...]:
        """One of the users, to see whether they can be read."""
        with _right():
            return self._apis[USERS].get("/users", _Users, {**_users(deleted=deleted), "maxResults": "1"}).users

    def users(self, *, deleted: bool, seen: Callable[[int], None] = lambda _count: None) -> dict[str, User]:
        """All users that there are, or all that were deleted in the last 20 days, by id; ``seen`` is told how many
        there are so far."""
        with _right():
            pages = self._every(
                USERS,
                "/users",
                _Users,
                _users(deleted=deleted),
                lambda so_far: seen(sum(len(page.users) for page in so_far)),
            )
        return {one.id: one for page in pages for one in page.users}

    def members(self, group: str) -> tuple[set[str], bool]:
        """The ids of those in a group and in groups in it, and whether everybody of the Workspace is. Raises
        UsageError."""
        path = f"/groups/{quote(group, safe='@')}/members"
        try:
            with _right():
                pages = self._every(MEMBERS, path, _Members, _MEMBER_PAGE, lambda _so_far: None)
        except RefusedError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            raise UsageError(
                later("There is no group “{name}” in the Google Workspace. Give its address."), name=group
            ) from error
        found = [one for page in pages for one in page.members]
        return {one.id for one in found if one.id}, any(one.type == "CUSTOMER" for one in found)

    def _every(
        self, scope: str, path: str, type: type[P], params: Mapping[str, str], seen: Callable[[Sequence[P]], None]
    ) -> list[P]:
        """All pages of a list, from its beginning where the place in it is lost."""
        for _reading in range(_READINGS):
            pages = self._read(scope, path, type, params, seen)
            if pages is not None:
                return pages
        raise UnavailableError(
            later(
                "{title} lost its place in a long list again and again. Nothing was changed; it is tried again later."
            ),
            title=TITLE,
        )

    def _read(
        self, scope: str, path: str, type: type[P], params: Mapping[str, str], seen: Callable[[Sequence[P]], None]
    ) -> list[P] | None:
        pages = [self._apis[scope].get(path, type, params)]
        seen(pages)
        been: set[str] = set()
        while token := pages[-1].next_page_token:
            if token in been:
                raise UnavailableError(
                    later("{title} leads round in circles in a long list. Nothing was changed."), title=TITLE
                )
            been.add(token)
            try:
                pages.append(self._apis[scope].get(path, type, {**params, "pageToken": token}))
            except RefusedError as error:
                if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.GONE}:  # what was right for the first page
                    return None
                raise
            seen(pages)
        return pages


class GoogleDirectory:
    """A Workspace's directory. ``opened`` connects to its API for ``admin``; ``groups`` and ``units`` are as the
    options of ``google.KIND``."""

    def __init__(
        self,
        admin: str,
        opened: Callable[[Patience], Admin],
        *,
        groups: tuple[str, ...] = (),
        units: tuple[str, ...] = (),
    ) -> None:
        self._admin = admin
        self._opened = opened
        self._groups = groups
        self._units = units

    def people(self, progress: Progress) -> Listing:
        """Everybody whom the options select, and those whose accounts were deleted in the last 20 days."""
        with self._opened(Patience()) as admin:
            users = admin.users(deleted=False, seen=lambda count: progress(count, None))
            if not users:
                raise UnavailableError(later("Google's directory lists no user at all. Nothing was changed."))
            members = self._members(admin, users)
            deleted = admin.users(deleted=True)
        chosen = {
            id: one
            for id, one in users.items()
            if id not in deleted and (members is None or id in members) and self._in_units(one)
        }
        self._complain_of_empty_units(users.values())
        people = [_person(one) for one in chosen.values() if _addresses(one)]
        left_out = [
            LeftOut(_name(one), _("The account has no mail address."), one.id)
            for one in chosen.values()
            if not _addresses(one)
        ]
        taken = {address for one in people for address in one.addresses}
        gone = [_deleted_person(one, taken) for one in deleted.values() if _addresses(one)]
        progress(len(users), len(users))
        return Listing(
            tuple(people + gone),
            tuple(left_out),
            len(users.keys() | deleted.keys()) - len(chosen) - len(gone),
        )

    def check(self) -> Iterator[Check]:
        """Sign in, then try each right that the options need."""
        with self._opened(BRIEF) as admin:
            try:
                admin.sign_in(USERS)
            except MailkeepError as error:
                yield problem(_("sign-in"), error)
                return
            yield Check(_("sign-in"), "ok", _("The service account may act for {admin}.").format(admin=self._admin))
            yield from clock(admin.skew, "Google")
            yield from tried(self._attempts(admin))

    def _attempts(self, admin: Admin) -> Iterator[tuple[str, Callable[[], Check]]]:
        def users() -> Check:
            admin.some_users(deleted=False)
            return Check(_("users"), "ok", _("Users and their addresses can be read."))

        def deleted() -> Check:
            admin.some_users(deleted=True)
            return Check(_("deleted accounts"), "ok", _("Deleted accounts can be read."))

        def group(name: str) -> Check:
            members, everybody = admin.members(name)
            if not members and not everybody:
                return Check(_("groups"), "problem", _("The group “{name}” has no members.").format(name=name))
            if everybody:
                return Check(_("groups"), "ok", _("Everybody is in the group “{name}”.").format(name=name))
            count = len(members)
            text = ngettext("The group “{name}” has {count} member.", "The group “{name}” has {count} members.", count)
            return Check(_("groups"), "ok", text.format(name=name, count=count))

        def units() -> Check:
            self._complain_of_empty_units(admin.users(deleted=False).values())
            return Check(_("organizational units"), "ok", _("There are users in each of the organizational units."))

        yield _("users"), users
        yield _("deleted accounts"), deleted
        for name in self._groups:
            yield _("groups"), partial(group, name)
        if self._units:
            yield _("organizational units"), units

    def _members(self, admin: Admin, users: Collection[str]) -> set[str] | None:
        """Who is in one of the groups, by id; None where that selects nobody from anybody."""
        if not self._groups:
            return None
        members: set[str] = set()
        for name in self._groups:
            inside, everybody = admin.members(name)
            inside = set(users) if everybody else inside & set(users)
            if not inside:
                # Taken as it is, everybody would be gone from the archive's directory.
                raise UsageError(
                    later("No user of the Workspace is in the group “{name}”. Nothing was changed."), name=name
                )
            members |= inside
        return members

    def _in_units(self, user: User) -> bool:
        return not self._units or any(_is_below(user.org_unit_path, unit) for unit in self._units)

    def _complain_of_empty_units(self, users: Collection[User]) -> None:
        for unit in self._units:
            if not any(_is_below(one.org_unit_path, unit) for one in users):
                raise UsageError(
                    later(
                        "No user is in the organizational unit “{unit}”. Nothing was changed. Give its whole path, "
                        "such as /Sales/Europe."
                    ),
                    unit=unit,
                )


def _users(*, deleted: bool) -> dict[str, str]:
    return {**_USER_PAGE, "showDeleted": "true" if deleted else "false"}


def _is_below(path: str, unit: str) -> bool:
    top = "/" + unit.strip("/").casefold()
    return f"{path.casefold().rstrip('/')}/".startswith(f"{top.rstrip('/')}/")


@contextmanager
def _right() -> Iterator[None]:
    """What a refusal in here means, in words."""
    try:
        yield
    except RefusedError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        if error.reason in {"accessNotConfigured", "SERVICE_DISABLED"}:
            raise RemoteDeniedError(
                later(
                    "The Admin SDK API is not enabled for the service account's project. In the Google Cloud console, "
                    "under APIs & Services, Library, open Admin SDK API and enable it."
                )
            ) from error
        raise RemoteDeniedError(
            later(
                "The administrator whom the service account acts for may not read this ({reason}). Give an "
                "administrator whose role has the Admin API privileges to read users and groups. Where the Workspace "
                "keeps API access closed, open it under Security, Access and data control, API controls."
            ),
            reason=error.reason or error.status,
        ) from error


def _name(user: User) -> str:
    return user.name.full_name or user.primary_email or user.id


def _addresses(user: User) -> tuple[str, ...]:
    written = map(normalise, (user.primary_email, *user.aliases, *user.non_editable_aliases))
    return tuple(dict.fromkeys(one for one in written if domain(one) and local_part(one)))


def _person(user: User) -> Person:
    state: State = "disabled" if user.suspended or user.archived else "active"
    return Person(id=user.id, name=_name(user), addresses=_addresses(user), state=state)


def _deleted_person(user: User, taken: Collection[str]) -> Person:
    """Without the addresses that somebody else has been given since."""
    addresses = tuple(one for one in _addresses(user) if one not in taken)
    return Person(id=user.id, name=_name(user), addresses=addresses, state="deleted")
