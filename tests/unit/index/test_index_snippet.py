"""The piece of text under a result, and what is marked in it."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.index.snippet import WIDTH, Highlighter, Snippet
from appliance.mail.query import parse


def cut(text: str, excerpt: str) -> Snippet:
    return Highlighter(parse(text, today=date(2026, 11, 21))).snippet(excerpt)


def marked(text: str, excerpt: str) -> list[str]:
    found = cut(text, excerpt)
    return [found.text[start:end] for start, end in found.marks]


@pytest.mark.parametrize(
    ("text", "excerpt", "marks"),
    [
        ("report", "The report, a Report and reporting", ["report", "Report"]),
        ("rep*", "The report and reply", ["report", "reply"]),
        ('"annual report"', "annual plan, annual report", ["annual report"]),
        ("mueller", "Herr Müller und Frau Mueller", ["Müller", "Mueller"]),
        ("müller", "Muller Müller MUELLER", ["Muller", "Müller", "MUELLER"]),
        ("strasse", "Hauptstraße, Straße", ["Straße"]),
        ("cafe", "Ein Café", ["Café"]),
        ("本語", "日本語テスト", ["本語"]),
        ("語", "日本語テスト", ["語"]),
        ("日本語", "これは日本語です", ["日本語"]),
        ("a.b+c", "x a.b+c x", ["a.b+c"]),
        ("bar", "foo_bar", ["bar"]),
        ("one -two", "one two", ["one"]),
        ("subject:one", "one", []),
        ("has:attachment", "one", []),
        ("one", "", []),
    ],
)
def test_found_words_are_marked(text: str, excerpt: str, marks: list[str]) -> None:
    assert marked(text, excerpt) == marks


def test_the_snippet_is_where_most_of_the_words_are() -> None:
    excerpt = "alpha " + "x " * 300 + "alpha beta gamma " + "y " * 300
    found = cut("alpha beta gamma", excerpt)
    assert marked("alpha beta gamma", excerpt) == ["alpha", "beta", "gamma"]
    assert found.text.startswith("… ")
    assert found.text.endswith(" …")


def test_without_a_word_in_it_the_beginning_is_shown() -> None:
    assert cut("zebra", "word " * 200).text.startswith("word word")
    assert cut("zebra", "short") == Snippet("short")


@given(st.text(max_size=600), st.text(alphabet="aäoeßñ語 日.-", min_size=1, max_size=6))
def test_marks_lie_in_the_snippet_in_order(excerpt: str, asked: str) -> None:
    found = cut(f'"a {asked.replace(chr(34), "")}"', excerpt)
    assert len(found.text) <= WIDTH + 10
    place = 0
    for start, end in found.marks:
        assert place <= start < end <= len(found.text)
        place = end
