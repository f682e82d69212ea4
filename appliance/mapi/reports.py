"""Delivery reports and read receipts, which Outlook keeps as properties (MS-OXCMAIL section 2.1.3.3).

Written as RFC 3464 and RFC 8098 have them.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.mail.facts import Mailbox
from appliance.mapi import classes, entity, fields, heads, lenient, people, tags
from appliance.mapi.base import AddressBook, Item, Properties
from appliance.mapi.entity import Entity

_DELIVERY = {".NDR": "failed", ".DR": "delivered", ".DELAYED": "delayed", ".EXPANDED.DR": "expanded"}
_RECEIPTS = {".IPNRN": "displayed", ".IPNNRN": "deleted"}
_STATUS = {"failed": "5.0.0", "delivered": "2.0.0", "delayed": "4.0.0", "expanded": "2.0.0"}
_WORDS = {
    "failed": "could not be delivered",
    "delivered": "was delivered",
    "delayed": "has not been delivered yet",
    "expanded": "was passed on to the members of a group",
    "displayed": "was read",
    "deleted": "was deleted without being read",
}


def is_report(properties: Properties) -> bool:
    """Whether the item is one (MS-OXCMSG section 2.2.1.3)."""
    return bool(_action(properties))


def wrap(item: Item, content: Entity | None, rest: list[Entity], book: AddressBook) -> Entity:
    """The report as multipart/report: its text, the fields for programs, and what was attached to it.

    ``content`` is the item's own text, None where it has none: then one is made of the properties.
    """
    action = _action(item.properties)
    receipt = action in _RECEIPTS.values()
    kind = "disposition-notification" if receipt else "delivery-status"
    status = _receipt(item, action, book) if receipt else _delivery(item, action, book)
    described = f"Content-Type: message/{kind}\r\n".encode()
    status_part = entity.enclosed(described, lambda: (status,), status, ascii=True)
    text = content or entity.text(_text(item, action, book))
    return entity.multipart("report", [text, status_part, *rest], f"; report-type={kind}")


def _action(properties: Properties) -> str:
    name = classes.message_class(properties)
    if not classes.is_class(name, "REPORT"):
        return ""
    endings = {**_DELIVERY, **_RECEIPTS}
    return next((endings[one] for one in sorted(endings, key=len, reverse=True) if name.endswith(one)), "")


def _text(item: Item, action: str, book: AddressBook) -> str:
    properties = item.properties
    written = lenient.text(properties, tags.REPORT_TEXT)
    if written:
        return written
    subject = lenient.text(properties, tags.ORIGINAL_SUBJECT) or heads.subject(properties)
    lines = [f"Your message “{subject}” {_WORDS[action]}.", ""]
    for person, row in _rows(item, book):
        lines.append(f"{person.name or person.address} <{person.address}>")
        lines += [f"    {said}" for said in (lenient.text(row, tags.SUPPLEMENTARY_INFO).strip(),) if said]
    return "\n".join(lines) + "\n"


def _rows(item: Item, book: AddressBook) -> Iterator[tuple[Mailbox, Properties]]:
    for row in item.recipients:
        person = people.recipient(row, book)
        if person is not None:
            yield person, row


def _delivery(item: Item, action: str, book: AddressBook) -> bytes:
    """RFC 3464: fields for the message, then for each recipient, the groups parted by an empty line."""
    groups = [_field("Reporting-MTA", _mta(lenient.text(item.properties, tags.REPORTING_MTA)) or "dns; unknown")]
    for person, row in _rows(item, book):
        status = _status(lenient.number(row, tags.NDR_STATUS_CODE)) or _STATUS[action]
        said = " ".join(lenient.text(row, tags.SUPPLEMENTARY_INFO).split())
        remote = _mta(lenient.text(row, tags.REMOTE_MTA))
        groups.append(
            _field("Final-Recipient", f"rfc822; {person.address}")
            + _field("Action", action)
            + _field("Status", status)
            + (_field("Remote-MTA", remote) if remote else b"")
            + (_field("Diagnostic-Code", f"smtp; {said}") if said else b"")
        )
    return b"\r\n".join(groups)


def _receipt(item: Item, action: str, book: AddressBook) -> bytes:
    """RFC 8098."""
    from_ = people.of(item, book).from_
    original = lenient.text(item.properties, tags.ORIGINAL_MESSAGE_ID).strip()
    address = from_[0].address if from_ else f"unknown@{people.NOWHERE}"
    return (
        _field("Final-Recipient", f"rfc822; {address}")
        + (_field("Original-Message-ID", original) if original else b"")
        + _field("Disposition", f"manual-action/MDN-sent-manually; {action}")
    )


def _status(code: int) -> str:
    """PidTagNonDeliveryReportStatusCode: 511 is 5.1.1 (MS-OXCMAIL section 2.1.3.3.2)."""
    digits = str(code)
    return ".".join((digits[0], digits[1], digits[2:])) if 200 <= code < 60_000 and digits[0] in "245" else ""


def _mta(name: str) -> str:
    bare = "".join(name.split())
    return f"dns; {bare}" if bare else ""


def _field(name: str, value: str) -> bytes:
    return fields.structured(name, value)
