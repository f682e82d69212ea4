"""``mailkeep remote``, ``replicate`` and ``replica``: where the archive is copied to, and copying it there."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from appliance.cli.following import Box, show
from appliance.cli.options import given, read_options
from appliance.cli.output import describe, errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.cloud.backends import BACKENDS
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.sizes import size

PAUSE = 0.2

_SETTINGS = (
    click.option("--interval", type=int, metavar="SECONDS", help="Between two runs: what can be lost at most."),
    click.option("--snapshot-interval", type=int, metavar="SECONDS", help="Between copies of catalogue and index."),
    click.option("--bandwidth", metavar="LIMIT", help="2M, or a timetable: “08:00,512k 19:00,off”."),
    click.option("--transfers", type=int, metavar="N", help="Files at a time."),
    click.option("--lock-days", type=int, metavar="DAYS", help="S3 object lock: nobody can delete for so long."),
    click.option("--lock-mode", type=click.Choice(["GOVERNANCE", "COMPLIANCE"]), help="Of the object lock."),
    click.option("--keep-daily", type=int, metavar="N", help="Days of which a generation is kept."),
    click.option("--keep-weekly", type=int, metavar="N", help="Weeks of which a generation is kept."),
)


def _with_settings(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group()
def remote() -> None:
    """Where the archive is replicated to: S3, SFTP, WebDAV, a folder, and whatever else rclone knows."""


@remote.command("add")
@click.argument("name")
@click.option("--type", "type_", required=True, metavar="TYPE", help="rclone's name: s3, sftp, webdav, local, …")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@_with_settings
@with_json
@click.pass_obj
@errors_in_words
def remote_add(
    state: State, /, name: str, type_: str, options: tuple[str, ...], as_json: bool, **settings: object
) -> None:
    """Add a remote; what is in the archive goes there from now on.

    KEY=VALUE are rclone's options for the type, and path=… the bucket or folder there. A value that nobody is to see in
    the list of processes comes as KEY=@FILE, or as KEY=- from a line of standard input. `mailkeep remote types` shows
    what the usual types need.
    """
    values = read_options(options)
    path = values.pop("path", "")
    with state.box() as box:
        made = box.call(
            "remote_add", api.RemoteInfo, name=name, type=type_, options=values, path=path, **given(settings)
        )
    if as_json:
        return say(made)
    click.echo(
        f"The archive is replicated to “{name}” from now on, every {made.interval} seconds. "
        f"`mailkeep remote test {name}` tries it."
    )
    return None


@remote.command("change")
@click.argument("name")
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]…")
@click.option("--pause/--resume", "paused", default=None, help="Whether to replicate there for now.")
@_with_settings
@with_json
@click.pass_obj
@errors_in_words
def remote_change(
    state: State, /, name: str, options: tuple[str, ...], paused: bool | None, as_json: bool, **settings: object
) -> None:
    """Change what is given; KEY= takes an option away."""
    values = read_options(options)
    path = values.pop("path", None)
    with state.box() as box:
        made = box.call(
            "remote_change", api.RemoteInfo, name=name, options=values, path=path, paused=paused, **given(settings)
        )
    say(made) if as_json else click.echo(f"“{name}” is changed.")


@remote.command("remove")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def remote_remove(state: State, name: str, as_json: bool) -> None:
    """Replicate there no more. What lies there stays until you delete it there."""
    with state.box() as box:
        box.call("remote_remove", type(None), name=name)
    say({"removed": name}) if as_json else click.echo(
        f"“{name}” is removed. What lies there stays; delete it there if nobody needs it."
    )


@remote.command("test")
@click.argument("name")
@with_json
@click.pass_obj
@errors_in_words
def remote_test(state: State, name: str, as_json: bool) -> None:
    """Write, read back and delete a probe. Exit code 0 only if all of it works."""
    with state.box() as box:
        tested = box.call("remote_test", api.RemoteTested, name=name)
    if as_json:
        say(tested)
    else:
        click.echo(tested.words)
        for done, what, speed in (
            (tested.written, "write", tested.up), (tested.read, "read", tested.down), (tested.deleted, "delete", 0.0),
        ):  # fmt: skip
            click.echo(f"{what:<8}{'yes' if done else 'NO'}{f', {size(speed)}/s' if speed else ''}")
    sys.exit(0 if tested.passed else 1)


@remote.command("list")
@with_json
@click.pass_obj
@errors_in_words
def remote_list(state: State, as_json: bool) -> None:
    """List the remotes and how far each is; also while the archive is locked."""
    with state.box() as box:
        if _is_locked(box):
            states = box.call("status", api.Status).replicas
            return say(states) if as_json else _list(states)
        found = box.call("remotes", tuple[api.RemoteInfo, ...])
    if as_json:
        return say(found)
    return _list([one.replica for one in found])


@remote.command("files")
@click.argument("name")
@click.argument("folder", default="")
@with_json
@click.pass_obj
@errors_in_words
def remote_files(state: State, name: str, folder: str, as_json: bool) -> None:
    """List what lies beside the replica in a FOLDER of a remote, such as old mail to import."""
    with state.box() as box:
        found = box.call("remote_files", api.RemoteListing, name=name, folder=folder)
    if as_json:
        return say(found)
    table(
        ("SIZE", "CHANGED", "PATH"),
        (
            ("folder" if one.folder else size(one.size) if one.size >= 0 else "", moment(one.modified),
             f"{one.path}/" if one.folder else one.path)
            for one in found.entries
        ),
    )  # fmt: skip
    if found.unlisted:
        click.echo(f"{found.unlisted} more are not listed. A file among them can be named all the same.", err=True)
    return None


@remote.command("types")
def remote_types() -> None:
    """Show the usual types of remotes and what each needs."""
    for one in BACKENDS:
        describe(one.type, one.title, one.help, one.fields)


@click.command()
@click.option("--now", is_flag=True, help="Return when everything accepted so far is on the remotes.")
@click.option("--remote", "name", default="", metavar="NAME", help="Only this remote.")
@click.option("--history", "wants_history", is_flag=True, help="Show the runs there were.")
@with_json
@click.pass_obj
@errors_in_words
def replicate(state: State, now: bool, name: str, wants_history: bool, as_json: bool) -> None:
    """Copy to the remotes what is not there yet; the running archive does that by itself.

    With --now, exit code 0 says that everything accepted before is there.
    """
    if now == wants_history:
        raise UsageError("Give either --now or --history.")
    with state.box() as box:
        if wants_history:
            runs = box.call("replica_history", tuple[api.RunInfo, ...], remote=name or None)
            return say(runs) if as_json else _history(runs)
        runs = _follow(box, box.call("replicate_begin", tuple[api.RunInfo, ...], remote=name))
    return _tell(runs, as_json)


@click.group()
def replica() -> None:
    """What lies on the remotes."""


@replica.command("verify")
@click.option("--remote", "name", default="", metavar="NAME", help="Only this remote.")
@click.option("--full", is_flag=True, help="All of it, not a sample.")
@with_json
@click.pass_obj
@errors_in_words
def replica_verify(state: State, name: str, full: bool, as_json: bool) -> None:
    """Read some of a replica back and compare, or with --full check all of it. Exit code 0 only if it is whole."""
    with state.box() as box:
        runs = _follow(box, box.call("replica_verify_begin", tuple[api.RunInfo, ...], remote=name, full=full))
    _tell(runs, as_json)


def _is_locked(box: Box) -> bool:
    return not box.call("lock_state", api.LockState).unlocked


def _follow(box: Box, runs: Sequence[api.RunInfo]) -> tuple[api.RunInfo, ...]:
    """The runs when they are over, with a line of progress meanwhile; Ctrl-C stops them."""
    ids = [one.id for one in runs]
    try:
        while True:
            found = box.call("replica_runs", tuple[api.RunInfo, ...], ids=ids)
            if all(one.ended_at is not None for one in found):
                return found
            show("   ".join(_progress(one) for one in found if one.ended_at is None))
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        for id in ids:
            box.call("replica_stop", type(None), id=id)
        raise
    finally:
        show("")


def _progress(run: api.RunInfo) -> str:
    """A bar with rate and the time that is left."""
    if run.state == "waiting" or not run.what:
        return f"{run.remote}: waits"
    filled = round(20 * run.done / run.total) if run.total else 0
    left = "" if run.eta is None else f", {run.eta:.0f} s left"
    return (
        f"{run.remote}: {run.what} [{'#' * filled:<20}] {size(run.done)} of {size(run.total)}, {size(run.rate)}/s{left}"
    )


def _tell(runs: Sequence[api.RunInfo], as_json: bool) -> None:
    """Say how the runs ended, and end with exit code 0 only if all went well."""
    if as_json:
        say(runs)
    for run in runs:
        if run.state == "done" and not as_json:
            click.echo(f"{run.remote}: {run.words}")
        elif run.state != "done":
            click.echo(f"{run.remote}: {run.words}", err=True)
    sys.exit(0 if all(run.state == "done" for run in runs) else 1)


def _list(states: Sequence[api.ReplicaState]) -> None:
    table(
        ("NAME", "STATE", "UP TO", "NOT THERE YET", "LAST RUN", "NEXT RUN", "GENERATION"),
        (
            (
                one.name, one.state, moment(one.reached_at), f"{one.waiting} ({size(one.waiting_bytes)})",
                moment(one.last_at), "paused" if one.next_at is None else moment(one.next_at),
                f"{one.generation} ({one.records} records)" if one.generation else "none",
            )
            for one in states
        ),
    )  # fmt: skip
    for one in states:
        if one.trouble:
            click.echo(f"{one.name}: {one.trouble}", err=True)


def _history(runs: Sequence[api.RunInfo]) -> None:
    for run in runs:
        times = f" ({run.times} times)" if run.times > 1 else ""
        rate = f", {size(run.bytes)} at {size(run.rate)}/s" if run.rate else ""
        click.echo(f"{moment(run.begun_at)}  {run.remote or 'all'}  {run.kind}  {run.state}{times}{rate}  {run.words}")
        for line in run.lines:
            click.echo(f"    {line}")
