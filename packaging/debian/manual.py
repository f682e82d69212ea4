"""``manual.py TEMPLATE EPOCH``: print a manual page (man(7)) made of TEMPLATE, on the day of EPOCH.

What commands there are, what they do and take comes from the command line itself, in the place of ``@OPTIONS@`` and
``@COMMANDS@``; the rest is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from appliance import __version__
from appliance.cli import main

ROFF = str.maketrans({"\\": r"\e", "-": r"\-", "`": r"\(ga", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti"})
"""Plain text as roff: no line of it is a request, and what is copied into a shell is what was meant."""


def page(template: str, epoch: int) -> str:
    """The template with all that is known filled in."""
    context = click.Context(main, info_name="mailkeep")
    filled = {
        "VERSION": __version__,
        "DATE": datetime.fromtimestamp(epoch, UTC).date().isoformat(),
        "OPTIONS": "\n".join(options(main, context)),
        "COMMANDS": "\n".join(commands(main, context)),
    }
    return re.sub("@([A-Z]+)@", lambda found: filled[found[1]], template)


def commands(group: click.Group, context: click.Context) -> Iterator[str]:
    """A subsection for each command of a group and of the groups in it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from commands(command, inner)
            continue
        pieces = " ".join(command.collect_usage_pieces(inner))
        yield f".SS {roff(inner.command_path)} {roff(pieces)}"
        yield "\n.PP\n".join(roff(paragraph) for paragraph in paragraphs(command.help or ""))
        yield from options(command, inner)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """A tagged paragraph for each option."""
    for parameter in command.get_params(context):
        described = parameter.get_help_record(context)
        if described is not None and isinstance(parameter, click.Option) and parameter.name != "help":
            yield from (".TP", f"\\fB{roff(described[0])}\\fR", roff(" ".join(described[1].split())) or "\\&")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a help text, each in one line."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("\b", "").partition("\f")[0]))
    return [part for part in parts if part]


def roff(text: str) -> str:
    """Plain text, escaped."""
    return text.translate(ROFF)


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text(), int(sys.argv[2])))
