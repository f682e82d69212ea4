"""What a test of something outside (a directory, a source) found, as data: whoever shows it makes its lines of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that a test looked at: ``what`` in a word or two, ``text`` in a sentence; where it is not well, the
    sentence says what to do."""

    what: str
    state: Literal["ok", "warning", "problem"]
    text: str
