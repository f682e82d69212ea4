"""``mailkeep notify``, ``mailkeep metrics`` and ``mailkeep support-bundle``: telling those who are not at the box."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.following import follow
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.errors import LockedError, MailkeepError, UsageError
from appliance.files import FILES, replace_file
from appliance.language import LANGUAGES
from appliance.services import api
from appliance.services.sizes import size


@click.group()
def notify() -> None:
    """Who is told of alarms, and of how the archive is: by mail, by a webhook."""


@notify.command()
@with_json
@click.pass_obj
@errors_in_words
def show(state: State, as_json: bool) -> None:
    """Show how people are told."""
    with state.box() as box:
        _say(box.call("notifying", api.NotifyingSettings), as_json)


@notify.command()
@click.option("--host", help="The mail server; empty for no mails.")
@click.option("--port", type=int, help="Usual are 587 (STARTTLS), 465 (TLS) and 25.")
@click.option("--security", type=click.Choice(["starttls", "tls", "none"]))
@click.option("--user", help="Empty: without signing in.")
@click.option("--password-stdin", is_flag=True, help="Read the password from a line of standard input.")
@click.option("--from", "sender", metavar="ADDRESS", help="What the mails come from.")
@click.option("--to", "recipients", multiple=True, metavar="ADDRESS", help="Who gets them; may be given several times.")
@click.option("--language", type=click.Choice(sorted(LANGUAGES)))
@click.option("--level", type=click.Choice(["warning", "error"]), help="Told from this level on.")
@with_json
@click.pass_obj
@errors_in_words
def mail(state: State, /, password_stdin: bool, recipients: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Set how mails go out; what is not given stays."""
    changes = {name: value for name, value in given.items() if value is not None}
    if recipients:
        changes["recipients"] = recipients
    if password_stdin:
        changes["password"] = sys.stdin.readline().rstrip("\n")
    with state.box() as box:
        _say(box.call("notifying_set", api.NotifyingSettings, **changes), as_json)


@notify.command()
@click.argument("hour")
@with_json
@click.pass_obj
@errors_in_words
def daily(state: State, hour: str, as_json: bool) -> None:
    """Send a mail every day at HOUR (0 to 23) on how the archive is; `off` for none."""
    if hour != "off" and not (hour.isdigit() and len(hour) <= 2):
        raise UsageError("The hour is a number from 0 to 23, or off.")
    with state.box() as box:
        wanted = -1 if hour == "off" else int(hour)
        _say(box.call("notifying_set", api.NotifyingSettings, daily_hour=wanted), as_json)


@notify.command()
@click.argument("url")
@click.option("--secret-stdin", is_flag=True, help="Read the secret from a line of standard input; else one is made.")
@with_json
@click.pass_obj
@errors_in_words
def webhook(state: State, url: str, secret_stdin: bool, as_json: bool) -> None:
    """Call URL with JSON when an alarm begins, gets worse or is over; an empty URL ends that."""
    secret = sys.stdin.readline().strip() if secret_stdin else secrets.token_hex(32)
    with state.box() as box:
        changed = box.call("notifying_set", api.NotifyingSettings, url=url, secret=secret if url else "")
    if as_json:
        say({"url": changed.url, **({} if secret_stdin or not url else {"secret": secret})})
    elif not url:
        click.echo("No webhook is called any more.")
    else:
        click.echo(f"{changed.url} is called from now on.")
        if not secret_stdin:
            click.echo(f"Secret that the calls are signed with, shown once:\n{secret}")


@notify.command()
@with_json
@click.pass_obj
@errors_in_words
def test(state: State, as_json: bool) -> None:
    """Really tell everybody who is set. Exit code 0 only if all of it works."""
    with state.box() as box:
        tested = box.call("notify_test", tuple[api.NotifyTested, ...])
    if as_json:
        say(tested)
    else:
        for one in tested:
            click.echo(f"{one.way}: {one.words}")
    sys.exit(0 if all(one.passed for one in tested) else 1)


@click.group(invoke_without_command=True)
@click.pass_context
@errors_in_words
def metrics(context: click.Context) -> None:
    """Print the metrics as Prometheus reads them."""
    if context.invoked_subcommand is None:
        with context.obj.box() as box:
            click.echo(box.call("metrics_read", bytes), nl=False)


@metrics.command()
@click.option("--remove", is_flag=True, help="Take the token away: metrics are read on the box only.")
@with_json
@click.pass_obj
@errors_in_words
def token(state: State, remove: bool, as_json: bool) -> None:
    """Make the token with which metrics are read over HTTPS, and print it once. The one before reads nothing then."""
    with state.box() as box:
        if remove:
            box.call("metrics_token_remove", type(None))
            return say({"token": None}) if as_json else click.echo("The token reads nothing any more.")
        made = box.call("metrics_token_make", str)
    say({"token": made}) if as_json else click.echo(made)
    return None


@click.command("support-bundle")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Write the ZIP to this file."
)
@with_json
@click.pass_obj
@errors_in_words
def support_bundle(state: State, out: Path, as_json: bool) -> None:
    """Write one file for whoever is to help: versions, logs, numbers, settings without secrets. Never mail or names.

    Of a locked archive it holds what can be told without the key.
    """
    note = ""
    with state.box() as box:
        try:
            job = follow(box, box.call("support_begin", api.JobInfo), unit="parts")
            _head, chunks = box.stream("support_download", id=job.id)
            note = job.message
        except LockedError:
            _head, chunks = box.stream("support_write")
        content = b"".join(chunks)
    try:
        replace_file(FILES, out, content, 0o600)
    except OSError as error:
        raise MailkeepError(f"{out} cannot be written: {error.strerror}.") from error
    if as_json:
        return say({"file": str(out), "bytes": len(content), "note": note})
    click.echo(f"{out} ({size(len(content))}). Look through it before you hand it on. {note}".rstrip())
    return None


def _say(now: api.NotifyingSettings, as_json: bool) -> None:
    if as_json:
        return say(now)
    signed = f", signs in as {now.user}" if now.user else ""
    mail = f"{now.host}:{now.port} ({now.security}){signed}, to {', '.join(now.recipients)}" if now.host else "none"
    for name, value in (
        ("Mail", mail), ("Told from", now.level), ("Language", LANGUAGES.get(now.language, now.language)),
        ("Every day", "no" if now.daily_hour is None else f"at {now.daily_hour:02d}:00"),
        ("Webhook", now.url or "none"), ("While locked", "yes" if now.while_locked else "no, without a service key"),
    ):  # fmt: skip
        click.echo(f"{name + ':':<14}{value}")
    return None
