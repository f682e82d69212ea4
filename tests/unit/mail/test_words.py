"""Which words find which."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.mail import words


def forms(text: str) -> list[tuple[str, ...]]:
    return [token.forms for token in words.tokens(text)]


def meets(asked: str, written: str) -> bool:
    """Whether one word that is asked for finds the one that is written."""
    return bool({form for one in forms(asked) for form in one} & {form for one in forms(written) for form in one})


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("müller", "Müller"),
        ("MÜLLER", "mu\u0308ller"),
        ("mueller", "Müller"),
        ("muller", "Müller"),
        ("müller", "Mueller"),
        ("müller", "Muller"),
        ("isenboeck", "Isenböck"),
        ("strasse", "Straße"),
        ("STRASSE", "straße"),
        ("cafe", "Café"),
        ("resume", "résumé"),
        ("oeuvre", "œuvre"),
        ("soeren", "Søren"),
        ("soren", "Søren"),
        ("aarhus", "Århus"),
        ("istanbul", "İstanbul"),
        ("λογος", "ΛΌΓΟΣ"),
        ("еще", "ещё"),
        ("ABC", "ＡＢＣ"),
        ("donaudampf", "Donau\u00addampf"),
        ("שלום", "שָׁלוֹם"),
        ("the", "The"),
    ],
)
def test_ways_of_writing_a_word_find_each_other(asked: str, written: str) -> None:
    assert meets(asked, written)


@pytest.mark.parametrize(
    ("asked", "written"),
    [("poet", "pot"), ("blue", "blu"), ("pot", "poet"), ("mueller", "muller"), ("कि", "की"), ("か", "が")],
)
def test_different_words_stay_different(asked: str, written: str) -> None:
    assert not meets(asked, written)


def test_separators_are_whatever_is_no_letter_or_digit() -> None:
    assert forms("Q3_report-final.v2.pdf, O'Brien") == [
        ("q3",), ("report",), ("final",), ("v2",), ("pdf",), ("o",), ("brien",),
    ]  # fmt: skip


def test_marks_do_not_cut_words_of_scripts_that_need_them() -> None:
    assert len(forms("हिन्दी भाषा")) == 2
    assert len(forms("cafe\u0301 de\u0301ja\u0300")) == 2


def test_a_single_character_of_a_joined_script_begins_a_word_wherever_it_stands() -> None:
    for character in "日本語テスト":
        assert words.phrase(character).begins
        assert any(form.startswith(character) for one in forms("日本語テスト") for form in one)


def test_characters_of_a_joined_script_are_asked_for_as_pairs() -> None:
    assert words.phrase("日本語").words == (("日本",), ("本語",))
    assert words.phrase("tower東京").words == (("tower",), ("東京",))
    assert words.phrase("한국어").words == (("한국",), ("국어",))


def test_nothing_of_a_long_word_is_lost() -> None:
    long = "abcdefghij" * 20
    assert "".join(form for (form,) in forms(long)) == long
    assert all(len(form) <= words.LONGEST_WORD for (form,) in forms(long))
    assert forms(long + " é")[:-1] == forms(long)


@pytest.mark.parametrize(
    "run",
    [
        ("anna", "muller"),
        ("anna", "mueller"),
        ("anna.mueller+news@mail.example.co.uk",),
        ("anna.mueller+news",),
        ("anna", "mueller", "news"),
        ("mail.example.co.uk",),
        ("example.co.uk",),
        ("co.uk",),
        (".uk",),
        ("example",),
    ],
)
def test_a_person_is_found_by_each_part(run: tuple[str, ...]) -> None:
    assert run in words.address_terms("Anna Müller", "Anna.Mueller+news@mail.example.co.uk")


def test_a_top_level_domain_is_no_word_of_an_address() -> None:
    assert ("de",) not in words.address_terms("", "anna@example.de")


@pytest.mark.parametrize("address", ["", "@", "root", "a@", "@b", "a@b@c.org", ".@.", "x" * 30_000, "ü@ü.ü", "a b@c"])
def test_odd_addresses_are_read_as_far_as_they_go(address: str) -> None:
    for run in words.address_terms("", address):
        assert run
        assert all(word and " " not in word for word in run)


@given(st.text())
def test_tokens_stand_where_they_say(text: str) -> None:
    place = 0
    for token in words.tokens(text):
        assert token.forms
        assert all(form and not any(c.isspace() for c in form) for form in token.forms)
        assert 0 <= token.start < token.end <= len(text)
        assert token.start >= place
        place = token.start


@given(st.text())
def test_the_quick_way_gives_the_same_words(text: str) -> None:
    line = words.flat(text)
    if line is None:
        assert len(words.renderings(text)) == 2 or any(len(one) > 1 for one in forms(text))
    else:
        assert line.split() == [token.forms[0] for token in words.tokens(text)]
        assert all(len(token.forms) == 1 for token in words.tokens(text))


@given(st.text(alphabet=st.characters(categories=("L", "N", "Zs")), max_size=60))
def test_composed_and_decomposed_text_are_the_same_words(text: str) -> None:
    assert forms(unicodedata.normalize("NFC", text)) == forms(unicodedata.normalize("NFD", text))


@given(st.text())
def test_aligned_text_keeps_every_place(text: str) -> None:
    assert len(words.aligned(text)) == len(text)
