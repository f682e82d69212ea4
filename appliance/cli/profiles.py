"""``mailkeep profile``: archiving profiles, by which mail is fetched from where it lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from appliance.checks import Check
from appliance.cli.options import Size, Span, given, read_options, spelled
from appliance.cli.output import describe, errors_in_words, moment, say, table, tested, with_json
from appliance.cli.profile_runs import flat, history, run, stop
from appliance.cli.state import State
from appliance.services import api
from appliance.services.sizes import size
from appliance.sources.kinds import KINDS

_SETTINGS: tuple[Callable[..., Any], ...] = (
    click.option("--archive", metavar="ADDR", help="Whose archive it becomes; else whose address an account has."),
    click.option("--users", type=click.Choice(["all", "only", "except"]), help="Whose accounts, with --user."),
    click.option("--user", "chosen", multiple=True, metavar="ADDR", help="A user that --users means; repeatable."),
    click.option("--include", multiple=True, metavar="PATTERN", help=r"Only such folders: Work, \Sent; repeatable."),
    click.option(
        "--exclude", multiple=True, metavar="PATTERN",
        help=r'Not such folders; takes the place of \Trash, \Junk and \Drafts. "" for none; repeatable.',
    ),
    click.option("--since", metavar="DATE", help="Only messages received from that day on: 2026-01-31."),
    click.option("--before", metavar="DATE", help="Only messages received before that day."),
    click.option("--older-than", "older_than_days", type=int, metavar="DAYS", help="Only messages at least so old."),
    click.option("--largest", type=Size(), help="Only messages of at most that size: 25M; 0 for any."),
    click.option("--only-read/--read-or-not", "only_read", default=None, help="Only messages that were read."),
    click.option("--sender", metavar="TEXT", help="Only messages whose sender contains that."),
    click.option("--subject", metavar="TEXT", help="Only messages whose subject contains that."),
    click.option("--every", "interval", type=Span(), help="Between two runs: 30m, 6h; 0 for by hand."),
    click.option("--cron", metavar="FIELDS", help="Runs by a timetable, as crontab(5): “30 2 * * 1-5”."),
    click.option("--parallel", type=int, metavar="N", help="Accounts at a time, 1 to 32; 4 if nothing is said."),
    click.option("--rate", type=Size(), help="Bytes a second at most: 2M; 0 for no limit."),
    click.option(
        "--delete-after", "delete_after_days", type=int, metavar="DAYS",
        help="Delete at the source what is older, once its archived copy was read back; 0 for never, as by itself.",
    ),
    click.option("--directory", metavar="NAME", help="Synchronise this directory before each run."),
)  # fmt: skip


def _with_settings(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group()
def profile() -> None:
    """From where mail is fetched, which, and whose it becomes. Nothing is deleted there unless a profile says so."""


@profile.command("add")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice([one.kind for one in KINDS]), help="What it is.")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@_with_settings
@with_json
@click.pass_obj
@errors_in_words
def profile_add(
    state: State, /, name: str, kind: str, options: tuple[str, ...], as_json: bool, **settings: object
) -> None:
    """Add a profile. Nothing is fetched before it is run, or its time has come.

    A value that nobody is to see in the list of processes comes as KEY=@FILE, or as KEY=- from a line of standard
    input. `mailkeep profile kinds` shows what each kind needs.

    A directory is synchronised before a run that somebody asks for, and, from its first synchronisation on, shortly
    before a run by the clock. If it does not answer, mail is fetched for the users as they are.
    """
    with state.box() as box:
        made = box.call(
            "profile_add", api.ProfileInfo, name=name, kind=kind, options=read_options(options), **given(settings)
        )
    if as_json:
        return say(flat(made))
    click.echo(f"“{name}” is added. `mailkeep profile test {name}` tries it, `mailkeep profile run {name}` fetches.")
    return None


@profile.command("change")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@_with_settings
@with_json
@click.pass_obj
@errors_in_words
def profile_change(state: State, /, name: str, options: tuple[str, ...], as_json: bool, **settings: object) -> None:
    """Change what is given; KEY= takes an option away, and so does an empty value of a setting."""
    with state.box() as box:
        made = box.call("profile_change", api.ProfileInfo, name=name, options=read_options(options), **given(settings))
    say(flat(made)) if as_json else click.echo(f"“{name}” is changed.")


@profile.command("remove")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def profile_remove(state: State, name: str, as_json: bool) -> None:
    """Fetch nothing by it any more. What was fetched stays in the archive."""
    with state.box() as box:
        box.call("profile_remove", type(None), name=name)
    say({"removed": name}) if as_json else click.echo(f"“{name}” is removed. What was fetched by it stays.")


@profile.command("pause")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def profile_pause(state: State, name: str, as_json: bool) -> None:
    """Begin no run by the clock until it is resumed. What is under way goes on."""
    _pause(state, name, True, f"“{name}” is paused.", as_json)


@profile.command("resume")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def profile_resume(state: State, name: str, as_json: bool) -> None:
    """Run by the clock again."""
    _pause(state, name, False, f"“{name}” runs by its schedule again.", as_json)


def _pause(state: State, name: str, paused: bool, words: str, as_json: bool) -> None:
    with state.box() as box:
        made = box.call("profile_change", api.ProfileInfo, name=name, paused=paused)
    say(flat(made)) if as_json else click.echo(words)


@profile.command("list")
@with_json
@click.pass_obj
@errors_in_words
def profile_list(state: State, as_json: bool) -> None:
    """List the profiles and how the last run of each went."""
    with state.box() as box:
        found = box.call("profiles", tuple[api.ProfileInfo, ...])
    if as_json:
        return say([flat(one) for one in found])
    table(
        ("NAME", "KIND", "ARCHIVE", "RUNS", "NEXT", "LAST RUN", "NEW", "FAILED"),
        (
            (
                one.name, one.kind, one.archive or "by address", _schedule(one),
                _next(one),
                *((moment(one.run.begun), one.run.counts.new, one.run.counts.failed) if one.run else ("never", 0, 0)),
            )
            for one in found
        ),
    )  # fmt: skip
    for one in found:
        if one.trouble:
            click.echo(f"{one.name}: {one.trouble}", err=True)
    return None


@profile.command("kinds")
def profile_kinds() -> None:
    """Show the kinds of sources and what each needs."""
    for one in KINDS:
        describe(one.kind, one.title, one.help, one.fields)


@profile.command("test")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def profile_test(state: State, name: str, as_json: bool) -> None:
    """Try everything that a run needs, and fetch nothing. Exit code 0 only if all is well."""
    with state.box() as box:
        found = box.call("profile_test", tuple[Check, ...], name=name)
    tested(found, as_json)


@profile.command("deletions")
@click.argument("name")
@click.option(
    "--after", "after_days", type=int, metavar="DAYS", help="As if --delete-after were that, which it is not."
)
@with_json
@click.pass_obj
@errors_in_words
def profile_deletions(state: State, name: str, after_days: int | None, as_json: bool) -> None:
    """List what --delete-after would have deleted at the source now. Nothing is deleted by this."""
    with state.box() as box:
        found = box.call("profile_deletions", api.ProfileDeletions, name=name, after_days=after_days)
    if as_json:
        return say(found)
    click.echo(f"{found.count} messages, {size(found.bytes)}, as far as their archived copies are sound.")
    table(
        ("ACCOUNT", "FOLDER", "MESSAGE", "RECEIVED", "SIZE"),
        ((one.account, one.folder, one.item, moment(one.received), size(one.size)) for one in found.items),
    )
    if found.count > len(found.items):
        click.echo(f"And {found.count - len(found.items)} more that are younger.")
    return None


profile.add_command(run)
profile.add_command(stop)
profile.add_command(history)


def _schedule(one: api.ProfileInfo) -> str:
    if one.cron:
        return one.cron
    return f"every {spelled(one.interval)}" if one.interval else "by hand"


def _next(one: api.ProfileInfo) -> str:
    if one.paused:
        return "paused"
    if one.next_at is not None:
        return moment(one.next_at)
    return "shortly" if one.interval or one.cron else "by hand"
