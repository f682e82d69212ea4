"""The lock of an open archive: what it answers to who wants to unlock it, and taking the keys away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import KEYHOLDER, Principal
from appliance.services.unlock import agent_of

OPEN = api.LockState(unlocked=True)


def lock_state() -> api.LockState:
    """It is open."""
    return OPEN


def unlock(*, passphrase: str = "", recovery_key: str = "") -> api.LockState:  # noqa: ARG001 - not looked at
    """Nothing is left to do for who comes second; whether the secret would have fitted is nobody's business."""
    return OPEN


class LocalLock:
    """What the box's own command line may do with the lock."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {"lock_state": self.state, "unlock": self.unlock, "lock": self.lock}

    def state(self, _principal: Principal) -> api.LockState:
        """It is open."""
        return OPEN

    def unlock(self, _principal: Principal, *, passphrase: str = "", recovery_key: str = "") -> api.LockState:
        """As on the web."""
        return unlock(passphrase=passphrase, recovery_key=recovery_key)

    def lock(self, principal: Principal) -> api.LockState:
        """Have the key agent forget the keys. This process ends after that, as every other that had keys from it."""
        principal.require(KEYHOLDER)
        self._archive.note(principal, "lock", "")
        agent_of(self._archive.paths, "archiver").lock()
        return api.LockState(unlocked=False)
