"""What the test of a step found, line by line, with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from appliance.services.setup.checks import Finding

_MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


class Findings(Vertical):
    """Empty until a test was made."""

    DEFAULT_CSS = """
    Findings { height: auto; max-width: 96; }
    Findings .ok { color: $good; }
    Findings .warning { color: $warn; }
    Findings .problem { color: $bad; }
    Findings .mend { color: $ink-2; padding-left: 2; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._findings: tuple[Finding, ...] = ()

    def compose(self) -> ComposeResult:
        """A line for each, and one for what to do."""
        for one in self._findings:
            yield Static(f"{_MARKS[one.state]} {one.text}", classes=one.state, markup=False)
            if one.mend:
                yield Static(one.mend, classes="mend", markup=False)

    async def show(self, findings: Sequence[Finding]) -> None:
        """Show these in place of those before."""
        self._findings = tuple(findings)
        await self.recompose()
        self.scroll_visible()
