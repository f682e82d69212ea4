"""Folders are known by what they are for, in many languages, and chosen by patterns."""

from __future__ import annotations

import pytest

from appliance.errors import UsageError
from appliance.mail.folders import Path, Role, Selection, role_by_name

_FOLDERS: list[tuple[Path, Role]] = [
    (("INBOX",), "inbox"),
    (("Gesendet",), "sent"),
    (("Papierkorb",), "trash"),
    (("Papierkorb", "2019"), ""),
    (("Projekte",), ""),
    (("Projekte", "Haus am See"), ""),
    (("Projekte", "Haus am See", "Pläne"), ""),
    (("Projekte [alt]",), ""),
    (("Spam",), "junk"),
    (("Entwürfe",), "drafts"),
]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Gesendet", "sent"),
        ("GESENDETE ELEMENTE", "sent"),
        ("Éléments envoyés", "sent"),
        ("E\u0301le\u0301ments envoye\u0301s", "sent"),
        ("Elementos eliminados", "trash"),
        ("Papierkorb", "trash"),
        ("Корзина", "trash"),
        ("ゴミ箱", "trash"),
        ("迷惑メール", "junk"),
        ("Junk-E-Mail", "junk"),
        ("Brouillons", "drafts"),
        ("Utkast", "drafts"),
        ("Архив", "archive"),
        ("İstenmeyen", "junk"),
        ("Gesendetes", ""),
        ("", ""),
    ],
)
def test_a_name_tells_what_a_folder_is_for(name: str, role: Role) -> None:
    assert role_by_name(name) == role


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (
            Selection(),
            {"INBOX", "Gesendet", "Projekte", "Projekte/Haus am See", "Projekte/Haus am See/Pläne", "Projekte [alt]"},
        ),
        (Selection(include=("projekte",)), {"Projekte", "Projekte/Haus am See", "Projekte/Haus am See/Pläne"}),
        (Selection(include=("Projekte/%",)), {"Projekte/Haus am See", "Projekte/Haus am See/Pläne"}),
        (Selection(include=("*SEE*",), exclude=("*/Pl?ne",)), {"Projekte/Haus am See"}),
        (Selection(include=("Projekte [alt]",)), {"Projekte [alt]"}),
        (Selection(include=(r"\Trash",), exclude=()), {"Papierkorb", "Papierkorb/2019"}),
        (Selection(include=(r"\inbox", r"\Sent")), {"INBOX", "Gesendet"}),
        (Selection(include=("*",), exclude=("*",)), set()),
    ],
)
def test_patterns_choose_folders_and_what_is_in_them(selection: Selection, chosen: set[str]) -> None:
    assert {"/".join(path) for path in selection.chosen(_FOLDERS)} == chosen


@pytest.mark.parametrize("pattern", ["", "  ", "\\", "\\Rubbish"])
def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="names no folders"):
        Selection(exclude=(pattern,)).chosen(_FOLDERS)
