"""Options of a remote or a directory as they are typed: ``KEY=VALUE``, secrets from a file or from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from appliance.errors import UsageError


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
