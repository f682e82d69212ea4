"""The ways to the appliance key: listing, adding, changing and removing them. For the box's own command line only,
and all but the list for root and the archive's own user: who can add a slot reads everything for ever.

Changing a slot rewrites no mail. What is done here is in the audit trail; no secret is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.errors import NotFoundError, UsageError
from appliance.keys.management import KeyManagement
from appliance.language import later
from appliance.services import api
from appliance.services.archive import Archive
from appliance.services.principal import KEYHOLDER, Principal

SHORTEST_PASSPHRASE = 12
LONGEST_NAME = 100


class Slots:
    """The services on the slots of one open archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._keys: KeyManagement = archive.keyring

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name."""
        return {
            "slots": self.list,
            "slot_add_passphrase": self.add_passphrase,
            "slot_add_keyfile": self.add_keyfile,
            "slot_add_credential": self.add_credential,
            "slot_change_passphrase": self.change_passphrase,
            "slot_remove": self.remove,
            "slot_recovery_begin": self.recovery_begin,
            "slot_recovery_confirm": self.recovery_confirm,
            "slot_new_key": self.new_key,
        }

    def list(self, principal: Principal) -> tuple[api.SlotInfo, ...]:
        """All slots, in the order in which they were made."""
        principal.require("admin")
        return tuple(api.SlotInfo(one.id, one.kind, one.name, one.created // 1_000_000) for one in self._keys.slots())

    def add_passphrase(self, principal: Principal, *, passphrase: str, name: str = "") -> api.SlotInfo:
        """One more passphrase."""
        principal.require(KEYHOLDER)
        _require_good(passphrase)
        return self._added(principal, self._keys.add_passphrase(passphrase, _named(name)))

    def add_keyfile(self, principal: Principal, *, path: str, name: str = "") -> api.SlotInfo:
        """Write a new keyfile to ``path``, which must lie outside the data folder."""
        principal.require(KEYHOLDER)
        place = Path(path).absolute()
        if place.is_relative_to(self._archive.paths.data):
            raise UsageError(
                later("A keyfile lies outside the data folder, so that a copy of the folder opens nothing.")
            )
        return self._added(principal, self._keys.add_keyfile(place, _named(name)))

    def add_credential(self, principal: Principal) -> api.NewCredential:
        """A random secret for systemd to keep."""
        principal.require(KEYHOLDER)
        id, secret = self._keys.add_credential()
        return api.NewCredential(self._added(principal, id), secret)

    def change_passphrase(self, principal: Principal, *, id: str, passphrase: str) -> api.SlotInfo:
        """Another passphrase in a slot that has one."""
        principal.require(KEYHOLDER)
        _require_good(passphrase)
        self._keys.change_passphrase(id, passphrase)
        self._archive.note(principal, "slot.change", id)
        return self._slot(id)

    def remove(self, principal: Principal, *, id: str) -> None:
        """Take a slot away. The last one and the only recovery key stay."""
        principal.require(KEYHOLDER)
        slot = self._slot(id)
        self._keys.remove_slot(id)
        self._archive.note(principal, "slot.remove", f"{slot.kind} {id}")

    def recovery_begin(self, principal: Principal) -> str:
        """A new recovery key, which counts only when it was typed back."""
        principal.require(KEYHOLDER)
        return self._keys.begin_recovery_key()

    def recovery_confirm(self, principal: Principal, *, text: str) -> None:
        """Put the new recovery key in force; the one before opens the archive no more."""
        principal.require(KEYHOLDER)
        self._keys.confirm_recovery_key(text)
        self._archive.note(principal, "slot.recovery-key", "")

    def new_key(self, principal: Principal, *, passphrase: str = "", keyfile: str = "") -> str:
        """A new appliance key under the secrets that are given, and a new recovery key, which is returned.

        Slots whose secret was not given go away. Every mailbox's keys are wrapped anew; no mail is rewritten.
        """
        principal.require(KEYHOLDER)
        text = self._keys.new_appliance_key(passphrase=passphrase, keyfile=Path(keyfile) if keyfile else None)
        self._archive.note(principal, "slot.new-key", "")
        return text

    def _added(self, principal: Principal, id: str) -> api.SlotInfo:
        slot = self._slot(id)
        self._archive.note(principal, "slot.add", f"{slot.kind} {id}")
        return slot

    def _slot(self, id: str) -> api.SlotInfo:
        for one in self._keys.slots():
            if one.id == id:
                return api.SlotInfo(one.id, one.kind, one.name, one.created // 1_000_000)
        raise NotFoundError(later("There is no slot {id}. `mailkeep slot list` shows those there are."), id=id)


def _require_good(passphrase: str) -> None:
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise UsageError(
            later(
                "Choose a passphrase of at least {count} characters: whoever has a copy of the data folder can "
                "try them without end. A few unrelated words are good."
            ),
            count=SHORTEST_PASSPHRASE,
        )


def _named(name: str) -> str:
    if len(name) > LONGEST_NAME or any(sign < " " for sign in name):
        raise UsageError(later("A slot's name is one line of at most {count} characters."), count=LONGEST_NAME)
    return name.strip()
