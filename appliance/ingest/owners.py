"""Whose a record is: the rule that turns addresses into archives."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.catalogue.store import UNASSIGNED
from appliance.mail.addresses import domain
from appliance.settings.addresses import AddressBook
from appliance.settings.columns import lookup
from appliance.settings.events import Unknown
from appliance.settings.store import Settings


class Owners:
    """Owner look-up with one state of the settings.

    ``rules`` says what each mailbox does with unknown addresses in the company's own domains; ``domains`` are
    those domains beside the ones in the address book.
    """

    def __init__(
        self,
        book: AddressBook,
        lookup_key: bytes,
        rules: dict[bytes, Unknown],
        domains: dict[bytes, frozenset[str]],
    ) -> None:
        self._book = book
        self._key = lookup_key
        self._rules = rules
        self._domains = domains
        self._hashes: dict[str, bytes] = {}
        self._own: dict[bytes, frozenset[bytes]] = {}
        self.position = book.position
        self.domains = book.domains

    @classmethod
    def load(cls, settings: Settings, lookup_key: bytes) -> Owners:
        """The look-up with the settings of this moment."""
        mailboxes = settings.mailboxes()
        return cls(
            settings.address_book(),
            lookup_key,
            {one.mailbox: one.unknown for one in mailboxes},
            {one.mailbox: frozenset(one.domains) for one in mailboxes},
        )

    def hash(self, address: str) -> bytes:
        """The address's keyed hash."""
        found = self._hashes.get(address)
        if found is None:
            if len(self._hashes) > 50_000:
                self._hashes.clear()
            found = self._hashes[address] = lookup(self._key, address)
        return found

    def archive_of(self, address: str, at: int) -> str | None:
        """The archive that the address belonged to at ``at`` (microseconds)."""
        return self._book.owner(self.hash(address), at)

    def is_own(self, address: str, mailbox: bytes) -> bool:
        """Whether the address lies in one of the company's domains."""
        where = domain(address)
        return where in self._book.domains or where in self._domains.get(mailbox, frozenset())

    def _own_domains(self, mailbox: bytes) -> frozenset[bytes]:
        found = self._own.get(mailbox)
        if found is None:
            domains = self._book.domains | self._domains.get(mailbox, frozenset())
            found = self._own[mailbox] = frozenset(self.hash("@" + one) for one in domains)
        return found

    def to_create(self, addresses: Iterable[str], at: int, mailbox: bytes) -> list[str]:
        """Unknown addresses for which the mailbox's rule wants a user."""
        if self._rules.get(mailbox) != "create":
            return []
        return [one for one in addresses if self.is_own(one, mailbox) and self.archive_of(one, at) is None]

    def domain_hash(self, address: str) -> bytes:
        """The keyed hash of the address's domain."""
        return self.hash("@" + domain(address))

    def archives(
        self,
        people: Iterable[tuple[bytes, bytes]],
        at: int,
        mailbox: bytes,
        placed: frozenset[str] = frozenset(),
    ) -> frozenset[str]:
        """The archives of a record: those in which it lay in a folder (``placed``), and those of all who take part,
        given as (address, domain) pairs of keyed hashes.

        Mail without any owner is unassigned; with the rule "keep", so is mail with an address in a company domain
        that nobody holds, until somebody does.
        """
        own_domains = self._own_domains(mailbox)
        owned = set(placed)
        unknown = False
        for key, where in people:
            archive = self._book.owner(key, at)
            if archive is not None:
                owned.add(archive)
            elif where in own_domains:
                unknown = True
        if not owned or (unknown and self._rules.get(mailbox, "keep") == "keep"):
            owned.add(UNASSIGNED)
        return frozenset(owned)
