"""``mailkeep restore``: the archive back from a replica, on a machine that has nothing but the recovery key."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

import click

from appliance.cli.following import show
from appliance.cli.output import errors_in_words, moment, say, size, table, with_json
from appliance.cli.remote_options import read_options
from appliance.cli.state import State
from appliance.cloud.backends import check_config
from appliance.cloud.filling import CHECKING
from appliance.cloud.rclone import Rclone
from appliance.cloud.recovering import Surveyed, find_keys, survey
from appliance.cloud.remote import Remote, RemoteConfig
from appliance.cloud.restore import Prepared, fill, prepare
from appliance.cloud.restore_state import RestoreFolder, RestoreStatus
from appliance.cloud.sorting import Span
from appliance.errors import ConflictError, UsageError
from appliance.services.archive import Archive
from appliance.services.principal import Principal
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
            return _tell_generations(found, as_json=as_json)
        state: State = context.obj
        with _shown() as progress:
            prepared = prepare(
                state.paths.data, remote, key, generation=generation, mailbox=mailbox, span=_span(since, until),
                keyfile=None if no_keyfile else state.paths.keyfile, progress=progress,
            )  # fmt: skip
        if prepared.is_new:
            _note(state, key, prepared.status)
        _tell_prepared(prepared, state.paths.data, as_json=as_json)
        if no_wait:
            return say(prepared.status) if as_json else None
        status = _fill(state.paths.data, remote, prepared)
    say(status) if as_json else _tell_end(status)
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
    for name, value in (
        ("State", _STATES[now.state]),
        ("Generation", f"{now.generation} of {moment(int(now.at))}, {now.records} records"),
        ("Chain head", f"{now.chain_number} {now.chain_head}"),
        ("Receiving", f"since {moment(int(now.ready_at))}" if now.ready_at else "not yet"),
        ("Still to come", f"{now.files_left} of {now.files} volumes, {size(now.bytes_left)}{_rate(now)}"),
        ("On replica", f"{now.on_replica_only} volumes, which come when a message of theirs is opened"),
        ("Ended", moment(int(now.ended_at)) if now.ended_at else "not yet"),
    ):
        click.echo(f"{name + ':':<15}{value}")
    _tell_trouble(now)
    return None


_STATES = {
    "preparing": "not ready to receive mail; the same `mailkeep restore` goes on with it",
    "filling": "working, and volumes come down",
    "complete": "complete, and everything is whole",
    "incomplete": "INCOMPLETE: see below",
}


class _Shown:
    """The progress of a restore on a terminal; Ctrl-C stops it."""

    def __init__(self) -> None:
        self._stopped = False
        self._what = ""
        self._first = 0
        self._begun = time.monotonic()

    def report(self, done: int, total: int, what: str) -> None:
        """As ``Progress``."""
        now = time.monotonic()
        if what != self._what or done < self._first:
            self._what, self._first, self._begun = what, done, now
        if what == CHECKING:
            return show(f"{done} of {total} {what}")
        rate = (done - self._first) / (now - self._begun) if now > self._begun else 0.0
        left = f", {_clock((total - done) / rate)} left" if rate else ""
        return show(f"{what}: {size(done)} of {size(total)}, {size(rate)}/s{left}")

    def stopped(self) -> bool:
        """As ``Progress``."""
        return self._stopped

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """For Ctrl-C; a second one ends it at once."""
        if self._stopped:
            raise KeyboardInterrupt
        self._stopped = True


@contextmanager
def _shown() -> Iterator[_Shown]:
    shown = _Shown()
    before = signal.signal(signal.SIGINT, shown.stop)
    try:
        yield shown
    finally:
        signal.signal(signal.SIGINT, before)
        show("")


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


def _note(state: State, key: str, restored: RestoreStatus) -> None:
    """The first line of the restored archive's audit trail says where it comes from."""
    archive = Archive(state.paths, unlock(state.paths, Secret(recovery_key=key)))
    try:
        what = (
            f"generation {restored.generation} of epoch {restored.epoch}, {restored.records} records, chain head "
            f"{restored.chain_number} {restored.chain_head}"
        )
        archive.note(Principal(id="system"), "archive.restore", what)
    finally:
        archive.close()


def _fill(data: Path, remote: Remote, prepared: Prepared) -> RestoreStatus:
    """Bring the rest, or watch ``serve`` bring it."""
    folder = RestoreFolder(data)
    while True:
        try:
            with _shown() as progress:
                return fill(data, remote, prepared.keys, progress).status
        except ConflictError:
            status = folder.status()
            if status.state != "filling":
                return status
            show(f"mail: {size(status.bytes_left)} to come{_rate(status)}")
            time.sleep(PAUSE)


def _tell_generations(found: Surveyed, *, as_json: bool) -> None:
    if as_json:
        return say(
            {
                "generations": [
                    {
                        "generation": one.number, "epoch": one.epoch, "at": one.at / 1e6, "records": one.records,
                        "chain_number": one.chain_number, "chain_head": one.chain_head.hex(),
                    }
                    for one in found.generations
                ],
                "warnings": list(found.warnings),
            }
        )  # fmt: skip
    table(
        ("GENERATION", "EPOCH", "UP TO", "RECORDS", "CHAIN HEAD"),
        (
            (
                one.number,
                one.epoch,
                moment(one.at // 1_000_000),
                one.records,
                f"{one.chain_number} {one.chain_head.hex()}",
            )
            for one in found.generations
        ),
    )
    for warning in found.warnings:
        click.echo(f"WARNING: {warning}", err=True)
    return None


def _tell_prepared(prepared: Prepared, data: Path, *, as_json: bool) -> None:
    if as_json:
        return
    now = prepared.status
    click.echo(f"Generation {now.generation}: everything that was acknowledged until {moment(int(now.at))}.")
    click.echo(f"{now.records} records. The chain of seals ends with number {now.chain_number}:")
    click.echo(f"  {now.chain_head}")
    click.echo("Compare that with what you noted last: an older state of the whole replica looks just like it.")
    _tell_trouble(now)
    click.echo(f"\nMail can be received now. Start:  mailkeep --data {data} serve")
    if prepared.keyfile is not None:
        click.echo(f"The box unlocks itself with {prepared.keyfile}. Leave that file out of backups.")
    else:
        click.echo("It starts locked: `mailkeep unlock` with the recovery key opens it. Add a passphrase then.")
    click.echo(f"\n{now.files} volumes ({size(now.bytes)}) are still to come, the newest first.")


def _tell_end(now: RestoreStatus) -> None:
    _tell_trouble(now)
    if now.state == "complete":
        click.echo("Everything is there and whole: all volumes are as they were signed.")
        if now.on_replica_only:
            click.echo(f"{now.on_replica_only} volumes stay on the replica until a message of theirs is opened.")
    else:
        click.echo("The restore is not complete; see above. The same command tries again.")


def _tell_trouble(now: RestoreStatus) -> None:
    for name, lines in (
        ("note", now.notes), ("not restored", now.quarantined), ("missing", now.missing), ("ERROR", now.errors)
    ):  # fmt: skip
        for line in lines:
            click.echo(f"{name}: {line}", err=True)


def _rate(now: RestoreStatus) -> str:
    if now.seconds_left is None:
        return ""
    return f", {size(now.bytes_per_second)}/s, {_clock(now.seconds_left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
