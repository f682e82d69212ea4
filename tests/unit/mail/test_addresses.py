"""One person's address, however it is written, is one address."""

from __future__ import annotations

import pytest

from appliance.mail import addresses
from appliance.mail.facts import Mailbox


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Anna.Abel@Example.COM", "anna.abel@example.com"),
        (" <anna@example.com> ", "anna@example.com"),
        ("<@relay.example,@other.example:anna@example.com>", "anna@example.com"),
        ("SMTP:anna@example.com", "anna@example.com"),
        ("anna@example.com.", "anna@example.com"),
        ('"anna"@example.com', "anna@example.com"),
        ('"anna abel"@example.com', '"anna abel"@example.com'),
        ("anna@xn--bcher-kva.example", "anna@bücher.example"),
        ("anna@BÜCHER.example", "anna@bücher.example"),
        ("ju\u0308rgen@example.com", "jürgen@example.com"),
        ("root", "root"),
        ("", ""),
    ],
)
def test_writings_of_one_address_become_one(written: str, meant: str) -> None:
    assert addresses.normalise(written) == meant
    assert addresses.normalise(meant) == meant


@pytest.mark.parametrize("label", ["xn--80ak6aa92e.", "xn--", "xn--a@b", "xn--" + "9" * 60, "xn--99zzzzzz99"])
def test_a_forged_idn_label_does_not_change_where_the_address_belongs(label: str) -> None:
    assert addresses.normalise(f"anna@{label}").count("@") == f"anna@{label}".count("@")
    assert addresses.normalise(f"anna@{label}").startswith("anna@")


def test_an_endless_address_is_kept_within_bounds() -> None:
    assert len(addresses.normalise("a" * 1_000_000 + "@example.com")) <= addresses.LONGEST


def test_domain_and_its_parents() -> None:
    assert addresses.domain("anna@mail.eu.example.com") == "mail.eu.example.com"
    assert addresses.parents("mail.eu.example.com") == ("eu.example.com", "example.com")
    assert addresses.parents("example.com") == ()
    assert addresses.domain("root") == ""
    assert addresses.local_part("anna@example.com") == "anna"


def box(name: str, address: str) -> Mailbox:
    return Mailbox(name, address)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"Anna <anna@example.com>", [box("Anna", "anna@example.com")]),
        (b'"Abel, Anna" <anna@example.com>, b@x.org', [box("Abel, Anna", "anna@example.com"), box("", "b@x.org")]),
        (b"anna@example.com (Anna Abel)", [box("Anna Abel", "anna@example.com")]),
        (b"Board: a@x.org, B <b@x.org>;, c@x.org", [box("", "a@x.org"), box("B", "b@x.org"), box("", "c@x.org")]),
        (b"undisclosed-recipients:;", []),
        (b"A <a@x.org> B <b@x.org>", [box("A", "a@x.org"), box("B", "b@x.org")]),
        (b"a@x.org b@x.org; c@x.org,", [box("", "a@x.org"), box("", "b@x.org"), box("", "c@x.org")]),
        (b"=?utf-8?q?J=C3=BCrgen?= <j@x.org>", [box("Jürgen", "j@x.org")]),
        (b"=?utf-8?b?SsO8cmdlbiA8akB4Lm9yZz4=?=", [box("Jürgen", "j@x.org")]),
        (b"J\xfcrgen <j@x.org>", [box("Jürgen", "j@x.org")]),
        (b"J\xc3\xbcrgen <j\xc3\xbc@x.org>", [box("Jürgen", "jü@x.org")]),
        (b'"a b"@x.org', [box("", '"a b"@x.org')]),
        (b'"unclosed <a@x.org>', [box("unclosed", "a@x.org")]),
        (b"\"'Anna'\" <a@x.org>", [box("Anna", "a@x.org")]),
        (b"Nobody in particular", [box("Nobody in particular", "")]),
        (b"folded\r\n <a@x.org>,\r\n\tb@x.org", [box("folded", "a@x.org"), box("", "b@x.org")]),
        (b"", []),
    ],
)
def test_header_fields_as_people_and_programs_write_them(written: bytes, meant: list[Mailbox]) -> None:
    assert list(addresses.parse(written)) == meant


def test_ten_thousand_recipients_are_all_there() -> None:
    field = b",\r\n ".join(b"Person %d <p%d@example.com>" % (number, number) for number in range(10_000))
    found = addresses.parse(field)
    assert len(found) == 10_000
    assert found[9_999] == Mailbox("Person 9999", "p9999@example.com")
