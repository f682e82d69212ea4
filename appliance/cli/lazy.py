"""A group of commands that loads a command when somebody asks for it: starting is most of what a short command takes.

After click's documentation, "Lazily Loading Subcommands".
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """A group with some of its commands in modules that are not loaded yet."""

    def __init__(self, *args: Any, places: Mapping[str, str], **settings: Any) -> None:
        """``places`` are the commands by their names, as ``module:attribute``."""
        super().__init__(*args, **settings)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in order."""
        return sorted({*super().list_commands(ctx), *self._places})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, loaded; None where there is none."""
        place = self._places.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command
