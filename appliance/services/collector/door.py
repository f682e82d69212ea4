"""What the archiver asks of the collector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.checks import Check
from appliance.services import api
from appliance.services.collector.collecting import Collecting
from appliance.services.collector.importing import Importing
from appliance.settings.events import ProfilePut


class Desk:
    """What may be asked of a collector."""

    def __init__(self, collecting: Collecting, importing: Importing) -> None:
        self._collecting = collecting
        self._importing = importing

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """By name."""
        return {
            "begin": self.begin, "stop": self.stop, "test": self.test, "deletions": self.deletions,
            "look_at_imports": self.look_at_imports,
        }  # fmt: skip

    def begin(self, *, profile: str) -> int:
        """Begin a run (``Collecting.begin``)."""
        return self._collecting.begin(profile)

    def stop(self, *, id: int) -> None:
        """Ask a run to end."""
        self._collecting.stop(id)

    def deletions(self, *, profile: str, after_days: int = 0) -> api.ProfileDeletions:
        """What a run would delete at the source (``Collecting.deletions``)."""
        return self._collecting.deletions(profile, after_days)

    def test(self, *, profile: ProfilePut) -> tuple[Check, ...]:
        """Try a profile, whether it is set up already or not."""
        return tuple(self._collecting.test(profile))

    def look_at_imports(self) -> None:
        """A file has arrived, or an import is to end: the ledger has the rest."""
        self._importing.look()
