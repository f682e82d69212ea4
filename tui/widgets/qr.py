"""A QR code in characters, two modules a cell. Where the font has no half blocks there is none: show the text too."""

from __future__ import annotations

from typing import ClassVar, Final

import segno
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Center, VerticalScroll
from textual.widgets import Footer, Static

from tui.page import Dialog, key
from tui.widgets.form import Heading, Text

BLOCKS: Final = "█▀▄"
"""What a font must have."""

_CELLS = {(False, False): "█", (True, False): "▄", (False, True): "▀", (True, True): " "}
"""By (upper, lower) module being dark: drawn light on dark, so that it is a usual code on a dark screen."""


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
    """A QR code of ``text``."""

    def __init__(self, text: str) -> None:
        super().__init__("\n".join(qr_rows(text)), markup=False)


class ShowQr(Dialog[None]):
    """A text as a QR code, in a window as large as the screen allows: a code that is cut off is none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "leave", "Back"),
        key("f3", "leave", "Back", show=False),
        key("enter", "leave", "Back", show=False),
    ]
    AUTO_FOCUS = ".dialog"

    def __init__(self, heading: str, text: str) -> None:
        super().__init__()
        self._heading, self._text = heading, text

    def compose(self) -> ComposeResult:
        """What it is, the code, and the text itself."""
        with VerticalScroll(classes="dialog -qr"):
            yield Heading(self._heading)
            with Center():
                yield Qr(self._text)
            yield Text(self._text, "mono")
        yield Footer(compact=True, show_command_palette=False)

    def action_leave(self) -> None:
        """Back to the page."""
        self.dismiss(None)
