"""What follows for the users here from what a directory lists. Pure: no input or output.

- An entry stays the user that it once became, whatever its name and addresses are now.
- Nobody inherits mail: an address goes to another user from the moment of the change on, and only where the entry of
  the user who had it lists it no more. Users that come from no directory, or from another, keep theirs.
- An address that the directory lists no more stays with its user until somebody else has it.
- Who is disabled, deleted or listed no more cannot sign in; the archive stays, and so do the addresses. An entry that
  cannot be taken, say because its addresses cannot be read, is not gone: its user stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from appliance.directory.base import LeftOut, Listing, Person
from appliance.settings.events import Link, UserPut

What = Literal["created", "changed", "unchanged", "refused", "disabled"]

MANY_PART, MANY = 0.2, 5
"""A synchronisation that would take the right to sign in from more than this part of the linked users, and from more
than so many, is more likely a mistake in the directory or in the options: it waits for a person's word."""


class User(msgspec.Struct, frozen=True):
    """A user as it is here. ``elsewhere`` is another directory that it comes from, if any."""

    id: str
    name: str
    addresses: tuple[str, ...]
    state: Literal["active", "disabled"]
    elsewhere: str = ""
    last_administrator: bool = False


class Step(msgspec.Struct, frozen=True):
    """What becomes of one entry, in words; ``disabled`` for a user whose entry is listed no more."""

    what: What
    name: str
    text: str


class Plan(msgspec.Struct, frozen=True):
    """What is to be done. ``puts`` come in an order in which nobody takes an address before it is given up."""

    steps: tuple[Step, ...]
    puts: tuple[UserPut, ...]
    links: tuple[Link, ...]
    left_out: tuple[LeftOut, ...]
    excluded: int
    losing: int = 0
    """How many can sign in now and could not afterwards."""
    waits: str = ""
    """Why it is not carried out without a person's word."""

    def count(self, what: What) -> int:
        """How many steps of a kind there are."""
        return sum(step.what == what for step in self.steps)


def plan(
    listing: Listing,
    users: Iterable[User],
    links: Iterable[Link],
    doors: frozenset[str],
    new_id: Callable[[], str],
) -> Plan:
    """What follows from a listing, where ``links`` are the directory's own, ``doors`` the addresses of mailboxes."""
    return _Planning(listing, users, links, doors, new_id).plan()


