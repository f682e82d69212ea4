"""How the console looks: in a terminal with many colours as the web pages do, on a bare screen with 16.

The *plain* look is for Linux's own virtual terminals and for serial lines. It uses the 16 colours of the VGA palette,
of which only the first eight serve as backgrounds, and only those characters that both the kernel's built-in font
(code page 437) and Debian's console fonts (Lat15-*, Uni2-*) have. What is drawn beyond that is replaced on its way to
the screen, but for what the font of this very screen is known to have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from rich._palettes import STANDARD_PALETTE
from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

PLAIN: Final = "plain"
DARK: Final = "dark"
LIGHT: Final = "light"

PLAIN_TERMINALS: Final = frozenset({"linux", "vt100", "vt102", "vt220", "ansi", "dumb", "console"})
"""Values of TERM for which the plain look is chosen."""


def is_plain(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is one for which the plain look is made."""
    return environment.get("TERM", "") in PLAIN_TERMINALS


def _theme(name: str, *, dark: bool, **colours: str) -> Theme:
    """A theme of the web pages' colour names; what Textual's own widgets use follows from them."""
    return Theme(
        name=name,
        dark=dark,
        primary=colours["accent"],
        secondary=colours["accent"],
        accent=colours["accent"],
        success=colours["good"],
        warning=colours["warn"],
        error=colours["bad"],
        foreground=colours["ink"],
        background=colours["paper"],
        surface=colours["surface"],
        panel=colours["raised"],
        text_alpha=1.0,
        variables={
            **{name.replace("_", "-"): value for name, value in colours.items()},
            "block-cursor-background": colours["cursor"],
            "block-cursor-foreground": colours["on_cursor"],
            "block-cursor-text-style": "none",
            "block-cursor-blurred-background": colours["chosen"],
            "block-cursor-blurred-foreground": colours["on_chosen"],
            "block-cursor-blurred-text-style": "none",
            "block-hover-background": colours["chosen"],
            "border": colours["accent"],
            "border-blurred": colours["line_firm"],
            "footer-background": colours["bar"],
            "footer-foreground": colours["on_bar"],
            "footer-item-background": colours["bar"],
            "footer-key-background": colours["bar"],
            "footer-key-foreground": colours["bar_key"],
            "footer-description-background": colours["bar"],
            "footer-description-foreground": colours["on_bar"],
            "input-cursor-background": colours["ink"],
            "input-cursor-foreground": colours["paper"],
            "input-selection-background": colours["line_firm"],
            "scrollbar": colours["line_firm"],
            "scrollbar-hover": colours["accent"],
            "scrollbar-active": colours["accent"],
            "scrollbar-background": colours["paper"],
            "scrollbar-background-hover": colours["paper"],
            "scrollbar-background-active": colours["paper"],
            "scrollbar-corner-color": colours["paper"],
        },
    )


