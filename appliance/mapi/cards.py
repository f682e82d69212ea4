"""Contacts and their groups as vCards (MS-OXOCNTC, MS-OXVCARD; RFC 2426, for groups RFC 6350)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import vobject
from vobject.vcard import Address, Name

from appliance.mail.facts import Mailbox
from appliance.mapi import lenient, people, tags
from appliance.mapi.base import AddressBook, Item, Properties
from appliance.mapi.tags import PSETID_ADDRESS, Key

_LONGEST = 32 * 1024  # characters of one value: the message has the text as a whole
_FILE_AS = (PSETID_ADDRESS, 0x8005)
_LIST_NAME = (PSETID_ADDRESS, 0x8053)
_ONE_OFF_MEMBERS = (PSETID_ADDRESS, 0x8054)
_MEMBERS = (PSETID_ADDRESS, 0x8055)
_WEB_PAGE = (PSETID_ADDRESS, 0x802B)
_CHAT = (PSETID_ADDRESS, 0x8062)
_GIVEN, _SURNAME, _MIDDLE, _PREFIX, _SUFFIX = 0x3A06, 0x3A11, 0x3A44, 0x3A45, 0x3A05
_COMPANY, _DEPARTMENT, _TITLE, _PROFESSION, _NICKNAME = 0x3A16, 0x3A18, 0x3A17, 0x3A46, 0x3A4F
_BIRTHDAY, _WEDDING, _SPOUSE, _ASSISTANT, _MANAGER = 0x3A42, 0x3A41, 0x3A48, 0x3A30, 0x3A4E
_BUSINESS_PAGE, _PERSONAL_PAGE = 0x3A51, 0x3A50

_EMAILS: tuple[tuple[Key, Key, Key, Key], ...] = tuple(
    ((PSETID_ADDRESS, at + 2), (PSETID_ADDRESS, at + 3), (PSETID_ADDRESS, at + 4), (PSETID_ADDRESS, at + 5))
    for at in (0x8080, 0x8090, 0x80A0)
)
"""Address type, address, the display name that was given first, entry identifier (MS-OXOCNTC section 2.2.1.2)."""

_PHONES: tuple[tuple[int, str, str], ...] = (
    (0x3A08, "WORK,VOICE", "Work"),
    (0x3A1B, "WORK,VOICE", "Work"),
    (0x3A57, "WORK,PREF,VOICE", "Company"),
    (0x3A09, "HOME,VOICE", "Home"),
    (0x3A2F, "HOME,VOICE", "Home"),
    (0x3A1C, "CELL,VOICE", "Mobile"),
    (0x3A1E, "CAR,VOICE", "Car"),
    (0x3A1A, "PREF,VOICE", "Primary"),
    (0x3A1F, "VOICE", "Other"),
    (0x3A24, "WORK,FAX", "Work fax"),
    (0x3A25, "HOME,FAX", "Home fax"),
    (0x3A23, "FAX", "Fax"),
    (0x3A21, "PAGER", "Pager"),
    (0x3A2E, "X-ASSISTANT,VOICE", "Assistant"),
)

_ADDRESSES: tuple[tuple[str, str, tuple[Key, ...]], ...] = (
    ("WORK", "Work address", tuple((PSETID_ADDRESS, at) for at in range(0x8045, 0x804B))),
    ("HOME", "Home address", (0x3A5D, 0x3A59, 0x3A5C, 0x3A5B, 0x3A5A, 0x3A5E)),
    ("POSTAL", "Other address", (0x3A63, 0x3A5F, 0x3A62, 0x3A61, 0x3A60, 0x3A64)),
)
"""Street, city, region, code, country, box."""


class Card(NamedTuple):
    """A vCard, and what it says for a reader."""

    vcard: bytes
    summary: tuple[tuple[str, str], ...]


def read(item: Item, text: str, book: AddressBook) -> Card:
    """A contact or a group of contacts, whose notes are ``text``."""
    properties = item.properties
    members = list(_members(properties, book))
    is_group = bool(members) or lenient.text(properties, tags.MESSAGE_CLASS).upper().startswith("IPM.DISTLIST")
    return _group(properties, text, members) if is_group else _contact(properties, text, book)


def _contact(properties: Properties, text: str, book: AddressBook) -> Card:
    card = vobject.vCard()
    summary: list[tuple[str, str]] = []
    shown = _first(properties, tags.DISPLAY_NAME, _FILE_AS, tags.SUBJECT, _COMPANY)
    card.add("n").value = Name(
        *(_text(properties, key) for key in (_SURNAME, _GIVEN, _MIDDLE, _PREFIX, _SUFFIX)),
    )
    summary.append(("Name", shown))
    card.add("fn").value = shown or "-"  # it must be there (RFC 2426 section 3.1.1)
    firm = [_text(properties, _COMPANY), _text(properties, _DEPARTMENT)]
    if any(firm):
        card.add("org").value = firm
        summary.append(("Company", ", ".join(filter(None, firm))))
    for name, key, label in (
        ("title", _TITLE, "Title"),
        ("role", _PROFESSION, "Profession"),
        ("nickname", _NICKNAME, "Nickname"),
    ):
        _add(card, name, _text(properties, key), label, summary)
    for person in _emails(properties, book):
        _add(card, "email", person.address, "E-mail", summary, "INTERNET")
    for key, kind, label in _PHONES:
        _add(card, "tel", _text(properties, key), label, summary, kind)
    for kind, label, keys in _ADDRESSES:
        street, city, region, code, country, box = (_text(properties, key) for key in keys)
        if any((street, city, region, code, country, box)):
            card.add("adr").value = Address(street, city, region, code, country, box)
            card.adr_list[-1].type_param = kind
            summary.append((label, ", ".join(filter(None, (street, box, code, city, region, country)))))
    for page in (_WEB_PAGE, _BUSINESS_PAGE, _PERSONAL_PAGE):
        _add(card, "url", _text(properties, page), "Web page", summary)
    for name, day, label in (("bday", _BIRTHDAY, "Birthday"), ("x-anniversary", _WEDDING, "Anniversary")):
        moment = lenient.moment(properties, day)
        _add(card, name, moment.date().isoformat() if moment else "", label, summary)
    for name, key, label in (
        ("x-spouse", _SPOUSE, "Spouse"),
        ("x-assistant", _ASSISTANT, "Assistant"),
        ("x-manager", _MANAGER, "Manager"),
    ):
        _add(card, name, _text(properties, key), label, summary)
    _add(card, "x-im", _text(properties, _CHAT), "Chat", summary)
    return _finished(card, properties, text, summary)


def _group(properties: Properties, text: str, members: Iterable[Mailbox]) -> Card:
    card = vobject.vCard()
    shown = _first(properties, _LIST_NAME, tags.DISPLAY_NAME, tags.SUBJECT)
    card.add("version").value = "4.0"
    card.add("kind").value = "group"
    card.add("fn").value = shown or "-"
    card.add("n").value = Name(family=shown)
    summary = [("Group", shown)]
    for person in members:
        member = card.add("member")
        member.value = f"mailto:{person.address}"
        if person.name:
            member.params["X-CN"] = ["".join(one for one in person.name if one not in '";:,\\')]
        summary.append(("Member", f"{person.name} <{person.address}>" if person.name else person.address))
    return _finished(card, properties, text, summary)


def _finished(card: vobject.base.Component, properties: Properties, text: str, summary: list[tuple[str, str]]) -> Card:
    _add(card, "note", text, "", [])
    keywords = [lenient.printable(one) for one in lenient.texts(properties, tags.KEYWORDS)]
    if keywords:
        card.add("categories").value = keywords
    changed = lenient.moment(properties, tags.LAST_MODIFICATION_TIME)
    if changed is not None:
        card.add("rev").value = f"{changed:%Y%m%dT%H%M%SZ}"
    written: str = card.serialize()
    return Card(written.encode("utf-8", "replace"), tuple((name, value) for name, value in summary if value))


def _add(
    card: vobject.base.Component, name: str, value: str, label: str, summary: list[tuple[str, str]], kind: str = ""
) -> None:
    """Add what says anything."""
    bare = lenient.printable(value[:_LONGEST]).strip()
    if not bare:
        return
    line = card.add(name)
    line.value = bare
    if kind:
        line.params["TYPE"] = kind.split(",")
    summary.append((label, bare))


def _emails(properties: Properties, book: AddressBook) -> Iterator[Mailbox]:
    for kind, address, name, entry in _EMAILS:
        said = lenient.text(properties, kind), lenient.text(properties, address), lenient.text(properties, name)
        person = people.named(*said, lenient.data(properties, entry), book)
        if person is not None and any(said[1:]):
            yield person


def _members(properties: Properties, book: AddressBook) -> Iterator[Mailbox]:
    """Members as they were written down; where they are contacts of the same folder, only the one-off copy says their
    address (MS-OXOCNTC section 2.2.2.2.1)."""
    copies = lenient.datas(properties, _ONE_OFF_MEMBERS)
    for entry in copies or lenient.datas(properties, _MEMBERS):
        listed = people.read_entry(entry)
        person = people.named(listed.type, listed.address, listed.name, b"", book)
        if person is not None:
            yield person


def _first(properties: Properties, *keys: Key) -> str:
    return lenient.printable(lenient.first_text(properties, *keys)[:_LONGEST]).strip()


def _text(properties: Properties, key: Key) -> str:
    return lenient.printable(lenient.text(properties, key)[:_LONGEST]).strip()
