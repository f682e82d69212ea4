"""The addresses that lead to mailboxes: nobody's, and no recipients, wherever they stand in a message."""

from __future__ import annotations

import msgspec

from appliance.mail.addresses import domain


class Doors(msgspec.Struct, frozen=True):
    """Normalised addresses (``mail.addresses``) of all mailboxes there are and were.

    ``addresses`` are those that mailboxes have by name. ``domains`` are those of which a mailbox takes every other
    address; what a person holds or held there is that person's.
    """

    addresses: frozenset[str] = frozenset()
    domains: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    def __contains__(self, address: object) -> bool:
        if address in self.addresses:
            return True
        return (
            bool(self.domains)
            and isinstance(address, str)
            and domain(address) in self.domains
            and address not in self.people
        )
