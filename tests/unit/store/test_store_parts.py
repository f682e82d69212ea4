"""Attachments are cut out of mail and put back bit for bit, or left where they are."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.store import parts
from appliance.store.parts import PART_SIZE, Reference


def round_trip(original: bytes) -> int:
    """Cut and join; the bytes that were cut out."""
    kept: dict[Reference, bytes] = {}

    def store(data: bytes) -> Reference:
        reference = Reference(1, len(kept))
        kept[reference] = data
        return reference

    text, runs = parts.cut(original, store)
    assert b"".join(parts.join(text, runs, kept.__getitem__)) == original
    assert all(len(data) <= PART_SIZE for data in kept.values())
    return sum(map(len, kept.values()))


def lines(data: bytes, width: int, line_end: bytes) -> bytes:
    encoded = base64.b64encode(data)
    return line_end.join(encoded[start : start + width] for start in range(0, len(encoded), width))


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("width", [76, 72, 64, 60, 40])
@pytest.mark.parametrize("size", [512, 513, 570, 1024, 4999, 5000, 5001, PART_SIZE - 1, PART_SIZE, PART_SIZE * 2 + 1])
def test_an_attachment_is_cut_out_whatever_its_width_and_line_ends(size, width, line_end):
    data = os.urandom(size)
    for after in (b"", line_end, line_end * 2 + b"--boundary--" + line_end):
        mail = b"Content-Transfer-Encoding: base64" + line_end * 2 + lines(data, width, line_end) + after
        assert round_trip(mail) == size


def test_the_same_attachment_gives_the_same_part_in_whatever_lines_it_stands():
    data, seen = os.urandom(2 * PART_SIZE + 77), []
    for width, line_end in ((76, b"\r\n"), (64, b"\n"), (60, b"\r\n")):
        found = []
        parts.cut(
            b"x\n" + lines(data, width, line_end) + b"\n",
            lambda part, found=found: found.append(part) or Reference(1, 1),
        )
        seen.append(found)
    assert seen[0] == seen[1] == seen[2]
    assert b"".join(seen[0]) == data


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda text: text.replace(b"\r\n", b" \r\n", 3),  # white space at line ends
        lambda text: text[:-4] + b"A===",  # padding that no encoder writes
        lambda text: text[:-2] + b"B=" if text.endswith(b"==") else text,  # bits that decode to nothing
        lambda text: text.replace(b"\r\n", b"\n", 1),  # mixed line ends
        lambda text: text[:500] + b"\r\n" + text[500:],  # a line that ends early
        lambda text: b"> " + text.replace(b"\r\n", b"\r\n> "),  # quoted
    ],
)
def test_what_cannot_be_encoded_again_to_the_same_characters_comes_back_all_the_same(spoilt):
    for size in (3000, 3001, 3002):
        round_trip(b"head\r\n\r\n" + spoilt(lines(os.urandom(size), 76, b"\r\n")) + b"\r\n--b--\r\n")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from([40, 44, 60, 64, 76, 1000]), st.booleans(), st.integers(0, 2**32))
def test_damaged_base64_comes_back_bit_for_bit(data, width, crlf, seed):
    source = random.Random(seed)
    text = bytearray(b"x\r\n" + lines(data, width, b"\r\n" if crlf else b"\n") + b"\r\n\r\nend")
    for _ in range(source.randint(0, 4)):
        place = source.randrange(len(text))
        text[place : place + source.randint(0, 2)] = source.choice([b"", b"=", b"\n", b"\r\n", b"\x00", b"A"])
    round_trip(bytes(text))


def test_every_mail_of_the_corpora_comes_back_bit_for_bit(corpora: Path):
    mails = [path.read_bytes() for path in sorted((corpora / "eml").rglob("*")) if path.is_file()]
    assert len(mails) > 100
    cut = sum(map(round_trip, mails))
    assert cut > 1_000_000, "hardly an attachment was recognised"
