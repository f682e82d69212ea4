"""Who sent an item and who got it, with addresses that mail programs understand.

Exchange names its own people by a distinguished name (address type EX, ``/o=Firm/ou=…/cn=Recipients/cn=anna``). What
it is in SMTP stands in a property of its own, in an entry identifier, or in the address book; where it stands nowhere,
the name is kept in the form in which Exchange itself lets such names go out (docs/decisions/0181-names-without-an-
address.md).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

from appliance.mail import addresses
from appliance.mail.facts import Mailbox
from appliance.mapi import fields, lenient, tags
from appliance.mapi.base import AddressBook, Item, Properties
from appliance.mapi.tags import Key

NOWHERE: Final = "exchange.invalid"
"""The domain of addresses that are none: nobody can ever have it (RFC 2606 section 2)."""

_SCHEME = re.compile(r"^(?:smtp|mailto):", re.IGNORECASE)
_MOST = 20_000  # recipients of an item that are written
_LONGEST = 600  # characters of a name that are put into an address
_ONE_OFF = UUID("a41f2b81-a3be-1910-9d6e-00dd010f5402").bytes_le
_ADDRESS_BOOK = UUID("c840a7dc-42c0-1a10-b4b9-08002b2fe182").bytes_le
_UNICODE = 0x8000

_ORIGINATOR, _TO, _CC, _BCC = range(4)
_ANY_KIND = 0x0FFFFFFF  # the upper bits say that it was sent again (MS-OXOMSG section 2.2.3.9)


class _Keys(NamedTuple):
    """The properties that name one person of an item."""

    smtp: Key
    type: Key
    address: Key
    name: Key
    entry: Key


_SENDER = _Keys(
    tags.SENDER_SMTP_ADDRESS,
    tags.SENDER_ADDRESS_TYPE,
    tags.SENDER_EMAIL_ADDRESS,
    tags.SENDER_NAME,
    tags.SENDER_ENTRY_ID,
)
_REPRESENTED = _Keys(
    tags.SENT_REPRESENTING_SMTP_ADDRESS,
    tags.SENT_REPRESENTING_ADDRESS_TYPE,
    tags.SENT_REPRESENTING_EMAIL_ADDRESS,
    tags.SENT_REPRESENTING_NAME,
    tags.SENT_REPRESENTING_ENTRY_ID,
)
_RECEIVER = _Keys(
    tags.RECEIVED_BY_SMTP_ADDRESS,
    tags.RECEIVED_BY_ADDRESS_TYPE,
    tags.RECEIVED_BY_EMAIL_ADDRESS,
    tags.RECEIVED_BY_NAME,
    tags.RECEIVED_BY_ENTRY_ID,
)
_RECIPIENT = _Keys(tags.SMTP_ADDRESS, tags.ADDRESS_TYPE, tags.EMAIL_ADDRESS, tags.DISPLAY_NAME, tags.ENTRY_ID)


class People(NamedTuple):
    """Everybody of an item. ``sender`` is set only where somebody else sent it than it is from."""

    from_: tuple[Mailbox, ...]
    sender: tuple[Mailbox, ...]
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]


class Listed(NamedTuple):
    """An entry identifier read: address type, address and name, "" each where it does not say."""

    type: str = ""
    address: str = ""
    name: str = ""


def of(item: Item, book: AddressBook) -> People:
    """All people of the item, as its properties name them."""
    properties = item.properties
    sender = _person(properties, _SENDER, book)
    represented = _person(properties, _REPRESENTED, book) or sender
    to, cc, bcc = _recipients(item, book) if not _is_report(properties) else (_receivers(properties, book), (), ())
    return People(
        from_=_some(represented),
        sender=_some(sender) if _on_behalf(sender, represented) else (),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_reply_to(properties, book),
    )


def recipient(properties: Properties, book: AddressBook) -> Mailbox | None:
    """The person of one row of the recipient table."""
    found = _person(properties, _RECIPIENT, book)
    if found is None or is_known(found):
        return found
    listed = read_entry(lenient.data(properties, tags.RECIPIENT_ENTRY_ID))
    better = _smtp("", listed.type, listed.address, book)
    return Mailbox(found.name, better) if better else found


def named(kind: str, address: str, name: str, entry: bytes, book: AddressBook) -> Mailbox | None:
    """The person with this address type, address, name and entry identifier, each empty where it is not known."""
    kind, address, name = kind.strip(), address.strip(), name.strip()
    if not _smtp("", kind, address, book):
        listed = read_entry(entry)
        if _smtp("", listed.type, listed.address, book) or not address:
            kind, address = listed.type, listed.address
        name = name or listed.name
    return _chosen("", kind, address, name, book)


def is_known(person: Mailbox | None) -> bool:
    """Whether the person has an address of their own, and not only one that stands for their name."""
    return person is not None and not person.address.endswith("@" + NOWHERE)


def read_entry(entry: bytes) -> Listed:
    """An entry identifier of a person (MS-OXCDATA sections 2.2.5.1 and 2.2.5.2, one-off and address book)."""
    provider = entry[4:20]
    if provider == _ADDRESS_BOOK:
        return Listed("EX", _narrow(entry[28:]))
    if provider != _ONE_OFF or len(entry) < 24:
        return Listed()
    (flags,) = struct.unpack_from("<H", entry, 22)
    name, kind, address = _wide(entry[24:], 3) if flags & _UNICODE else _narrow_all(entry[24:], 3)
    return Listed(kind, address, name)


def _on_behalf(sender: Mailbox | None, represented: Mailbox | None) -> bool:
    if sender is None or represented is None or not (is_known(sender) and is_known(represented)):
        return False
    return addresses.normalise(sender.address) != addresses.normalise(represented.address)


def _is_report(properties: Properties) -> bool:
    """Whether its recipients are those that it is about, not those who got it (MS-OXCMAIL section 2.1.3.3)."""
    return lenient.text(properties, tags.MESSAGE_CLASS).upper().startswith("REPORT.")


def _receivers(properties: Properties, book: AddressBook) -> tuple[Mailbox, ...]:
    """Whose mailbox the item came to."""
    return _some(_person(properties, _RECEIVER, book))


def _some(person: Mailbox | None) -> tuple[Mailbox, ...]:
    return (person,) if person is not None else ()


def _recipients(item: Item, book: AddressBook) -> tuple[tuple[Mailbox, ...], ...]:
    found: dict[int, dict[tuple[str, str], Mailbox]] = {_TO: {}, _CC: {}, _BCC: {}}
    for row in item.recipients[:_MOST]:
        kind = lenient.number(row, tags.RECIPIENT_TYPE, _TO) & _ANY_KIND
        person = recipient(row, book)
        if person is None or kind == _ORIGINATOR:
            continue
        found.get(kind, found[_TO]).setdefault((person.address.lower(), person.name), person)
    if not any(found.values()):  # a table that was lost leaves what was shown of it
        shown = {_TO: tags.DISPLAY_TO, _CC: tags.DISPLAY_CC, _BCC: tags.DISPLAY_BCC}
        for kind, key in shown.items():
            found[kind] = {("", one.name): one for one in _named(lenient.text(item.properties, key))}
    return tuple(tuple(found[kind].values()) for kind in (_TO, _CC, _BCC))


def _named(shown: str) -> Iterator[Mailbox]:
    """People by their names alone, parted by semicolons as Outlook shows them."""
    for name in shown.split(";")[:_MOST]:
        if name.strip():
            yield _unresolved("", "", name.strip())


def _reply_to(properties: Properties, book: AddressBook) -> tuple[Mailbox, ...]:
    """The entries of a FLATENTRYLIST (MS-OXCDATA section 2.3.3)."""
    entries = lenient.data(properties, tags.REPLY_RECIPIENT_ENTRIES)
    names = lenient.text(properties, tags.REPLY_RECIPIENT_NAMES).split(";")
    found: list[Mailbox] = []
    position = 8
    while position + 4 <= len(entries) and len(found) < _MOST:
        (length,) = struct.unpack_from("<I", entries, position)
        listed = read_entry(entries[position + 4 : position + 4 + length])
        name = listed.name or (names[len(found)].strip() if len(found) < len(names) else "")
        person = _chosen("", listed.type, listed.address, name, book)
        if person is not None:
            found.append(person)
        position += 4 + (length + 3) // 4 * 4
    return tuple(found)


def _person(properties: Properties, keys: _Keys, book: AddressBook) -> Mailbox | None:
    smtp = lenient.text(properties, keys.smtp).strip()
    name = lenient.text(properties, keys.name)
    if fields.is_address(smtp):
        return _chosen(smtp, "", "", name, book)
    kind, address = lenient.text(properties, keys.type), lenient.text(properties, keys.address)
    return named(kind, address, name, lenient.data(properties, keys.entry), book)


def _chosen(smtp: str, kind: str, address: str, name: str, book: AddressBook) -> Mailbox | None:
    known = _smtp(smtp, kind, address, book)
    shown = name.strip("'\" ")
    if known:
        return Mailbox("" if shown.lower() == known.lower() else shown, known)
    if fields.is_address(shown):
        return Mailbox("", shown)
    if kind.upper() == "UNKNOWN" and address.upper() == "UNKNOWN":  # what a store without an account puts there
        return None
    return _unresolved(kind, address, shown) if address or shown else None


def _smtp(smtp: str, kind: str, address: str, book: AddressBook) -> str:
    """The first of what is known that is an address; "" where none is."""
    for one in (smtp, address if kind.upper() != "EX" else ""):
        if one:
            bare = _SCHEME.sub("", one.strip()).strip("<>' ")
            if fields.is_address(bare):
                return bare
    looked_up = lenient.clean(book.smtp(address)).strip() if address else ""
    return looked_up if fields.is_address(looked_up) else ""


def _unresolved(kind: str, address: str, name: str) -> Mailbox:
    """A name in Exchange or another system as an address (MS-OXCMAIL: IMCEA encapsulation): letters and digits as
    they are, "/" as "_", all else as "+" and two hexadecimal digits."""
    known = kind.upper() if re.fullmatch(r"[A-Za-z0-9]{1,9}", kind) and address else "INVALID"
    written = "".join(_encapsulated(character) for character in (address or name)[:_LONGEST])
    return Mailbox(name, f"IMCEA{known}-{written[:_LONGEST]}@{NOWHERE}")


def _encapsulated(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "-="):
        return character
    return "_" if character == "/" else "".join(f"+{byte:02X}" for byte in character.encode())


def _narrow(data: bytes) -> str:
    return lenient.clean(data.partition(b"\0")[0])


def _narrow_all(data: bytes, count: int) -> list[str]:
    pieces = [lenient.clean(piece) for piece in data.split(b"\0", count)[:count]]
    return pieces + [""] * (count - len(pieces))


def _wide(data: bytes, count: int) -> list[str]:
    pieces = data[: len(data) & ~1].decode("utf-16-le", "replace").split("\0", count)[:count]
    return [lenient.clean(piece) for piece in pieces] + [""] * (count - len(pieces))
