"""A small chart of messages per minute, as SVG without style or script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600.0, 96.0
_HEADROOM = 8.0


@dataclass(frozen=True, slots=True)
class Sparkline:
    """``line`` and ``area`` are SVG path data in a box of WIDTH × HEIGHT; ``peak`` the largest value."""

    line: str
    area: str
    peak: int
    width: float = WIDTH
    height: float = HEIGHT


def sparkline(values: Sequence[int]) -> Sparkline:
    """The chart of ``values``, oldest first. With fewer than two there is a line along the bottom."""
    counts = list(values) if len(values) >= 2 else [0, 0]
    peak = max(counts)
    step = WIDTH / (len(counts) - 1)
    scale = (HEIGHT - _HEADROOM) / max(peak, 1)
    points = [f"{index * step:.1f} {HEIGHT - count * scale:.1f}" for index, count in enumerate(counts)]
    line = "M" + "L".join(points)
    return Sparkline(line, f"{line}L{WIDTH:.1f} {HEIGHT:.1f}L0 {HEIGHT:.1f}Z", peak)
