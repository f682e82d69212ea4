"""What is typed about something outside (a remote, a directory, a source): ``KEY=VALUE``, secrets from a file or from
standard input, sizes, spans of time."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import click

from appliance.errors import UsageError
from appliance.services.sizes import in_bytes

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def read_options(values: Iterable[str]) -> dict[str, str]:
    """The options; the place inside the remote is among them, as ``path``.

    ``KEY=@FILE`` reads a value from a file, ``KEY=-`` the next line of standard input: what stands on the command line
    is seen by everybody on the box. Raises UsageError.
    """
    options: dict[str, str] = {}
    for one in values:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise UsageError(f"“{one}” is not KEY=VALUE.")
        if key in options:
            raise UsageError(f"{key} is given twice.")
        options[key] = _value(key, value)
    return options


def given(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings of a command that were given."""
    return {name: value for name, value in settings.items() if value not in (None, ())}


class Size(click.ParamType[int]):
    """Bytes, as ``25M``, ``1.5G`` or ``800000`` (units of 1024)."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of bytes."""
        try:
            return in_bytes(str(value))
        except UsageError as error:
            self.fail(error.message, param, ctx)


class Span(click.ParamType[int]):
    """Seconds, as ``30m``, ``2h``, ``1d`` or ``90``."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of seconds."""
        found = re.fullmatch(r"(\d+)\s*([smhd]?)", str(value).strip().lower(), re.ASCII)
        if found is None:
            self.fail(f"“{value}” is no time such as 30m, 2h or 1d.", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


def spelled(seconds: int) -> str:
    """A span as ``Span`` reads it: ``30m``."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}"


def _value(key: str, value: str) -> str:
    if value == "-":
        line = sys.stdin.readline()
        if not line:
            raise UsageError(f"There is no line on standard input for {key}.")
        return line.rstrip("\r\n")
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{value[1:]}, where {key} is to be read from, cannot be read.") from error
