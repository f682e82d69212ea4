"""What goes wrong while a PST is read."""

from __future__ import annotations

from typing import Final

MOST: Final = 50
"""Notes of one item that are kept."""


class DamagedError(Exception):
    """A part of a PST cannot be read; its text says what, in a few words."""


class Notes(list[str]):
    """What of an item is damaged, a few words each; each once, and no more than somebody would read."""

    def append(self, note: str) -> None:
        """Note it."""
        if len(self) < MOST and note not in self:
            super().append(note)
