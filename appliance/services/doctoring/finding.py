"""One thing that the doctor looked at, and how its figures are said."""

from __future__ import annotations

from typing import Literal

from appliance.services.api import Finding

__all__ = ["Finding", "State", "size"]

State = Literal["ok", "warning", "problem"]


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
