"""``mailkeep directory``: where users come from, and taking them from there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from appliance.checks import Check
from appliance.cli.following import follow
from appliance.cli.options import given, read_options
from appliance.cli.output import describe, errors_in_words, moment, say, table, tested, with_json
from appliance.cli.state import State
from appliance.directory.kinds import KINDS
from appliance.services import api

_WORDS = {
    "created": "new",
    "changed": "changed",
    "unchanged": "as it was",
    "refused": "REFUSED",
    "disabled": "disabled",
    "left-out": "LEFT OUT",
}


@click.group()
def directory() -> None:
    """Where users come from: Entra ID, LDAP and Active Directory, Google, a CSV list."""


@directory.command("add")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice([one.kind for one in KINDS]), help="What it is.")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--interval", type=int, metavar="SECONDS", help="Between two synchronisations; 0 for by hand only.")
@click.option("--sign-in/--no-sign-in", "signs_in", default=None, help="People sign in with their password there.")
@with_json
@click.pass_obj
@errors_in_words
def directory_add(
    state: State, /, name: str, kind: str, options: tuple[str, ...], as_json: bool, **settings: object
) -> None:
    """Add a directory. Nothing is taken from it before it is synchronised.

    A value that nobody is to see in the list of processes comes as KEY=@FILE, or as KEY=- from a line of standard
    input. `mailkeep directory kinds` shows what each kind needs.
    """
    with state.box() as box:
        made = box.call(
            "directory_add", api.DirectoryInfo, name=name, kind=kind, options=read_options(options), **given(settings)
        )
    if as_json:
        return say(made)
    click.echo(
        f"“{name}” is added. `mailkeep directory test {name}` tries it, "
        f"`mailkeep directory sync {name} --dry-run` says what would change."
    )
    return None


@directory.command("change")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--interval", type=int, metavar="SECONDS", help="Between two synchronisations; 0 for by hand only.")
@click.option("--sign-in/--no-sign-in", "signs_in", default=None, help="People sign in with their password there.")
@with_json
@click.pass_obj
@errors_in_words
def directory_change(state: State, /, name: str, options: tuple[str, ...], as_json: bool, **settings: object) -> None:
    """Change what is given; KEY= takes an option away."""
    with state.box() as box:
        made = box.call(
            "directory_change", api.DirectoryInfo, name=name, options=read_options(options), **given(settings)
        )
    say(made) if as_json else click.echo(f"“{name}” is changed.")


@directory.command("remove")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def directory_remove(state: State, name: str, as_json: bool) -> None:
    """Take nothing from there any more. The users that came from it, and their archives, stay."""
    with state.box() as box:
        box.call("directory_remove", type(None), name=name)
    say({"removed": name}) if as_json else click.echo(f"“{name}” is removed. Its users stay as they are.")


@directory.command("list")
@with_json
@click.pass_obj
@errors_in_words
def directory_list(state: State, as_json: bool) -> None:
    """List the directories and how the last synchronisation of each went."""
    with state.box() as box:
        found = box.call("directories", tuple[api.DirectoryInfo, ...])
    if as_json:
        return say(found)
    table(
        ("NAME", "KIND", "USERS", "SYNCHRONISED", "NEXT", "SIGN-IN"),
        (
            (
                one.name, one.kind, str(one.users), moment(one.synchronised_at),
                _next(one), "yes" if one.signs_in else "no",
            )
            for one in found
        ),
    )  # fmt: skip
    for one in found:
        if one.trouble:
            click.echo(f"{one.name}: {one.trouble}", err=True)
    return None


@directory.command("kinds")
def directory_kinds() -> None:
    """Show the kinds of directories and what each needs."""
    for one in KINDS:
        describe(one.kind, one.title, one.help, one.fields)


@directory.command("test")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def directory_test(state: State, name: str, as_json: bool) -> None:
    """Try everything that a synchronisation needs, and change nothing. Exit code 0 only if all is well."""
    with state.box() as box:
        found = box.call("directory_test", tuple[Check, ...], name=name)
    tested(found, as_json)


@directory.command("sync")
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--confirm", "confirmed", is_flag=True, help="Also where unusually many could no longer sign in.")
@with_json
@click.pass_obj
@errors_in_words
def directory_sync(state: State, name: str, dry_run: bool, confirmed: bool, as_json: bool) -> None:
    """Read a directory and change the users here accordingly. Exit code 1 where that waits for --confirm."""
    with state.box() as box:
        job = box.call("directory_sync_begin", api.JobInfo, name=name, dry_run=dry_run, confirmed=confirmed)
        job = follow(box, job, unit="entries")
        done = box.call("directory_synchronised", api.DirectorySynchronised, id=job.id)
    if as_json:
        say(done)
    else:
        _tell(done.steps)
        click.echo(done.words, err=bool(done.waits))
    sys.exit(1 if done.waits else 0)


def _next(one: api.DirectoryInfo) -> str:
    if one.next_at is not None:
        return moment(one.next_at)
    return "after the first time" if one.interval else "by hand"


def _tell(steps: Sequence[api.DirectoryStep]) -> None:
    for step in steps:
        click.echo(f"{_WORDS[step.what]:<10}{step.name}  {step.text}")
