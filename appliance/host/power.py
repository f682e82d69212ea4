"""Switching the machine off and starting it anew (systemctl(1))."""

from __future__ import annotations

from appliance.errors import UsageError
from appliance.host.machine import MACHINE, Machine


def read_only(machine: Machine = MACHINE) -> str:
    """Why this process cannot do either, as a sentence; empty where it can."""
    return machine.why_read_only()


def power_off(machine: Machine = MACHINE) -> None:
    """Stop everything in order and switch off. Raises UsageError where that cannot be done, UnavailableError."""
    _do("poweroff", machine)


def restart(machine: Machine = MACHINE) -> None:
    """Stop everything in order and start anew. Raises UsageError where that cannot be done, UnavailableError."""
    _do("reboot", machine)


def _do(verb: str, machine: Machine) -> None:
    if reason := read_only(machine):
        raise UsageError(reason)
    machine.must_run("systemctl", "--no-block", verb)
