"""Asking the collector, from another process of the box."""

from __future__ import annotations

from typing import Any, TypeVar

from appliance.language import later
from appliance.services import between
from appliance.services.paths import Paths

T = TypeVar("T")


def ask(paths: Paths, method: str, kind: type[T], /, **params: Any) -> T:
    """The collector's answer to one call (``door.Desk``). Raises UnavailableError, and what the call raises."""
    late = later(
        "The collector does not answer; it waits for the archive to be unlocked, or is being started. "
        "Nothing was lost; try again shortly."
    )
    return between.ask(paths.collector_socket, late, method, kind, **params)
