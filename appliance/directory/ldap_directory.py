"""Active Directory, OpenLDAP and other LDAP servers: who is there, and whether a password is right.

A listing is one search for all people, and one more for each thing that only the server can tell (who is in a group,
who matches a filter); the answers are put together by the people's ids. What goes into a filter is a value of it, never
text (RFC 4515), so that no name can change what is asked.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Final

from sansldap import FilterAnd, FilterEquality, FilterExtensibleMatch, FilterPresent, LDAPFilter, SearchScope

from appliance.checks import Check
from appliance.directory import ldap_entries, ldap_tls
from appliance.directory.base import LeftOut, Listing, Person, Progress
from appliance.directory.ldap_connection import (
    Connection,
    Entry,
    Limits,
    Referral,
    UntrustedError,
    WrongPasswordError,
    first_that_answers,
    in_short,
)
from appliance.directory.ldap_options import Options, Server
from appliance.directory.trying import problem
from appliance.errors import MailkeepError, UnavailableError, UsageError
from appliance.language import _, later

_IN_CHAIN: Final = "1.2.840.113556.1.4.1941"  # LDAP_MATCHING_RULE_IN_CHAIN, [MS-ADTS] section 3.1.1.3.4.4.3
_MEMBERS: Final = ("member", "uniquemember", "memberuid")  # RFC 4519 sections 2.17, 2.40; RFC 2307
_STEP: Final = 100  # people after which progress is told
_SAMPLE: Final = 3
# What every domain controller names beside the people of its domain: they hold DNS and the forest's settings.
_NO_PEOPLE: Final = ("dc=domaindnszones,", "dc=forestdnszones,", "cn=configuration,", "cn=schema,")


class LdapDirectory:
    """A directory on LDAP servers; each call connects anew."""

    def __init__(self, options: Options, limits: Limits | None = None) -> None:
        self._options = options
        self._limits = limits or Limits()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._options.context()  # reading the system's authorities takes a tenth of a second

    def check(self) -> Iterator[Check]:
        """The connection to each server, the account, the base, the groups, and whom a listing has."""
        answered = False
        for server in self._options.servers:
            check = self._check_server(server)
            answered = answered or check.state != "problem"
            yield check
        if not answered:
            return
        looked_at = _("account")
        try:
            with self._signed_in() as connection:
                yield self._check_account()
                looked_at = _("base DN")
                _one(connection, self._options.base)
                yield Check(looked_at, "ok", _("“{dn}” can be read.").format(dn=self._options.base))
                looked_at = _("groups")
                for group in self._options.groups:
                    found = in_short(_group(connection, group).dn)
                    yield Check(looked_at, "ok", _("“{group}” is there.").format(group=found))
            looked_at = _("people")
            yield from _check_people(self.people(lambda _done, _total: None))
        except MailkeepError as error:
            yield problem(looked_at, error)

    def people(self, progress: Progress) -> Listing:
        """Everybody whom the filter finds."""
        options = self._options
        with self._signed_in() as connection:
            entries, left_out = self._entries(connection, progress)
            chosen = self._chosen(connection, entries)
            shared = self._matching(connection, options.shared) if options.shared else set()
        people: list[Person] = []
        excluded = 0
        for key, entry in entries.items():
            if (chosen is not None and key not in chosen) or ldap_entries.is_system(entry):
                excluded += 1
                continue
            is_shared = key in shared or ldap_entries.is_shared(entry)
            person, wrong = ldap_entries.person_of(entry, options, shared=is_shared)
            left_out.extend(wrong)
            if person is not None:
                people.append(person)
            elif not wrong:
                excluded += 1
        progress(len(entries), len(entries))
        return Listing(tuple(people), tuple(left_out), excluded)

    def sign_in(self, person: str, password: str) -> bool:
        """Whether that is the password of the person with that id, whose account is not switched off. Raises
        UnavailableError where no server answers, RemoteDeniedError where the directory's own account is refused."""
        options = self._options
        try:
            sought = FilterEquality(options.id, ldap_entries.id_value(person, options))
            password.encode()
        except ValueError:
            return False
        if not password:
            return False
        with self._signed_in() as connection:
            asked = FilterAnd([options.people, sought])
            found = list(_entries(connection.search(options.base, asked, (options.id, *ldap_entries.STATES))))
            may = len(found) == 1 and bool(found[0].dn) and ldap_entries.state_of(found[0]) != "disabled"
            with Connection(connection.server, self._context, self._limits) as theirs:
                try:
                    # For nobody the base is asked, which has no password: it takes as long as for somebody.
                    theirs.bind(found[0].dn if may else options.base, password)
                except WrongPasswordError:
                    return False
                return may

    def _signed_in(self) -> Connection:
        connection = first_that_answers(self._options.servers, self._context, self._limits)
        try:
            if self._options.account:
                connection.bind(self._options.account, self._options.password)
        except BaseException:
            connection.close()
            raise
        return connection

    def _entries(self, connection: Connection, progress: Progress) -> tuple[dict[str, Entry], list[LeftOut]]:
        """The entries by id, and what the server said about entries that lie elsewhere."""
        options = self._options
        entries: dict[str, Entry] = {}
        elsewhere: list[LeftOut] = []
        for found in connection.search(options.base, options.people, ldap_entries.attributes(options)):
            if isinstance(found, Referral):
                elsewhere.extend(self._elsewhere(found))
                continue
            key = ldap_entries.id_of(found, options)
            if key in entries:
                raise UnavailableError(
                    later(
                        "{server} names “{dn}” twice, or two entries have the same {attribute}. Nothing was changed."
                    ),
                    server=connection.server,
                    dn=in_short(found.dn),
                    attribute=options.id,
                )
            entries[key] = found
            if len(entries) % _STEP == 0:
                progress(len(entries), None)
        return entries, elsewhere

    def _elsewhere(self, referral: Referral) -> Iterator[LeftOut]:
        where = in_short(referral.urls[0]) if referral.urls else "ldap://"
        below = where.partition("://")[2].partition("/")[2].lower()
        if below.startswith(_NO_PEOPLE):
            return
        if not self._options.ignore_referrals:
            raise UsageError(
                later(
                    "More entries lie at {where}. Nothing was changed. Make that server a directory of its own, or "
                    "narrow the base DN; “referrals=ignore” takes what is here."
                ),
                where=where,
            )
        yield LeftOut(where, _("Entries there lie on another server and are not read."))

    def _chosen(self, connection: Connection, entries: Mapping[str, Entry]) -> set[str] | None:
        """The ids of those who are in a group that was named; None where none was."""
        options = self._options
        if options.group_filter:
            return self._matching(connection, options.group_filter)
        if not options.groups:
            return None
        chosen: set[str] = set()
        for group in options.groups:
            found = _group(connection, group)
            if options.in_chain:
                rule = FilterExtensibleMatch(_IN_CHAIN, "memberOf", found.dn.encode(), dn_attributes=False)
                chosen |= self._matching(connection, rule)
            else:
                chosen |= self._members(connection, found, entries)
        return chosen

    def _matching(self, connection: Connection, also: LDAPFilter) -> set[str]:
        """The ids of the people whom another filter finds as well."""
        asked = FilterAnd([self._options.people, also])
        found = _entries(connection.search(self._options.base, asked, (self._options.id,)))
        return {ldap_entries.id_of(one, self._options) for one in found}

    def _members(self, connection: Connection, group: Entry, entries: Mapping[str, Entry]) -> set[str]:
        """The ids of the group's members, of whom ``entries`` are all that count; a member that is none of them may be
        a group itself. A member that is gone is passed over."""
        by_dn = {ldap_entries.comparable(one.dn): key for key, one in entries.items()}
        by_uid = {one.first(ldap_entries.UID).lower(): key for key, one in entries.items()}
        seen = {ldap_entries.comparable(group.dn)}
        chosen: set[str] = set()
        groups = [group]
        while groups:
            one = groups.pop()
            uids = (uid.lower() for uid in one.values.get("memberuid", ()))
            chosen |= {by_uid[uid] for uid in uids if uid in by_uid}
            for raw in (*one.values.get("member", ()), *one.values.get("uniquemember", ())):
                dn = raw.decode("utf-8", "replace")
                key = ldap_entries.comparable(dn)
                if key in seen:
                    continue
                seen.add(key)
                if key in by_dn:
                    chosen.add(by_dn[key])
                elif (inner := _found(connection, dn)) is not None:
                    groups.append(inner)
        return chosen

    def _check_server(self, server: Server) -> Check:
        """Each server by itself: that one is down would else be noticed when the others are too."""
        try:
            with Connection(server, self._context, self._limits) as connection:
                return ldap_tls.check_protection(connection)
        except UntrustedError as error:
            return Check(str(server), "problem", ldap_tls.why_untrusted(server, error, self._limits))
        except MailkeepError as error:
            return problem(str(server), error)

    def _check_account(self) -> Check:
        if self._options.account:
            return Check(_("account"), "ok", _("“{account}” is signed in.").format(account=self._options.account))
        return Check(_("account"), "warning", _("Nobody is signed in: what the server shows to everybody is read."))


