"""Who took part in a message, and who may know it.

A journal report names people that the message's own headers do not: Bcc recipients, the members of a group, those
behind an address the server could not place. Every owner of the message sees what its headers and open envelope
lines say. Hidden people are known to themselves and to auditors; Bcc recipients also to the sender.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

import msgspec

from appliance.mail.addresses import normalise
from appliance.mail.facts import JournalRecipient, Mailbox, MessageFacts, Provenance, Reading

AUDITOR = "auditor"
"""The pseudo archive that stands for every active auditor."""

Owner = Callable[[str], str | None]
"""The archive that an address belonged to when the message came in, or None."""


class Participant(msgspec.Struct, frozen=True):
    """One person (or group) of the envelope. ``seen_by`` are the archives that may know of it; None is all
    archives that own the message."""

    address: str
    kind: str  # sender, on-behalf-of, to, cc, bcc, recipient, group
    name: str = ""
    expanded: str = ""
    forwarded: str = ""
    seen_by: frozenset[str] | None = None

    def visible_to(self, archives: Iterable[str]) -> bool:
        """Whether a caller with these archives may know of it."""
        return self.seen_by is None or not self.seen_by.isdisjoint(archives)


def audience(
    reading: Reading, facts: MessageFacts, provenance: Provenance, owner: Owner, doors: Container[str]
) -> tuple[Participant, ...]:
    """Everybody the envelope and the hiding headers name.

    ``doors`` are the addresses that lead to mailboxes: they are no recipients and are left out.
    """
    names = {one.address: one.name for one in (*facts.cc, *facts.to, *facts.from_) if one.name}
    open_addresses = {one.address for one in (*facts.to, *facts.cc, *facts.from_, *facts.sender)}
    report = reading.report
    senders = _senders(reading, facts)
    sender_archives = frozenset(filter(None, (owner(address) for address in senders)))
    found: dict[tuple[str, str], Participant] = {}

    def note(participant: Participant) -> None:
        key = (participant.address, participant.kind)
        if participant.address and participant.address not in doors:
            found.setdefault(key, participant)

    def restricted(address: str, *others: Iterable[str]) -> frozenset[str]:
        archive = owner(address)
        return frozenset({AUDITOR, *((archive,) if archive else ()), *(one for other in others for one in other)})

    if report is not None:
        for address, kind in ((report.sender, "sender"), (report.on_behalf_of, "on-behalf-of")):
            note(Participant(address, kind, names.get(address, "")))
        for line in report.recipients:
            for participant in _of_line(line, open_addresses, sender_archives, restricted, names):
                note(participant)
    for one in facts.bcc:
        note(Participant(one.address, "bcc", one.name, seen_by=restricted(one.address, sender_archives)))
    for address in (*facts.delivered, *(provenance.rcpt_to if report is None else ())):
        plain = normalise(address)
        if plain not in open_addresses:
            # A mailing list or a server's own alias hides nobody; one of ours may have been a Bcc recipient.
            ours = owner(plain) is not None
            note(Participant(plain, "recipient", seen_by=restricted(plain, sender_archives) if ours else None))
    return tuple(found.values())


def _senders(reading: Reading, facts: MessageFacts) -> tuple[str, ...]:
    report = reading.report
    if report is not None and (report.sender or report.on_behalf_of):
        return tuple(filter(None, (report.sender, report.on_behalf_of)))
    return tuple(one.address for one in (*facts.from_, *facts.sender))


def _of_line(
    line: JournalRecipient,
    open_addresses: set[str],
    sender_archives: frozenset[str],
    restricted: Callable[..., frozenset[str]],
    names: dict[str, str],
) -> Iterable[Participant]:
    """The recipient of one envelope line, with the group or forwarder it was reached through.

    A line tells more than that somebody got the message: that it was as a Bcc, through which group, from whom. So
    it can be hidden although the headers name its recipient openly.
    """
    # What a "Recipient" was the server could not tell: as good as a Bcc, but for what the headers name.
    told = line.kind in ("to", "cc")
    seen_by: frozenset[str] | None
    if line.expanded:
        # Who is a member of a group is the group's business: not even the sender learns it.
        seen_by = restricted(line.address)
        group_seen_by = None if told or line.expanded in open_addresses else restricted(line.address, sender_archives)
        yield Participant(line.expanded, "group", names.get(line.expanded, ""), seen_by=group_seen_by)
    elif told or (line.kind == "recipient" and {line.address, line.forwarded or line.address} <= open_addresses):
        seen_by = None
    else:
        seen_by = restricted(line.address, sender_archives)
    yield Participant(
        line.address, line.kind, names.get(line.address, ""), line.expanded, line.forwarded, seen_by
    )  # fmt: skip
    if line.forwarded:
        forwarder = None if seen_by is None else seen_by | restricted(line.forwarded)
        yield Participant(line.forwarded, line.kind, names.get(line.forwarded, ""), seen_by=forwarder)


def header_people(facts: MessageFacts) -> tuple[Mailbox, ...]:
    """Everybody the open headers name."""
    return (*facts.from_, *facts.sender, *facts.to, *facts.cc, *facts.reply_to)
