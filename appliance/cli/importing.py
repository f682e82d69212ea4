"""``mailkeep import``: old mail from files and folders into the archive."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from appliance.cli.following import show
from appliance.cli.import_parcels import Parcel, folder_path, parcels_of, read_map
from appliance.cli.import_remote import OnRemote, PathOrRemote
from appliance.cli.import_sending import Line, Sending, Shown
from appliance.cli.import_telling import as_json_of, tell, write_report
from appliance.cli.output import errors_in_words, say, with_json
from appliance.cli.state import State
from appliance.errors import MailkeepError, UnavailableError, UsageError
from appliance.services import api
from appliance.services.box import RunningBox, running_box
from appliance.services.client import ImportSettings
from appliance.services.imports.pace import pace
from appliance.services.paths import Paths
from appliance.services.sizes import number, size

REPORTS: Final = {".csv": "csv", ".html": "html", ".htm": "html"}
"""Forms of a report by the endings of their files."""
_LONGEST_PASSWORD: Final = 4096


@click.command("import")
@click.argument("paths", nargs=-1, metavar="[PATH]…", type=PathOrRemote())
@click.option("--archive", metavar="ADDR", default="", help="The user whose archive all of it becomes.")
@click.option("--by-address", is_flag=True, help="Each message goes to those whose addresses it has.")
@click.option(
    "--map",
    "map_",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Which file becomes whose: the columns file, archive and perhaps folder. In place of PATH.",
)
@click.option("--folder", metavar="NAME", default="", help="Put it below this folder: “Old mail/2010”.")
@click.option("--dry-run", is_flag=True, help="Only read everything and count; archive nothing.")
@click.option("--recovered", is_flag=True, help="Also what was deleted in a PST or OST file, where it is still there.")
@click.option("--all-items", "others", is_flag=True, help="Also calendar, contacts, tasks and notes.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A file whose first line is the password of ZIP files that have one.",
)
@click.option("--code-page", metavar="NAME", default="", help="Of text that does not name its own, as in cp1252.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report there, as FILE.csv or FILE.html.",
)
@with_json
@click.pass_obj
@errors_in_words
def import_(
    state: State, paths: tuple[Path | OnRemote, ...], archive: str, by_address: bool, map_: Path | None, folder: str,
    dry_run: bool, recovered: bool, others: bool, password_file: Path | None, code_page: str, report: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Import mail from files: PST, OST, MSG, EML, mbox, Maildir and folders of them, also in ZIP and tar.

    A folder is sent as it is, with all that is in it. NAME:PATH is a file on the remote of that name, which the archive
    fetches by itself; `mailkeep remote files NAME` lists them. Nothing is imported twice: who runs the command again
    goes on where it was. Ctrl-C stops the import; what was archived stays.

    Exit code 0 only if every item could be dealt with.
    """
    _check_options(paths, archive, by_address, map_, report)
    target = folder_path(folder)
    password = _password(password_file)
    fetched = [path for path in paths if isinstance(path, OnRemote)]
    parcels = _parcels([path for path in paths if isinstance(path, Path)], map_, target, password)
    settings = ImportSettings(
        archive=archive, owners="addresses" if by_address else "archive", folder=target, dry_run=dry_run,
        recovered=recovered, others=others, code_page=code_page,
    )  # fmt: skip
    line = Line(lambda: _connect(state.paths))
    sending = Sending(line, parcels, _shown(sum(one.size for one in parcels)), fetched, password)
    try:
        done = _run(sending, _title([*(one.name for one in parcels), *map(str, fetched)], map_), settings)
        missing = [name for one in parcels for name in one.missing]
        if report is not None:
            write_report(line, done.id, report, REPORTS[report.suffix.lower()])
    finally:
        line.close()
    if as_json:
        say(as_json_of(done, sending.said))
    else:
        tell(done, sending.said, missing)
    sys.exit(0 if done.state == "done" and not done.counts.failed and not missing and not _lost(done) else 1)


def _check_options(
    paths: Sequence[Path | OnRemote], archive: str, by_address: bool, map_: Path | None, report: Path | None
) -> None:
    """Raises click.UsageError (exit code 2) for what makes no sense together."""
    if sum((bool(archive), by_address, map_ is not None)) != 1:
        raise click.UsageError("Say whose it becomes: with --archive ADDR, --by-address or --map FILE.csv.")
    if bool(paths) == (map_ is not None):
        raise click.UsageError("Name the files and folders to import." if not paths else "--map names the files.")
    if report is not None and report.suffix.lower() not in REPORTS:
        raise click.UsageError("A report is written to FILE.csv or FILE.html.")


def _parcels(paths: Sequence[Path], map_: Path | None, folder: tuple[str, ...], password: str) -> list[Parcel]:
    if map_ is not None:
        found = [replace(one, folder=(*folder, *one.folder)) for one in read_map(map_, told=_note)]
    else:
        found = [one for path in paths for one in parcels_of(path, folder=folder, told=_note)]
    return [replace(one, password=password) for one in found]


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(_LONGEST_PASSWORD).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, where the password is to be read from, cannot be read.") from error


def _title(names: Sequence[str], map_: Path | None) -> str:
    if map_ is not None:
        return map_.name
    more = f", +{len(names) - 1}" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def _connect(paths: Paths) -> RunningBox:
    box = running_box(paths)
    if box is None:
        raise UnavailableError("The archive is not running. Start it with `mailkeep serve`, and import again.")
    return box


def _run(sending: Sending, title: str, settings: ImportSettings) -> api.ImportInfo:
    """The import at its end. Ctrl-C and what goes wrong here stop it."""
    try:
        return sending.run(title, settings)
    except KeyboardInterrupt:
        show("")
        _note("The import is being stopped …")
        stopped = sending.stop()
        if stopped is None:
            raise
        _note("What was archived stays. The same command goes on from there: nothing is imported twice.")
        return stopped
    except MailkeepError:
        if sending.id is not None:
            with suppress(MailkeepError):  # what went wrong before is what is told
                sending.stop()
            _note("The import has ended before its time. What was archived stays; the same command goes on from there.")
        raise
    finally:
        show("")


def _lost(done: api.ImportInfo) -> bool:
    return any(file.state != "done" for file in done.files)


def _note(words: str) -> None:
    click.echo(words, err=True)


def _shown(total: int) -> Shown:
    """A line of progress; ``total`` bytes are to be sent."""

    def shown(now: api.ImportInfo | None, sent: int, waits: str) -> None:
        if now is None:
            return show(waits)
        at = pace(now, time.time(), size=total)
        expected = sum(file.expected or 0 for file in now.files)
        of = f" of {number(expected)}" if expected > now.counts.found else ""
        failed = f", {number(now.counts.failed)} failed" if now.counts.failed else ""
        left = "" if at.left is None else f", {at.left:.0f} s left"
        tail = f" ({waits or now.words})" if waits or now.words else ""
        here = sum(file.arrived for file in now.files)
        come = f"{size(sent)} of {size(total)} sent" if sent < total or here <= total else f"{size(here)} fetched"
        return show(f"{come}, {number(now.counts.found)}{of} items{failed}, {at.items:.0f} items/s{left}{tail}")

    return shown
