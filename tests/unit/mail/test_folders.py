"""Folders are known by what they are for, in many languages, and chosen by patterns."""

from __future__ import annotations

import pytest

from appliance.errors import UsageError
from appliance.mail.folders import Choice, Path, Role, Selection, role_by_name

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


@pytest.mark.parametrize(
    ("selection", "labels", "taken"),
    [
        (Selection(), (), True),
        (Selection(), ("Projects/House",), True),
        (Selection(include=("Projects/*",)), ("INBOX", "Projects/House"), True),
        (Selection(include=("Projects/*",)), ("INBOX",), False),
        (Selection(include=("Projects/*",)), (), False),
        (Selection(exclude=("Newsletters",)), ("INBOX", "Newsletters"), False),
        (Selection(exclude=("Newsletters",)), ("INBOX",), True),
        (Selection(include=("INBOX", "Projects"), exclude=("Projects/House",)), ("INBOX", "Projects/House"), False),
        (Selection(include=(r"\All",)), ("Projects/House",), True),
        (Selection(exclude=(r"\All",)), ("Projects/House",), True),
        (Selection(exclude=(r"\All",)), (), False),
        (Selection(include=(r"\Sent",)), ("[Gmail]/Sent",), True),
        (Selection(include=("Never listed",)), ("Never listed",), True),
    ],
)
def test_a_message_is_chosen_by_its_labels(selection: Selection, labels: tuple[str, ...], taken: bool) -> None:
    everything: Path = ("[Gmail]", "All Mail")
    roles: dict[Path, Role] = {
        everything: "all", ("INBOX",): "inbox", ("[Gmail]", "Sent"): "sent", ("Projects",): "",
        ("Projects", "House"): "", ("Newsletters",): "",
    }  # fmt: skip
    assert Choice(selection, roles).takes_message(everything, [tuple(one.split("/")) for one in labels]) is taken
