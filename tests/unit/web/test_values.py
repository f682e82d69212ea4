"""How values look: what a reader sees of sizes, times, marks and names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.services.api import Person
from webadmin import formats
from webadmin.download import disposition, file_name
from webadmin.page import local_path
from webadmin.portal.place import Place
from webadmin.sparkline import HEIGHT, sparkline


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KB"),
        (150 * 1024**2, "150 MB"),
        (5 * 1024**5, "5.0 PB"),
    ],
)
def test_sizes_are_short_and_true(count: int, shown: str) -> None:
    assert formats.FILTERS["size"](count) == shown


def test_commands_in_a_sentence_are_code_and_nothing_else_is_markup() -> None:
    assert formats.coded("Run `mailkeep verify --deep` <now>.") == (
        "Run <code>mailkeep verify --deep</code> &lt;now&gt;."
    )
    assert formats.coded("`<b>` and `x`") == "<code>&lt;b&gt;</code> and <code>x</code>"
    assert formats.coded("a ` alone & <b>") == "a ` alone &amp; &lt;b&gt;"


@pytest.mark.parametrize("seconds", [-(10**14), 10**14, 2**63])
def test_a_date_that_no_calendar_has_is_shown_in_words(seconds: int) -> None:
    assert "date" in formats.time_tag(seconds, UTC)


def test_times_are_shown_in_the_readers_zone_with_the_whole_time_in_the_title() -> None:
    berlin = formats.zone_of("Europe/Berlin")
    tag = formats.time_tag(int(datetime(2019, 11, 20, 23, 30, tzinfo=UTC).timestamp()), berlin)
    assert ">21 Nov 2019<" in tag
    assert 'title="Thu, 21 Nov 2019, 00:30:00 +0100"' in tag


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "/etc/localtime", "Mars/Phobos", "a" * 500])
def test_a_zone_that_is_none_leaves_the_boxs_own(name: str) -> None:
    assert formats.zone_of(name) is None


def test_marks_are_shown_and_everything_else_is_text() -> None:
    assert formats.marked("<b>budget</b>", [(3, 9)]) == "&lt;b&gt;<mark>budget</mark>&lt;/b&gt;"


def test_marks_that_lie_outside_or_overlap_do_no_harm() -> None:
    assert formats.marked("abc", [(1, 2), (0, 2), (2, 9), (-1, 1)]) == "a<mark>b</mark>c"


def test_a_mistake_at_the_end_of_a_query_has_a_place_too() -> None:
    assert formats.pointed("from:", 5) == "from:<mark> </mark>"


@pytest.mark.parametrize(
    ("query", "narrowed"),
    [
        ("", "on:2026"),
        ("*", "on:2026"),
        ("budget", "budget on:2026"),
        ("a OR b", "(a OR b) on:2026"),
        ("FLOOR", "FLOOR on:2026"),
    ],
)
def test_narrowing_down_keeps_the_meaning_of_the_query(query: str, narrowed: str) -> None:
    assert formats.narrowed(query, "on:2026") == narrowed


def test_addresses_in_plain_text_become_links_and_markup_stays_text() -> None:
    shown = formats.linked(
        'see https://example.org/a?b=1&c=2. <script>x</script> javascript:alert(1) "https://e.example"onclick'
    )
    assert 'href="https://example.org/a?b=1&amp;c=2"' in shown
    assert "<script" not in shown
    assert 'href="javascript' not in shown
    assert 'href="https://e.example"' in shown


def test_many_people_are_counted() -> None:
    assert formats.people([Person(name=name) for name in "ABCDE"], 2) == "A, B, +3"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "_.._etc_passwd"),
        ("a\r\nSet-Cookie: x", "a__Set-Cookie_ x"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("", "file"),
        ("...", "file"),
        ("CON\x00.txt", "CON_.txt"),
    ],
)
def test_file_names_are_harmless(given: str, kept: str) -> None:
    assert file_name(given) == kept


def test_a_very_long_file_name_keeps_its_ending() -> None:
    assert file_name("x" * 400 + ".pdf").endswith("x.pdf")
    assert len(file_name("x" * 400 + ".pdf")) < 200


def test_foreign_file_names_arrive_whole_in_new_browsers_and_readable_in_old_ones() -> None:
    header = disposition("Zahlen für März №3.xlsx")
    assert header.startswith('attachment; filename="Zahlen fur Marz No3.xlsx"')
    assert header.endswith("filename*=UTF-8''Zahlen%20f%C3%BCr%20M%C3%A4rz%20%E2%84%963.xlsx")
    assert header.isascii()


@pytest.mark.parametrize("name", ["\ud800.txt", "名前.pdf", 'a"; filename="b', "100%25.txt"])
def test_every_name_makes_a_header_that_can_be_sent(name: str) -> None:
    header = disposition(name)
    header.encode("ascii")
    assert "\n" not in header
    assert header.count('"') == 2


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "", "/a\r\nb"]
)
def test_nobody_is_sent_to_another_site(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"


def test_a_place_is_its_address() -> None:
    place = Place(q="a&b", offset=50, all=True)
    assert place.at() == "/?q=a%26b&offset=50&all=1"
    assert place.at(open="m1") == "/?q=a%26b&offset=50&all=1&open=m1"
    assert place.at(q="c") == "/?q=c&all=1"
    assert place.message("m1") == "/m/m1?all=1&from=q%3Da%2526b%26offset%3D50%26all%3D1"
    assert Place().at() == "/"


def test_the_chart_stays_in_its_box() -> None:
    chart = sparkline([0, 5, 10])
    assert chart.peak == 10
    assert chart.line == "M0.0 96.0L300.0 52.0L600.0 8.0"
    assert sparkline([]).line == f"M0.0 {HEIGHT}L600.0 {HEIGHT}"
