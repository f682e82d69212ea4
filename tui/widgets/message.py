"""One sentence at the foot of a page: what was done, or what went wrong and what to do next."""

from __future__ import annotations

from textual.widgets import Static


class Message(Static):
    """Hidden while there is nothing to say."""

    def __init__(self, text: str = "", kind: str = "note", *, id: str | None = None) -> None:
        super().__init__(text, id=id, markup=False)
        self._dress(text, kind)

    def show(self, text: str, kind: str = "note") -> None:
        """Say ``text``; nothing where it is empty. ``kind`` is note, good, warn or bad."""
        self.update(text)
        self._dress(text, kind)

    def _dress(self, text: str, kind: str) -> None:
        self.set_classes(f"-{kind}" if text else "-none")
