"""Time-stamp answers: of every kind of key, read as openssl reads them, and never believed when altered."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.services import rfc3161
from tests.authority import Authority

DIGEST = sha256(b"what is stamped").digest()
NONCE = 0x00FF_1234_5678_9ABC

KEYS = {
    "rsa": ("rsa:2048",),
    "p256": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p384": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "authority")


@pytest.mark.parametrize("key", KEYS)
def test_the_answer_of_openssl_holds(tmp_path: Path, key: str) -> None:
    answer = Authority(tmp_path / key, key=KEYS[key]).answer(rfc3161.request(DIGEST, NONCE))
    checked = rfc3161.check(answer, DIGEST, NONCE)
    assert checked == rfc3161.read(answer)
    assert checked.imprint == DIGEST and checked.nonce == NONCE
    assert abs((datetime.now(UTC) - checked.at).total_seconds()) < 60


@pytest.mark.parametrize("nonce", [0, 1, 0x7F, 0x80, 0xFF, 2**63, 2**64 - 1])
def test_openssl_reads_the_request(tmp_path: Path, nonce: int) -> None:
    (tmp_path / "request").write_bytes(rfc3161.request(DIGEST, nonce))
    done = subprocess.run(
        ["openssl", "ts", "-query", "-in", str(tmp_path / "request"), "-text"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (
        done.returncode == 0 and "Hash Algorithm: sha256" in done.stdout and "Certificate required: yes" in done.stdout
    )
    found = re.search(r"Nonce: (0x[0-9A-F]+)", done.stdout)
    assert found is not None and int(found[1], 16) == nonce


def test_an_answer_to_something_else_is_refused(authority: Authority) -> None:
    answer = authority.answer(rfc3161.request(DIGEST, NONCE))
    with pytest.raises(ValueError, match="something else"):
        rfc3161.check(answer, sha256(b"").digest(), NONCE)
    with pytest.raises(ValueError, match="another request"):
        rfc3161.check(answer, DIGEST, NONCE + 1)


def test_no_altered_bit_changes_what_is_believed(authority: Authority) -> None:
    answer = authority.answer(rfc3161.request(DIGEST, NONCE))
    whole = rfc3161.check(answer, DIGEST, NONCE)
    refused = 0
    for place in range(len(answer)):
        altered = bytearray(answer)
        altered[place] ^= 1 << place % 8
        try:
            assert rfc3161.check(bytes(altered), DIGEST, NONCE) == whole, place
        except ValueError:
            refused += 1
    # What is neither signed nor part of the signer's certificate may change: the status, the authority's own CA.
    assert refused > len(answer) / 2
    for end in range(0, len(answer), 7):
        with pytest.raises(ValueError):
            rfc3161.check(answer[:end], DIGEST, NONCE)


def test_two_authorities_cannot_be_mixed(authority: Authority, tmp_path: Path) -> None:
    """A signature does not hold with another authority's certificate of the same name and number."""
    request = rfc3161.request(DIGEST, NONCE)
    mine = authority.answer(request)
    for number in range(200):  # a signature in DER has one byte more or less by chance
        other = Authority(tmp_path / f"other{number}").answer(request)
        pairs = list(zip(*(rfc3161._signed(answer).certificates for answer in (mine, other)), strict=True))
        if all(len(own.raw) == len(foreign.raw) for own, foreign in pairs):
            break
    mixed = mine
    for own, foreign in pairs:
        assert len(own.raw) == len(foreign.raw)
        mixed = mixed.replace(own.raw, foreign.raw)
    assert mixed != mine
    with pytest.raises(ValueError):
        rfc3161.check(mixed, DIGEST, NONCE)
