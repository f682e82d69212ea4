"""From the records of a message to the one document that the index holds of it."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence

from appliance.catalogue.store import RecordRow
from appliance.index.schema import Document, Hidden, HiddenRole, InFolder
from appliance.mail.audience import Participant
from appliance.mail.facts import Mailbox, MessageFacts


def document(
    message: str,
    facts: MessageFacts,
    rows: Sequence[RecordRow],
    people: Collection[Participant],
    doors: Container[str],
    folders: Iterable[tuple[str, bytes]] = (),
) -> Document:
    """The document of a message whose records are ``rows``, first received first.

    ``people`` are those of all their envelopes; ``doors`` are the addresses that lead to mailboxes, which are nobody's
    and no recipients. ``folders`` are archive and id of each folder that it lay in.

    All records say the same (that is what makes them one message), so what is displayed comes from ``facts``, those
    of one of them; the owners and the envelopes of all are merged. What one record's envelope hides stays hidden.
    """
    received = rows[0].received_at // 1_000_000
    seen = {(one.kind, one.address): one for one in sorted(people, key=_order) if one.seen_by is None}
    hidden = {
        Hidden(archive, _role(one), one.address) for one in people if one.seen_by is not None for archive in one.seen_by
    }
    return Document(
        id=message,
        archives=tuple(sorted({archive for row in rows for archive in row.archives})),
        from_=facts.from_,
        to=tuple(one for one in facts.to if one.address not in doors),
        cc=tuple(one for one in facts.cc if one.address not in doors),
        participants=tuple(Mailbox(one.name, one.address) for one in seen.values() if one.kind != "group"),
        groups=tuple(one.address for one in seen.values() if one.kind == "group"),
        hidden=tuple(sorted(hidden, key=lambda one: (one.archive, one.role, one.address))),
        subject=facts.subject,
        body=facts.text,
        attachments=tuple((one.name, one.text) for one in facts.attachments),
        date=received if facts.date is None else facts.date,
        received=received,
        size=facts.size,
        unparsed=any(row.unparsed for row in rows),
        message_id=facts.message_id,
        references=facts.references,
        folders=tuple(InFolder(archive, id.hex()) for archive, id in folders),
    )


def _order(participant: Participant) -> tuple[str, str, str]:
    return participant.kind, participant.address, participant.name


def _role(participant: Participant) -> HiddenRole:
    if participant.expanded:
        return "expanded"
    return "bcc" if participant.kind in ("bcc", "group") else "recipient"
