"""``mailkeep profile run``, ``stop`` and ``history``: fetching by a profile, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from appliance.cli.following import Box, follow, show
from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.errors import NotFoundError
from appliance.language import later
from appliance.services import api
from appliance.services.profiles.pace import pace
from appliance.services.sizes import size

PAUSE: Final = 0.2
MOST_SHOWN: Final = 20
"""Failures that are shown after a run; the history has all of them."""


@click.command("run")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Only begin; do not wait until it is over.")
@with_json
@click.pass_obj
@errors_in_words
def run(state: State, name: str, no_wait: bool, as_json: bool) -> None:
    """Fetch now what is new, and wait for it. Ctrl-C stops the run; what was fetched is kept.

    Exit code 0 only if the run came to its end and every message could be fetched.
    """
    with state.box() as box:
        begun = box.call("profile_run", api.ProfileBegun, name=name)
        if no_wait:
            return say(begun) if as_json else click.echo(f"“{name}” is being run.")
        number = begun.run
        if begun.job is not None:
            job = follow(box, begun.job, unit="entries of the directory")
            number = box.call("profile_begun", int, id=job.id)
            if not as_json:
                click.echo(job.message, err=True)
        done = _follow(box, name, number)
    if as_json:
        say(flat(done))
    else:
        _tell(done)
    sys.exit(0 if done.state == "done" and not done.counts.failed else 1)


@click.command("stop")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def stop(state: State, name: str, as_json: bool) -> None:
    """Ask what is under way to end. What was fetched is kept, and the next run goes on there."""
    with state.box() as box:
        box.call("profile_stop", type(None), name=name)
    say({"stopped": name}) if as_json else click.echo(f"“{name}” was asked to stop.")


@click.command("history")
@click.argument("name")
@click.option("--run", "number", type=int, metavar="NUMBER", help="One run, with its accounts and failures.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option(
    "--json/--text", "as_json", default=None, help="How to print it; JSON is for scripts, and what goes into a pipe."
)
@click.pass_obj
@errors_in_words
def history(state: State, name: str, number: int | None, limit: int, as_json: bool | None) -> None:
    """Show the runs there were, newest first: seen = new + already archived + filtered out + failed."""
    if as_json is None:
        as_json = not sys.stdout.isatty()
    with state.box() as box:
        if number is not None:
            found = box.call("profile_run_get", api.ProfileRun, id=number)
            if found.profile != name:
                raise NotFoundError(later("Run {number} is one of “{profile}”."), number=number, profile=found.profile)
            return say(flat(found)) if as_json else _show(found)
        runs = box.call("profile_runs", tuple[api.ProfileRun, ...], name=name, limit=limit)
    return say([flat(one) for one in runs]) if as_json else _list(runs)


def flat(one: msgspec.Struct) -> dict[str, Any]:
    """What scripts read of a profile, a run or an account: figures stand beside the rest."""
    found: dict[str, Any] = _flat(msgspec.to_builtins(one))
    return found


def _flat(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_flat(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _flat(one) for name, one in (value | value.get("counts", {})).items() if name != "counts"}


def _follow(box: Box, name: str, number: int) -> api.ProfileRun:
    """The run when it is over, with a line of progress meanwhile; Ctrl-C stops it."""
    try:
        while True:
            found = box.call("profile_run_get", api.ProfileRun, id=number)
            if found.ended is not None:
                return found
            show(_progress(found))
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        box.call("profile_stop", type(None), name=name)
        raise
    finally:
        show("")


def _progress(one: api.ProfileRun) -> str:
    """How far it is, its rate, and the time that is left."""
    if one.state == "waiting":
        return "waits for the run that goes on"
    now, counts = pace(one, time.time()), one.counts
    of = "" if one.expected is None else f" of {one.expected}"
    accounts = f"account {min(one.accounts_done + 1, one.accounts_all)} of {one.accounts_all}, " * bool(
        one.accounts_all
    )
    left = "" if now.left is None else f", {now.left:.0f} s left"
    return (
        f"{accounts}{counts.seen}{of} messages, {counts.new} new, {counts.failed} failed, "
        f"{now.messages:.0f} messages/s, {size(now.bytes)}/s{left}"
    )


def _figures(one: api.ProfileCounts) -> str:
    deleted = f"; {one.deleted} deleted there" if one.deleted else ""
    return (
        f"{one.seen} seen: {one.new} new ({size(one.bytes)}), {one.already} archived before, {one.filtered} filtered "
        f"out, {one.failed} failed{deleted}"
    )


def _tell(one: api.ProfileRun) -> None:
    """What became of a run: figures on standard output, what is not well on standard error."""
    click.echo(f"{_figures(one.counts)}.")
    if one.words:
        click.echo(one.words, err=True)
    for account in one.accounts:
        line = f"{account.account}: {account.words}"
        if account.words and line not in one.words:  # a run says itself what only one account has to say
            click.echo(line, err=True)
    for failure in one.failures[:MOST_SHOWN]:
        click.echo(f"{failure.account}, {failure.folder}, {failure.item}: {failure.why}", err=True)
    if one.counts.failed > MOST_SHOWN:
        more = one.counts.failed - MOST_SHOWN
        click.echo(f"And {more} more: `mailkeep profile history {one.profile} --run {one.id}`.", err=True)


def _list(runs: Sequence[api.ProfileRun]) -> None:
    table(
        ("RUN", "BEGUN", "TOOK", "STATE", "SEEN", "NEW", "ALREADY", "FILTERED", "FAILED", ""),
        (
            (
                one.id, moment(one.queued if one.begun is None else one.begun), _took(one), one.state, one.counts.seen,
                one.counts.new, one.counts.already, one.counts.filtered, one.counts.failed, one.words,
            )
            for one in runs
        ),
    )  # fmt: skip


def _show(one: api.ProfileRun) -> None:
    click.echo(
        f"Run {one.id} of “{one.profile}”, {moment(one.queued if one.begun is None else one.begun)}: {one.state}"
    )
    click.echo(f"{_figures(one.counts)}. {one.words}".rstrip())
    table(
        ("ACCOUNT", "ARCHIVE", "STATE", "SEEN", "NEW", "ALREADY", "FILTERED", "FAILED", ""),
        (
            (
                account.account, account.archive, account.state, account.counts.seen, account.counts.new,
                account.counts.already, account.counts.filtered, account.counts.failed, account.words,
            )
            for account in one.accounts
        ),
    )  # fmt: skip
    for failure in one.failures:
        click.echo(f"FAILED  {failure.account}, {failure.folder}, {failure.item}: {failure.why}")
    if one.unlisted:
        click.echo(f"And {one.unlisted} more that are not listed.")


def _took(one: api.ProfileRun) -> str:
    return "" if one.begun is None or one.ended is None else f"{one.ended - one.begun} s"
