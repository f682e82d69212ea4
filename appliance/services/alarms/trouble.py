"""One thing that is wrong: the value that conditions give and that alarms are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["warning", "error"]
RANK = {"warning": 1, "error": 2}
"""How grave a level is."""

Figures = dict[str, str | int | float]
"""What the sentence about a trouble is made of. It is kept in the clear: addresses of mailboxes and names of remotes
may be in it, nothing of anybody's mail and no person."""


class Trouble(msgspec.Struct, frozen=True):
    """Something is wrong. ``kind`` is one of ``words.KINDS``; ``about`` tells two troubles of one kind apart."""

    kind: str
    level: Level
    about: str = ""
    figures: Figures = {}

    @property
    def key(self) -> tuple[str, str]:
        """What makes two troubles the same one."""
        return self.kind, self.about
