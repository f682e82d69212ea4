"""``python -m tests.fidelity``: what of each PST arrives, beside what readpst makes of it; ``--write`` into docs.

Both are read by what comes out in the end: our messages, and readpst's EML, iCalendar and vCard files. Everything
counts that readpst has and we have not, however much more we have. Needs Debian's pst-utils.
"""

from __future__ import annotations

import argparse
import email
import email.utils
import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

import icalendar

from appliance.imports.base import ItemError, Options
from appliance.imports.pst import read
from appliance.mail import headers

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "fidelity.md"
BEGIN, END = "<!-- begin table -->\n", "<!-- end table -->\n"
COLUMNS = ("items", "attachments", "recipients", "dates", "subjects", "bodies")
_SECONDS = 120
_MOMENT = len("20210815T070000")
_COVERED = 0.98
"""Share of a body's words that has to arrive for the body to have arrived: readpst leaves some marks of its own."""
_TAG = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
_WORD = re.compile(r"\w{2,}")
_ENTRIES = ("text/calendar", "text/vcard", "text/x-vcard")
_MADE = re.compile(rb"PRODID:(LibPST|-//mailkeep)|BEGIN:VCARD")
"""In entries that were made of an item, by readpst or by us, and did not come with it."""
_BODY = "body.rtf"
"""What a body in rich text alone is kept as; readpst is told not to (-b)."""
_READPST_BOUNDARY = "--boundary-LibPST-iamunique"
"""readpst writes a message within a message with the boundary of the outer one: its source is taken for text."""


@dataclass(frozen=True)
class Facts:
    """What one item says, so that it can be looked for elsewhere."""

    subject: str = ""
    date: str = ""
    recipients: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()


@dataclass
class Sum:
    """All items of a file."""

    facts: list[Facts] = field(default_factory=list)

    def values(self, column: str) -> Counter[str]:
        """What there is of a column, as often as there is."""
        if column == "items":
            return Counter({"": len(self.facts)})
        if column == "attachments":
            return Counter(one for facts in self.facts for one in facts.attachments)
        if column == "recipients":
            return Counter(f"{facts.subject}\n{one}" for facts in self.facts for one in facts.recipients)
        if column == "dates":
            return Counter(facts.date for facts in self.facts if facts.date)
        return Counter(facts.subject for facts in self.facts if facts.subject)


@dataclass(frozen=True)
class Row:
    """A file: of each column ours, readpst's, and how many of readpst's are missing from ours."""

    name: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    missing: tuple[int, ...]


def main() -> int:
    """Print the table. Exit code 2 where something that it needs is absent, 1 where readpst has what we have not."""
    parser = argparse.ArgumentParser(prog="python -m tests.fidelity", description="PSTs beside readpst.")
    parser.add_argument("--write", action="store_true", help="write the table into docs/fidelity.md")
    given = parser.parse_args()
    folder = Path(os.environ.get("MAILKEEP_CORPORA", ROOT.parent / "shared" / "corpora")) / "pst"
    if not folder.is_dir() or shutil.which("readpst") is None:
        print("needs PSTs (MAILKEEP_CORPORA) and Debian's pst-utils", file=sys.stderr)
        return 2
    rows = [compare(path) for path in sorted(folder.iterdir())]
    print(table(rows))
    if given.write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}{table(rows)}{END}{rest.partition(END)[2]}")
    return 1 if any(any(row.missing) for row in rows) else 0


def compare(path: Path) -> Row:
    """One file, read by both."""
    ours, theirs = Sum(list(_ours(path))), Sum(list(_readpst(path)))
    numbers, others, missing = [], [], []
    for column in COLUMNS[:-1]:
        mine, its = ours.values(column), theirs.values(column)
        numbers.append(mine.total())
        others.append(its.total())
        missing.append(_lost(mine, its).total())
    bodies = [facts for facts in theirs.facts if facts.words]
    numbers.append(sum(bool(facts.words) for facts in ours.facts))
    others.append(len(bodies))
    missing.append(sum(not _arrived(facts, ours) for facts in bodies))
    return Row(
        path.name.partition("--")[0] + "/" + path.name.partition("--")[2], *map(tuple, (numbers, others, missing))
    )


def table(rows: list[Row]) -> str:
    """In Markdown."""
    lines = ["| file | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = (
            f"{mine} / {its}" + (f" (−{lost})" if lost else "")
            for mine, its, lost in zip(row.ours, row.theirs, row.missing, strict=True)
        )
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _lost(ours: Counter[str], theirs: Counter[str]) -> Counter[str]:
    """What readpst has and we have not. Of an appointment that takes whole days readpst says a time, and we the day."""
    lost = theirs - ours
    days = Counter(one[:8] for one in lost if "T" in one and len(one) == _MOMENT)
    return Counter(
        {one: count for one, count in lost.items() if not (len(one) == _MOMENT and days[one[:8]] <= ours[one[:8]])}
    )


