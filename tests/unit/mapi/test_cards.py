"""Contacts and groups: what an address book gets of them."""

from __future__ import annotations

from datetime import UTC, datetime

import vobject

from appliance.mail import message
from appliance.mapi import tags
from appliance.mapi.tags import PSETID_ADDRESS
from tests.unit.mapi.items import Book, Made, raw, sent

ONE_OFF = bytes(4) + bytes.fromhex("812b1fa4bea310199d6e00dd010f5402") + b"\0\0\x01\x90"


def card(item: Made, book: Book | None = None) -> vobject.base.Component:
    written = raw(item, book or Book({}))
    (part,) = [one for one in message.read(written).attachments if one.content_type == "text/vcard"]
    return vobject.readOne(message.part(written, part.part)[1].decode())


def test_a_contact_becomes_a_card() -> None:
    values = {
        **sent(MESSAGE_CLASS="IPM.Contact", DISPLAY_NAME="Ümit Kaya", BODY="likes tea; no milk\r\nreally"),
        0x3A06: "Ümit",
        0x3A11: "Kaya",
        0x3A16: "Firm, Inc.",
        0x3A18: "Sales",
        0x3A1C: "+49 170 1",
        0x3A42: datetime(1970, 5, 3, tzinfo=UTC),
        (PSETID_ADDRESS, 0x8082): "SMTP",
        (PSETID_ADDRESS, 0x8083): "umit@example.org",
        (PSETID_ADDRESS, 0x8092): "EX",
        (PSETID_ADDRESS, 0x8093): "/o=Firm/cn=umit",
        (PSETID_ADDRESS, 0x8045): "Main St 1\r\nYard",
        (PSETID_ADDRESS, 0x8046): "Köln",
    }
    found = card(Made(values), Book({"/o=Firm/cn=umit": "umit@firm.example"}))
    assert (found.fn.value, found.n.value.family, found.n.value.given) == ("Ümit Kaya", "Kaya", "Ümit")
    assert [one.value for one in found.email_list] == ["umit@example.org", "umit@firm.example"]
    assert found.org.value == ["Firm, Inc.", "Sales"]
    assert (found.tel.value, found.bday.value) == ("+49 170 1", "1970-05-03")
    assert (found.adr.value.street, found.adr.value.city) == ("Main St 1\nYard", "Köln")
    assert found.note.value == "likes tea; no milk\nreally"
    text = message.read(raw(Made(values))).text
    assert "Mobile: +49 170 1" in text and "Company: Firm, Inc., Sales" in text


def test_a_group_names_its_members() -> None:
    members = tuple(
        ONE_OFF + f"{name}\0SMTP\0{address}\0".encode("utf-16-le")
        for name, address in (("Ben", "ben@example.org"), ("Änn", "ann@example.org"))
    )
    values = {
        **sent(MESSAGE_CLASS="IPM.DistList", BODY=None),
        (PSETID_ADDRESS, 0x8053): "The team",
        (PSETID_ADDRESS, 0x8054): members,
    }
    found = card(Made(values))
    assert (found.version.value, found.kind.value, found.fn.value) == ("4.0", "group", "The team")
    assert [one.value for one in found.member_list] == ["mailto:ben@example.org", "mailto:ann@example.org"]
    assert "Member: Änn <ann@example.org>" in message.read(raw(Made(values))).text


def test_a_sticky_note_is_its_text() -> None:
    assert message.read(raw(Made({tags.MESSAGE_CLASS: "IPM.StickyNote", tags.BODY: "buy milk"}))).text == "buy milk"
