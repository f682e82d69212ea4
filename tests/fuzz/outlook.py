"""Mutated MSG files and TNEF streams, read as an import reads them: each gives a message, or says in words why not."""

from __future__ import annotations

import io
import random
import tempfile
import time
import traceback
from pathlib import Path

from appliance.imports import msg, tnef
from appliance.imports.base import FileError, ItemError, Options, Reader
from appliance.mail import message
from tests import outlook_files
from tests.fuzz.readers import corpora_at_hand
from tests.outlook_files import BODY, CONTENT_ID, DATA, HTML, METHOD, SUBJECT, Attached, Item

LONGEST_SECONDS = 10.0
_LONGEST_SEED = 70_000
_READERS: tuple[tuple[str, bytes, Reader], ...] = (
    ("msg", b"\xd0\xcf\x11\xe0", msg.read),
    ("tnef", b"\x78\x9f\x3e\x22", tnef.read),
)
_NUMBERS = (b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f")
_ITEM = Item(
    {SUBJECT: "x", BODY: "y", HTML: b"<p>z<img src=cid:i>", 0x3FDE0003: 65001},
    [{0x3001001F: "Ben", 0x39FE001F: "ben@x.org"}],
    [
        Attached({CONTENT_ID: "i", DATA: b"picture" * 1_000}),
        Attached({METHOD: 5}, Item({SUBJECT: "inner", BODY: "i" * 5_000}, [{0x3001001E: "Zoë"}])),
        Attached({METHOD: 6}, storage=[outlook_files.Node("CONTENTS", b"drawing" * 900)]),
    ],
)


def seeds(corpora: Path | None) -> list[tuple[Reader, bytes]]:
    """Files to begin from, with their readers: real ones where there are any."""
    found: list[tuple[Reader, bytes]] = [(msg.read, outlook_files.msg(_ITEM)), (tnef.read, outlook_files.tnef(_ITEM))]
    for folder, signature, read in _READERS if corpora is not None else ():
        raws = [path.read_bytes() for path in sorted((corpora / folder).iterdir())]  # type: ignore[operator]
        found += [(read, raw) for raw in raws if raw.startswith(signature) and len(raw) <= _LONGEST_SEED]
    return found


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The file with a few things wrong: bits, numbers, blocks, its end."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data))
        match chance.randrange(9):
            case 0 | 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2 | 3:
                data[at : at + 4] = chance.choice(_NUMBERS)
            case 4 | 5:
                data[at : at + 4] = chance.randrange(1, 200).to_bytes(4, "little")
            case 6 | 7:
                other = chance.randrange(len(data))
                data[at : at + 64] = data[other : other + 64]
            case _:
                del data[max(1, at) :]
    return bytes(data)


def check(read: Reader, raw: bytes) -> int:
    """Read a file; how many messages came. AssertionError or any other error is a finding."""
    began = time.process_time()
    came = 0
    try:
        for entry in read(io.BytesIO(raw), "file", Options(others=True)):
            assert entry.content is not None
            made = b"".join(entry.content().pieces)
            assert len(made) < 4 * len(raw) + 100_000
            message.read(made)
            came += 1
    except (FileError, ItemError) as error:
        assert str(error).endswith(".")
    taken = time.process_time() - began
    assert taken <= LONGEST_SECONDS, f"{taken:.1f} seconds"
    return came


def check_batch(task: tuple[int, int]) -> list[str]:
    """Check (seed, how many) inputs; those that failed are left in files, whose paths are returned."""
    seed, count = task
    chance = random.Random(seed)
    files = seeds(corpora_at_hand())
    findings = []
    for _ in range(count):
        read, raw = chance.choice(files)
        wrong = mutated(raw, chance)
        try:
            check(read, wrong)
        except Exception:
            with tempfile.NamedTemporaryFile(prefix="mailkeep-fuzz-", suffix=".outlook", delete=False) as file:
                file.write(wrong)
            findings.append(file.name)
            traceback.print_exc()
    return findings
