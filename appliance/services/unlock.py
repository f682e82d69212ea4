"""The keys, wherever they are: in the key agent of the running archive, or in this process where nothing runs."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from appliance.errors import LockedError, NotFoundError, UnavailableError
from appliance.keys.agent import CREDENTIAL
from appliance.keys.agent_client import Agent, AgentKeys
from appliance.keys.keyring import Keyring, Unlocked
from appliance.services.paths import Paths


class Secret(msgspec.Struct, frozen=True, omit_defaults=True):
    """What opens the keyring; one of the two."""

    passphrase: str = ""
    recovery_key: str = ""

    def __repr__(self) -> str:
        return "Secret(…)"


def load_keyring(paths: Paths) -> Keyring:
    """The locked keyring of a data folder. Raises NotFoundError where there is no archive."""
    if not paths.keyring.exists():
        raise NotFoundError(f"There is no archive in {paths.data}. Make one with `mailkeep --data {paths.data} init`.")
    return Keyring.load(paths.keyring)


def unlock(paths: Paths, secret: Secret | None = None) -> Unlocked:
    """The keyring, opened in this process. Raises KeyringError where the secret does not fit, LockedError without one.

    Without a secret it is opened by what the box has: the systemd credential, else the keyfile.
    """
    keyring = load_keyring(paths)
    if secret is not None and secret.passphrase:
        return keyring.unlock_with_passphrase(secret.passphrase)
    if secret is not None and secret.recovery_key:
        return keyring.unlock_with_recovery_key(secret.recovery_key)
    if (credential := credential_path()) is not None:
        return keyring.unlock_with_credential(credential.read_bytes())
    if paths.keyfile.exists():
        return keyring.unlock_with_keyfile(paths.keyfile)
    raise LockedError(
        "The archive is locked, and there is no keyfile beside it. Give the passphrase with --passphrase-stdin."
    )


def credential_path() -> Path | None:
    """The credential that systemd has decrypted for this process; None where there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    place = Path(folder) / CREDENTIAL if folder else None
    return place if place is not None and place.is_file() else None


def agent_keys(paths: Paths, role: str) -> AgentKeys:
    """The keys as the agent gives them to ``role`` (archiver, projector, box)."""
    return AgentKeys(paths.agent_socket, paths.agent_secret(role), paths.keyring)


def agent_of(paths: Paths, role: str) -> Agent:
    """The agent's door: whether it is unlocked, and, for who may, unlocking and locking it."""
    return Agent(paths.agent_socket, paths.agent_secret(role))


def slot_kinds(paths: Paths) -> tuple[str, ...]:
    """The kinds of ways to the appliance key, each once."""
    return tuple(dict.fromkeys(one.kind for one in load_keyring(paths).slots()))


def unlocks_itself(paths: Paths) -> bool:
    """Whether a restart needs nobody: there is a keyfile beside the data folder, or systemd keeps a credential."""
    kinds = slot_kinds(paths)
    return "credential" in kinds or ("keyfile" in kinds and paths.keyfile.exists())


def is_memory_locked(paths: Paths) -> bool:
    """Whether the keys cannot be swapped out: no, where the agent may not lock its memory. Yes where none runs."""
    if not paths.agent_socket.exists():
        return True
    try:
        return agent_of(paths, "archiver").state().memory_locked
    except UnavailableError:
        return True
