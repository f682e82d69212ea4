"""Jobs: long work with its progress, what the replicator does, imports; their logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from appliance.errors import MailkeepError
from appliance.framing import words_of
from appliance.language import _
from appliance.services import api
from appliance.services.verifying import Checked
from tui import words
from tui.page import key
from tui.place import Place
from tui.screens import imports
from tui.widgets.dialog import Show
from tui.widgets.form import Text
from tui.widgets.table import Column, Row, Table

RUNS = 100
"""Runs of the replicator that are listed."""


class Jobs(Place):
    """What is under way first, then what ended, the last one first."""

    NAME = "jobs"
    EVERY = 2.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("c", "check", "Check volumes", shown="C"),
        key("s", "stop", "Stop", shown="S"),
        key("i", "imports", "Imports", shown="I"),
    ]
    AUTO_FOCUS = "Table"

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Long work: checks, exports, imports, and each run of replication. What is stopped loses nothing; the next "
            "run goes on where it was."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Text(_("What the archive is doing, and what it did."), "hint")
        yield Table(
            Column(_("What")), Column(_("State"), 9), Column(_("How far"), 18),
            Column(_("Begun"), 14, wide_only=True), id="list", empty=_("Nothing is under way, and nothing was yet."),
        )  # fmt: skip

    async def load(self) -> None:
        """See ``Place``."""
        jobs = await self.app.box.call("jobs", tuple[api.JobInfo, ...])
        runs = await self.app.box.call("replica_history", tuple[api.RunInfo, ...], limit=RUNS)
        found = await self.app.box.call("imports", tuple[api.ImportInfo, ...])
        self._jobs = {f"job {one.id}": one for one in jobs}
        self._runs = {f"run {one.id}": one for one in runs}
        self._imports = {f"import {one.id}": one for one in found}
        now = self.app.now()
        rows = (
            [
                (one.state in ("waiting", "running"), one.started_at, _job_row(id, one, now))
                for id, one in self._jobs.items()
            ]
            + [
                (one.state in ("waiting", "running"), one.begun_at or one.queued_at, _run_row(id, one, now))
                for id, one in self._runs.items()
            ]
            + [
                (one.state in imports.GOES_ON, one.begun or one.queued, _import_row(id, one, now))
                for id, one in self._imports.items()
            ]
        )
        rows.sort(key=lambda row: row[:2], reverse=True)
        self.query_one("#list", Table).show([row for _busy, _at, row in rows])

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter shows what is known of it."""
        id = str(event.row_key.value)
        if id in self._runs:
            self._show_run(self._runs[id])
        elif id in self._imports:
            self.do(lambda: self._show_import(self._imports[id]))
        elif id in self._jobs:
            self.do(lambda: self._show_job(self._jobs[id]))

    def _show_run(self, run: api.RunInfo) -> None:
        self.app.push_screen(
            Show(
                run_title(run),
                (run.words or state_word(run.state), "lead"),
                (
                    _("Begun {begun}, ended {ended}.").format(
                        begun=words.moment(run.begun_at), ended=words.moment(run.ended_at)
                    ),
                    "hint",
                ),
                ("\n".join(run.lines) or _("It has no log."), ""),
                large=True,
            )
        )

    async def _show_job(self, job: api.JobInfo) -> None:
        texts = [(words_of(job.message, job.failure) or state_word(job.state), "lead")]
        if job.kind == "verify" and job.state == "done":
            texts = _said_of(await self.app.box.call("verify_result", Checked, id=job.id))
        await self.app.push_screen_wait(Show(job_title(job), *texts))

    async def _show_import(self, one: api.ImportInfo) -> None:
        one = await self.app.box.call("import_get", api.ImportInfo, id=one.id, problems=imports.MOST_PROBLEMS)
        await self.app.push_screen_wait(Show(import_title(one), *imports.texts_of(one, self.app.now()), large=True))

    # -- doing ------------------------------------------------------------------------------------------------

    def action_check(self) -> None:
        """Check everything that is stored."""
        self.do(self._check)

    def action_stop(self) -> None:
        """Stop what the cursor is on."""
        self.do(self._stop)

    def action_imports(self) -> None:
        """Go to the imports."""
        self.app.go_to("imports")

    async def _check(self) -> None:
        if await self.sure(
            _("Check all volumes now?"),
            _("Every volume is read, with its checksums, seals and timestamps. Mail is received meanwhile; it takes "
              "about a minute for each 10 GB."),
            yes=_("Check"),
        ):  # fmt: skip
            await self.app.box.call("verify_begin", api.JobInfo)
            self.action_reload()

    async def _stop(self) -> None:
        chosen = self.query_one("#list", Table).chosen or ""
        one = self._jobs.get(chosen) or self._runs.get(chosen) or self._imports.get(chosen)
        if one is None or one.state not in imports.GOES_ON:
            self.say(_("Only what is under way can be stopped."))
            return
        title = _title(one)
        if not await self.sure(
            _("Stop this?"),
            _("“{title}” ends at the next place where nothing is lost.").format(title=title),
            yes=_("Stop"),
        ):
            return
        try:
            if isinstance(one, api.JobInfo):
                await self.app.box.call("job_stop", api.JobInfo, id=one.id)
            elif isinstance(one, api.ImportInfo):
                await self.app.box.call("import_stop", api.ImportInfo, id=one.id)
            else:
                await self.app.box.call("replica_stop", type(None), id=one.id)
        except MailkeepError as error:
            self.say(error.message, "bad")
        self.action_reload()


