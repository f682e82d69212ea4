"""``mailkeep unpack``: mail of somebody's archive as plain files in a folder of a remote."""

from __future__ import annotations

import click

from appliance.cli.folders import folder_id
from appliance.cli.following import follow
from appliance.cli.import_remote import ON_REMOTE
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.services import api
from appliance.services.unpacked_places import DEFAULT, PLACEHOLDERS

_NAMES = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)


@click.command("unpack")
@click.argument("target", metavar="REMOTE:FOLDER")
@click.option("--user", required=True, metavar="ADDR", help="Whose archive.")
@click.option("--folder", default="", help="Only what lay in this folder of theirs, and in those in it.")
@click.option("--query", default="*", show_default=True, help="Only what this search finds.")
@click.option(
    "--template",
    default=DEFAULT,
    show_default=True,
    help=f"The folder of each message, below FOLDER. It may name {_NAMES}.",
)
@click.option("--reason", default="", help="Why; it stays in the audit trail.")
@with_json
@click.pass_obj
@errors_in_words
def unpack(
    state: State, target: str, user: str, folder: str, query: str, template: str, reason: str, as_json: bool
) -> None:
    """Write mail as EML, with its attachments as files, to a FOLDER of a remote; beside the replica, not in it.

    What lies there is not encrypted by mailkeep, and mailkeep does not watch over it. Nothing there is overwritten:
    the same command goes on where it was, and writes what has come since.
    """
    found = ON_REMOTE.fullmatch(target)
    if found is None:
        raise click.UsageError("Say where to: the name of a remote, a colon, and a folder there.")
    with state.box() as box:
        kept = folder_id(box, user, folder) if folder else ""
        job = box.call(
            "unpack_begin", api.JobInfo, remote=found[1], path=found[2], user=user, folder=kept, query=query,
            template=template, reason=reason,
        )  # fmt: skip
        job = follow(box, job, unit="messages")
    say({"messages": job.done, "words": job.message}) if as_json else click.echo(job.message)
