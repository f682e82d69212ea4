"""The keyboard of the machine's screen: told, set for good and at once; nothing else in its file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance.host import keyboard
from tests.unit.host.double import machine

FILE = '# KEYBOARD CONFIGURATION FILE\nXKBMODEL="pc105"\nXKBLAYOUT="us"\nXKBVARIANT=""\nBACKSPACE="guess"\n'


def test_the_layout_is_told_and_changed(tmp_path: Path) -> None:
    box = machine(tmp_path, {"setupcon -k": ""})
    box.has("/etc/default/keyboard", FILE)
    assert keyboard.current(box).layout == "us"
    keyboard.change("de", box)
    assert box.read("/etc/default/keyboard") == FILE.replace('XKBLAYOUT="us"', 'XKBLAYOUT="de"')
    assert box.asked == ["setupcon -k"]
    assert keyboard.current(box).layout == "de"


def test_a_machine_without_a_console_keyboard_says_so(tmp_path: Path) -> None:
    assert keyboard.current(machine(tmp_path)).read_only


def test_an_unknown_layout_changes_nothing(tmp_path: Path) -> None:
    box = machine(tmp_path)
    box.has("/etc/default/keyboard", FILE)
    with pytest.raises(UsageError):
        keyboard.change("xx", box)
    assert box.read("/etc/default/keyboard") == FILE