def _arrived(facts: Facts, ours: Sum) -> bool:
    """Whether some item of ours with that subject says what readpst's body says."""
    return any(
        len(facts.words & one.words) >= _COVERED * len(facts.words)
        for one in ours.facts
        if one.subject == facts.subject
    )


def _ours(path: Path) -> Iterator[Facts]:
    with path.open("rb") as file:
        for entry in read(file, path.name, Options(others=True)):
            if entry.content is None:
                raise ItemError(entry.broken or entry.left)
            yield _of_message(b"".join(entry.content().pieces))


def _readpst(path: Path) -> Iterator[Facts]:
    with tempfile.TemporaryDirectory(prefix="mailkeep-fidelity-") as folder:
        command = ["readpst", "-q", "-j0", "-r", "-e", "-b", "-D", "-8", "-o", folder, str(path)]
        subprocess.run(command, check=True, timeout=_SECONDS, capture_output=True)
        for file in sorted(Path(folder).rglob("*")):
            if file.suffix == ".eml":
                yield _of_message(file.read_bytes())
            elif file.suffix in (".ics", ".vcf"):
                for one in re.split(r"(?m)^(?=BEGIN:VCALENDAR|BEGIN:VCARD)", file.read_text("utf-8", "replace")):
                    if one.strip():
                        yield _of_entry(one)


def _of_message(raw: bytes) -> Facts:
    message = email.message_from_bytes(raw)
    attachments: list[str] = []
    text: list[str] = []
    entry = Facts()
    within = [part for whole in message.walk() if whole.get_content_type() == "message/rfc822" for part in whole.walk()]
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True) or b""
        if part.get_content_type() in _ENTRIES and _MADE.search(content):  # of the item itself, and no attachment
            entry = entry if part in within else _of_entry(_text(part, content))
        elif part.get_filename() == _BODY:
            continue
        elif part.get_filename() or part.get_content_disposition() == "attachment":
            attachments.append(hashlib.sha256(content).hexdigest())
        elif part.get_content_maintype() == "text" and part not in within:
            text.append(_text(part, content).partition(_READPST_BOUNDARY)[0])
    date = email.utils.parsedate_to_datetime(message["Date"]) if message["Date"] else None
    subject = headers.text(str(message["Subject"] or "").encode("utf-8", "surrogateescape"))
    return Facts(
        subject=_subject(subject),
        date=entry.date or (f"{date.timestamp():.0f}" if date else ""),
        recipients=_recipients(message) or entry.recipients,
        attachments=tuple(attachments),
        words=_words(" ".join(text)) | entry.words,
    )


def _recipients(message: Message) -> tuple[str, ...]:
    fields = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    found = (address.lower().strip("'") for _, address in email.utils.getaddresses(fields))
    return tuple(sorted({address for address in found if "@" in address}))


def _of_entry(text: str) -> Facts:
    """An appointment, a task or a contact."""
    if "BEGIN:VCARD" in text:
        name, note = (re.search(rf"(?m)^{key}[^:\n]*:(.*)$", text) for key in ("FN", "NOTE"))
        return Facts(subject=_subject(name[1] if name else ""), words=_words(note[1] if note else ""))
    (event,) = icalendar.Calendar.from_ical(text).walk("VEVENT")[:1] or [icalendar.Event()]
    begin = event["DTSTART"].dt if "DTSTART" in event else None
    if isinstance(begin, datetime):
        begin = begin.astimezone(UTC) if begin.tzinfo else begin
    attendees = event.get("ATTENDEE", [])
    people = (
        str(one).lower().removeprefix("mailto:") for one in (attendees if isinstance(attendees, list) else [attendees])
    )
    return Facts(
        subject=_subject(str(event.get("SUMMARY", ""))),
        date="" if begin is None else f"{begin:%Y%m%dT%H%M%S}" if isinstance(begin, datetime) else f"{begin:%Y%m%d}",
        recipients=tuple(sorted({one for one in people if "@" in one})),
        words=_words(str(event.get("DESCRIPTION", ""))),
    )


def _subject(text: str) -> str:
    """Its words in some order: readpst turns the names of contacts round."""
    return " ".join(sorted(re.findall(r"\w+", text.lower())))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(_plain(text).lower()))


def _text(part: Message, content: bytes) -> str:
    text = content.decode(part.get_content_charset("utf-8"), "replace")
    return html.unescape(_TAG.sub(" ", text)) if part.get_content_subtype() == "html" else text


def _plain(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
