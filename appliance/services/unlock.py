"""Opening the keyring at start: with the keyfile beside the data folder, or with a passphrase that was handed in."""

from __future__ import annotations

import msgspec

from appliance.errors import LockedError
from appliance.keys.keyring import Unlocked
from appliance.services.archive import load_keyring
from appliance.services.paths import Paths


class Secret(msgspec.Struct, frozen=True, omit_defaults=True):
    """What opens the keyring; one of the two."""

    passphrase: str = ""
    recovery_key: str = ""

    def __repr__(self) -> str:
        return "Secret(…)"


def unlock(paths: Paths, secret: Secret | None = None) -> Unlocked:
    """The open keyring. Raises KeyringError where the secret does not fit, LockedError where none is at hand."""
    keyring = load_keyring(paths)
    if secret is not None and secret.passphrase:
        return keyring.unlock_with_passphrase(secret.passphrase)
    if secret is not None and secret.recovery_key:
        return keyring.unlock_with_recovery_key(secret.recovery_key)
    if paths.keyfile.exists():
        return keyring.unlock_with_keyfile(paths.keyfile)
    raise LockedError(
        "The archive is locked, and there is no keyfile beside it. Give the passphrase with --passphrase-stdin."
    )
