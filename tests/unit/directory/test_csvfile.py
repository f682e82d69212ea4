"""People from a list in a file, as spreadsheets and people write them."""

from __future__ import annotations

import pytest

from appliance.checks import Check
from appliance.directory.base import Listing, Person
from appliance.directory.kinds import check_options, open_directory
from appliance.errors import UsageError


def _people(content: str) -> Listing:
    return open_directory("csv", {"content": content}).people(lambda _done, _total: None)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_as_spreadsheets_write_it(delimiter: str) -> None:
    rows = (
        ("Primary", "Name", "Login"),
        ("Anna@Example.com", '"Meier, Anna; Dr."', "anna"),
        ("post@xn--bcher-kva.example", '"Jörg ""Jo"" Buch"', ""),
    )
    content = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n"
    assert _people(content) == Listing(
        (
            Person("anna@example.com", "Meier, Anna; Dr.", ("anna@example.com",), login="anna"),
            Person("post@bücher.example", 'Jörg "Jo" Buch', ("post@bücher.example",)),
        )
    )


def test_aliases_and_states() -> None:
    listing = _people(
        "primary,aliases,state\n"
        "a@example.com,b@example.com; A@example.com ;c@example.com,active\n"
        "d@example.com,,disabled\n"
        "e@example.com,,\n"
    )
    assert [one.addresses for one in listing.people] == [
        ("a@example.com", "b@example.com", "c@example.com"),
        ("d@example.com",),
        ("e@example.com",),
    ]
    assert [one.state for one in listing.people] == ["active", "disabled", "active"]


def test_an_id_stays_when_the_address_changes() -> None:
    before = _people("id,primary\n7,anna@example.com\n").people[0]
    after = _people("id,primary\n7,anna.meier@example.com\n").people[0]
    assert before.id == after.id == "7"


def test_lines_that_cannot_be_taken_are_named_and_the_others_taken() -> None:
    listing = _people(
        "primary,aliases,name,state\n"
        "a@example.com,,A,\n"
        ",x@example.com,No primary,\n"
        "\n"
        "at home,,Not one,\n"
        "b@example.com,nonsense,Alias,\n"
        "c@example.com,,State,perhaps\n"
        "A@EXAMPLE.COM,,Twice,\n"
        "d@example.com,,D,\n"
    )
    assert [one.name for one in listing.people] == ["A", "D"]
    assert [one.who for one in listing.left_out] == ["line 3", "line 5", "line 6", "line 7", "line 8"]
    assert all(one.why.endswith(".") for one in listing.left_out)


def test_columns_that_nobody_has_used() -> None:
    assert [one.name for one in _people("primary;name;;\na@example.com;A;;\n").people] == ["A"]


def test_lines_that_end_in_any_way() -> None:
    for end in ("\n", "\r\n", "\r"):
        lines = ("primary,name", "a@example.com,A", "b@example.com,B")
        assert [one.name for one in _people(end.join(lines)).people] == ["A", "B"]


def test_a_name_with_a_comma_and_no_quotes_is_not_cut_in_silence() -> None:
    listing = _people("primary,name,login\na@example.com,Meier, Anna,anna\nb@example.com,B,b,,\n")
    assert [one.name for one in listing.people] == ["B"]
    assert [one.who for one in listing.left_out] == ["line 2"]
    assert "quotes" in listing.left_out[0].why


def test_the_test_names_each_line() -> None:
    checks = list(open_directory("csv", {"content": "primary\na@example.com\nnobody\n"}).check())
    assert checks == [
        Check("list", "ok", "1 person can be read."),
        Check("line 3", "warning", "“nobody” is not a mail address."),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Csv needs"),
        ("anna@example.com,Anna\n", "must name its columns"),
        ("primary,password\n", "“password”"),
        ("primary,name,name\n", "twice"),
        ("primary\n" + "a" * 200_000 + "@example.com\n", "not a list"),
    ],
)
def test_a_list_without_a_head_is_refused(content: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_options("csv", {"content": content})
    assert said.lower() in raised.value.message.lower().replace("csv file", "csv")


def test_ten_thousand_lines_are_counted_whole() -> None:
    told: list[tuple[int, int | None]] = []
    content = "primary\n" + "".join(f"user{number}@example.com\n" for number in range(10_000))
    listing = open_directory("csv", {"content": content}).people(lambda done, total: told.append((done, total)))
    assert len(listing.people) == 10_000
    assert told[-1] == (10_000, 10_000)
