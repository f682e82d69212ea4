"""The title bar: the product, the page, and at the right the box's name and the time."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static


class Bar(Horizontal):
    """One row. The right side shows ``Console.place`` and the clock."""

    def __init__(self, heading: str) -> None:
        super().__init__()
        self._heading = heading

    def compose(self) -> ComposeResult:
        """Three texts in a row."""
        yield Static("mailkeep", classes="product", markup=False)
        yield Static(self._heading, classes="heading", markup=False)
        yield Static("", classes="place", markup=False)

    def on_mount(self) -> None:
        """Show the time, and keep it right."""
        self._tick()
        self.set_interval(1.0, self._tick)

    def retitle(self, heading: str) -> None:
        """Another title."""
        self.query_one(".heading", Static).update(heading)

    def _tick(self) -> None:
        from tui.app import Console  # the bar is part of it

        assert isinstance(self.app, Console)
        place = self.app.place
        self.query_one(".place", Static).update(
            f"{place}  {self.app.time_of_day()}" if place else self.app.time_of_day()
        )
