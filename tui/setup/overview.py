"""The list of steps at the left: what is done, where one is, what is to come."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from appliance.services.setup.progress import Progress
from appliance.services.setup.steps import Id, steps


class Overview(Vertical):
    """All steps, one a line."""

    DEFAULT_CSS = """
    Overview { width: 21; height: 1fr; padding: 1 0 1 1; background: $surface; border-right: solid $line; }
    Overview .done { color: $good; }
    Overview .here { color: $accent; text-style: bold; }
    Overview .open { color: $ink-3; }
    """

    def __init__(self, progress: Progress, here: Id) -> None:
        super().__init__()
        self._progress, self._here = progress, here

    def compose(self) -> ComposeResult:
        """A mark and a title each."""
        for one in steps():
            if one.id == self._here:
                mark, kind = "›", "here"
            elif one.id in self._progress.done:
                mark, kind = "✓", "done"
            else:
                mark, kind = " ", "open"
            yield Static(f"{mark} {one.title}", classes=kind, markup=False)
