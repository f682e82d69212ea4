"""Which characters a screen's font has: a virtual terminal is asked, and anything else does not know."""

from __future__ import annotations

import errno
import os

from appliance.host import screen


def font(characters: str) -> screen.Ask:
    """A virtual terminal whose font has these characters, answering as the kernel does."""

    def ask(terminal: int, request: int, table: screen.Table) -> int:
        assert (terminal, request) == (7, 0x4B66)
        assert table.entry_ct >= len(characters)
        for place, one in enumerate(characters):
            table.entries[place] = screen.Pair(ord(one), place)
        table.entry_ct = len(characters)
        return 0

    return ask


def test_a_virtual_terminal_tells_what_its_font_has() -> None:
    assert screen.characters(7, font("abc█▀▄ä")) == frozenset("abc█▀▄ä")
    assert screen.characters(7, font("")) == frozenset()


def test_a_screen_that_may_not_be_asked_does_not_know() -> None:
    def refused(_terminal: int, _request: int, _table: screen.Table) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    assert screen.characters(7, refused) is None


def test_what_is_no_virtual_terminal_does_not_know() -> None:
    leader, follower = os.openpty()
    try:
        assert screen.characters(follower) is None
    finally:
        os.close(leader)
        os.close(follower)
