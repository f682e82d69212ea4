"""One thing that the doctor looked at."""

from __future__ import annotations

from typing import Literal

from appliance.services.api import Finding

__all__ = ["Finding", "State"]

State = Literal["ok", "warning", "problem"]
