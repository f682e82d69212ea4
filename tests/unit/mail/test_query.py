"""The search language: what is understood, and what is said about what is not."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import QueryError
from appliance.mail.query import (
    DEEPEST,
    LONGEST,
    MOST_WORDS,
    And,
    Dates,
    Everything,
    Flag,
    MessageId,
    Node,
    Not,
    Or,
    Sizes,
    Text,
    parse,
)

TODAY = date(2026, 11, 21)  # a Saturday


def asked(text: str) -> Node:
    return parse(text, today=TODAY)


def seconds(*day: int) -> int:
    return int(datetime(*day, tzinfo=UTC).timestamp())  # type: ignore[arg-type]


A, B, C = Text("any", "a1"), Text("any", "b1"), Text("any", "c1")


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("", Everything()),
        ("  ", Everything()),
        ("*", Everything()),
        ("a1 b1", And((A, B))),
        ("a1 AND b1", And((A, B))),
        ("a1 OR b1 c1", Or((A, And((B, C))))),
        ("(a1 OR b1) c1", And((Or((A, B)), C))),
        ("-a1", Not(A)),
        ("NOT a1 b1", And((Not(A), B))),
        ("a1 AND NOT (b1 OR c1)", And((A, Not(Or((B, C)))))),
        ("and or not", And((Text("any", "and"), Text("any", "or"), Text("any", "not")))),
        ('"annual report"', Text("any", "annual report", quoted=True)),
        ("“annual report”", Text("any", "annual report", quoted=True)),
        ('"annual rep*"', Text("any", "annual rep", quoted=True, prefix=True)),
        ("rep*", Text("any", "rep", prefix=True)),
        ("東*", Text("any", "東", prefix=True)),
        ("from:anna@example.com", Text("from", "anna@example.com")),
        ("FROM:anna", Text("from", "anna")),
        ("with:anna", Text("participant", "anna")),
        ("to: anna", Text("to", "anna")),
        ("to:anna.s*", Text("to", "anna.s", prefix=True)),
        ('subject:"x y"', Text("subject", "x y", quoted=True)),
        ("cc:(a1 OR b1)", Or((Text("cc", "a1"), Text("cc", "b1")))),
        ("from:(a1 b1) c1", And((And((Text("from", "a1"), Text("from", "b1"))), C))),
        ("*@example.com", Text("any", "@example.com")),
        ("filename:*.pdf", Text("filename", ".pdf")),
        ("has:attachment -is:unparsed", And((Flag("attachment"), Not(Flag("unparsed"))))),
        ("larger:10k", Sizes(above=10_240)),
        ("smaller:1.5M", Sizes(below=1_572_864)),
        ("larger:500", Sizes(above=500)),
        ("id:<a(1)@x>", MessageId("a(1)@x")),
        ("message-id:a1@x", MessageId("a1@x")),
        ("(id:<a@b> OR a1)", Or((MessageId("a@b"), A))),
        ("a1 & b1", And((A, B))),
        ("a1 - b1", And((A, B))),
        ("Re: a1", And((Text("any", "Re:"), A))),
        ("https://example.com/a1", Text("any", "https://example.com/a1")),
        ("foo-bar", Text("any", "foo-bar")),
        ("bcc:boss", Text("bcc", "boss")),
    ],
)
def test_what_people_type_means(text: str, node: Node) -> None:
    assert asked(text) == node


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("on:2026-11-20", seconds(2026, 11, 20), seconds(2026, 11, 21)),
        ("on:2026/11/20", seconds(2026, 11, 20), seconds(2026, 11, 21)),
        ("on:20.11.2026", seconds(2026, 11, 20), seconds(2026, 11, 21)),
        ("on:2026-12", seconds(2026, 12, 1), seconds(2027, 1, 1)),
        ("on:2026", seconds(2026, 1, 1), seconds(2027, 1, 1)),
        ("on:9999", seconds(9999, 1, 1), seconds(9999, 12, 31) + 86_400),
        ("on:1969", seconds(1969, 1, 1), 0),
        ("on:today", seconds(2026, 11, 21), seconds(2026, 11, 22)),
        ("on:yesterday", seconds(2026, 11, 20), seconds(2026, 11, 21)),
        ("on:last week", seconds(2026, 11, 9), seconds(2026, 11, 16)),
        ('on:"this week"', seconds(2026, 11, 16), seconds(2026, 11, 23)),
        ("on:last month", seconds(2026, 10, 1), seconds(2026, 11, 1)),
        ("on:this year", seconds(2026, 1, 1), seconds(2027, 1, 1)),
        ("on:7d", seconds(2026, 11, 14), seconds(2026, 11, 22)),
        ("on:9m", seconds(2026, 2, 21), seconds(2026, 11, 22)),
        ("before:2026-11", None, seconds(2026, 11, 1)),
        ("after:2026-11", seconds(2026, 11, 1), None),
    ],
)
def test_dates_are_utc_periods(text: str, start: int | None, end: int | None) -> None:
    assert asked(text) == Dates(start, end)


def test_the_end_of_a_month_stays_in_it() -> None:
    assert parse("after:1m", today=date(2026, 3, 31)) == Dates(start=seconds(2026, 2, 28))


def test_periods_at_the_ends_of_the_calendar() -> None:
    assert parse("before:99999y", today=date(1, 1, 1)) == Dates(end=-62_135_596_800)
    assert parse("on:last year", today=date(1, 6, 1)) == Dates(-62_135_596_800, -62_135_596_800)
    assert parse("on:this year", today=date(9999, 6, 1)) == Dates(seconds(9999, 1, 1), 253_402_300_800)


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ('a1 "b1', 3, "not closed"),
        ("(a1", 0, "not closed"),
        ("from:(a1", 5, "not closed"),
        ("a1)", 2, "no opening one"),
        ("()", 0, "empty"),
        ("a1 OR", 3, "both sides"),
        ("OR a1", 0, "both sides"),
        ("(a1 OR ) b1", 4, "both sides"),
        ("a1 AND", 3, "both sides"),
        ("a1 AND OR b1", 3, "both sides"),
        ("a1 NOT", 3, "missing"),
        ("from:", 0, "missing"),
        ("a1 (to:) b1", 4, "missing"),
        ("a1 form:anna", 3, "“from:”"),
        ("re:offer", 0, "no field"),
        ("from:(to:a1)", 6, "inside"),
        ("a*", 0, "too little"),
        ("bcc:*", 4, "too little"),
        ("anna.s*", 0, "too little"),
        ("f*o", 1, "end of a word"),
        ("&", 0, "no letter"),
        ("a1 OR &", 6, "no letter"),
        ('""', 0, "no letter"),
        ("after:2026-02-30", 6, "calendar"),
        ("after:soon", 6, "not understood"),
        ("larger:big", 7, "not understood"),
        ("has:fun", 4, "has:attachment"),
        ("is:red", 3, "is:unparsed"),
        ("id:<>", 3, "empty"),
        ("x" * (LONGEST + 1), LONGEST, "longer"),
        ("(" * (DEEPEST + 1) + "a1", DEEPEST, "deep"),
        ("NOT " * (DEEPEST + 1) + "a1", DEEPEST * 4, "deep"),
        ("a1 " * (MOST_WORDS + 1), MOST_WORDS * 3, "words"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, position: int, says: str) -> None:
    with pytest.raises(QueryError) as caught:
        asked(text)
    assert says in caught.value.message
    assert caught.value.position == position
    assert "{at}" not in caught.value.message


_PIECES = st.sampled_from(
    ["AND", "OR", "NOT", "-", "(", ")", '"', "*", ":", "from:", "on:", "last", "week", "larger:", "id:", "<",
     "has:", " ", "a1", "2026", "10k", "東", "ü", "\ud800", "\0", "“", "foo:", "is:", "with:", "."]
)  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=40).map("".join)), st.dates())
def test_whatever_is_typed_gives_a_tree_or_a_sentence(text: str, today: date) -> None:
    try:
        parse(text, today=today)
    except QueryError as error:
        assert 0 <= error.position <= len(text)
        assert error.message.endswith((".", "!"))
