"""No nonce meets the same key twice, even where a running process is copied (docs/decisions/0011)."""

from __future__ import annotations

import os

from appliance.store.format import FRAME, RECORD_HEADER_SIZE
from appliance.store.record import RecordSealer, seal


def nonces(parts):
    return {part[4:] for part in parts if len(part) == FRAME.size}


def test_a_process_copied_in_the_middle_of_a_record_draws_other_nonces():
    """fork stands for a virtual machine that is set back to a snapshot: the same memory goes on twice."""
    sealer = RecordSealer(b"k" * 32, b"v" * 16, None)
    sealer.add(b"", os.urandom(2_000_000))
    before = nonces(sealer.take())
    read, write = os.pipe()
    child = os.fork()
    sealer.add(b"", b"\x01" * 3_000_000 if child else b"\x02" * 3_000_000)
    mine = nonces(sealer.finish(b"", b"").parts)
    if child == 0:
        os.write(write, b"".join(sorted(mine)))
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    theirs = os.read(read, 65536)
    os.close(read)
    theirs = {theirs[start : start + 12] for start in range(0, len(theirs), 12)}
    assert before and mine and len(theirs) == len(mine)
    assert not mine & theirs and not mine & before


def test_each_record_has_its_own_key_material():
    records = [seal(b"k" * 32, b"v" * 16, b"the same") for _ in range(200)]
    headers = [record.parts[0] for record in records]
    assert len({header[24:56] for header in headers}) == 200  # the salt that the record key is derived with
    assert all(len(header) == RECORD_HEADER_SIZE for header in headers)
    assert len({record.leaf for record in records}) == 200, "equal mail must not show as equal commitments"
    assert len(set().union(*(nonces(record.parts) for record in records))) == 200
