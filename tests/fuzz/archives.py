"""Mutated archives and mailboxes of other programs, read as the product reads them: reading ends, every item is
accounted for, and nothing fails in a way that nobody thought of."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import plistlib
import random
import re
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator

import zstandard

from appliance.imports.base import FileError, ItemError, Options
from appliance.imports.nursery import Nursery
from appliance.imports.reading import Arriving, Broken, Opened, Reading

LONGEST_SECONDS = 60.0
_PATIENCE = 20.0
_UNFORESEEN = re.compile(r"cannot be read \(\w+\)|ended the process|took longer than")
"""Ways to fail that are no answer: a reader that stumbles, dies, or hangs. (LZMA may ask for any memory.)"""
_FROM = b"From anna@example.org Mon Jan  1 10:00:00 2024\n"


def seeds() -> list[tuple[str, bytes]]:
    """Files to begin from, by name."""
    mail = b"From: a@example.org\nDate: Mon, 1 Jan 2024 10:00:00 +0000\nSubject: a\n\nText\n"
    long = mail + b"A line of it, and another\n" * 200
    labelled = b"X-Gmail-Labels: Work,Inbox\nX-Mozilla-Status: 0001\nContent-Length: 5\n" + mail
    mbox = b"".join(_FROM + one + b"\n" for one in (mail, labelled, long, mail.replace(b"Text", b">From here")))
    emlx = b"%-10d\n" % len(mail) + mail + plistlib.dumps({"flags": 1, "date-received": 1_700_000_000})
    files = {
        "a.eml": mail,
        "Maildir/.Entw&APw-rfe/cur/1700000000.M1.host:2,S": long,
        "Inbox.sbd/Work": mbox,
        "1.emlx": emlx,
        "mh/.mh_sequences": b"unseen: 1-3 7\n",
        "mh/2": mail,
        "in.zip": zipped({"b.eml": mail, "c": mbox}),
        "in.tar": tarred({"b.eml": mail}),
        "old.gz": gzip.compress(mbox),
    }
    tar = tarred(files)
    return [
        *(("mbox", mbox), ("a.emlx", emlx), ("x.zip", zipped(files)), ("x.tar", tar), ("x.tgz", gzip.compress(tar))),
        *(("x.tar.bz2", bz2.compress(tar)), ("x.tar.xz", lzma.compress(tar)), ("x.tar.zst", zstandard.compress(tar))),
        *(("y.zip", zipped(files, zipfile.ZIP_STORED)), ("z.zip", zipped(files, zipfile.ZIP_LZMA))),
        (
            "export.zip",
            zipped({"1.eml": mail, "manifest.csv": b"file,id,received,subject,size,sha256,note\r\n1.eml,,,,,,"}),
        ),
    ]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(zipfile.ZipInfo(name), raw, method)
    return held.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, raw in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(raw), {"comment": "a pax header"}
            archive.addfile(info, io.BytesIO(raw))
    return held.getvalue()


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The file with a few things wrong."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(data))
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at] = chance.choice((0, 0xFF, 0x7F, 0x80, 0x30, 0x0A))
            case 2:
                data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"7777"))
            case 3:
                data[at : at + chance.randrange(64)] = b""
            case 4:
                other = chance.randrange(len(data))
                data[at:at] = data[other : other + chance.randrange(600)]
            case _:
                data[at:at] = chance.choice((b"\nFrom ", b">From ", b"PK\1\2", b"PK\3\4", b"\n\n", b"ustar"))
        if not data:
            return raw
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def check(name: str, raw: bytes, nursery: Nursery) -> int:
    """Read ``raw`` to its end; how many items were accounted for. AssertionError is a finding."""
    began = time.monotonic()
    why: list[str] = []
    count = 0
    with tempfile.TemporaryFile() as file:
        file.write(raw)
        file.flush()
        try:
            with Reading(
                nursery, Opened(file.fileno(), len(raw)), name, Options(password="x"), patience=_PATIENCE
            ) as reading:
                for event in reading:
                    assert event.number == count
                    count += 1
                    why += _reasons(event)
        except FileError as error:
            why.append(str(error))
    unforeseen = [words for words in why if _UNFORESEEN.search(words)]
    assert not unforeseen, unforeseen
    assert all(why)
    assert count or why or not raw
    taken = time.monotonic() - began
    assert taken <= LONGEST_SECONDS, f"{taken:.1f} seconds"
    return count


def check_batch(task: tuple[int, int]) -> list[str]:
    """Check (seed, how many) files; those that failed are left in files, whose paths are returned."""
    seed, count = task
    chance = random.Random(seed)
    files = seeds()
    findings = []
    with Nursery() as nursery:
        for _ in range(count):
            name, whole = chance.choice(files)
            raw = mutated(whole, chance)
            try:
                check(name, raw, nursery)
            except Exception:
                with tempfile.NamedTemporaryFile(prefix="mailkeep-fuzz-", suffix=f"-{name}", delete=False) as file:
                    file.write(raw)
                findings.append(file.name)
                traceback.print_exc()
    return findings


def _reasons(event: object) -> Iterator[str]:
    if isinstance(event, Broken):
        yield event.why
    elif isinstance(event, Arriving):
        try:
            for _ in event.pieces:
                pass
        except ItemError as error:
            yield str(error)
