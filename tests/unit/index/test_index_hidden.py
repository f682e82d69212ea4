"""Nobody learns from the index of a person in a message that they may not know.

Two indexes are compared: one with the hidden people, one in which they never were. For everybody who may not know
of them, every answer has to be the same: totals, pages, order, facets, snippets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.index.schema import Document, Hidden, HiddenRole
from appliance.index.search import Results, Scope
from tests.unit.index.conftest import EVERYTHING, Shelf, document, place_in

SENDER, ANNA, BOSS, MEMBER = "sender", "anna", "boss", "member"
SCOPES = {one: Scope((one,), (one,)) for one in (SENDER, ANNA, BOSS, MEMBER)}
BOSS_ADDRESS = "big.boss@head.example.org"
MEMBER_ADDRESS = "quiet.member@staff.example.net"
FROM_OUTSIDE = "blind@firma.de"


def hide(address: str, role: HiddenRole, *archives: str) -> tuple[Hidden, ...]:
    return tuple(Hidden(archive, role, address) for archive in (*archives, "auditor"))


def mail() -> list[Document]:
    """Mail with a Bcc, an expanded group and a blind recipient; much else has the same words in the open."""
    secret = (
        *hide(BOSS_ADDRESS, "bcc", SENDER, BOSS),
        *hide(MEMBER_ADDRESS, "expanded", MEMBER),
        *hide(FROM_OUTSIDE, "recipient", BOSS),
    )
    return [
        document(
            "secret",
            archives=(SENDER, ANNA, BOSS, MEMBER),
            from_=("sender@firma.de",),
            to=("anna@firma.de",),
            groups=("all@firma.de",),
            hidden=secret,
            subject="quarter figures",
            body="the figures of the quarter",
            date=1000,
        ),
        document("open", archives=(ANNA,), body="the boss and the big quarter figures", date=2000),
        document("older", archives=(ANNA, BOSS), subject="figures", to=("boss@elsewhere.example",), date=500),
        document("foreign", archives=("nobody",), body="boss " * 20, to=(BOSS_ADDRESS,), date=3000),
    ]


QUERIES = [
    template.format(word)
    for word in (
        "boss", "big", "big.boss", BOSS_ADDRESS, "head.example.org", "example.org", "@head.example.org", ".org",
        "head", "bo*", "big.bo*", "big.boss@he*", '"big boss"', "member", MEMBER_ADDRESS, "quiet*",
        "staff.example.net", FROM_OUTSIDE, "blind", "bl*", "auditor", '"boss\x1fbcc\x1fbig"', "anna", "participant",
    )
    for template in ("bcc:{}", "participant:{}", "{}", "-{}", "-bcc:{}", "figures OR bcc:{}",
                     "figures -participant:{}", "figures {}", "NOT (bcc:{} OR zebra)", "from:{}", "to:{}", "cc:{}",
                     "subject:{}")
]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shelf, Shelf]]:
    """The index with the hidden people, and the one without."""
    folder: Path = tmp_path_factory.mktemp("hidden")
    shelves = Shelf(place_in(folder / "with")), Shelf(place_in(folder / "without"))
    shelves[0].put(*mail())
    shelves[1].put(*(msgspec.structs.replace(one, hidden=()) for one in mail()))
    yield shelves
    for shelf in shelves:
        shelf.close()


def answers(shelf: Shelf, scope: Scope) -> Iterator[tuple[str, str, Results]]:
    for text in QUERIES:
        for sort in ("date", "relevance"):
            yield text, sort, shelf.ask(text, scope, sort=sort)


def test_who_may_not_know_gets_the_same_answers_as_if_nobody_were_hidden(both: tuple[Shelf, Shelf]) -> None:
    compared = 0
    for known, unknown in zip(answers(both[0], SCOPES[ANNA]), answers(both[1], SCOPES[ANNA]), strict=True):
        assert known == unknown
        compared += known[2].total
    assert compared > 500


@pytest.mark.parametrize(
    ("archive", "text", "found"),
    [
        (SENDER, "bcc:boss", True),
        (SENDER, "bcc:big.b*", True),
        (SENDER, "participant:boss", True),
        (SENDER, BOSS_ADDRESS, True),
        (SENDER, "bcc:head.example.org", True),
        (SENDER, "participant:member", False),
        (SENDER, "quiet", False),
        (SENDER, "bcc:blind", False),
        (SENDER, "blind", False),
        (BOSS, "bcc:big.boss", True),
        (BOSS, "participant:blind", True),
        (BOSS, "bcc:blind", False),
        (BOSS, "member", False),
        (MEMBER, MEMBER_ADDRESS, True),
        (MEMBER, "bcc:member", False),
        (MEMBER, "boss", False),
        (ANNA, "bcc:boss", False),
    ],
)
def test_who_may_know_finds(both: tuple[Shelf, Shelf], archive: str, text: str, found: bool) -> None:
    assert ("secret" in both[0].ids(text, SCOPES[archive])) is found
    assert ("secret" in both[0].ids(f"-({text})", SCOPES[archive])) is not found


@pytest.mark.parametrize("text", ["bcc:boss", "participant:member", "participant:blind", f"bcc:{BOSS_ADDRESS}"])
def test_an_auditor_finds_everybody(both: tuple[Shelf, Shelf], text: str) -> None:
    assert "secret" in both[0].ids(text, EVERYTHING)


def test_who_may_read_two_archives_learns_of_each_what_its_owner_may(both: tuple[Shelf, Shelf]) -> None:
    together = Scope((ANNA, BOSS), (ANNA, BOSS))
    assert "secret" in both[0].ids("bcc:boss", together)
    assert "secret" not in both[0].ids("participant:member", together)
    for text in QUERIES:
        if not any(word in text for word in ("-", "NOT")):
            apart = {id for one in (ANNA, BOSS) for id in both[0].ids(text, SCOPES[one])}
            assert set(both[0].ids(text, together)) == apart, text


def test_what_one_archive_may_know_is_not_found_in_mail_of_the_other_alone(shelf: Shelf) -> None:
    """As with a sent copy, fetched from where it was kept, that names somebody who never got a copy here."""
    secret = hide(BOSS_ADDRESS, "bcc", BOSS, SENDER)
    shelf.put(document("kept", archives=(ANNA,), hidden=secret), document("got", archives=(ANNA, BOSS), hidden=secret))
    together = Scope((ANNA, BOSS), (ANNA, BOSS))
    for text in ("bcc:boss", f"bcc:{BOSS_ADDRESS}", "big.bo*", "participant:boss"):
        for sort in ("date", "relevance"):
            assert shelf.ids(text, together, sort=sort) == ["got"], text
        assert shelf.ids(f"-{text}", together) == ["kept"]


def test_an_archive_without_the_right_to_hidden_people_finds_none_of_its_own(both: tuple[Shelf, Shelf]) -> None:
    assert both[0].ids("bcc:boss", Scope((BOSS,))) == []


def test_other_peoples_mail_does_not_move_the_order_of_results(tmp_path: Path) -> None:
    """Relevance counts words within the caller's own mail: what others write shifts nothing."""
    own = [
        document("a", body="alpha beta", subject="beta"),
        document("b", body="alpha alpha alpha", subject="other"),
        document("c", body="beta beta", subject="alpha"),
    ]
    others = [document(f"x{n}", archives=("carl",), body="alpha " * n, subject="alpha") for n in range(1, 60)]
    alone, among = Shelf(place_in(tmp_path / "alone")), Shelf(place_in(tmp_path / "among"))
    alone.put(*own)
    among.put(*own, *others)
    scope = Scope(("anna",), ("anna",))
    for text in ("alpha OR beta", "alpha", "al* OR beta", "alpha beta"):
        assert alone.ask(text, scope, sort="relevance") == among.ask(text, scope, sort="relevance")
    for shelf in (alone, among):
        shelf.close()