def state_word(state: str) -> str:
    """The state of a job or a run in a word."""
    return {
        "waiting": _("waiting"), "running": _("running"), "done": _("done"), "failed": _("failed"),
        "stopped": _("stopped"),
    }[state]  # fmt: skip


def job_title(job: api.JobInfo) -> str:
    """What a job does."""
    return words_of(job.title, None)


def run_title(run: api.RunInfo) -> str:
    """What a run of the replicator does."""
    kind = {
        "replicate": _("Replication"), "sample": _("Sample check"), "check": _("Full check"),
        "rehearse": _("Rehearsal of a restore"), "release": _("Making room here"), "fill": _("Fetching volumes back"),
    }[run.kind]  # fmt: skip
    return f"{kind}: {run.remote}" if run.remote else kind


def import_title(one: api.ImportInfo) -> str:
    """What is imported."""
    return f"{_('Import')}: {one.title}"


def _title(one: api.JobInfo | api.RunInfo | api.ImportInfo) -> str:
    if isinstance(one, api.JobInfo):
        return job_title(one)
    return run_title(one) if isinstance(one, api.RunInfo) else import_title(one)


def _colour(state: str) -> str:
    return {"running": "good", "failed": "bad", "waiting": "", "stopped": "warn"}.get(state, "faint")


def _job_row(id: str, one: api.JobInfo, now: float) -> Row:
    far = (
        words.share(one.done, one.total) if one.state == "running" and one.total else words_of(one.message, one.failure)
    )
    return Row(
        id, (job_title(one), state_word(one.state), far, words.ago(one.started_at or None, now)), _colour(one.state)
    )


def _run_row(id: str, one: api.RunInfo, now: float) -> Row:
    if one.state == "running":
        far = words.share(one.done, one.total) if one.total else words.size(one.done)
        if one.eta:
            far += " · " + _("{span} left").format(span=words.span(one.eta))
    else:
        far = words.size(one.bytes) if one.bytes else ""
    cells = (run_title(one), state_word(one.state), far, words.ago(one.begun_at or one.queued_at, now))
    return Row(id, cells, _colour(one.state))


def _import_row(id: str, one: api.ImportInfo, now: float) -> Row:
    far = _("{count} archived").format(count=words.number(one.counts.archived))
    if one.state in imports.GOES_ON:
        far = _("{count} items").format(count=words.number(one.counts.found))
    cells = (import_title(one), imports.state_word(one.state), far, words.ago(one.begun or one.queued, now))
    return Row(id, cells, _colour(one.state))


def _said_of(checked: Checked) -> list[tuple[str, str]]:
    texts = [
        (
            _("{records} records in {volumes} volumes were checked.").format(
                records=words.number(checked.records), volumes=words.number(checked.volumes)
            ),
            "lead",
        ),
        (_("Nothing is damaged or missing."), "good")
        if not checked.errors
        else (_("What was found; nothing of it was changed:"), "bad"),
    ]
    texts += [(f"{one.file}: {one.what}", "bad") for one in checked.errors]
    texts += [(f"{one.file}: {one.what}", "hint") for one in checked.notes]
    return texts
