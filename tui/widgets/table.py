"""A list of things in columns that fit the screen: one column takes what the others leave, and nothing is scrolled
sideways. The cursor stays on its thing when the list is shown anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text
from textual import events
from textual.widgets import DataTable


class Column(NamedTuple):
    """A column: its head, its width in characters (0: what is left), whether it is left out on a narrow screen."""

    head: str
    width: int = 0
    right: bool = False
    wide_only: bool = False


class Row(NamedTuple):
    """A thing: the key by which the page knows it, a text for each column, and "" or good, warn, bad, faint."""

    key: str
    cells: tuple[str, ...]
    kind: str = ""


NARROW = 90
"""Columns of a screen below which columns that are ``wide_only`` are left out."""

_PADDING = 1


class Table(DataTable[Text]):
    """The list. Enter sends DataTable.RowSelected, whose row key is the thing's."""

    def __init__(self, *columns: Column, id: str, empty: str = "") -> None:
        """``empty`` stands in place of the rows where there are none."""
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, cell_padding=_PADDING)
        self._spec = columns
        self._rows: tuple[Row, ...] = ()
        self._empty = empty
        self._loaded = False
        self._drawn: object = None

    @property
    def chosen(self) -> str | None:
        """The key of the thing the cursor is on; None where there is none."""
        if not self._rows or not 0 <= self.cursor_row < len(self._rows):
            return None
        return self._rows[self.cursor_row].key

    def show(self, rows: Sequence[Row]) -> None:
        """Show these."""
        before, self._rows, self._loaded = self.chosen, tuple(rows), True
        self._draw(before)

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the columns again."""
        self._draw(self.chosen)

    def on_mount(self) -> None:
        """Heads are there before the first answer is."""
        self._draw(None)

    def _draw(self, before: str | None) -> None:
        width = self.size.width or self.app.size.width
        state = (width, self.app.theme, self._loaded, self._rows)
        if state == self._drawn:
            return
        self._drawn = state
        self.clear(columns=True)
        self.show_cursor = bool(self._rows)
        if self._loaded and not self._rows and self._empty:
            self.add_column("", width=width - 2 * _PADDING)
            self.add_row(Text(self._empty, style=self.app.theme_variables["ink-3"]), key="")
            return
        shown = [i for i, one in enumerate(self._spec) if not (one.wide_only and self.app.size.width < NARROW)]
        taken = sum(self._spec[i].width for i in shown) + 2 * _PADDING * len(shown)
        flexible = sum(1 for i in shown if not self._spec[i].width)
        for i in shown:
            spec = self._spec[i]
            each = spec.width or max((width - taken) // max(flexible, 1), 8)
            head = Text(spec.head, justify="right" if spec.right else "left", no_wrap=True, overflow="ellipsis")
            self.add_column(head, width=each, key=str(i))
        for row in self._rows:
            self.add_row(*(self._cell(row, i) for i in shown), key=row.key)
        keys = [row.key for row in self._rows]
        if before in keys:
            self.move_cursor(row=keys.index(before), animate=False)

    def _cell(self, row: Row, column: int) -> Text:
        variables = self.app.theme_variables
        colour = {"good": "good", "warn": "warn", "bad": "bad", "faint": "ink-3"}.get(row.kind)
        return Text(
            row.cells[column],
            style=variables[colour] if colour else "",
            justify="right" if self._spec[column].right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
