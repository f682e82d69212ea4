"""``mailkeep compact``: the same mail in fewer bytes."""

from __future__ import annotations

import sys

import click

from appliance.cli.following import follow
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.services import api
from appliance.services.compacting import Compacted
from appliance.services.sizes import size

DAY = 24 * 3600.0


@click.command()
@click.option("--mailbox", default="", metavar="ADDRESS", help="Only this mailbox.")
@click.option("--older-than", type=click.FloatRange(min=0), default=0, metavar="DAYS", help="Only volumes that old.")
@with_json
@click.pass_obj
@errors_in_words
def compact(state: State, mailbox: str, older_than: float, as_json: bool) -> None:
    """Compress sealed volumes anew, and keep what was attached more than once only once.

    Every original stays what it was, bit for bit. The running archive does this by itself for volumes older than a
    day. Ctrl-C stops it; what is done stays done, and the next run goes on from there. Exit code 0 only if nothing went
    wrong.
    """
    with state.box() as box:
        job = box.call("compact_begin", api.JobInfo, mailbox=mailbox, older_than=older_than * DAY)
        job = follow(box, job, unit="kB")
        done = box.call("compact_result", Compacted, id=job.id)
    if as_json:
        say(done)
    elif done.volumes:
        click.echo(f"{done.volumes} volumes compacted: {size(done.before)} became {size(done.after)}.")
    elif not done.left:
        click.echo("There is nothing to gain: what is sealed was compacted already.")
    for one in done.left:
        click.echo(f"left as it was: {one}", err=True)
    sys.exit(1 if done.left else 0)
