"""``mailkeep demo``: a made-up company's mail, sent as Exchange journal reports through the real SMTP port.

People, groups, conversations, attachments, Bcc; the same mail each time but for its dates, which end today. The
reports have the form that Exchange Online gives them (MS-XJRNL section 2.1).
"""

from __future__ import annotations

import random
import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import NamedTuple

from appliance.errors import UnavailableError
from appliance.services import api
from appliance.services.box import RunningBox

DOMAIN = "example.com"
MAILBOX = "journal@archive.example.com"
BATCH = 50  # messages on one connection


class Person(NamedTuple):
    """Somebody who writes and receives."""

    name: str
    address: str


class Topic(NamedTuple):
    """What a conversation is about: its subject, what is said in turn, and a file that goes with the first mail."""

    subject: str
    turns: tuple[str, ...]
    file: tuple[str, str] | None = None


PEOPLE = tuple(
    Person(name, f"{address}@{DOMAIN}")
    for name, address in (
        ("Anna Bauer", "anna.bauer"), ("Ben Fischer", "ben.fischer"), ("Carla Rossi", "carla.rossi"),
        ("David Müller", "david.mueller"), ("Elif Yılmaz", "elif.yilmaz"), ("Farid Haddad", "farid.haddad"),
        ("Greta Lund", "greta.lund"), ("Hugo Novák", "hugo.novak"), ("Inès Dubois", "ines.dubois"),
        ("Jonas Weber", "jonas.weber"),
    )
)  # fmt: skip
OUTSIDE = (
    Person("Mia Schneider", "mia.schneider@nordwind-logistik.example"),
    Person("Oliver Grant", "o.grant@grantpartners.example"),
    Person("田中 健", "k.tanaka@hoshi-parts.example"),
    Person("Paula Costa", "paula@studio-costa.example"),
)
GROUPS = {
    Person("Sales", f"sales@{DOMAIN}"): PEOPLE[0:4],
    Person("All staff", f"all-staff@{DOMAIN}"): PEOPLE,
}
TOPICS = (
    Topic(
        "Offer 2026-{n} for the new warehouse",
        (
            "please find our offer attached. The price holds until the end of the month; delivery takes six weeks.",
            "thank you. Could you tell me whether the shelves are included, and what assembly would cost?",
            "the shelves are included. Assembly is two days for two people, I have added it as an option.",
            "agreed. Please send the order confirmation to our accounting as well.",
        ),
        ("offer-{n}.csv", "position,article,pieces,price\n1,Shelf 200x80,24,189.00\n2,Assembly,2,640.00\n"),
    ),
    Topic(
        "Rechnung {n}: Rückfrage zur Lieferung nach München",
        (
            "auf der Rechnung {n} stehen zwölf Stück, geliefert wurden zehn. Können Sie das bitte prüfen?",
            "das stimmt, zwei Stück kommen mit der nächsten Lieferung. Eine Gutschrift schicke ich heute.",
            "vielen Dank, damit ist es für uns erledigt. Schöne Grüße aus der Größenprüfung.",
        ),
        ("rechnung-{n}.txt", "Rechnung {n}\nZwölf Stück Kabelführung, 48,00 EUR\nZahlbar binnen 14 Tagen.\n"),
    ),
    Topic(
        "Minutes of the planning meeting, week {week}",
        (
            "here are the minutes. We move the release by a week; Greta looks after the tests, Jonas after the docs.",
            "one correction: the customer visit is on Thursday, not on Wednesday.",
        ),
    ),
    Topic(
        "お見積りについて（{n}）",
        (
            "先日ご依頼いただいた部品のお見積りをお送りします。納期は三週間です。",
            "ありがとうございます。社内で確認して、来週ご連絡します。",
        ),
    ),
    Topic(
        "Travel to the trade fair",
        (
            "I have booked the train for the four of us. Who needs a room for the second night?",
            "Me, please. And could we take the later train back? The panel ends at five.",
            "Done. The tickets come by post.",
        ),
    ),
    Topic(
        "Contract renewal {n}",
        (
            "our contract ends in March. I would like to renew it for two years on the same terms.",
            "two years are fine for us. Legal asks for one change in section 7 (liability), see the attached draft.",
            "section 7 is acceptable. I will sign this week.",
        ),
        ("contract-draft-{n}.txt", "Section 7. Liability is limited to the yearly fee, but for intent.\n"),
    ),
)


def run(box: RunningBox, smtp: str, count: int) -> dict[str, object]:
    """Make the mailbox and people where they are missing, send ``count`` reports, and invite the first person."""
    if not any(one.address == MAILBOX for one in box.call("mailboxes", tuple[api.MailboxInfo, ...])):
        box.call("mailbox_create", api.MailboxCreated, name="Demo journal", address=MAILBOX)
    people = "primary,aliases,name\n" + "".join(
        f"{one.address},{one.address.replace('.', '-', 1)},{one.name}\n" for one in PEOPLE
    )
    box.call("user_import", api.ImportResult, csv=people.encode())
    sent = _send(smtp, list(reports(count)))
    person = box.call("user_by_address", api.UserInfo, address=PEOPLE[0].address)
    code = box.call("user_invite", tuple[api.Invitation, ...], ids=[person.id])[0].code
    return {"sent": sent, "mailbox": MAILBOX, "user": person.primary, "code": code}


