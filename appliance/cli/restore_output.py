"""What ``mailkeep restore`` says on a terminal: generations, how far it is, what is wrong."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from appliance.cli.following import show
from appliance.cli.output import moment, say, table
from appliance.cloud.filling import CHECKING
from appliance.cloud.recovering import Surveyed
from appliance.cloud.restore import Prepared
from appliance.cloud.restore_state import RestoreStatus
from appliance.services.sizes import size

_STATES = {
    "preparing": "not ready to receive mail; the same `mailkeep restore` goes on with it",
    "filling": "working, and volumes come down",
    "complete": "complete, and everything is whole",
    "incomplete": "INCOMPLETE: see below",
}


class Shown:
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
        speed = (done - self._first) / (now - self._begun) if now > self._begun else 0.0
        left = f", {_clock((total - done) / speed)} left" if speed else ""
        return show(f"{what}: {size(done)} of {size(total)}, {size(speed)}/s{left}")

    def stopped(self) -> bool:
        """As ``Progress``."""
        return self._stopped

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """For Ctrl-C; a second one ends it at once."""
        if self._stopped:
            raise KeyboardInterrupt
        self._stopped = True


@contextmanager
def shown() -> Iterator[Shown]:
    """Its progress on a terminal, until the end of the block."""
    told = Shown()
    before = signal.signal(signal.SIGINT, told.stop)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
        show("")


def tell_status(now: RestoreStatus) -> None:
    """How far a restore is."""
    for name, value in (
        ("State", _STATES[now.state]),
        ("Generation", f"{now.generation} of {moment(int(now.at))}, {now.records} records"),
        ("Chain head", f"{now.chain_number} {now.chain_head}"),
        ("Receiving", f"since {moment(int(now.ready_at))}" if now.ready_at else "not yet"),
        ("Still to come", f"{now.files_left} of {now.files} volumes, {size(now.bytes_left)}{rate(now)}"),
        ("On replica", f"{now.on_replica_only} volumes, which come when a message of theirs is opened"),
        ("Ended", moment(int(now.ended_at)) if now.ended_at else "not yet"),
    ):
        click.echo(f"{name + ':':<15}{value}")
    _tell_trouble(now)


def tell_generations(found: Surveyed, *, as_json: bool) -> None:
    """The generations there are, as a table or for scripts."""
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


def tell_prepared(prepared: Prepared, data: Path, *, as_json: bool) -> None:
    """That mail can be received, and what it is the archive of."""
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


def tell_end(now: RestoreStatus) -> None:
    """How it ended."""
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


def rate(now: RestoreStatus) -> str:
    """How fast volumes come down; nothing where that is not known."""
    if now.seconds_left is None:
        return ""
    return f", {size(now.bytes_per_second)}/s, {_clock(now.seconds_left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
