"""``mailkeep imports watch``: a folder of the box whose files are imported by themselves."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.output import errors_in_words, say, table, with_json
from appliance.cli.state import State
from appliance.services import api


@click.command("watch")
@click.argument("folder", required=False, metavar="[FOLDER|off]")
@with_json
@click.pass_obj
@errors_in_words
def imports_watch(state: State, folder: str | None, as_json: bool) -> None:
    """Import by itself what is put into FOLDER; show what lies there, or with “off” watch none.

    Put files and folders into FOLDER/ADDRESS, which is named by a user's address. What has not changed for a minute is
    imported into that user's archive, and then moved to FOLDER/done with its report, or to FOLDER/failed. Nothing is
    deleted.
    """
    with state.box() as box:
        if folder is None:
            watch = box.call("import_watch", api.ImportWatch)
        else:
            wanted = "" if folder == "off" else str(Path(folder).absolute())
            watch = box.call("import_watch_set", api.ImportWatch, folder=wanted)
    if as_json:
        return say(watch)
    if not watch.folder:
        return click.echo("No folder is watched.")
    click.echo(f"{watch.folder} is watched. {watch.trouble}".rstrip())
    if watch.entries:
        table(
            ("WHAT", "STATE", "IMPORT", ""),
            ((one.name, one.state, "" if one.run is None else one.run, one.words) for one in watch.entries),
        )
    return None
