"""Mutations of real mail, and what must hold of the readers for any bytes whatever."""

from __future__ import annotations

import os
import random
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from appliance.extract import html, text, winmail
from appliance.mail import journal, message
from appliance.mail.facts import Provenance
from tests import outlook_files

LONGEST_SECONDS = 2.0
_LONGEST_SEED = 40_000

_SEEDS_AT_HAND = (
    b"X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSender: a@x.org\r\n"
    b"To: b@x.org, Expanded: c@x.org\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--\r\n",
    b"From: =?utf-8?B?w7w=?= <a@x.org>\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n\r\nx\r\n"
    b"--a\r\n"
    b"Content-Type: text/html\r\n\r\n<style>a{b:url(c)}</style><p style='color:red'>x<img src=cid:y>\r\n--a--\r\n",
)
_ITEM = outlook_files.Item(
    {outlook_files.SUBJECT: "x", outlook_files.BODY: "y", outlook_files.HTML: b"<p>z<img src=cid:i>"},
    [{0x3001001F: "Ben", 0x39FE001F: "ben@x.org"}],
    [
        outlook_files.Attached({outlook_files.CONTENT_ID: "i", outlook_files.DATA: b"picture"}),
        outlook_files.Attached({outlook_files.METHOD: 5}, outlook_files.Item({outlook_files.SUBJECT: "inner"})),
    ],
)
_OUTLOOK = (
    b"Content-Type: application/ms-tnef\r\nContent-Transfer-Encoding: binary\r\n\r\n" + outlook_files.tnef(_ITEM),
    b"Content-Type: application/octet-stream; name=a.msg\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    + outlook_files.msg(_ITEM),
)
_TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\xc3", b"--", b"--b", b"--b--\r\n", b": ", b"; ", b"=", b'"',
    b"=?utf-8?B?", b"=?x?Q?=", b"?=", b"<", b">", b"<!--", b"-->", b"<style>", b"</style>", b"<script", b"<div>", b"(",
    b")", b",", b"@", b"xn--", b"*0*=", b"''", b"%", b"boundary=", b"multipart/mixed", b"multipart/report",
    b"message/rfc822", b"text/html", b"base64", b"quoted-printable", b"utf-16", b"utf-7", b"iso-2022-jp", b"idna",
    b"X-MS-Journal-Report:", b"Content-Type: ", b"Content-Transfer-Encoding: ", b"url(", b"\\", b"@media", b"{", b"}",
    b"Recipients:", b"To: ", b"&#x", b"\x1b$B", b"PK\x03\x04", b"%PDF-", b"{\\rtf1",
)  # fmt: skip


def seeds(corpora: Path | None) -> list[bytes]:
    """Messages to begin from: real ones where there are any."""
    files = sorted((corpora / "eml").iterdir()) if corpora is not None else []
    return [*_SEEDS_AT_HAND, *_OUTLOOK, *(raw for file in files if len(raw := file.read_bytes()) <= _LONGEST_SEED)]


def corpora_at_hand() -> Path | None:
    """The folder of real mail, or None."""
    folder = Path(os.environ.get("MAILKEEP_CORPORA", Path(__file__).resolve().parents[3] / "shared" / "corpora"))
    return folder if (folder / "eml").is_dir() else None


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The message with a few things wrong."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 8, 16))):
        chance.choice(_MUTATIONS)(data, chance)
    return bytes(data[: 4 * _LONGEST_SEED])


def check(raw: bytes) -> None:
    """Read ``raw`` in every way there is; AssertionError or any other error is a finding."""
    began = time.monotonic()
    reading = journal.read(raw)
    original = journal.original(raw, reading)
    facts = message.read(original)
    owners = journal.owners_addresses(reading, facts, Provenance(mail_from="a@x.org"))
    message.read_head(raw)
    message.all_headers(original)
    opened, _ = winmail.opened(original, facts)
    found = winmail.html(original)
    shown, _ = html.sanitise(found.text if found else raw.decode("latin-1"), cid_base="/part/", remote=False)
    for attachment in facts.attachments[:5]:
        text.read(attachment.name, attachment.content_type, "", message.part(original, attachment.part)[1])
    taken = time.monotonic() - began

    assert reading.kind == "journal" or original == raw
    assert len(facts.identity) == 32
    assert facts.size == len(original)
    assert all("@" in owner and owner == owner.strip() for owner in owners)
    assert "<script" not in shown.lower()
    assert message.read(original) == facts
    assert opened.identity == facts.identity
    assert [one.part for one in opened.attachments][: len(facts.attachments)] == [one.part for one in facts.attachments]
    assert taken <= LONGEST_SECONDS, f"{taken:.1f} seconds"


def check_batch(task: tuple[int, int]) -> list[str]:
    """Check (seed, how many) inputs; those that failed are left in files, whose paths are returned."""
    seed, count = task
    chance = random.Random(seed)
    messages = seeds(corpora_at_hand())
    findings = []
    for _ in range(count):
        raw = mutated(chance.choice(messages), chance)
        try:
            check(raw)
        except Exception:
            with tempfile.NamedTemporaryFile(prefix="mailkeep-fuzz-", suffix=".eml", delete=False) as file:
                file.write(raw)
            findings.append(file.name)
            traceback.print_exc()
    return findings


def _cut(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.choice((1, 2, 10, 100, 5_000))]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(_TOKENS) * chance.choice((1, 1, 1, 2, 3, 500))


def _replace(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    token = chance.choice(_TOKENS)
    data[at : at + len(token)] = token


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _double(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.choice((5, 50, 500))]
    data[start:start] = piece * chance.choice((1, 2, 20))


def _move(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + 200]
    del data[start : start + 200]
    at = chance.randrange(len(data) + 1)
    data[at:at] = piece


_MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (_cut, _insert, _replace, _flip, _double, _move)
