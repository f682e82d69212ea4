"""Who is asking: the identity that every service function takes first."""

from __future__ import annotations

import msgspec

from appliance.errors import ForbiddenError
from appliance.mail.audience import AUDITOR

KEYHOLDER = "keyholder"
"""The role of root and of the archive's own user at the box itself: they could read the keyfile anyhow. It cannot be
granted."""

LOCAL_GROUP = "mailkeep-audit"
"""The Unix group whose members may use the archive's command line and console."""


class Principal(msgspec.Struct, frozen=True):
    """A caller with the rights it has at this moment.

    ``id`` stands in the audit trail: a user id, or ``local:<unix user>`` for the box's own command line.
    ``archives`` are those whose mail it sees without being an auditor.
    """

    id: str
    name: str = ""
    roles: frozenset[str] = frozenset()
    archives: frozenset[str] = frozenset()
    client: str = ""
    session: bytes = b""

    @property
    def is_auditor(self) -> bool:
        """Whether it may look into all archives."""
        return "auditor" in self.roles

    @property
    def knows(self) -> frozenset[str]:
        """The archives through which it learns of hidden people."""
        return self.archives

    def require(self, role: str) -> None:
        """Raises ForbiddenError unless the caller has ``role``."""
        if role not in self.roles:
            raise ForbiddenError(_NEEDED.get(role, "This is not open to you."))

    def looking(self, *, everywhere: bool) -> View:
        """What the caller sees: its own archives, or, for an auditor who says so, all of them."""
        if everywhere:
            self.require("auditor")
            return View(archives=None, knows=frozenset({AUDITOR}))
        return View(archives=self.archives, knows=self.archives)


class View(msgspec.Struct, frozen=True):
    """The part of the archive that one question is about; ``archives`` None is all of it."""

    archives: frozenset[str] | None
    knows: frozenset[str]

    def sees(self, archives: frozenset[str]) -> bool:
        """Whether a record of these archives is within the view."""
        return self.archives is None or not self.archives.isdisjoint(archives)


_NEEDED = {
    "admin": "Only an administrator may do this.",
    KEYHOLDER: "Only root and the archive's own user may lock and unlock the archive here, or change its slots.",
    "auditor": "Only an auditor may look into other people's mail. An administrator can ask for the role, with a "
    "reason.",
}
