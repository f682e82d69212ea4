"""``mailkeep verify``, ``proof`` and ``timestamp``: what shows that nothing was changed, to oneself and to others."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from appliance.cli.exporting import write_out
from appliance.cli.following import follow, show
from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.state import State
from appliance.errors import LockedError, UnavailableError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox
from appliance.services.jobs import Progress
from appliance.services.verifying import Checked, verify_locked

WAIT_PAUSE = 2.0
NOWHERE = "none"


@click.command()
@click.option("--deep", is_flag=True, help="Open every record, and compare it with what was committed to.")
@with_json
@click.pass_obj
@errors_in_words
def verify(state: State, deep: bool, as_json: bool) -> None:
    """Check volumes, seals, timestamps and the audit trail. Exit code 0 only if all is whole.

    Without --deep this needs no key: while the archive is locked, everything but the audit trail is checked. Ctrl-C
    stops it.
    """
    try:
        with state.box() as box:
            job = follow(box, box.call("verify_begin", api.JobInfo, deep=deep), unit="volumes")
            checked = box.call("verify_result", Checked, id=job.id)
    except LockedError:
        if deep:
            raise
        checked = _verify_locked(state)
    if as_json:
        say(checked)
    else:
        _tell(checked)
    sys.exit(1 if checked.errors else 0)


def _verify_locked(state: State) -> Checked:
    checked = verify_locked(state.paths, _Shown())
    show("")
    if checked is None:
        raise UnavailableError("The check was stopped.")
    return checked


class _Shown(Progress):
    """The progress of a check in this process."""

    def report(self, done: int, total: int) -> None:
        """Show how far it is."""
        super().report(done, total)
        show(f"{done} of {total} volumes")


def _tell(checked: Checked) -> None:
    for note in checked.notes:
        click.echo(f"note: {note.file} at {note.offset}: {note.what}", err=True)
    for one in checked.errors:
        click.echo(f"{one.file} at {one.offset}: {one.what}", err=True)
    depth = "opened and checked" if checked.deep else "checked by checksums, chains and seals"
    click.echo(f"{checked.records} records in {checked.volumes} volumes {depth}.")
    if checked.unopened:
        click.echo(f"{checked.unopened} of them are in sealed mailboxes, which only their passwords open.")
    if checked.absent:
        click.echo(
            f"{checked.absent} of the volumes are on replicas only: their seals were checked, their records were not. "
            "`mailkeep replica verify` looks into those."
        )
    if not checked.audit_trail:
        click.echo("The archive is locked: the audit trail was not checked.")
    click.echo(f"{len(checked.errors)} errors" if checked.errors else "Everything is whole.")


@click.command()
@click.argument("id", required=False)
@click.option("--report", is_flag=True, help="Prove the journal report as it was received (export it with --report).")
@click.option("--wait", is_flag=True, help="Wait until the message's volume is sealed.")
@click.option("--public-key", is_flag=True, help="Print the key that proofs are checked with, to be kept elsewhere.")
@with_json
@click.pass_obj
@errors_in_words
def proof(state: State, id: str | None, report: bool, wait: bool, public_key: bool, as_json: bool) -> None:
    """Write a proof of a message to standard output: with it, the exported message and the archive's public key
    anybody can check that the message was archived, when, and that it is unaltered (docs/proofs.md). Audited."""
    if (id is None) != public_key:
        raise UsageError("Give the id of a message, or --public-key.")
    with state.box() as box:
        if public_key:
            key = box.call("proof_key", api.PublicKey)
            return say(key) if as_json else click.echo(key.key)
        if wait:
            _await_seal(box, str(id))
        _, chunks = box.stream("proof", id=id, report=report)
        write_out(chunks)
    return None


def _await_seal(box: Any, id: str) -> None:
    while not box.call("proof_state", api.ProofState, id=id).sealed:
        if not isinstance(box, RunningBox):
            raise UnavailableError(
                "Nothing seals volumes while the archive is stopped. Start it with `mailkeep serve`."
            )
        time.sleep(WAIT_PAUSE)


@click.group()
def timestamp() -> None:
    """Have an authority outside attest, once a day, what was sealed until then (RFC 3161)."""


@timestamp.command("set")
@click.argument("url")
@with_json
@click.pass_obj
@errors_in_words
def set_(state: State, url: str, as_json: bool) -> None:
    """Ask the authority at URL from now on; "none" for no timestamps. It learns a hash a day, nothing else."""
    with state.box() as box:
        box.call("timestamping_set", type(None), url="" if url == NOWHERE else url)
    if as_json:
        say({"url": "" if url == NOWHERE else url})


@timestamp.command()
@with_json
@click.pass_obj
@errors_in_words
def now(state: State, as_json: bool) -> None:
    """Have the newest seal stamped now."""
    with state.box() as box:
        made = box.call("timestamp_now", api.TimestampInfo)
    say(made) if as_json else click.echo(f"Seal {made.seal} and all before it: {moment(made.at)} ({made.file})")


@timestamp.command("list")
@with_json
@click.pass_obj
@errors_in_words
def list_(state: State, as_json: bool) -> None:
    """List the timestamps, newest first."""
    with state.box() as box:
        found = box.call("timestamps", tuple[api.TimestampInfo, ...])
    if as_json:
        return say(found)
    table(("SEAL", "TIME", "FILE"), ((one.seal, moment(one.at), one.file) for one in found))
    return None
