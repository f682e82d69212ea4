"""From the records of a message to the one document that the index holds of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.catalogue.store import RecordRow
from appliance.index.schema import Document, Hidden, HiddenRole
from appliance.mail.audience import Participant
from appliance.mail.facts import Mailbox, MessageFacts


class Form(msgspec.Struct, frozen=True):
    """One record of a message: where it lies, what it says, and who took part in it."""

    row: RecordRow
    facts: MessageFacts
    people: tuple[Participant, ...]


def document(message: str, forms: Sequence[Form], doors: frozenset[str]) -> Document:
    """The document of a message whose records are ``forms``, first received first.

    ``doors`` are the addresses of journal mailboxes, which are nobody's and no recipients.

    All forms say the same (that is what makes them one message), so what is displayed comes from the first; the
    owners and the envelopes of all are merged. What one record's envelope hides stays hidden by that record.
    """
    first = forms[0]
    facts = first.facts
    received = first.row.received_at // 1_000_000
    people = {(one.kind, one.address): one for form in forms for one in form.people if one.seen_by is None}
    groups = [one.address for one in people.values() if one.kind == "group"]
    participants = [Mailbox(one.name, one.address) for one in people.values() if one.kind != "group"]
    hidden = {
        Hidden(archive, _role(one), one.address)
        for form in forms
        for one in form.people
        if one.seen_by is not None
        for archive in one.seen_by
    }
    return Document(
        id=message,
        archives=tuple(sorted({archive for form in forms for archive in form.row.archives})),
        from_=facts.from_,
        to=tuple(one for one in facts.to if one.address not in doors),
        cc=tuple(one for one in facts.cc if one.address not in doors),
        participants=tuple(participants),
        groups=tuple(groups),
        hidden=tuple(sorted(hidden, key=lambda one: (one.archive, one.role, one.address))),
        subject=facts.subject,
        body=facts.text,
        attachments=tuple((one.name, one.text) for one in facts.attachments),
        date=received if facts.date is None else facts.date,
        received=received,
        size=facts.size,
        unparsed=any(form.row.unparsed for form in forms),
        message_id=facts.message_id,
        references=facts.references,
    )


def _role(participant: Participant) -> HiddenRole:
    if participant.expanded:
        return "expanded"
    return "bcc" if participant.kind in ("bcc", "group") else "recipient"
