"""Who held an address when: the look-up by which a message finds its owners.

The table depends only on the log of settings, never on the order in which mail is read, so that a rebuild after
an address went to somebody else gives the same owners, and nobody inherits a predecessor's mail.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Holding(msgspec.Struct, frozen=True):
    """``user`` holds the address from ``since`` up to, not including, ``until`` (microseconds; None is open)."""

    user: str
    since: int
    until: int | None

    def covers(self, at: int) -> bool:
        """Whether the address was held at ``at``."""
        return self.since <= at and (self.until is None or at < self.until)


class AddressBook:
    """All holdings, found by the address's lookup hash."""

    def __init__(self, rows: Iterable[tuple[bytes, Holding]], domains: frozenset[str], position: int) -> None:
        self._holdings: dict[bytes, tuple[Holding, ...]] = {}
        for key, holding in rows:
            self._holdings[key] = (*self._holdings.get(key, ()), holding)
        self.domains = domains
        """Domains of all addresses ever held: an unknown address in one of them is one of the company's own."""
        self.position = position
        """Number of the last log entry that changed users or mailboxes."""

    def owner(self, lookup: bytes, at: int) -> str | None:
        """The user who held the address at ``at``, or None."""
        for holding in self._holdings.get(lookup, ()):
            if holding.covers(at):
                return holding.user
        return None


def first_moment(earlier: Iterable[Holding]) -> int:
    """From when a new holder's mail counts: the beginning, unless somebody held the address before."""
    return max((holding.until or 0 for holding in earlier), default=0)