def _check_people(listing: Listing) -> Iterator[Check]:
    people, left_out = listing.people, listing.left_out
    if people:
        text = _(
            "{count} with addresses ({shared} shared mailboxes, {disabled} disabled), {excluded} not chosen. For "
            "example {sample}."
        ).format(
            count=len(people),
            shared=sum(one.kind == "shared" for one in people),
            disabled=sum(one.state == "disabled" for one in people),
            excluded=listing.excluded,
            sample=", ".join(f"{one.name} <{one.addresses[0]}>" for one in people[:_SAMPLE]),
        )
        yield Check(_("people"), "ok", text)
    else:
        text = _(
            "There is nobody with an address; {excluded} are not chosen, {count} cannot be taken. Look at the filter, "
            "the attributes, the groups, the domains, and what the account may read."
        ).format(excluded=listing.excluded, count=len(left_out))
        yield Check(_("people"), "problem", text)
    if left_out:
        text = _("{count}, the first: {who}. {why}").format(
            count=len(left_out), who=left_out[0].who, why=left_out[0].why
        )
        yield Check(_("left out"), "warning", text)


def _entries(found: Iterator[Entry | Referral]) -> Iterator[Entry]:
    """Without what lies elsewhere, which the search for all people has told about."""
    return (one for one in found if isinstance(one, Entry))


def _one(connection: Connection, dn: str, attributes: Sequence[str] = ("1.1",)) -> Entry:
    """The entry with that DN. Raises UsageError where it cannot be seen."""
    for found in connection.search(dn, FilterPresent("objectClass"), attributes, scope=SearchScope.BASE):
        if isinstance(found, Entry):
            return found
    raise UsageError(
        later("{server} has no “{dn}”, or the account may not see it."), server=connection.server, dn=in_short(dn)
    )


def _group(connection: Connection, dn: str) -> Entry:
    try:
        return _one(connection, dn, _MEMBERS)
    except UsageError as error:
        raise UsageError(later("The group cannot be read: {reason}"), reason=error.message) from error


def _found(connection: Connection, dn: str) -> Entry | None:
    try:
        return _one(connection, dn, _MEMBERS)
    except UsageError:
        return None
