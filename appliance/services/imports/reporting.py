"""The report of an import: what each file was, by its SHA-256, and what became of each item that was not archived.

As CSV for a spreadsheet, and as a page that needs nothing but a browser and can be printed or kept as PDF.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Final

from appliance.language import _, later, ngettext
from appliance.services import api
from appliance.services.exporting import inert

_COLUMNS: Final = (
    "kind", "file", "archive", "folder", "format", "state", "size", "sha256", "found", "archived", "already",
    "skipped", "failed", "bytes_archived", "item", "note",
)  # fmt: skip
"""Of the CSV. ``kind`` is import (the sums), file, or what a problem is: failed, skipped, warning."""


def as_csv(one: api.ImportInfo, problems: Iterable[api.ImportProblem]) -> bytes:
    """RFC 4180, UTF-8 with its mark, which spreadsheets need: a row of sums, one for each file, one for each problem
    that is listed."""
    text = io.StringIO()
    text.write("\ufeff")
    rows = csv.DictWriter(text, _COLUMNS, restval="")
    rows.writeheader()
    rows.writerow(_sums("import", one.counts) | {
        "file": inert(one.title), "archive": one.archive, "folder": inert("/".join(one.folder)), "state": one.state,
        "size": one.size, "note": inert(_summary_note(one)),
    })  # fmt: skip
    for file in one.files:
        rows.writerow(_sums("file", file.counts) | {
            "file": inert(file.name), "archive": file.archive, "folder": inert("/".join(file.target)),
            "format": file.format, "state": file.state, "size": file.size, "sha256": file.sha256,
            "note": inert(file.words),
        })  # fmt: skip
    names = {file.number: file.name for file in one.files}
    listed = 0
    for problem in problems:
        listed += 1
        rows.writerow({
            "kind": problem.what, "file": inert(names.get(problem.file, "")), "folder": inert(problem.folder),
            "item": inert(problem.item), "note": inert(problem.why),
        })  # fmt: skip
    if one.unlisted > listed:
        rows.writerow({"kind": "note", "note": _unlisted(one.unlisted - listed)})
    return text.getvalue().encode("utf-8", "replace")


def as_html(one: api.ImportInfo, problems: Iterable[api.ImportProblem], now: float) -> bytes:
    """A page of its own: summary, files, problems."""
    return "".join(_page(one, problems, now)).encode("utf-8", "replace")


def _page(one: api.ImportInfo, problems: Iterable[api.ImportProblem], now: float) -> Iterator[str]:
    title = _("Report of import {number}").format(number=one.id)
    heading = f"{title}: {one.title}" if one.title else title
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style></head><body><main><h1>{escape(heading)}</h1>"
    if one.dry_run:
        yield f'<p class="notice">{escape(_(_DRY_RUN))}</p>'
    if one.words:
        yield f'<p class="notice">{escape(one.words)}</p>'
    yield "<dl>"
    for name, value in _facts(one, now):
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>"
    yield from _figures(one)
    yield from _files(one)
    yield from _problems(one, problems)
    yield "</main></body></html>\n"


def _facts(one: api.ImportInfo, now: float) -> Iterator[tuple[str, str]]:
    by_address = _("Each message to those whose addresses it has")
    folder = " / ".join(one.folder)
    yield _("State"), _STATES[one.state]
    yield _("Archive"), by_address if one.owners == "addresses" else one.archive or _("One for each file")
    if folder:
        yield _("Into the folder"), folder
    yield _("Asked for by"), one.by
    yield _("Asked for"), _moment(one.queued)
    if one.begun is not None:
        yield _("Begun"), _moment(one.begun)
    if one.ended is not None:
        yield _("Ended"), _moment(one.ended)
    yield _("Report made"), _moment(int(now))


def _figures(one: api.ImportInfo) -> Iterator[str]:
    counts = one.counts
    yield '<section class="figures">'
    for name, count in (
        (_("found"), counts.found), (_("archived"), counts.archived), (_("already there"), counts.already),
        (_("skipped"), counts.skipped), (_("failed"), counts.failed),
    ):  # fmt: skip
        yield f"<div><b>{count:,}</b><span>{escape(name)}</span></div>"
    yield "</section>"
    added = counts.archived + counts.already + counts.skipped + counts.failed
    if added == counts.found:
        told = _("Every item is accounted for: archived, already there, skipped and failed make {found}.")
        yield f"<p>{escape(told.format(found=f'{counts.found:,}'))}</p>"
    else:
        told = _("The sums do not add up: {found} items were found, and {added} are accounted for.")
        yield f'<p class="notice">{escape(told.format(found=counts.found, added=added))}</p>'


def _files(one: api.ImportInfo) -> Iterator[str]:
    yield f'<h2>{escape(_("Files"))}</h2><div class="wide"><table><thead><tr>'
    for name in (
        _("File"),
        _("Archive"),
        _("Bytes"),
        _("Found"),
        _("Archived"),
        _("Already"),
        _("Skipped"),
        _("Failed"),
    ):
        yield f"<th>{escape(name)}</th>"
    yield "</tr></thead>"
    for file in one.files:
        counts = file.counts
        figures = (file.size, counts.found, counts.archived, counts.already, counts.skipped, counts.failed)
        target = " / ".join(file.target)
        archive = f"{file.archive} / {target}" if file.archive and target else file.archive or target
        yield f"<tbody><tr><td>{escape(file.name)}</td><td>{escape(archive)}</td>"
        yield "".join(f'<td class="number">{number:,}</td>' for number in figures)
        yield '</tr><tr class="more"><td colspan="8">'
        yield f"{escape(_STATES[file.state])}"
        if file.format:
            yield f" · {escape(file.format)}"
        if file.sha256:
            yield f" · SHA-256 <code>{escape(file.sha256)}</code>"
        if file.words:
            yield f"<br>{escape(file.words)}"
        yield "</td></tr></tbody>"
    yield "</table></div>"


def _problems(one: api.ImportInfo, problems: Iterable[api.ImportProblem]) -> Iterator[str]:
    yield f"<h2>{escape(_('What was not archived, or not whole'))}</h2>"
    if not one.unlisted:
        yield f"<p>{escape(_('There is no such item.'))}</p>"
        return
    names = {file.number: file.name for file in one.files}
    yield '<div class="wide"><table><thead><tr>'
    for name in (_("What"), _("File"), _("Folder and item"), _("Why")):
        yield f"<th>{escape(name)}</th>"
    yield "</tr></thead><tbody>"
    listed = 0
    for problem in problems:
        listed += 1
        where = f"{escape(problem.folder)} <code>{escape(problem.item)}</code>"
        yield f'<tr class="{problem.what}"><td>{escape(_WHAT[problem.what])}</td>'
        yield f"<td>{escape(names.get(problem.file, ''))}</td><td>{where}</td><td>{escape(problem.why)}</td></tr>"
    yield "</tbody></table></div>"
    if one.unlisted > listed:
        yield f'<p class="notice">{escape(_unlisted(one.unlisted - listed))}</p>'


def _sums(kind: str, counts: api.ImportCounts) -> dict[str, object]:
    return {
        "kind": kind, "found": counts.found, "archived": counts.archived, "already": counts.already,
        "skipped": counts.skipped, "failed": counts.failed, "bytes_archived": counts.bytes,
    }  # fmt: skip


def _summary_note(one: api.ImportInfo) -> str:
    dry = _(_DRY_RUN) if one.dry_run else ""
    return " ".join(filter(None, (dry, one.words)))


def _unlisted(count: int) -> str:
    text = ngettext(
        "{count} further item is counted and not listed.", "{count} further items are counted and not listed.", count
    )  # fmt: skip
    return text.format(count=count)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_DRY_RUN: Final = later("A dry run: nothing was archived. “Archived” is what would have been.")
_STATES: Final = {
    "arriving": "arriving", "waiting": "waiting", "running": "being read", "done": "done", "failed": "failed",
    "stopped": "stopped",
}  # fmt: skip
_WHAT: Final = {"failed": "failed", "skipped": "skipped", "warning": "archived, with a warning"}

_STYLE: Final = """
@page { size: A4; margin: 18mm 15mm; @bottom-right { content: counter(page) " / " counter(pages); font-size: 8pt; } }
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: #1a1d21; font: 15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .6rem 1.5rem; }
dl { margin: 0 0 1.5rem; }
dt { color: #5b636d; font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.figures { display: flex; flex-wrap: wrap; gap: .5rem; }
.figures div { flex: 1 1 7rem; border: 1px solid #d5dae0; border-radius: 6px; padding: .6rem .8rem; }
.figures b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.figures span { color: #5b636d; }
.notice { border-left: 4px solid #b45309; background: #fff7ed; padding: .6rem .8rem; }
.wide { overflow-x: auto; }
td:first-child { min-width: 8rem; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { text-align: left; border-bottom: 2px solid #1a1d21; padding: .35rem .5rem; }
td { vertical-align: top; padding: .35rem .5rem; border-top: 1px solid #e3e7eb; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; }
.more td { border-top: 0; padding-top: 0; color: #4a525b; font-size: .85em; }
.failed td:first-child { color: #b42318; font-weight: 600; }
code { font: .92em ui-monospace, "Cascadia Mono", Menlo, monospace; }
thead { display: table-header-group; }
tbody tr { break-inside: avoid; }
@media print { body { font-size: 9.5pt; } main { max-width: none; padding: 0; } h2 { break-after: avoid; } }
"""
