"""How the command line speaks: to people in lines and tables, to scripts in JSON, and of errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
import msgspec

from appliance.checks import Check
from appliance.errors import MailkeepError
from appliance.fields import Field

P = ParamSpec("P")
T = TypeVar("T")


def with_json(function: Callable[..., T]) -> Callable[..., T]:
    """Give a command the option ``--json`` (as ``as_json``)."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")(function)


def errors_in_words(function: Callable[P, T]) -> Callable[P, T]:
    """End with exit code 1 and a sentence where a MailkeepError comes up."""

    @wraps(function)
    def wrapped(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except MailkeepError as error:
            _fail(error.code, error.message, named.get("as_json"))
        raise AssertionError("not reached")

    return wrapped


def _fail(code: str, message: str, as_json: object) -> None:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}))
    print(f"mailkeep: {message}", file=sys.stderr)
    sys.exit(1)


def say(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=2))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under heads, columns as wide as they need to be."""
    lines = [tuple(heads), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def describe(name: str, title: str, help: str, fields: Iterable[Field]) -> None:
    """Say what a kind of thing outside is, and what it asks for."""
    click.echo(f"{name}: {title}\n  {help}")
    for field in fields:
        needed = " (needed)" if field.required else ""
        click.echo(f"    {field.key}=…{needed}  {field.label}. {field.help}".rstrip())


def tested(found: Sequence[Check], as_json: bool) -> None:
    """Say what a test found, and end with exit code 0 only if nothing is a problem."""
    if as_json:
        say(found)
    else:
        for one in found:
            click.echo(f"{one.state.upper():<9}{one.what}: {one.text}")
    sys.exit(1 if any(one.state == "problem" for one in found) else 0)


def moment(seconds: int | None) -> str:
    """A time as people read it, in the box's time zone."""
    if seconds is None:
        return "never"
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def iso(seconds: int) -> str:
    """A time as scripts read it (RFC 3339, UTC offset of the box)."""
    try:
        return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(seconds)
