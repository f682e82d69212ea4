"""How much one client may use: connections at a time, and errors over its sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from appliance.mail.published import Limits

_WINDOW = 600.0  # seconds after which a client's errors are forgotten


class Clients:
    """Connections and errors by client address, for one worker. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._window_ends = clock() + _WINDOW

    @property
    def open(self) -> int:
        """Connections at this moment."""
        return self._open.total()

    def connect(self, peer: str, limits: Limits) -> str | None:
        """Count a new connection in; or the name of the limit that it would exceed."""
        if self._open.total() >= limits.connections:
            return "too-many-connections"
        if self._open[peer] >= limits.connections_per_client:
            return "too-many-connections-of-client"
        self._forget_old_errors()
        if self._errors[peer] >= limits.errors_per_client:
            return "too-many-errors-of-client"
        self._open[peer] += 1
        return None

    def disconnect(self, peer: str) -> None:
        """A connection that was counted in is gone."""
        self._open[peer] -= 1
        if self._open[peer] <= 0:
            del self._open[peer]

    def error(self, peer: str) -> None:
        """A command of this client was answered 5xx."""
        self._forget_old_errors()
        self._errors[peer] += 1

    def _forget_old_errors(self) -> None:
        now = self._clock()
        if now >= self._window_ends:
            self._errors.clear()
            self._window_ends = now + _WINDOW
