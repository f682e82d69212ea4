"""What holds during one run of replication, for its parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.cloud.manifests import ReplicaKeys
from appliance.cloud.objects import Placed
from appliance.cloud.remote import Remote
from appliance.cloud.state import ReplicaPaths
from appliance.cloud.upload import Progress, Uploads
from appliance.errors import DamageError, MailkeepError
from appliance.files import Files


@dataclass(frozen=True, slots=True)
class Run:
    """One run to one remote."""

    paths: ReplicaPaths
    remote: Remote
    keys: ReplicaKeys
    progress: Progress
    now: int  # microseconds
    files: Files
    uploads: Uploads
    bad: frozenset[str]
    """Objects that are not what they should be, as an audit found."""
    trouble: list[MailkeepError] = field(default_factory=list)
    """What could not be done, though the rest can."""

    def is_there(self, one: Placed, *, sure: bool) -> bool:
        """Whether a file's object is as it should be, as far as that is known; ``sure`` where all were there before."""
        return one.object not in self.bad and (
            sure or self.uploads.present.get(one.object, -1) >= one.offset + one.size
        )

    def raise_trouble(self) -> None:
        """Raise the worst of what went wrong by the way."""
        for kind in (DamageError, MailkeepError):
            for error in self.trouble:
                if isinstance(error, kind):
                    raise error
