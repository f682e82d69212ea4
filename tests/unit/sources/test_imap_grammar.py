"""Whatever a server sends is taken apart as RFC 9051 has it, or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sources.imap.grammar import GrammarError, literal, microseconds, pairs, quoted, response, values

_TOKENS = st.sampled_from(
    [
        b"(",
        b")",
        b'"',
        b" ",
        b"\\",
        b"NIL",
        b"{3}",
        b"~{3}",
        b"{3+}",
        b"*",
        b"1",
        b"FETCH",
        b"[",
        b"]",
        b"\xff",
        b"\0",
        b"A",
    ]
)


def test_values_of_every_kind() -> None:
    parts = [rb'12 nil "a \"quoted\" \\ one" (\Seen (x "")) BODY[] {3}', b"a)b", b' "NIL"']
    assert values(parts) == [b"12", None, b'a "quoted" \\ one', [rb"\Seen", [b"x", b""]], b"BODY[]", b"a)b", b"NIL"]


def test_a_response_has_a_tag_a_number_a_name_and_a_code() -> None:
    fetch = response([b"* 12 fetch (UID 7 X {2}", b"()", b")"])
    assert (fetch.tag, fetch.number, fetch.name) == (b"*", 12, b"FETCH")
    assert pairs(fetch.values()[0]) == {b"UID": b"7", b"X": b"()"}
    done = response([b'k3 OK [CAPABILITY A "x]" B] done'])
    assert (done.code(), done.text()) == ((b"CAPABILITY", b'A "x]" B'), "done")
    assert response([b"+"]).tag == b"+"


@pytest.mark.parametrize("parts", [[b"(a"], [b"a)"], [b'"a'], [b"{3}"], [b"a", b"xyz", b""], [b"(" * 500 + b")" * 500]])
def test_what_does_not_add_up_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(GrammarError):
        values(parts)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"x {12}", 12),
        (b"x {12+}", 12),
        (b"x ~{0}", 0),
        (b"x {12} ", None),
        (b"x {-1}", None),
        (b"x {1a}", None),
        (b"}", None),
    ],
)
def test_a_literal_is_announced_at_the_end_of_a_line(line: bytes, size: int | None) -> None:
    assert literal(line) == size


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (b" 1-Jan-1970 01:00:00 +0100", 0),
        (b"17-Jul-1996 02:44:25 -0700", 837_596_665),
        (b"29-FEB-2024 23:59:59 +0000", 1_709_251_199),
        (b"17-Foo-1996 02:44:25 -0700", None),
        (b"yesterday", None),
        (None, None),
    ],
)
def test_dates(date: bytes | None, seconds: int | None) -> None:
    assert microseconds(date) == (None if seconds is None else seconds * 1_000_000)


@given(st.binary(max_size=40))
def test_what_is_quoted_comes_back(octets: bytes) -> None:
    assert values([quoted(octets)]) == [octets]


@pytest.mark.fuzz
@given(st.lists(st.lists(_TOKENS, max_size=12).map(b"".join), min_size=1, max_size=5))
def test_anything_at_all_is_a_value_or_a_grammar_error(parts: list[bytes]) -> None:
    with suppress(GrammarError):
        answer = response(parts)
        answer.code()
        answer.text()
        pairs(answer.values()[0] if answer.values() else None)
