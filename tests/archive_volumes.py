"""What the tests of archive volumes share: mail to compact, and the steps that the archiver takes."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.files import FILES, Files
from appliance.mail.facts import Provenance
from appliance.store.compaction import compact, plan
from appliance.store.reader import LogReader, RecordRef
from appliance.store.seal import Chain, Seal, sign_volume, waiting
from appliance.store.switch import put_in_place

EVER = 1 << 62


def chain_of(archive: Any, files: Files = FILES) -> Chain:
    return Chain.load(
        archive.volumes, archive_id=archive.keyring.archive_id, verify_key=archive.keyring.verify_key, files=files
    )


def seal_all(archive: Any) -> Chain:
    """Sign every volume that will not grow."""
    chain = chain_of(archive)
    for volume in list(waiting(archive.volumes, chain)):
        sign_volume(archive.volumes, volume, chain, archive.keyring)
    return chain


def fill(archive: Any, originals: Sequence[bytes], *, writer: str = "g0", max_volume: int = 60_000) -> list[RecordRef]:
    """Originals in a few closed and sealed volumes; their places."""
    log = archive.writer(writer, max_volume=max_volume)
    provenance = Provenance(received_at=1_700_000_000_000_000, rcpt_to=("journal@archive.test",), peer="192.0.2.1")
    refs = [
        log.append(archive.mailbox, archive.public_key, original, provenance).result(timeout=30)
        for original in originals
    ]
    log.close()
    seal_all(archive)
    return refs


def compact_all(archive: Any, *, step_bytes: int = 1 << 30, files: Files = FILES) -> list[Seal]:
    """Make, check, sign and switch, as the archiver does."""
    reader = LogReader(archive.volumes, archive.keyring, files=files)
    chain = chain_of(archive, files)
    seals = []
    for step in plan(reader.volumes(archive.mailbox), before=EVER, step_bytes=step_bytes):
        made = compact(archive.volumes, step, chain, reader, archive.keyring, files=files, reserve=0)
        seal = put_in_place(archive.volumes, str(made), chain, archive.keyring, opener=archive.keyring, files=files)
        assert seal is not None
        seals.append(seal)
    return seals


def office_mail(count: int, *, seed: int = 1) -> list[bytes]:
    """Mail in threads, with attachments that go round."""
    source = random.Random(seed)
    words = ["".join(source.choices("abcdefghij", k=source.randint(2, 9))) for _ in range(400)]
    pool = [source.randbytes(source.choice((700, 5_000, 40_000))) for _ in range(6)]
    mails = []
    for number in range(count):
        text = "\r\n".join(" ".join(source.choices(words, k=11)) for _ in range(source.randint(2, 40)))
        head = f"From: user{number % 7}@example.com\r\nSubject: {'Re: ' * (number % 3)}{words[number % 9]} plan\r\n"
        if number % 3:
            mails.append(f"{head}\r\n{text}\r\n".encode())
            continue
        attached = base64.encodebytes(source.choice(pool)).replace(b"\n", b"\r\n")
        mails.append(
            f'{head}Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\n'
            "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
            + attached
            + b"--b--\r\n"
        )
    return mails


def names(archive: Any) -> set[str]:
    return {path.name for path in (archive.volumes / archive.mailbox.hex()).iterdir()}


def stored(folder: Path) -> int:
    """Bytes of all volumes and archive volumes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".mkv", ".mka"))
