"""Imports of old mail: what is under way, what became of each file; reached from the jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import DataTable

from appliance.language import _, ngettext
from appliance.services import api
from appliance.services.imports.pace import pace
from tui import words
from tui.page import key
from tui.place import FactsPlace
from tui.widgets.dialog import Show
from tui.widgets.form import Facts
from tui.widgets.table import Column, Row, Table

GOES_ON = ("arriving", "waiting", "running")
MOST_PROBLEMS = 100
"""Items that were not archived which are shown; the report has all of them."""


class Imports(FactsPlace[api.ImportInfo]):
    """The list of imports, and what is known of the one under the cursor."""

    NAME = "jobs"
    EVERY = 2.0
    BINDINGS: ClassVar[list[BindingType]] = [
        key("n", "new", "New", shown="N"),
        key("s", "stop", "Stop", shown="S"),
        key("escape", "go('jobs')", "Jobs", show=False),
    ]

    def heading(self) -> str:
        """See ``Page``."""
        return _("Imports")

    def help(self) -> str:
        """See ``Place``."""
        return _(
            "Old mail from files: PST, OST, MSG, EML, mbox, Maildir, ZIP and tar. Each item of a file is counted once: "
            "found = archived + already there + skipped + failed. Nothing is imported twice; what was stopped goes on "
            "when the same files are imported again."
        )

    def body(self) -> Iterable[Widget]:
        """See ``Page``."""
        yield Table(
            Column(_("Import")), Column(_("Archive"), 24, wide_only=True), Column(_("State"), 11),
            Column(_("Begun"), 14, wide_only=True), Column(_("Archived"), 9, right=True),
            Column(_("Failed"), 7, right=True), id="list", empty=_("No import yet. N says how to begin one."),
        )  # fmt: skip
        yield Facts(id="facts")

    async def load(self) -> None:
        """See ``Place``."""
        found = await self.app.box.call("imports", tuple[api.ImportInfo, ...])
        self.known = {str(one.id): one for one in found}
        now = self.app.now()
        self.query_one("#list", Table).show([_row(one, now) for one in found])
        await self.show_facts()

    def facts(self, one: api.ImportInfo) -> Iterable[tuple[str, str]]:
        """See ``FactsPlace``."""
        return (
            (_("Archive"), whose(one)),
            (_("Files"), _files(one)),
            (_("Items"), counted(one)),
            *([(_("Folder"), " / ".join(one.folder))] if one.folder else []),
            *([(_("Note"), one.words)] if one.words else []),
        )

    def action_go(self, name: str) -> None:
        """Go to a place; from here to the jobs as well."""
        self.app.go_to(name)

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        """Enter shows its files and what was not archived."""
        self.do(self._show)

    # -- doing ------------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """How one is begun."""
        self.app.push_screen(
            Show(
                _("A new import"),
                (_("In a browser, under Imports: files are sent from there, also over a slow connection."), ""),
                (_("Or in a shell on this box, which is quicker for large files and for folders:"), ""),
                ("mailkeep import PATH --archive anna@example.com", "mono"),
                (_("Its progress is shown here then, too."), "hint"),
            )
        )

    def action_stop(self) -> None:
        """Ask the one under the cursor to end."""
        self.do(self._stop)

    async def _show(self) -> None:
        if (chosen := self.chosen()) is not None:
            one = await self.app.box.call("import_get", api.ImportInfo, id=chosen.id, problems=MOST_PROBLEMS)
            await self.app.push_screen_wait(Show(one.title, *texts_of(one, self.app.now()), large=True))

    async def _stop(self) -> None:
        one = self.chosen()
        if one is None or one.state not in GOES_ON:
            self.say(_("Only what is under way can be stopped."))
            return
        what = _("What was archived stays. Importing the same files again goes on from there.")
        if await self.sure(_("Stop the import {title}?").format(title=one.title), what, yes=_("Stop")):
            await self.app.box.call("import_stop", api.ImportInfo, id=one.id)
            self.action_reload()


def state_word(state: str) -> str:
    """The state of an import or a file in a word."""
    return {
        "arriving": _("arriving"), "waiting": _("waiting"), "running": _("running"), "done": _("done"),
        "failed": _("failed"), "stopped": _("stopped"),
    }[state]  # fmt: skip


def whose(one: api.ImportInfo) -> str:
    """Whose archive an import fills."""
    if one.owners == "addresses":
        return _("by each message's addresses")
    return one.archive or _("another one for each file")


def counted(one: api.ImportInfo) -> str:
    """What became of its items."""
    text = (
        _("{found} found: {archived} would be archived, {already} there before, {skipped} skipped, {failed} failed")
        if one.dry_run
        else _("{found} found: {archived} archived, {already} there before, {skipped} skipped, {failed} failed")
    )
    return _with_counts(text, one.counts)


def texts_of(one: api.ImportInfo, now: float) -> list[tuple[str, str]]:
    """An import with its files and what was not archived, for a window."""
    texts = [(one.words or state_word(one.state), "lead"), (counted(one), "")]
    if one.state in GOES_ON and (at := pace(one, now)).items:
        text = _("{rate} items a second").format(rate=f"{at.items:.0f}")
        left = "" if at.left is None else ", " + _("{span} left").format(span=words.span(at.left))
        texts.append((text + left, "hint"))
    for file in one.files:
        lines = [
            f"{file.name}  {words.size(file.size)}  {state_word(file.state)}",
            _with_counts(
                _("{found} found: {archived} archived, {already} there before, {skipped} skipped, {failed} failed"),
                file.counts,
            ),
            *([file.words] if file.words else []),
            *([f"SHA-256 {file.sha256}"] if file.sha256 else []),
        ]
        texts.append(("\n".join(lines), "bad" if file.state == "failed" else ""))
    look = {"failed": "bad", "warning": "warn", "skipped": "hint"}
    texts += [
        (f"{', '.join(part for part in (each.folder, each.item) if part)}: {each.why}", look[each.what])
        for each in one.problems
    ]
    if one.unlisted:
        text = ngettext(
            "{count} more is in the report: mailkeep imports report {id} --out FILE.csv",
            "{count} more are in the report: mailkeep imports report {id} --out FILE.csv",
            one.unlisted,
        )
        texts.append((text.format(count=words.number(one.unlisted), id=one.id), "hint"))
    return texts


def _with_counts(text: str, counts: api.ImportCounts) -> str:
    names = ("found", "archived", "already", "skipped", "failed")
    return text.format(**{name: words.number(getattr(counts, name)) for name in names})


def _files(one: api.ImportInfo) -> str:
    text = ngettext("{done} of {count} file read, {size}", "{done} of {count} files read, {size}", one.files_all)
    return text.format(done=words.number(one.files_done), count=words.number(one.files_all), size=words.size(one.size))


def _row(one: api.ImportInfo, now: float) -> Row:
    colour = {"running": "good", "failed": "bad", "stopped": "warn", "done": "warn" if one.counts.failed else ""}
    cells = (
        one.title, one.archive or _("by address"), state_word(one.state),
        words.ago(one.queued if one.begun is None else one.begun, now), words.number(one.counts.archived),
        words.number(one.counts.failed),
    )  # fmt: skip
    return Row(str(one.id), cells, colour.get(one.state, ""))
