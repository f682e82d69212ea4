"""A QR code in characters, two modules a cell. Where the font has no half blocks there is none: show the text too."""

from __future__ import annotations

import segno
from textual.widgets import Static

_CELLS = {(False, False): "█", (True, False): "▄", (False, True): "▀", (True, True): " "}
"""By (upper, lower) module being dark: drawn light on dark, as most readers want it on a dark screen."""


def qr_rows(text: str, border: int = 2) -> list[str]:
    """The code's rows: dark modules are the background, light ones the foreground."""
    modules = [
        [bool(module) for module in row] for row in segno.make(text, error="l", micro=False).matrix_iter(border=border)
    ]
    if len(modules) % 2:
        modules.append([False] * len(modules[0]))
    return [
        "".join(_CELLS[upper, lower] for upper, lower in zip(*pair, strict=True))
        for pair in zip(modules[::2], modules[1::2], strict=True)
    ]


class Qr(Static):
    """A QR code of ``text``; nothing in the plain look."""

    def __init__(self, text: str, *, id: str | None = None) -> None:
        super().__init__("\n".join(qr_rows(text)), markup=False, id=id)
