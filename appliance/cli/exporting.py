"""Exports to a file or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.cli.following import follow
from appliance.errors import UsageError
from appliance.services import api
from appliance.services.box import RunningBox

if TYPE_CHECKING:
    from appliance.services.own_box import OwnBox


def export_one(box: RunningBox | OwnBox, id: str, *, report: bool, out: Path | None) -> None:
    """One original, to ``out`` or standard output, and nothing but its bytes."""
    _, chunks = box.stream("original", id=id, report=report, everywhere=True)
    if out is None:
        write_out(chunks)
    else:
        _write(out, chunks)


def export_query(box: RunningBox | OwnBox, query: str, out: Path) -> dict[str, object]:
    """All hits of a query as a ZIP."""
    job = box.call("export_begin", api.JobInfo, query=query, everywhere=True)
    job = follow(box, job, unit="messages")
    _, chunks = box.stream("job_download", id=job.id)
    _write(out, chunks)
    return {"file": str(out), "messages": job.done, "note": job.message}


def write_out(chunks: Iterator[bytes]) -> None:
    """Bytes to standard output, and nothing else."""
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _write(out: Path, chunks: Iterator[bytes]) -> None:
    partial = out.with_name(out.name + ".part")
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
