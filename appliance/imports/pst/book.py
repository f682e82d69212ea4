"""Which SMTP addresses people of an Exchange organisation have, as far as a file itself tells it.

Why so: docs/decisions/0185-a-files-own-address-book.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from typing import Final

from appliance.imports.base import ItemError
from appliance.imports.pst.damage import DamagedError
from appliance.imports.pst.folders import Folders
from appliance.imports.pst.items import Store, StoredItem
from appliance.mapi import tags
from appliance.mapi.base import Properties

LOOKED_THROUGH: Final = 20_000
"""Items from the beginning of a file that addresses are looked for in."""
MOST: Final = 50_000
"""Addresses that are kept."""

_PEOPLE = (
    (tags.SENDER_EMAIL_ADDRESS, tags.SENDER_SMTP_ADDRESS),
    (tags.SENT_REPRESENTING_EMAIL_ADDRESS, tags.SENT_REPRESENTING_SMTP_ADDRESS),
    (tags.RECEIVED_BY_EMAIL_ADDRESS, tags.RECEIVED_BY_SMTP_ADDRESS),
)
_RECIPIENT = (tags.EMAIL_ADDRESS, tags.SMTP_ADDRESS)


class Book:
    """``mapi.base.AddressBook`` made of the senders and recipients of a file's own items.

    It is made the first time that somebody asks, always from the same items, whichever of them asks: an address that
    is found is found for every item, also when reading went on in the middle of a file.
    """

    def __init__(self, store: Store, folders: Folders) -> None:
        self._store = store
        self._folders = folders

    def smtp(self, exchange: str) -> str:
        """The address, "" where the file does not tell it."""
        return self._known.get(exchange.lower(), "")

    @cached_property
    def _known(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for item in islice(self._items(), LOOKED_THROUGH):
            pairs = chain(
                (pair for keys in _PEOPLE for pair in _pair(item.properties, *keys)),
                (pair for row in item.recipients for pair in _pair(row, *_RECIPIENT)),
            )
            for exchange, smtp in pairs:
                found.setdefault(exchange, smtp)
            if len(found) >= MOST:
                break
        return found

    def _items(self) -> Iterator[StoredItem]:
        for folder in self._folders:
            for id in self._folders.items(folder):
                try:
                    node = self._store.blocks.index.node(id)
                    if node is not None:
                        yield StoredItem(self._store, node)
                except (DamagedError, ItemError):
                    continue


def _pair(properties: Properties, exchange: int, smtp: int) -> Iterator[tuple[str, str]]:
    name, address = properties.get(exchange), properties.get(smtp)
    if isinstance(name, str) and name[:1] == "/" and isinstance(address, str) and "@" in address:
        yield name.lower(), address
