"""A curve of numbers in a few rows of characters: bars with eighths of a cell, or, in the plain look, with shades."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SHADES = " ░▒█"


def bars(values: Sequence[float], width: int, height: int, *, plain: bool, top: float = 0.0) -> list[str]:
    """``height`` rows of ``width`` characters, the newest value at the right; ``top`` is the least full scale.

    More values than columns are joined by their greatest; fewer begin further right. A value that is not 0 shows.
    """
    steps = _SHADES if plain else _EIGHTHS
    columns = _fitted(values, width)
    full = max([top, *columns]) or 1.0
    parts = len(steps) - 1
    levels = [0 if value <= 0 else max(round(value / full * height * parts), 1) for value in columns]
    rows = []
    for row in range(height - 1, -1, -1):
        cells = (steps[min(max(level - row * parts, 0), parts)] for level in levels)
        rows.append("".join(cells).rjust(width))
    return rows


def _fitted(values: Sequence[float], width: int) -> list[float]:
    count = len(values)
    if count <= width:
        # Wide screens show each value as several columns, so that the curve fills its place.
        times = width // count if count else 1
        return [value for value in values for _ in range(times)]
    return [max(values[i * count // width : (i + 1) * count // width]) for i in range(width)]


class _Bars(Widget):
    """The rows."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        self._plain = plain
        self._values: Sequence[float] = ()
        self._top = 0.0

    def show(self, values: Sequence[float], top: float) -> None:
        """Other values."""
        self._values, self._top = values, top
        self.refresh()

    def render(self) -> RenderResult:
        """See ``bars``."""
        width, height = self.size
        return "\n".join(bars(self._values, width, height, plain=self._plain, top=self._top))


class Curve(Vertical):
    """A name, the value of now, and the curve below."""

    def __init__(self, name: str, *, plain: bool, id: str) -> None:
        super().__init__(id=id)
        self._heading = name
        self._bars = _Bars(plain=plain)

    def compose(self) -> ComposeResult:
        """Name, value, bars."""
        yield Static(self._heading, classes="name", markup=False)
        yield self._bars
        yield Static("", classes="value", markup=False)

    def show(self, now: str, values: Sequence[float], *, top: float = 0.0, kind: str = "") -> None:
        """``now`` in words; ``kind`` is "", warn or bad."""
        self.query_one(".value", Static).update(now)
        self._bars.show(values, top)
        self.set_class(kind == "warn", "-warn")
        self.set_class(kind == "bad", "-bad")
