"""``mailkeep console``: the full-screen console, a program of its own that takes the place of this one."""

from __future__ import annotations

import os
import sys

import click

from appliance.cli.state import State


@click.command()
@click.option("--sign-in", is_flag=True, help="Ask for an administrator's password first, as on the box's own screen.")
@click.option("--plain/--rich", default=None, help="16 colours and plain characters, or all; by the terminal.")
@click.pass_obj
def console(state: State, sign_in: bool, plain: bool | None) -> None:
    """Set up and look after this archive in the terminal, also over SSH."""
    look = [] if plain is None else ["--plain"] if plain else ["--rich"]
    words = ["-m", "tui", "--data", str(state.paths.data), *(["--sign-in"] if sign_in else []), *look]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - no shell is wanted
