"""``mailkeep setup``: the wizard on this terminal, or the whole set-up from an answer file."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import click
import msgspec

from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.errors import MailkeepError
from appliance.language import use
from appliance.services.setup import language
from appliance.services.setup.answers import read
from appliance.services.setup.checks import worst
from appliance.services.setup.progress import Listen, load, save
from appliance.services.setup.runtime import runtime_of
from appliance.services.setup.unattended import Done, Unattended

EXIT_ANSWERS, EXIT_FINDINGS = 2, 3
"""Exit codes: the answers cannot be used and nothing was done; all was done, and a test found a problem."""

_MARKS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@click.command()
@click.option(
    "--answers", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Ask nothing: take everything from this YAML file (docs/setup.md).",
)  # fmt: skip
@click.option("--smtp", multiple=True, metavar="HOST:PORT", help="Where mail comes in, where systemd does not say so.")
@click.option("--http", multiple=True, metavar="HOST:PORT", help="The web pages, likewise.")
@click.option("--redirect", multiple=True, metavar="HOST:PORT", help="Sends browsers to HTTPS, likewise.")
@click.option("--pop3s", multiple=True, metavar="HOST:PORT", help="POP3 with TLS, likewise.")
@click.option("--allow-plain-swap", is_flag=True, help="Start though words of the mail may reach unencrypted swap.")
@with_json
@click.pass_obj
@errors_in_words
def setup(
    state: State, answers: Path | None, smtp: tuple[str, ...], http: tuple[str, ...], redirect: tuple[str, ...],
    pop3s: tuple[str, ...], allow_plain_swap: bool, as_json: bool,
) -> None:  # fmt: skip
    """Set this box up: with the wizard, which can be left and gone on with, or with --answers.

    Exit code 0 where all was done, 1 where a step failed (run it again to go on), 2 where the answers cannot be used
    and nothing was done, 3 where all was done and a test found a problem.
    """
    use(language(state.paths))
    if smtp or http or redirect or pop3s or allow_plain_swap:
        given = Listen(smtp or Listen().smtp, http or Listen().http, redirect, pop3s, allow_plain_swap)
        save(state.paths, msgspec.structs.replace(load(state.paths), listen=given))
    if answers is not None:
        sys.exit(_from_answers(state, answers, as_json))
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "tui", "--data", str(state.paths.data)])  # noqa: S606


def _from_answers(state: State, path: Path, as_json: bool) -> int:
    """The exit code."""
    try:
        run = Unattended(state.paths, read(path), partial(runtime_of, state.paths))
        run.require_possible()
    except MailkeepError as error:
        if as_json:
            say({"error": {"code": error.code, "message": error.message}})
        click.echo(f"mailkeep: {error.message}", err=True)
        return EXIT_ANSWERS
    done: list[Done] = []
    try:
        for one in run.run():
            done.append(one)
            if not as_json:
                _tell(one)
    finally:
        if as_json:  # also what was shown once before a later step failed
            say(done)
    return EXIT_FINDINGS if any(worst(one.findings) == "problem" for one in done) else 0


def _tell(done: Done) -> None:
    click.echo(f"{done.step:<14} {done.text}")
    if done.shown_once:
        click.echo(f"{'':<14} {done.shown_once}")
    for finding in done.findings:
        click.echo(f"{'':<14} {_MARKS[finding.state]}: {finding.text}{' ' + finding.mend if finding.mend else ''}")
    sys.stdout.flush()
