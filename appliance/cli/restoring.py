"""``mailkeep restore``: the archive back from a replica, on a machine that has nothing but the recovery key."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import click

from appliance.cli.following import show
from appliance.cli.options import read_options
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.restore_output import rate, shown, tell_end, tell_generations, tell_prepared, tell_status
from appliance.cli.state import State
from appliance.cloud.backends import check_config
from appliance.cloud.rclone import Rclone
from appliance.cloud.recovering import find_keys, survey
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.cloud.restore import Prepared, fill, prepare
from appliance.cloud.restore_state import RestoreFolder, RestoreStatus
from appliance.cloud.sorting import Span
from appliance.errors import ConflictError, KeyringError, UsageError
from appliance.services.archive import Archive
from appliance.services.restored import note_restore
from appliance.services.sizes import size
from appliance.services.unlock import Secret, unlock

NAME = "replica"
"""What the remote is called while there are no settings that name it."""
PAUSE = 1.0
STATUS = "status"

_DAY = click.DateTime(["%Y-%m-%d"])


class RestoreGroup(click.Group):
    """A group whose own arguments are ``KEY=VALUE``: click would take the first of them for a subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the ``KEY=VALUE`` aside."""
        flags = {
            name: isinstance(param, click.Option) and param.is_flag
            for param in self.get_params(ctx)
            for name in param.opts
        }
        values: list[str] = []
        rest: list[str] = []
        words = iter(args)
        for word in words:
            if flags.get(word) is False:
                rest += [word, *([value] if (value := next(words, None)) is not None else [])]
            elif word.startswith("-") or "=" not in word:
                rest.append(word)
            else:
                values.append(word)
        ctx.meta[NAME] = values
        return super().parse_args(ctx, rest)


@click.group(cls=RestoreGroup, invoke_without_command=True, subcommand_metavar="[KEY=VALUE]... | status")
@click.option("--type", "kind", default="", metavar="RCLONE_TYPE", help="s3, sftp, webdav, local, drive …")
@click.option("--recovery-key-stdin", is_flag=True, help="Read the recovery key from standard input, else ask for it.")
@click.option("--list", "lists", is_flag=True, help="Show the generations there are, and change nothing.")
@click.option("--generation", type=click.IntRange(min=1), help="Another one than the newest.")
@click.option("--mailbox", default="", metavar="ADDRESS", help="Bring this mailbox's volumes only.")
@click.option("--since", type=_DAY, metavar="YYYY-MM-DD", help="Bring mail only that came in from that day on.")
@click.option("--until", type=_DAY, metavar="YYYY-MM-DD", help="… and until that day.")
@click.option("--no-keyfile", is_flag=True, help="Write no keyfile: the box then does not unlock itself.")
@click.option("--no-wait", is_flag=True, help="End when mail can be received; the rest comes down while it is served.")
@with_json
@click.pass_context
@errors_in_words
def restore(
    context: click.Context, kind: str, recovery_key_stdin: bool, lists: bool, generation: int | None, mailbox: str,
    since: datetime | None, until: datetime | None, no_keyfile: bool, no_wait: bool, as_json: bool,
) -> None:  # fmt: skip
    """Restore an archive from a replica into an empty --data folder, with its recovery key.

    KEY=VALUE are the remote's options as rclone names them, and path=… the place inside it, as they were given to
    `mailkeep remote add`. A secret may be KEY=@FILE, or KEY=- for a line of standard input after the recovery key.

    First comes what is needed to receive mail: start `mailkeep serve` as soon as it says so. The rest follows, the
    newest mail first. What --mailbox, --since and --until leave out comes when a message is opened. Ctrl-C
    interrupts it; the same command goes on. Exit code 0 only if everything is there and whole.
    """
    if context.invoked_subcommand is not None:
        return None
    if not kind:
        raise UsageError("Give the kind of the remote with --type, and its options as KEY=VALUE.")
    if since is not None and until is not None and since > until:
        raise UsageError("--since is after --until.")
    key = _recovery_key(from_stdin=recovery_key_stdin)
    with _remote(kind, context.meta[NAME]) as remote:
        if lists:
            found = survey(remote, find_keys(remote, key))
            return tell_generations(found, as_json=as_json)
        state: State = context.obj
        with shown() as progress:
            prepared = prepare(
                state.paths.data, remote, key, generation=generation, mailbox=mailbox, span=_span(since, until),
                keyfile=None if no_keyfile else state.paths.keyfile, progress=progress,
            )  # fmt: skip
        _note(state, key)
        tell_prepared(prepared, state.paths.data, as_json=as_json)
        if no_wait:
            return say(prepared.status) if as_json else None
        status = _fill(state.paths.data, remote, prepared)
    say(status) if as_json else tell_end(status)
    sys.exit(0 if status.state == "complete" else 1)


@restore.command(STATUS)
@with_json
@click.pass_obj
@errors_in_words
def status(state: State, as_json: bool) -> None:
    """Show how far a restore is. Needs no key."""
    now = RestoreFolder(state.paths.data).status()
    if as_json:
        return say(now)
    return tell_status(now)


@contextmanager
def _remote(kind: str, values: list[str]) -> Iterator[Remote]:
    options = read_options(values)
    config = RemoteConfig(name=NAME, type=kind, path=options.pop("path", ""), options=options)
    check_config(config)
    # rclone's socket lies in a folder of its own: there may be no data folder yet, and there is none with --list.
    with tempfile.TemporaryDirectory(prefix="mailkeep-restore-") as folder:
        rclone = Rclone(Path(folder) / "rclone")
        try:
            remote = rclone.remote(config)
            try:
                yield remote
            finally:
                remote.close()
        finally:
            rclone.close()


def _recovery_key(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().strip()
    if not sys.stdin.isatty():
        raise UsageError("Give the recovery key with --recovery-key-stdin.")
    return str(click.prompt("Recovery key", hide_input=True, err=True))


def _span(since: datetime | None, until: datetime | None) -> Span:
    """Days of the box's time zone, both included."""
    return Span(
        int(since.timestamp() * 1e6) if since is not None else 0,
        int((until + timedelta(days=1)).timestamp() * 1e6) if until is not None else 0,
    )


def _note(state: State, key: str) -> None:
    """The first line of the restored archive's audit trail says where it comes from."""
    try:
        archive = Archive(state.paths, unlock(state.paths, Secret(recovery_key=key)))
    except (ConflictError, KeyringError):
        return  # it is in use, or was and has another recovery key since: its archiver has written the line
    try:
        note_restore(archive)
    finally:
        archive.close()


def _fill(data: Path, remote: Remote, prepared: Prepared) -> RestoreStatus:
    """Bring the rest, or watch ``serve`` bring it."""
    folder = RestoreFolder(data)
    while True:
        try:
            with shown() as progress:
                return fill(data, remote, prepared.keys, progress).status
        except ConflictError:
            status = folder.status()
            if status.state != "filling":
                return status
            show(f"mail: {size(status.bytes_left)} to come{rate(status)}")
            time.sleep(PAUSE)
