"""Showing a recovery key once, in groups, in words and as a QR code, and having it typed back: it was written down."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import click
import segno

from appliance.cli.output import say
from appliance.errors import KeyringError
from appliance.keys import recovery

_GROUPS_A_LINE = 4
_WORDS_A_LINE = 6


def show_recovery_key(text: str, *, as_json: bool) -> None:
    """Print the key; on a terminal with a QR code for a phone's or another machine's camera."""
    if as_json:
        say({"recovery_key": text})
        sys.stdout.flush()
        return
    groups = text.split("-")
    lines = ["-".join(groups[start : start + _GROUPS_A_LINE]) for start in range(0, len(groups), _GROUPS_A_LINE)]
    click.echo("Recovery key:\n")
    for number, line in enumerate(lines):
        click.echo(f"    {line}{'-' if number + 1 < len(lines) else ''}")
    click.echo("\nor, which is the same, in words:\n")
    words = recovery.to_words(text)
    for start in range(0, len(words), _WORDS_A_LINE):
        click.echo("    " + " ".join(words[start : start + _WORDS_A_LINE]))
    click.echo("")
    if sys.stdout.isatty():
        click.echo(_qr(text))
    click.echo("Write it down or print it, and keep it away from this box: without it, and without a passphrase or")
    click.echo("keyfile, nobody can read the archive again. It is not shown a second time.\n")


def type_back(confirm: Callable[[str], object], *, as_json: bool) -> None:
    """Have the key typed until ``confirm`` takes it; with ``as_json`` one line of standard input is taken.

    ``confirm`` raises KeyringError for what is not the key.
    """
    if as_json:
        confirm(sys.stdin.readline().strip())
        return
    while True:
        try:
            confirm(str(click.prompt("Type it back from what you wrote down", err=True)))
        except KeyringError as error:
            click.echo(f"{error.message}\n", err=True)
        else:
            return


def require_same(key: str, typed: str) -> None:
    """Raises KeyringError where what was typed is not the key, saying what is wrong with it."""
    if recovery.from_text(typed) != recovery.from_text(key):
        raise KeyringError("That is another recovery key. Compare it with the one above.")


def _qr(text: str) -> str:
    picture = io.StringIO()
    segno.make(text, micro=False).terminal(out=picture, border=2, compact=True)
    return picture.getvalue()
