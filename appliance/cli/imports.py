"""``mailkeep imports``: the imports there were, what became of each, stopping one, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from appliance.cli.import_sending import MOST_PROBLEMS
from appliance.cli.import_telling import problem_lines, write_report
from appliance.cli.import_watch import imports_watch
from appliance.cli.importing import REPORTS
from appliance.cli.output import errors_in_words, moment, say, table, with_json
from appliance.cli.profile_runs import flat
from appliance.cli.state import State
from appliance.services import api
from appliance.services.sizes import number, size


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@with_json
@click.pass_context
@errors_in_words
def imports(context: click.Context, limit: int, as_json: bool) -> None:
    """List the imports there were, newest first: found = archived + already there + skipped + failed."""
    if context.invoked_subcommand is not None:
        return None
    with context.obj.box() as box:
        found = box.call("imports", tuple[api.ImportInfo, ...], limit=limit)
    if as_json:
        return say([flat(one) for one in found])
    table(
        ("ID", "BEGUN", "WHAT", "INTO", "STATE", "FILES", "FOUND", "ARCHIVED", "ALREADY", "SKIPPED", "FAILED"),
        (
            (
                one.id, moment(one.queued if one.begun is None else one.begun), one.title, _whose(one),
                f"{one.state}, dry run" if one.dry_run else one.state, one.files_all, *_figures(one.counts),
            )
            for one in found
        ),
    )  # fmt: skip
    return None


@imports.command("show")
@click.argument("id", type=int)
@with_json
@click.pass_obj
@errors_in_words
def imports_show(state: State, id: int, as_json: bool) -> None:
    """Show one import, with its files and what was not archived."""
    with state.box() as box:
        one = box.call("import_get", api.ImportInfo, id=id, problems=MOST_PROBLEMS)
    if as_json:
        return say(flat(one))
    words = f" {one.words}" if one.words else ""
    dry = ", a dry run" if one.dry_run else ""
    begun = moment(one.queued if one.begun is None else one.begun)
    click.echo(f"Import {one.id}, “{one.title}”, {begun}, by {one.by}{dry}: {one.state}.{words}")
    click.echo(f"Into: {_whose(one)}.\n")
    table(
        ("FILE", "SIZE", "FORMAT", "STATE", "FOUND", "ARCHIVED", "ALREADY", "SKIPPED", "FAILED", "SHA-256"),
        (
            (file.name, size(file.size), file.format, file.state, *_figures(file.counts), file.sha256)
            for file in one.files
        ),
    )
    names = {file.number: file.name for file in one.files}
    for file in one.files:
        if file.words:
            click.echo(f"{file.name}: {file.words}")
    for line in problem_lines(one.problems, names):
        click.echo(line)
    if one.unlisted:
        click.echo(f"And {number(one.unlisted)} more: `mailkeep imports report {one.id} --out FILE.csv` lists all.")
    return None


@imports.command("stop")
@click.argument("id", type=int)
@with_json
@click.pass_obj
@errors_in_words
def imports_stop(state: State, id: int, as_json: bool) -> None:
    """Ask an import to end. What was archived stays; importing the same again goes on from there."""
    with state.box() as box:
        one = box.call("import_stop", api.ImportInfo, id=id)
    say(flat(one)) if as_json else click.echo(f"Import {id} was asked to stop.")


@imports.command("report")
@click.argument("id", type=int)
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="FILE.csv or FILE.html.",
)
@with_json
@click.pass_obj
@errors_in_words
def imports_report(state: State, id: int, out: Path, as_json: bool) -> None:
    """Write an import's report to a file: every file with its SHA-256, every item that was not archived."""
    form = REPORTS.get(out.suffix.lower())
    if form is None:
        raise click.UsageError("A report is written to FILE.csv or FILE.html.")
    with state.box() as box:
        write_report(box, id, out, form)
    say({"import": id, "file": str(out)}) if as_json else click.echo(f"The report of import {id} is in {out}.")


imports.add_command(imports_watch)


def _whose(one: api.ImportInfo) -> str:
    if one.owners == "addresses":
        return "by address"
    return one.archive or "an archive for each file"


def _figures(counts: api.ImportCounts) -> tuple[Any, ...]:
    return tuple(number(one) for one in (counts.found, counts.archived, counts.already, counts.skipped, counts.failed))
