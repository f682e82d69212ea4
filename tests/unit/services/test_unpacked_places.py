"""Where an unpacked message goes: templates, and names that every cloud takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.services.unpacked_places import DEFAULT, MESSAGE, PLACEHOLDERS, Facts, check, file_names, place, safe

FACTS = Facts("anna@example.com", ("Inbox", "Projects"), 1_238_500_000, "Offer 4711", "ben@x.test", "0af1" * 8)
FORBIDDEN = set('<>:"/\\|?*#%')


def test_the_default_is_archive_folder_date_and_subject() -> None:
    assert place(DEFAULT, FACTS) == "anna@example.com/Inbox/Projects/2009-03-31 Offer 4711"
    assert place(DEFAULT, FACTS, 3) == "anna@example.com/Inbox/Projects/2009-03-31 Offer 4711 (3)"


def test_every_placeholder_says_what_it_is_called() -> None:
    template = "{archive}/{folder}/{year}-{month}-{day}/{date} {time}/{subject}/{sender}/{id}"
    check(template)
    assert place(template, FACTS) == (
        f"anna@example.com/Inbox/Projects/2009-03-31/2009-03-31 11.46.40/Offer 4711/ben@x.test/{FACTS.id}"
    )
    assert place("{archive} - {folder}/{id}", FACTS) == f"anna@example.com - Inbox - Projects/{FACTS.id}"
    assert all("{" + name + "}" in template for name in PLACEHOLDERS)


def test_a_message_without_folder_subject_or_sender_has_a_place() -> None:
    bare = Facts("anna@example.com", (), -1, "  ", "", "00" * 16)
    assert place(DEFAULT + " {sender}", bare) == "anna@example.com/1969-12-31 no subject nobody"


@pytest.mark.parametrize(
    "template",
    ["", "/", "{archive}", "{nobody}", "{subject", "{subject!r}", "{subject:>99}", "{0}", "{}", "{subject.x}"],
)
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(UsageError):
        check(template)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Re: a/b\\c?.pdf", "Re a b c.pdf"), ("CON", "_CON"), ("nul.txt", "_nul.txt"), ("console.txt", "console.txt"),
        ("trailing. . ", "trailing"), ("..", "_"), ("", "_"), ("\u202egpj.exe", "gpj.exe"), ("a\tb\nc", "a b c"),
        ("~$lock.docx", "_~$lock.docx"), ("A\u0308rger", "\u00c4rger"), ("x" * 100 + ".pdf", "x" * 76 + ".pdf"),
    ],
)  # fmt: skip
def test_names_are_made_such_that_every_cloud_takes_them(name: str, made: str) -> None:
    assert safe(name) == made


@given(st.text(), st.lists(st.text(), max_size=40), st.text())
def test_whatever_the_mail_says_the_place_is_one(subject: str, folder: list[str], sender: str) -> None:
    facts = Facts("anna@example.com", tuple(folder), 0, subject, sender, "00" * 16)
    path = place("{archive}/{folder}/{date} {subject}/{sender}", facts)
    for part in path.split("/"):
        assert part not in ("", ".", "..") and part == part.strip() and not part.endswith(".")
        assert not FORBIDDEN & set(part) and len(part.encode()) <= 210 and part.isprintable()


@given(st.lists(st.text(), max_size=12))
def test_attachments_of_one_message_have_names_of_their_own(names: list[str]) -> None:
    found = file_names(names)
    assert len({one.casefold() for one in (*found, MESSAGE)}) == len(names) + 1


def test_attachments_of_the_same_name_are_numbered() -> None:
    assert file_names(["a.pdf", "A.PDF", "message.eml", "", "a.pdf"]) == [
        "a.pdf", "A (2).PDF", "message (2).eml", "attachment 4", "a (3).pdf",
    ]  # fmt: skip
