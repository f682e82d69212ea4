"""What a person finds, in which order, and what the result says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import QueryError
from appliance.index.schema import Document
from appliance.index.search import Scope
from appliance.mail.facts import Mailbox
from tests.unit.index.conftest import EVERYTHING, Shelf, document

DAY = 86_400
YEAR_2026 = 1_767_225_600


@pytest.fixture
def offers(shelf: Shelf) -> Shelf:
    """Four messages of two people."""
    shelf.put(
        document(
            "offer",
            from_=("Björn Isenböck <bjoern.isenboeck@mail.example.co.uk>",),
            to=("Anna Schmidt <anna.schmidt@firma.de>",),
            cc=("it+news@firma.de",),
            subject="Angebot für die neue Anlage",
            body="Sehr geehrte Frau Schmidt, anbei das Angebot. Herr Müller ruft an. to be or not to be",
            attachments=(("Angebot_2026.pdf", "Preis netto 4711 Euro Lieferzeit acht Wochen"),),
            date=YEAR_2026 + 40 * DAY,
            size=2_000_000,
            message_id="offer@example.co.uk",
        ),
        document(
            "answer",
            from_=("anna.schmidt@firma.de",),
            to=("bjoern.isenboeck@mail.example.co.uk",),
            participants=("Assistant <office@firma.de>",),
            groups=("sales@firma.de",),
            subject="Re: Angebot",
            body="Danke, wir nehmen an. 日本語テスト",
            date=YEAR_2026 + 41 * DAY,
            size=4_000,
            message_id="answer@firma.de",
            references=("offer@example.co.uk",),
        ),
        document(
            "other",
            archives=("carl",),
            from_=("carl@poet.example",),
            to=("anna.schmidt@firma.de",),
            subject="poet",
            body="A poet has no pot. blue",
            date=YEAR_2026 - DAY,
            size=900,
        ),
        document("broken", archives=("unassigned",), body="", date=0, unparsed=True),
    )
    return shelf


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("*", ["answer", "offer", "other", "broken"]),
        ("angebot", ["answer", "offer"]),
        ("angebot -danke", ["offer"]),
        ("-angebot", ["other", "broken"]),
        ("danke OR poet", ["answer", "other"]),
        ("lieferzeit", ["offer"]),
        ("attachment:lieferzeit", ["offer"]),
        ("body:lieferzeit", []),
        ("filename:pdf", ["offer"]),
        ("filename:*.pdf", ["offer"]),
        ("filename:angebot_2026.pdf", ["offer"]),
        ("attachment:angebot", ["offer"]),
        ('"to be or not to be"', ["offer"]),
        ('"be to"', []),
        ("subject:angebot body:danke", ["answer"]),
        ("subject:danke", []),
        # accents and digraphs
        ("fuer", ["offer"]),
        ("fur", ["offer"]),
        ('"herr mueller"', ["offer"]),
        ('"HERR MULLER ruft"', ["offer"]),
        ("isenboeck", ["answer", "offer"]),
        ("isenböck", ["answer", "offer"]),
        ("isenb*", ["answer", "offer"]),
        ("from:isenbock", ["offer"]),
        ("pot", ["other"]),
        ("body:poet", ["other"]),
        ("blu", []),
        # people
        ("from:anna.schmidt@firma.de", ["answer"]),
        ("from:ANNA.SCHMIDT@FIRMA.DE", ["answer"]),
        ("from:anna.schmidt", ["answer"]),
        ("from:anna", ["answer"]),
        ("from:firma.de", ["answer"]),
        ("from:@firma.de", ["answer"]),
        ("from:*@firma.de", ["answer"]),
        ("from:irma.de", []),
        ("from:mail.example.co.uk", ["offer"]),
        ("from:example.co.uk", ["offer"]),
        ("from:.uk", ["offer"]),
        ('from:"Björn Isenböck"', ["offer"]),
        ('from:"Isenböck Björn"', []),
        ("from:bjoern.isen*", ["offer"]),
        ("from:anna.schm*", ["answer"]),
        ("from:anna@firma.de", []),
        ("to:(carl OR bjoern)", ["answer"]),
        ("cc:it", ["offer"]),
        ("cc:it+news@firma.de", ["offer"]),
        ("participant:office@firma.de", ["answer"]),
        ("with:sales", ["answer"]),
        ("to:office", []),
        ("office@firma.de", ["answer"]),
        ("poet.example", ["other"]),
        ("bcc:anna", []),
        # Chinese, Japanese, Korean
        ("日本", ["answer"]),
        ("本語", ["answer"]),
        ("語", ["answer"]),
        ("テスト", ["answer"]),
        ("日語", []),
        # what is no word
        ("has:attachment", ["offer"]),
        ("-has:attachment", ["answer", "other", "broken"]),
        ("is:unparsed", ["broken"]),
        ("on:2026-02", ["answer", "offer"]),
        ("before:2026", ["other", "broken"]),
        ("after:2026-02-11", ["answer"]),
        ("on:1970-01-01", ["broken"]),
        ("larger:1M", ["offer"]),
        ("smaller:900", ["broken"]),
        ("smaller:901", ["other", "broken"]),
        ("larger:4000", ["offer"]),
        ("id:<Offer@example.co.uk>", ["offer"]),
        ("message-id:answer@firma.de", ["answer"]),
        ("id:other", ["other"]),
    ],
)
def test_a_query_finds(offers: Shelf, text: str, ids: list[str]) -> None:
    assert offers.ids(text) == ids
    assert offers.ask(text).total == len(ids)
    assert sorted(offers.ids(text, sort="relevance")) == sorted(ids)


def test_only_the_callers_archives_are_searched(offers: Shelf) -> None:
    assert offers.ids("*", Scope(("anna",))) == ["answer", "offer"]
    assert offers.ids("*", Scope(("anna", "carl"))) == ["answer", "offer", "other"]
    assert offers.ids("*", Scope(())) == []
    assert offers.ids("-angebot", Scope(("anna",))) == []
    assert offers.index.count(Scope(("carl",))) == 1
    assert [hit.id for hit in offers.index.documents(("other", "answer"), Scope(("anna",)))] == ["answer"]
    assert offers.index.documents(("other", "nothing", "answer"), EVERYTHING)[0].id == "other"


def test_facets_count_all_that_was_found(offers: Shelf) -> None:
    facets = offers.ask("*", limit=1).facets
    assert facets.years == ((2026, 2), (2025, 1), (1970, 1))
    assert facets.senders == (
        ("anna.schmidt@firma.de", 1),
        ("bjoern.isenboeck@mail.example.co.uk", 1),
        ("carl@poet.example", 1),
    )
    assert (facets.with_attachment, facets.without_attachment) == (1, 3)
    assert offers.ask("nothing").facets.years == ()


def test_a_conversation_is_found_from_each_of_its_messages(offers: Shelf) -> None:
    for message_id, references in (("offer@example.co.uk", ()), ("answer@firma.de", ("offer@example.co.uk",))):
        assert [hit.id for hit in offers.index.thread(message_id, references, EVERYTHING)] == ["offer", "answer"]
    assert offers.index.thread("answer@firma.de", (), Scope(("carl",))) == ()
    assert offers.index.thread("", (), EVERYTHING) == ()


def test_a_result_shows_who_when_and_what(offers: Shelf) -> None:
    (hit,) = offers.ask("id:offer@example.co.uk").hits
    assert hit.subject == "Angebot für die neue Anlage"
    assert hit.from_ == (Mailbox("Björn Isenböck", "bjoern.isenboeck@mail.example.co.uk"),)
    assert hit.to[0].address == "anna.schmidt@firma.de"
    assert (hit.recipients, hit.attachments, hit.size, hit.unparsed) == (2, 1, 2_000_000, False)
    assert hit.snippet.startswith("Sehr geehrte Frau Schmidt")


def test_words_in_the_subject_are_worth_most_then_addresses_then_body_then_attachments(shelf: Shelf) -> None:
    shelf.put(
        document("attachment", attachments=(("x.txt", "berlin " * 50),), date=9 * DAY),
        document("body", body="berlin " * 50, date=8 * DAY),
        document("address", to=("berlin@example.com",), date=7 * DAY),
        document("subject", subject="a visit to berlin and other places, with many more words", date=6 * DAY),
    )
    assert shelf.ids("berlin", sort="relevance") == ["subject", "address", "body", "attachment"]


def test_words_side_by_side_and_rare_words_are_worth_more(shelf: Shelf) -> None:
    shelf.put(
        document("apart", body="budget of the year and its plan"),
        document("together", body="the budget plan of the year"),
        *(document(f"filler{number}", body="plan") for number in range(10)),
    )
    assert shelf.ids("budget plan", sort="relevance") == ["together", "apart"]
    assert shelf.ids("budget OR plan", sort="relevance", limit=2) in (["together", "apart"], ["apart", "together"])


def test_of_equally_relevant_messages_the_newest_comes_first(shelf: Shelf) -> None:
    shelf.put(*(document(f"d{day}", body="berlin", date=day * 3 * DAY) for day in (2, 5, 1, 4, 3)))
    assert shelf.ids("berlin", sort="relevance") == ["d5", "d4", "d3", "d2", "d1"]


def test_relevance_without_words_is_by_date(offers: Shelf) -> None:
    assert offers.ids("larger:1", sort="relevance") == ["answer", "offer", "other"]


def test_pages_join_without_gap_or_double_beyond_ten_thousand(shelf: Shelf) -> None:
    shelf.put(*(document(f"{number:05}", date=number // 100) for number in range(12_000)))
    seen: list[str] = []
    for offset in range(0, 12_500, 2_500):
        page = shelf.ask("*", offset=offset, limit=2_500, facets=False)
        assert page.total == 12_000
        seen += [hit.id for hit in page.hits]
    assert len(set(seen)) == len(seen) == 12_000
    assert shelf.ids("*", offset=11_999, limit=25, sort="date-asc") == seen[:1]
    assert shelf.ids("*", offset=10**9) == []
    assert shelf.ask("*", limit=0).total == 12_000


def test_messages_of_one_second_keep_their_order_whatever_is_put_again(shelf: Shelf) -> None:
    documents = [document(f"d{number}", date=5) for number in range(40)]
    shelf.put(*documents)
    before = shelf.ids("*", limit=40)
    for one in documents[::3]:
        shelf.put(one)
    assert shelf.ids("*", limit=40) == before
    assert shelf.ids("*", limit=40, sort="date-asc") == before[::-1]


def test_a_beginning_in_a_phrase(shelf: Shelf) -> None:
    shelf.put(document("a", body="the annual report"), document("b", body="annual big report"))
    assert shelf.ids('"annual rep*"') == ["a"]
    assert shelf.ids("annual-rep*") == ["a"]


def test_every_query_that_can_be_typed_is_answered(offers: Shelf) -> None:
    pieces = st.sampled_from(
        [
            "a",
            "anna",
            "(",
            ")",
            "-",
            "*",
            ".",
            "@",
            "+",
            "\\",
            "[",
            "ü",
            "語",
            "\x1f",
            "~",
            "|",
            " ",
            "from:",
            "bcc:",
            '"',
            "$",
            "^",
        ]
    )

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(st.lists(pieces, max_size=12).map("".join), st.sampled_from(["date", "relevance"]))
    def ask(text: str, sort: str) -> None:
        try:
            offers.ask(text, sort=sort)
        except QueryError as error:
            assert error.message

    ask()


_ODD = [
    Document(id="long-id", archives=("anna",), message_id="x" * 20_000, references=("y" * 20_000,) * 300),
    Document(id="nul", archives=("anna",), subject="a\0b", body="needle\0\0", from_=(Mailbox("\0", "\0@\0"),)),
    Document(id="surrogate", archives=("anna",), subject="\ud800", body="needle \udfff", message_id="\ud800",
             from_=(Mailbox("\ud800", "\ud800"),), attachments=(("\ud800", "\ud800"),)),
    Document(id="past", archives=("anna",), date=-(10**18), body="needle"),
    Document(id="future", archives=("anna",), date=10**18, received=10**18, size=10**30, body="needle"),
    Document(id="y2038", archives=("anna",), date=2**31, body="needle", size=-5),
    Document(id="empty", archives=()),
    Document(id="attachments", archives=("anna",), attachments=(("n", "needle"),) * 3_000),
]  # fmt: skip


@pytest.mark.parametrize("odd", _ODD, ids=lambda one: one.id)
def test_nothing_in_a_header_stops_a_document(shelf: Shelf, odd: Document) -> None:
    shelf.put(odd, document("next", body="needle"))
    assert {hit.id for hit in shelf.ask("*").hits} == {odd.id, "next"}
    assert shelf.ids("id:" + odd.id) == [odd.id]


def test_very_large_messages_are_indexed_up_to_their_caps(shelf: Shelf) -> None:
    crowd = tuple(Mailbox(f"Person {n}", f"p{n}@crowd.example") for n in range(10_000))
    shelf.put(
        Document(id="crowd", archives=("anna",), to=crowd),
        Document(id="body", archives=("anna",), body="needle " + "wörter " * 2_000_000, subject="s" * 200_000),
        Document(id="attachment", archives=("anna",), attachments=(("a", "x" * 10**7), ("b", "needle " * 10**6))),
    )
    assert shelf.ids("to:p9999@crowd.example") == ["crowd"]
    assert sorted(shelf.ids("needle")) == ["attachment", "body"]
    assert shelf.ids("woerter") == ["body"]
    assert shelf.ask("crowd").hits[0].recipients == 10_000


def test_a_long_message_id_is_found(shelf: Shelf) -> None:
    long = "x" * 2_000 + "@example.com"
    shelf.put(document("long", message_id=long), document("reply", message_id="r", references=(long,)))
    assert shelf.ids(f"id:<{long}>") == ["long"]
    assert {hit.id for hit in shelf.index.thread(long, (), EVERYTHING)} == {"long", "reply"}
