"""One protocol for every directory: who is in it, with which addresses, and in which state.

Implementations only read, and know nothing of the archive; what follows from a listing is decided in
``appliance.services.directories``. They run in a child process that is given the options and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol, runtime_checkable

import msgspec

from appliance.checks import Check
from appliance.fields import Field

Kind = Literal["user", "shared"]
State = Literal["active", "disabled", "deleted"]
Progress = Callable[[int, int | None], None]
"""Told how many entries have been read, and of how many, where the directory says so."""


class Person(msgspec.Struct, frozen=True):
    """A person's or a shared mailbox's entry.

    ``id`` never changes and is never given to somebody else in that directory: Entra's object id, an LDAP entryUUID or
    objectGUID (canonical text form), Google's id. ``addresses`` are normalised, the primary one first, none twice.
    ``deleted`` is for those that the directory itself still lists as deleted; who is simply no longer listed is not
    here at all.
    """

    id: str
    name: str
    addresses: tuple[str, ...]
    kind: Kind = "user"
    state: State = "active"
    login: str = ""
    """What the person signs in with at the directory's mail server, where that is not the primary address."""


class LeftOut(msgspec.Struct, frozen=True):
    """An entry, or an address of one, that cannot be taken, and why, in a sentence. ``id`` is the entry's where it is
    known: the user that it became once stays as it is."""

    who: str
    why: str
    id: str = ""


class Listing(msgspec.Struct, frozen=True):
    """All of a directory, at one time. Nothing is left out in silence: what was read is in one of the two.

    ``left_out`` are entries that the administrator would expect and that cannot be taken (no address, an address that
    is none). Entries that the options exclude (not licensed, in no group that was named) are counted in ``excluded``.
    """

    people: tuple[Person, ...]
    left_out: tuple[LeftOut, ...] = ()
    excluded: int = 0


class Directory(Protocol):
    """A directory, set up. Errors are UnavailableError (try again later), RemoteDeniedError (wrong credentials, a right
    that is missing: the sentence names it) and UsageError (options that make no sense)."""

    def check(self) -> Iterator[Check]:
        """Try everything that ``people`` needs, one by one, without changing anything. Never raises."""
        ...

    def people(self, progress: Progress) -> Listing:
        """All of it, or an error: never a part that looks like all."""
        ...


@runtime_checkable
class SigningIn(Protocol):
    """A directory that can also tell whether a password is right."""

    def sign_in(self, person: str, password: str) -> bool:
        """Whether ``password`` is that of the person with that id. An empty password is never right."""
        ...


class DirectoryKind(msgspec.Struct, frozen=True):
    """A kind of directory, and what it asks for."""

    kind: str
    title: str
    help: str
    fields: tuple[Field, ...]
    signs_in: bool = False
    """Whether its directories are ``SigningIn``."""