def reports(count: int, *, until: datetime | None = None) -> Iterator[bytes]:
    """``count`` journal reports, oldest first, over the last four months before ``until``."""
    rng = random.Random(20261121)  # noqa: S311 - made-up mail, not a secret
    end = until or datetime.now(UTC)
    made = 0
    while made < count:
        topic = rng.choice(TOPICS)
        start = end - timedelta(days=120 * (1 - made / count), minutes=rng.randrange(600))
        for report in _conversation(rng, topic, start, end):
            yield report
            made += 1
            if made == count:
                return


def _conversation(rng: random.Random, topic: Topic, start: datetime, end: datetime) -> Iterator[bytes]:
    one, other = rng.choice(PEOPLE), rng.choice(OUTSIDE if rng.random() < 0.6 else PEOPLE)
    if one == other:
        other = PEOPLE[(PEOPLE.index(one) + 1) % len(PEOPLE)]
    values = {"n": rng.randrange(1000, 9999), "week": start.isocalendar().week}
    group = rng.choice(list(GROUPS)) if rng.random() < 0.25 else None
    bcc = rng.choice(PEOPLE) if rng.random() < 0.15 else None
    earlier: list[str] = []
    when = start
    for turn, said in enumerate(topic.turns):
        sender, receiver = (one, other) if turn % 2 == 0 else (other, one)
        subject = ("Re: " if turn else "") + topic.subject.format(**values)
        message = _message(sender, receiver, group, subject, said.format(**values), min(when, end))
        message["Message-ID"] = f"<{rng.getrandbits(64):016x}@{sender.address.partition('@')[2]}>"
        if earlier:
            message["In-Reply-To"], message["References"] = earlier[-1], " ".join(earlier)
        earlier.append(str(message["Message-ID"]))
        if topic.file and turn == 0:
            name, content = topic.file
            message.add_attachment(content.format(**values), filename=name.format(**values))
        yield _report(rng, message, sender, receiver, group, bcc if turn == 0 else None)
        when += timedelta(minutes=rng.randrange(10, 1500))


def _message(
    sender: Person, receiver: Person, group: Person | None, subject: str, said: str, when: datetime
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"{sender.name} <{sender.address}>"
    message["To"] = f"{receiver.name} <{receiver.address}>"
    if group:
        message["Cc"] = f"{group.name} <{group.address}>"
    message["Date"] = format_datetime(when)
    message["Subject"] = subject
    first = receiver.name.split()[0]
    text = f"Hello {first},\n\n{said}\n\nBest regards\n{sender.name}\n"
    message.set_content(text, cte="quoted-printable")
    message.add_alternative(
        f"<html><body style='font-family:sans-serif'><p>Hello {first},</p><p>{said}</p>"
        f"<p>Best regards<br><strong>{sender.name}</strong></p></body></html>",
        subtype="html",
        cte="quoted-printable",
    )
    return message


def _report(
    rng: random.Random,
    message: EmailMessage,
    sender: Person,
    receiver: Person,
    group: Person | None,
    bcc: Person | None,
) -> bytes:
    lines = [f"Sender: {sender.address}", f"Subject: {message['Subject']}", f"Message-Id: {message['Message-ID']}"]
    lines.append(f"To: {receiver.address}")
    if group:
        lines += [f"Cc: {member.address}, Expanded: {group.address}" for member in GROUPS[group]]
    if bcc and bcc not in (sender, receiver):
        lines.append(f"Bcc: {bcc.address}")
    boundary = f"_000_{rng.getrandbits(96):024x}JournalReport_"
    head = (
        f"From: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@{DOMAIN}>\r\n"
        f"Date: {message['Date']}\r\nSubject: {message['Subject'].encode('ascii', 'replace').decode()}\r\n"
        f"Message-ID: <{rng.getrandbits(96):024x}@journal.report.generator>\r\n"
        "X-MS-Journal-Report:\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
        f'--{boundary}\r\nContent-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'
    )
    body = "\r\n".join(lines) + "\r\n"
    original = message.as_bytes(policy=message.policy.clone(linesep="\r\n"))
    return (
        head.encode() + body.encode() + f"\r\n--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n".encode()
        + original + f"\r\n--{boundary}--\r\n".encode()
    )  # fmt: skip


def _send(smtp: str, mails: list[bytes]) -> int:
    host, _, port = smtp.rpartition(":")
    tls = ssl.create_default_context()
    # The box talks to itself, most likely with the certificate that it made for itself.
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        for start in range(0, len(mails), BATCH):
            with smtplib.SMTP(host.strip("[]"), int(port), timeout=30) as client:
                client.starttls(context=tls)
                for mail in mails[start : start + BATCH]:
                    client.sendmail("", [MAILBOX], mail, mail_options=["BODY=8BITMIME"])
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise UnavailableError(f"The gateway at {smtp} did not take the mail: {error}") from error
    return len(mails)
