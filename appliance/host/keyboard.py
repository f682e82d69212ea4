"""The keyboard of the machine's own screen: which layout it has (keyboard(5), setupcon(1)).

A passphrase that is typed there has to be the one that is typed over SSH or in a browser later.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final

import msgspec

from appliance.errors import UsageError
from appliance.host.machine import MACHINE, Machine
from appliance.host.writing import write_system_file
from appliance.language import _

LAYOUTS: Final = MappingProxyType(
    {
        "us": "English (US)", "gb": "English (UK)", "de": "Deutsch", "at": "Deutsch (Österreich)",
        "ch": "Deutsch (Schweiz)", "fr": "Français", "it": "Italiano", "es": "Español", "nl": "Nederlands",
        "pl": "Polski", "se": "Svenska",
    }
)  # fmt: skip
"""Layouts by their XKB names, each by the name that its users give it."""

_FILE: Final = "/etc/default/keyboard"
_LAYOUT: Final = re.compile(r'^XKBLAYOUT="?([a-z]*)[^\n]*$', re.MULTILINE)


class Keyboard(msgspec.Struct, frozen=True):
    """The layout in use (XKB name); ``read_only`` says why it cannot be changed from here, if so."""

    layout: str
    read_only: str = ""


def current(machine: Machine = MACHINE) -> Keyboard:
    """What is set."""
    text = machine.read(_FILE)
    found = _LAYOUT.search(text)
    if not found:
        return Keyboard("", _("This system does not say which keyboard its screen has."))
    return Keyboard(found[1], machine.why_read_only())


def change(layout: str, machine: Machine = MACHINE) -> None:
    """Set it, at once and for good. Raises UsageError, StorageError, UnavailableError."""
    if layout not in LAYOUTS:
        raise UsageError(_("There is no keyboard layout “{name}” here.").format(name=layout))
    text = machine.read(_FILE)
    write_system_file(machine.path(_FILE), _LAYOUT.sub(f'XKBLAYOUT="{layout}"', text))
    machine.must_run("setupcon", "-k")
