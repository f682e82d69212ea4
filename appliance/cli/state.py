"""What holds for one command: the data folder and how to unlock it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.services.box import open_box
from appliance.services.paths import Paths
from appliance.services.unlock import Secret


class State:
    """What holds for the whole command: the data folder and how to unlock it."""

    def __init__(self, data: Path, secret: Secret | None) -> None:
        self.paths = Paths(data.absolute())
        self.secret = secret

    def box(self) -> Any:
        """The services, for a ``with`` block."""
        return open_box(self.paths, self.secret)
