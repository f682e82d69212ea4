"""What became of an import, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from appliance.cli.following import Box
from appliance.cli.output import table
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.sizes import number, size

MOST_SHOWN: Final = 20
"""Problems that are shown; the report has all of them."""
_COLUMNS: Final = ("found", "archived", "already", "skipped", "failed")


def as_json_of(done: api.ImportInfo, said: Mapping[int, str]) -> dict[str, Any]:
    """What scripts read of an import: each file with its figures and what failed, and the sums.

    ``said`` is what each file was called on the command line, by its number.
    """
    return {
        "import": done.id,
        "state": done.state,
        "dry_run": done.dry_run,
        "words": done.words,
        "files": [_file(file, done, said.get(file.number, file.name)) for file in done.files],
        "sum": _figures(done.counts),
        "unlisted": done.unlisted,
    }


def tell(done: api.ImportInfo, said: Mapping[int, str], missing: Sequence[str] = ()) -> None:
    """Figures on standard output, what is not well on standard error. ``missing`` files were no more what they had
    been when they were looked at."""
    rows = [(said.get(file.number, file.name), *_cells(file.counts)) for file in done.files]
    if len(rows) != 1:
        rows.append(("Sum", *_cells(done.counts)))
    would = "WOULD BE ARCHIVED" if done.dry_run else "ARCHIVED"
    table(("FILE", "FOUND", would, "ALREADY", "SKIPPED", "FAILED"), rows)
    click.echo(f"\nImport {done.id} {_ENDED[done.state]}{_bytes(done)}.")
    for text in _troubles(done, said, missing):
        click.echo(text, err=True)


def problem_words(one: api.ImportProblem, file: str) -> str:
    """An item that was not archived, or not whole, in a line."""
    return f"{one.what.upper():<8} {file}, {', '.join(part for part in (one.folder, one.item) if part)}: {one.why}"


def problem_lines(problems: Sequence[api.ImportProblem], names: Mapping[int, str]) -> Iterator[str]:
    """What was not archived, or not whole, a line each; what was skipped for the same reason in one line a file."""
    for one in problems:
        if one.what != "skipped":
            yield problem_words(one, names.get(one.file, ""))
    skipped = Counter((one.file, one.why) for one in problems if one.what == "skipped")
    for (file, why), count in skipped.items():
        yield f"SKIPPED  {names.get(file, '')}, {number(count)} times: {why}"


def write_report(box: Box, id: int, out: Path, form: str) -> None:
    """Write an import's report (``csv`` or ``html``) to a file. Raises UsageError where that cannot be."""
    report = box.call("import_report", bytes, id=id, form=form)
    partial = out.with_name(out.name + ".part")
    try:
        partial.write_bytes(report)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error


_ENDED: Final = {
    "arriving": "waits for its files", "waiting": "waits", "running": "goes on", "done": "is done",
    "failed": "has failed", "stopped": "was stopped",
}  # fmt: skip


def _troubles(done: api.ImportInfo, said: Mapping[int, str], missing: Sequence[str]) -> list[str]:
    names = {file.number: said.get(file.number, file.name) for file in done.files}
    texts = [done.words] if done.words else []
    texts += [f"{names[file.number]}: {file.words}" for file in done.files if file.words]
    texts += [f"{name} was gone or had changed when its turn came: it did not go." for name in missing[:MOST_SHOWN]]
    if len(missing) > MOST_SHOWN:
        texts.append(f"And {len(missing) - MOST_SHOWN} more that did not go.")
    failed = [one for one in done.problems if one.what == "failed"]
    texts += [problem_words(one, names.get(one.file, "")) for one in failed[:MOST_SHOWN]]
    if done.counts.failed > MOST_SHOWN:
        more = done.counts.failed - min(len(failed), MOST_SHOWN)
        texts.append(f"And {number(more)} more: `mailkeep imports report {done.id} --out FILE.csv` lists all.")
    return texts


def _file(file: api.ImportFile, done: api.ImportInfo, said: str) -> dict[str, Any]:
    failures = [
        {"item": one.item, "reason": one.why, "folder": one.folder}
        for one in done.problems
        if one.file == file.number and one.what == "failed"
    ]
    if file.state == "failed" and not failures:
        failures = [{"item": "", "reason": file.words, "folder": ""}]
    return {
        "file": said, **_figures(file.counts), "failures": failures, "state": file.state, "format": file.format,
        "size": file.size, "sha256": file.sha256, "archive": file.archive, "folder": list(file.target),
        "words": file.words,
    }  # fmt: skip


def _figures(counts: api.ImportCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _COLUMNS}


def _cells(counts: api.ImportCounts) -> tuple[str, ...]:
    return tuple(number(getattr(counts, name)) for name in _COLUMNS)


def _bytes(done: api.ImportInfo) -> str:
    return f": {size(done.counts.bytes)} archived" if done.counts.bytes and not done.dry_run else ""