class _Planning:
    def __init__(
        self,
        listing: Listing,
        users: Iterable[User],
        links: Iterable[Link],
        doors: frozenset[str],
        new_id: Callable[[], str],
    ) -> None:
        self._listing = listing
        self._people = {one.id: one for one in listing.people}
        self._users = {one.id: one for one in users}
        self._links = {one.person: one for one in links if one.user in self._users}
        self._person_of = {link.user: person for person, link in self._links.items()}
        self._holders = {address: user.id for user in self._users.values() for address in user.addresses}
        self._doors = doors
        self._new_id = new_id
        self._trouble: dict[str, list[str]] = {}
        self._claims = self._claimed()

    def plan(self) -> Plan:
        wanted: dict[str, tuple[Person, str, bool]] = {}  # by person: who, which user, and whether it is new
        steps: list[Step] = []
        for person in self._listing.people:
            linked = self._links.get(person.id)
            if linked is None and person.state == "deleted":
                steps.append(Step("unchanged", _called(person), "Deleted in the directory, and not known here."))
                continue
            user, why = (linked.user, "") if linked else self._user_for(person)
            if why:
                steps.append(Step("refused", _called(person), why))
                continue
            wanted[person.id] = (person, user or self._new_id(), not user)
        links, finals = [], {}
        for person, user_id, is_new in wanted.values():
            put, link, step = self._entry(person, user_id, is_new)
            steps.append(step)
            if put is not None:
                finals[user_id] = put
            if link is not None:
                links.append(link)
        there = self._people.keys() | {one.id for one in self._listing.left_out}
        gone = [self._gone(link) for person, link in self._links.items() if person not in there]
        for put, link, step in (one for one in gone if one is not None):
            steps.append(step)
            links.append(link)
            if put is not None:
                finals[put.user] = put
        losing = self._losing(finals)
        return Plan(
            tuple(steps), tuple(self._ordered(finals)), tuple(links), self._listing.left_out, self._listing.excluded,
            losing, self._waits(losing),
        )  # fmt: skip

    # -- addresses --------------------------------------------------------------------------------------------

    def _claimed(self) -> dict[str, str]:
        """Whose each address is from now on, by person; an address that two entries list stays where it is."""
        claims: dict[str, str] = {}
        for person in self._listing.people:
            if person.state == "deleted" and person.id not in self._links:
                continue
            for address in person.addresses:
                if address in self._doors:
                    self._note(person.id, f"{address} is an address of a mailbox.")
                    continue
                rival = claims.get(address)
                if rival is None:
                    claims[address] = person.id
                    continue
                winner, loser = self._of_two(rival, person.id, address)
                claims[address] = winner
                self._note(loser, f"{address} is listed for {_called(self._people[winner])} too, and stays there.")
        return claims

    def _of_two(self, first: str, second: str, address: str) -> tuple[str, str]:
        holder = self._person_of.get(self._holders.get(address, ""))
        active = [one for one in (first, second) if self._people[one].state == "active"]
        winner = holder if holder in (first, second) else active[0] if active else first
        return winner, second if winner == first else first

    def _may_have(self, person: Person, user_id: str, address: str) -> bool:
        """Whether the user of an entry has an address from now on; says why not."""
        if self._claims.get(address) != person.id:
            return False
        holder = self._holders.get(address)
        if holder in (None, user_id) or self._gives_up(holder or "", address):
            return True
        self._note(person.id, f"{address} belongs to {self._users[holder or ''].name}, who is not in this directory.")
        return False

    def _gives_up(self, user_id: str, address: str) -> bool:
        """Whether a user's own entry in this directory leaves an address to another entry."""
        person = self._person_of.get(user_id)
        return person is not None and self._claims.get(address) not in (None, person)

    # -- entries ----------------------------------------------------------------------------------------------

    def _user_for(self, person: Person) -> tuple[str, str]:
        """The user that an entry which is new here becomes: an existing one's id, or nothing for a new one; or why it
        becomes none."""
        holders = [
            self._users[holder]
            for address in person.addresses
            if (holder := self._holders.get(address)) and self._claims.get(address) == person.id
        ]
        free = [one for one in dict.fromkeys(holders) if one.id not in self._person_of and not one.elsewhere]
        if free and (len(free) == 1 or free[0].addresses[:1] == person.addresses[:1]):
            return free[0].id, ""
        if free:
            return "", f"Its addresses belong to different users here: {', '.join(one.name for one in free)}."
        if any(one.elsewhere for one in holders):
            one = next(one for one in holders if one.elsewhere)
            return "", f"{one.name}, who has one of its addresses, comes from the directory “{one.elsewhere}”."
        if not any(self._may_have(person, "", address) for address in person.addresses):
            return "", " ".join(self._trouble.get(person.id, ["None of its addresses is free."]))
        return "", ""

    def _entry(self, person: Person, user_id: str, is_new: bool) -> tuple[UserPut | None, Link | None, Step]:
        before = self._users.get(user_id)
        known = self._links.get(person.id)
        listed = [one for one in person.addresses if self._may_have(person, user_id, one)]
        kept = [one for one in before.addresses if not self._gives_up(user_id, one)] if before else []
        addresses = tuple(dict.fromkeys((*listed, *kept)))
        state = self._state(person.state == "active", person.id, before, known)
        name = person.name or (before.name if before else addresses[0])
        put = UserPut(user_id, name, addresses, state, origin="directory")
        # What a deleted entry was, a directory may have forgotten.
        kind = known.kind if known and person.state == "deleted" else person.kind
        link = Link(person.id, user_id, person.state, kind)
        trouble = " ".join(self._trouble.get(person.id, ()))
        if before is None:
            return put, link, Step("created", _called(person), _said(f"{_listed(addresses)}.", trouble))
        done = list(_differences(before, put))
        if is_new or known is None:
            done.insert(0, f"is the user {before.name} from now on")
        same = (before.name, before.addresses, before.state) == (put.name, put.addresses, put.state)
        step = Step(
            "changed" if done else "unchanged",
            _called(person),
            _said(f"{_sentence('; '.join(done))}." if done else "", trouble),
        )
        return None if same else put, None if link == known else link, step

    def _gone(self, link: Link) -> tuple[UserPut | None, Link, Step] | None:
        """What becomes of a user whose entry is listed no more."""
        user = self._users[link.user]
        kept = tuple(one for one in user.addresses if not self._gives_up(user.id, one))
        state = self._state(False, link.person, user, link)
        put = UserPut(user.id, user.name, kept, state, origin="directory")
        changed = (kept, state) != (user.addresses, user.state)
        if link.state == "gone" and not changed:
            return None
        text = "No longer in the directory."
        if link.state == "gone":
            text = f"{_listed(tuple(one for one in user.addresses if one not in kept))} went to somebody else."
        elif user.state == "active" and state == "disabled":
            text = "No longer in the directory: cannot sign in any more; the archive stays."
        step = Step("disabled", user.name, _said(text, *self._trouble.get(link.person, ())))
        return put if changed else None, msgspec.structs.replace(link, state="gone"), step

    def _state(self, active: bool, person: str, user: User | None, known: Link | None) -> Literal["active", "disabled"]:
        """A user's state: as the directory has it, but who was disabled here stays so."""
        if not active:
            if user is not None and user.last_administrator:
                self._note(person, f"{user.name} is the last administrator here and stays able to sign in.")
                return "active"
            return "disabled"
        if user is not None and user.state == "disabled" and (known is None or known.state == "active"):
            return "disabled"
        return "active"

    # -- the whole --------------------------------------------------------------------------------------------

    def _ordered(self, finals: Mapping[str, UserPut]) -> Iterable[UserPut]:
        """First everybody gives up what is to go to somebody else, then everybody gets what is to come."""
        early: dict[str, UserPut] = {}
        for put in finals.values():
            before = self._users[put.user].addresses if put.user in self._users else ()
            kept = tuple(one for one in before if one in put.addresses)
            if kept != before:
                early[put.user] = msgspec.structs.replace(put, addresses=kept)
        yield from early.values()
        yield from (put for put in finals.values() if early.get(put.user) != put)

    def _losing(self, finals: Mapping[str, UserPut]) -> int:
        """How many can sign in now and could not afterwards."""
        return sum(
            put.state == "disabled" and self._users[put.user].state == "active"
            for put in finals.values()
            if put.user in self._users
        )

    def _waits(self, losing: int) -> str:
        linked = sum(self._users[link.user].state == "active" for link in self._links.values())
        if losing <= MANY or losing <= linked * MANY_PART:
            return ""
        return (
            f"{losing} of {linked} users would no longer be able to sign in. That is more than a directory usually "
            "loses at a time, so nothing was changed. Look at the list, and confirm it if it is right."
        )

    def _note(self, person: str, text: str) -> None:
        told = self._trouble.setdefault(person, [])
        if text not in told:
            told.append(text)


def _called(person: Person) -> str:
    return f"{person.name} <{person.addresses[0]}>" if person.addresses else person.name


def _listed(addresses: Sequence[str]) -> str:
    return ", ".join(addresses)


def _differences(before: User, put: UserPut) -> Iterable[str]:
    if before.name != put.name:
        yield f"was called {before.name}"
    if new := [one for one in put.addresses if one not in before.addresses]:
        yield f"has {_listed(new)} too"
    if lost := [one for one in before.addresses if one not in put.addresses]:
        yield f"no longer has {_listed(lost)}"
    if before.addresses[:1] != put.addresses[:1] and put.addresses and put.addresses[0] in before.addresses:
        yield f"has {put.addresses[0]} as the primary address"
    if before.state != put.state:
        yield "can sign in again" if put.state == "active" else "cannot sign in any more; the archive stays"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _said(*sentences: str) -> str:
    return " ".join(one for one in sentences if one)
