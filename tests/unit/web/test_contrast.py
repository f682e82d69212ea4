"""Words can be read in light and in dark: WCAG 2.2 AA, 4.5 to 1 for text (1.4.3), 3 to 1 for controls (1.4.11)."""

from __future__ import annotations

import re

import pytest

from webadmin.page import STATIC

GROUNDS = ("paper", "surface", "raised", "sunken", "hover")
TEXT = [(ink, ground) for ink in ("ink", "ink-2") for ground in GROUNDS]
TEXT += [("ink-3", ground) for ground in ("paper", "surface", "raised", "hover")]
TEXT += [("accent", ground) for ground in ("paper", "surface", "raised", "accent-soft")]
TEXT += [(kind, f"{kind}-soft") for kind in ("good", "warn", "bad")]
TEXT += [
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("ink", "accent-soft"),
    ("ink", "mark"),
    ("bad", "raised"),
]
CONTROLS = [("line-firm", ground) for ground in ("paper", "surface", "raised")] + [("accent", "paper")]

_TOKEN = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
TOKENS = {name: (light, dark) for name, light, dark in _TOKEN.findall((STATIC / "css" / "base.css").read_text())}


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, relative luminance)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXT, 4.5), (CONTROLS, 3.0)], ids=["text", "controls"])
def test_colours_that_meet_differ_enough(pairs: list[tuple[str, str]], least: float, scheme: int) -> None:
    ratios = {(ink, ground): contrast(TOKENS[ink][scheme], TOKENS[ground][scheme]) for ink, ground in pairs}
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < least} == {}