THEMES: Final = (
    _theme(
        DARK, dark=True, paper="#151614", surface="#1b1c1a", raised="#232522", sunken="#101110", line="#2e302d",
        line_firm="#6e716b", ink="#ecebe5", ink_2="#bab8af", ink_3="#9a988f", accent="#6fcbb5", on_accent="#0c211c",
        good="#7fd09a", warn="#edbe68", bad="#f3978c", good_soft="#1b3324", warn_soft="#3a2d12", bad_soft="#40201c",
        accent_soft="#1c3630", cursor="#6fcbb5", on_cursor="#0c211c", chosen="#1c3630", on_chosen="#a9dfd1",
        field="#2a2c29", on_field="#ecebe5", field_focus="#1c3630", on_field_focus="#ffffff", button="#2e302d",
        on_button="#ecebe5", bar="#101110", on_bar="#9a988f", bar_key="#6fcbb5", bar_title="#ecebe5",
    ),
    _theme(
        LIGHT, dark=False, paper="#f5f3ee", surface="#fdfcf9", raised="#ffffff", sunken="#eeebe3", line="#e4dfd4",
        line_firm="#8f897c", ink="#1d1c19", ink_2="#524e46", ink_3="#696459", accent="#0b6153", on_accent="#ffffff",
        good="#1c6b3a", warn="#7a4b00", bad="#a3281f", good_soft="#e0f0e4", warn_soft="#faeccd", bad_soft="#fae3df",
        accent_soft="#deece7", cursor="#0b6153", on_cursor="#ffffff", chosen="#deece7", on_chosen="#0b6153",
        field="#e6e2d8", on_field="#1d1c19", field_focus="#deece7", on_field_focus="#1d1c19", button="#e4dfd4",
        on_button="#1d1c19", bar="#eeebe3", on_bar="#696459", bar_key="#0b6153", bar_title="#1d1c19",
    ),
    # The VGA palette: each value is exactly one of the 16 colours.
    _theme(
        PLAIN, dark=True, paper="#000000", surface="#000000", raised="#000000", sunken="#000000", line="#555555",
        line_firm="#aaaaaa", ink="#ffffff", ink_2="#aaaaaa", ink_3="#aaaaaa", accent="#55ffff", on_accent="#000000",
        good="#55ff55", warn="#ffff55", bad="#ff5555", good_soft="#000000", warn_soft="#000000", bad_soft="#000000",
        accent_soft="#000000", cursor="#00aaaa", on_cursor="#000000", chosen="#0000aa", on_chosen="#ffffff",
        field="#0000aa", on_field="#ffffff", field_focus="#00aaaa", on_field_focus="#000000", button="#aaaaaa",
        on_button="#000000", bar="#0000aa", on_bar="#aaaaaa", bar_key="#ffff55", bar_title="#ffffff",
    ),
)  # fmt: skip
"""All themes, as Textual takes them."""

VARIABLES: Final = dict(THEMES[0].variables)
"""The style sheet's variables, for the moment before one of the themes is in force."""

_REPLACED: Final = (
    {
        "▐": "[", "▌": "]", "●": "•", "✓": "+", "✗": "x", "×": "x", "…": ".", "–": "-", "—": "-", "“": '"', "”": '"',
        "„": '"', "‘": "'", "’": "'", "‚": "'", "›": ">", "‹": "<", "╭": "┌", "╮": "┐", "╰": "└", "╯": "┘", "━": "─",
        "╸": "─", "╺": "─", "╶": "─", "╴": "─", "┃": "│", "▔": "─", "▁": "─", "▎": "│", "▊": "│", "▏": "│", "▕": "│",
        "▍": "│", "▋": "█", "▉": "█", "▂": "▄", "▃": "▄", "▅": "▄", "▆": "█", "▇": "█", "▶": ">", "►": ">", "⏵": ">",
        "▼": "v", "▲": "^", "⭘": "o", "◉": "•", "○": "o", "⏎": "<", "↑": "^", "↓": "v", "→": ">", "←": "<",
    }
)  # fmt: skip


class PlainScreen(LineFilter):
    """Makes of a line what a screen with 16 colours and a small font can show."""

    def __init__(self, font: frozenset[str] = frozenset()) -> None:
        """``font``: characters that the screen is known to draw. They stay as they are."""
        super().__init__()
        self._replaced = str.maketrans({one: plain for one, plain in _REPLACED.items() if one not in font})

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """The line in plain characters and colours; its width stays. ``background`` is not needed."""
        return [
            Segment(self._plain(text), None if style is None else _sixteen(style), control)
            for text, style, control in segments
        ]

    def _plain(self, text: str) -> str:
        """As many characters, all plain; what is not finished ends in two dots where there is room for them."""
        if ord("…") in self._replaced:
            text = text.replace(" …", "..")
        return text.translate(self._replaced)


@lru_cache(4096)
def _sixteen(style: Style) -> Style:
    """The nearest of the 16 colours; as RGB, so that a picture of the screen has them, too."""
    # Dimmed or slanted, text on such a screen is only another colour.
    return style + Style(color=_nearest(style.color, 16), bgcolor=_nearest(style.bgcolor, 8), dim=False, italic=False)


def _nearest(colour: RichColor | None, count: int) -> RichColor | None:
    if colour is None or colour.is_default:
        return colour
    number = colour.downgrade(ColorSystem.STANDARD).number or 0
    return RichColor.from_triplet(STANDARD_PALETTE[number % count])
