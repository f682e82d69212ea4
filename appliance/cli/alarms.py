"""``mailkeep alarms`` and ``mailkeep health``: what needs attention, that somebody has seen it, whether all works."""

from __future__ import annotations

import re
import sys

import click

from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.errors import MailkeepError, UsageError
from appliance.services import api
from appliance.services.box import running_box
from appliance.services.health import ARCHIVER, told

EXIT_NOT_READY, EXIT_NOT_RUNNING = 1, 3
"""What ``mailkeep health`` ends with; 2 is click's own for a command that makes no sense."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"(?:[01]?\d|2[0-3]):[0-5]\d|24:00")


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@with_json
@click.pass_context
@errors_in_words
def alarms(context: click.Context, everything: bool, as_json: bool) -> None:
    """Show what needs attention. Exit code 1 where something does that nobody has acknowledged."""
    if context.invoked_subcommand is not None:
        return
    with context.obj.box() as box:
        found = box.call("alarms", api.AlarmPage)
    if as_json:
        say(found)
    else:
        for one in found.standing:
            seen = f", seen by {one.acknowledged_by}" if one.acknowledged_by else ""
            click.echo(f"{one.level.upper()} {one.id} since {moment(one.since)}{seen}\n  {one.text}")
        if not found.standing:
            click.echo("Nothing is wrong that this box knows of.")
        if everything and found.over:
            click.echo()
            table(
                ("BEGAN", "OVER", "", "ALARM"),
                ((moment(one.since), moment(one.until), one.level, f"{one.title} {one.about}") for one in found.over),
            )
    sys.exit(1 if any(not one.acknowledged_by for one in found.standing) else 0)


@alarms.command()
@click.argument("id")
@with_json
@click.pass_obj
@errors_in_words
def acknowledge(state: State, id: str, as_json: bool) -> None:
    """Say that you have seen an alarm and deal with it. It stays until it is over."""
    with state.box() as box:
        done = box.call("alarm_acknowledge", api.Alarm, id=id)
    say(done) if as_json else click.echo(f"Noted: {done.title}.")


@alarms.command()
@click.option(
    "--mailbox", default="", metavar="ADDRESS", help="Of this mailbox; else of all without a rule of their own."
)
@click.option("--hours", type=int, help="Hours of working time without mail; 0: never an alarm.")
@click.option("--days", metavar="DAYS", help="Such as mon,tue,wed,thu,fri.")
@click.option("--from", "begins", metavar="HH:MM", help="When working time begins.")
@click.option("--to", "ends", metavar="HH:MM", help="When it ends.")
@click.option("--zone", help="Time zone, such as Europe/Berlin; empty for the box's own.")
@click.option("--as-all", is_flag=True, help="Take the mailbox's own rule away.")
@with_json
@click.pass_obj
@errors_in_words
def silence(
    state: State, mailbox: str, hours: int | None, days: str | None, begins: str | None, ends: str | None,
    zone: str | None, as_all: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show or set when a mailbox that gets no mail is an alarm."""
    with state.box() as box:
        rules = box.call("watch_rules", tuple[api.WatchRule, ...])
        rule = next((one for one in rules if one.address == mailbox), None)
        if rule is None:
            raise UsageError(f"There is no mailbox {mailbox}.")
        if as_all:
            box.call("watch_set", type(None), mailbox=rule.mailbox, own=False)
        elif any(one is not None for one in (hours, days, begins, ends, zone)):
            box.call(
                "watch_set", type(None), mailbox=rule.mailbox, hours=rule.hours if hours is None else hours,
                days=rule.days if days is None else _days(days),
                begins=rule.begins if begins is None else _minutes(begins),
                ends=rule.ends if ends is None else _minutes(ends), zone=rule.zone if zone is None else zone,
            )  # fmt: skip
        rules = box.call("watch_rules", tuple[api.WatchRule, ...])
    if as_json:
        return say(rules)
    table(
        ("MAILBOX", "HOURS", "DAYS", "FROM", "TO", "ZONE"),
        (
            (
                one.address or "all", one.hours or "never", ",".join(DAYS[number] for number in one.days),
                _clock(one.begins), _clock(one.ends), one.zone or "local",
            )
            for one in rules
            if one.own or not one.mailbox
        ),
    )  # fmt: skip
    return None


@click.command()
@with_json
@click.pass_obj
def health(state: State, as_json: bool) -> None:
    """Say whether mail is taken in and can be read. Exit code 0: ready; 1: running, not ready; 3: not running."""
    found = told(ARCHIVER)
    code = EXIT_NOT_RUNNING
    try:
        box = running_box(state.paths)
        if box is not None:
            try:
                found = box.call("health", api.Health)
                code = 0 if found.ready else EXIT_NOT_READY
            finally:
                box.close()
    except MailkeepError as error:
        found = api.Health(False, (ARCHIVER,), (error.message,))
    if as_json:
        say(found)
    else:
        click.echo("ready" if found.ready else "\n".join(found.words))
    sys.exit(code)


def _days(text: str) -> tuple[int, ...]:
    try:
        return tuple(DAYS.index(one.strip().lower()[:3]) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise UsageError(f"Write the days as {','.join(DAYS)}.") from error


def _minutes(text: str) -> int:
    if not _CLOCK.fullmatch(text):
        raise UsageError("Write times as 08:00 and 18:00.")
    hours, minutes = map(int, text.split(":"))
    return hours * 60 + minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
