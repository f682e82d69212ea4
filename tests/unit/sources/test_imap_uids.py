"""Sets of UIDs say what sets of numbers say, however they are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sources.imap.uids import LAST, GrowingUids, UidSet

_UIDS = st.sets(st.one_of(st.integers(1, 60), st.integers(1, LAST)), max_size=60)


@given(_UIDS, _UIDS)
def test_it_computes_as_a_set_of_numbers_does(one: set[int], other: set[int]) -> None:
    first, second = UidSet.of(one), UidSet.of(other)
    assert set(first | second) == one | other
    assert set(first & second) == one & other
    assert set(first - second) == one - other
    assert set(first ^ second) == one ^ other
    assert (len(first), bool(first)) == (len(one), bool(one))
    assert {uid for uid in one | other if uid in first} == one


@given(_UIDS)
def test_text_and_bytes_say_the_same_set(uids: set[int]) -> None:
    whole = UidSet.of(uids)
    assert UidSet.parse(whole.text()) == whole
    assert UidSet.decode(whole.encode()) == whole


@given(_UIDS, st.integers(1, 20), st.integers(1, 40))
def test_pieces_are_in_order_small_enough_and_together_the_whole(uids: set[int], most: int, octets: int) -> None:
    pieces = list(UidSet.of(uids).pieces(uids=most, octets=octets))
    assert [uid for piece in pieces for uid in piece] == sorted(uids)
    assert all(len(piece) <= most and len(piece.text()) <= octets + 21 for piece in pieces)


@given(_UIDS, st.lists(_UIDS, max_size=5), _UIDS)
def test_a_growing_set_is_the_same_after_it_was_written_down(
    begun: set[int], added: list[set[int]], gone: set[int]
) -> None:
    growing, expected = GrowingUids.of(UidSet.of(begun)), set(begun)
    for one in added:
        growing.add(UidSet.of(one - expected))
        expected |= one
    assert (set(GrowingUids(growing.codes()).whole()), len(growing)) == (expected, len(expected))
    growing.remove(UidSet.of(gone))
    assert set(GrowingUids(growing.codes()).whole()) == set(growing.whole()) == expected - gone


def test_a_large_mailbox_is_a_few_bytes() -> None:
    assert len(UidSet([(1, 1_000_000)]).encode()) < 30
    assert len(UidSet.of(range(1, 100_000, 2)).encode()) < 1_000


@pytest.mark.parametrize("text", [b"0", b"1:", b"*", b"1:*", b"-1", b"1,,2", b"a", b"4294967296", b"1 2"])
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no UID"):
        UidSet.parse(text)


@given(st.binary(max_size=50))
def test_bytes_that_are_no_set_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no set of UIDs"):
        UidSet.decode(b"\x00" + data)
