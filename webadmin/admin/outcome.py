"""What came of trying a remote, or of trying to save it."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.services import api


@dataclass(frozen=True, slots=True)
class Outcome:
    """Shown under the buttons of a form."""

    tested: api.RemoteTested | None = None
    problem: str = ""
    first_run_seconds: float = 0.0
    """How long the first run takes at the speed that was measured; 0 where that is not known."""
    stay_days: int = 0
    """The longest time that an erased message can survive there with these settings; 0 where it is not to be said."""
    anyway: bool = False
    """Whether it may be saved though it does not pass."""
    again: bool = False
    """Whether the secrets have to be typed again, since the page is a new one."""
