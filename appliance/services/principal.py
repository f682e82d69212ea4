"""Who is asking: the identity that every service function takes first."""

from __future__ import annotations

import msgspec

from appliance.errors import ForbiddenError
from appliance.language import later
from appliance.mail.audience import AUDITOR
from appliance.services.api import ALL

KEYHOLDER = "keyholder"
"""The role of root and of the archive's own user at the box itself: they could read the keyfile anyhow. It cannot be
granted."""

LOCAL_GROUP = "mailkeep-audit"
"""The Unix group whose members may use the archive's command line and console."""


class Principal(msgspec.Struct, frozen=True):
    """A caller with the rights it has at this moment.

    ``id`` stands in the audit trail: a user id, or ``local:<unix user>`` for the box's own command line.
    ``archives`` are those whose mail it may see without being an auditor: its own, and those opened to it.
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

    def require(self, role: str) -> None:
        """Raises ForbiddenError unless the caller has ``role``."""
        if role not in self.roles:
            raise ForbiddenError(_NEEDED.get(role, "This is not open to you."))

    def looking(self, *, everywhere: bool, whose: str = "") -> View:
        """What the caller sees: its own archive; the one that ``whose`` names by its user's id, or with ``ALL`` each
        that it may read; or, for an auditor who says so, all there are.

        Raises ForbiddenError for an archive that is not open to the caller.
        """
        if everywhere:
            self.require("auditor")
            return View(archives=None, knows=frozenset({AUDITOR}))
        own = self.archives & {self.id}
        seen = {"": own, ALL: self.archives}.get(whose, self.archives & {whose})
        if whose and not seen:
            raise closed()
        return View(archives=seen, knows=seen, others=seen - own)


SYSTEM = Principal(id="system", roles=frozenset({"admin"}))
"""The archive itself: what it does by the clock, or because something has happened."""


class View(msgspec.Struct, frozen=True):
    """The part of the archive that one question is about; ``archives`` None is all of it.

    ``knows`` are the archives through which hidden people are learned of. ``others`` are those of ``archives`` that are
    not the caller's own.
    """

    archives: frozenset[str] | None
    knows: frozenset[str]
    others: frozenset[str] = frozenset()

    def sees(self, archives: frozenset[str]) -> bool:
        """Whether a record of these archives is within the view."""
        return self.archives is None or not self.archives.isdisjoint(archives)

    def knows_of(self, archives: frozenset[str]) -> frozenset[str]:
        """Through which archives hidden people of a record of these archives are learned of: whoever may read several
        learns no more of each than those whose they are."""
        return self.knows if self.archives is None else self.knows & archives


def closed() -> ForbiddenError:
    """What somebody is told who asks for an archive that is not open to them, or not any more."""
    return ForbiddenError(
        later("This archive is not open to you, or not any more. An administrator can open it, with a reason.")
    )


_NEEDED = {
    "admin": "Only an administrator may do this.",
    KEYHOLDER: "Only root and the archive's own user may lock and unlock the archive here, or change its slots.",
    "auditor": "Only an auditor may look into other people's mail. An administrator can ask for the role, with a "
    "reason.",
}
