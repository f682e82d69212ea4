"""The service key: it seals what names a replica and what profiles need, and opens no mail.

An unlocked archive has it from the key agent. Where replicating and fetching are to go on while the archive is locked,
it lies beside the data folder as well, or systemd keeps it (docs/unlocking.md).
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.cloud.manifests import ReplicaKeys
from appliance.errors import DamageError, StorageError
from appliance.files import FILES, Files, read_file, replace_file
from appliance.keys.access import Keys
from appliance.keys.agent_wire import SERVICE
from appliance.services.paths import Paths
from appliance.services.unlock import load_keyring

CREDENTIAL = "mailkeep-service"
"""Name of the systemd credential (systemd.exec(5), LoadCredentialEncrypted=)."""
CREDENTIAL_PLACE = "MAILKEEP_SERVICE_CREDENTIAL"
"""In the environment: where systemd has put it. Replicator and collector are told of this one file, and of no other
credential."""

_BYTES = 32


def keys_of(keys: Keys) -> ReplicaKeys:
    """What replication needs, of an unlocked archive's keys. Raises LockedError, ForbiddenError, UnavailableError."""
    return ReplicaKeys(keys.archive_id, keys.key(SERVICE), keys.verify_key)


def stored_keys(paths: Paths, *, files: Files = FILES) -> ReplicaKeys | None:
    """The same from what lies on this box; None where nothing does. Raises DamageError, StorageError."""
    service = stored_service_key(paths, files=files)
    if service is None:
        return None
    keyring = load_keyring(paths)
    return ReplicaKeys(keyring.archive_id, service, keyring.verify_key)


def stored_service_key(paths: Paths, *, files: Files = FILES) -> bytes | None:
    """The key of purpose ``service`` that lies on this box; None where none does. Raises DamageError, StorageError."""
    place = os.environ.get(CREDENTIAL_PLACE)
    for path in (*([Path(place)] if place else []), paths.service_keyfile):
        try:
            text = read_file(files, path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"The service key {path} cannot be read ({error.strerror}). Nothing is replicated or fetched while the "
                "archive is locked."
            ) from error
        return _key(text, path)
    return None


def encoded(keys: ReplicaKeys) -> bytes:
    """The service key as it lies in a file or a credential: 64 hex digits and a line feed."""
    return keys.service.hex().encode("ascii") + b"\n"


def write_service_keyfile(paths: Paths, keys: ReplicaKeys, *, files: Files = FILES) -> None:
    """Lay the key beside the data folder, durably. Raises StorageError."""
    try:
        replace_file(files, paths.service_keyfile, encoded(keys), 0o600)
    except OSError as error:
        raise StorageError(
            f"{paths.service_keyfile} cannot be written ({error.strerror}). Nothing was changed."
        ) from error


def remove_service_keyfile(paths: Paths, *, files: Files = FILES) -> bool:
    """Take it away; whether there was one. Raises StorageError."""
    try:
        files.unlink(paths.service_keyfile)
        files.sync_directory(paths.service_keyfile.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{paths.service_keyfile} cannot be removed ({error.strerror}).") from error
    return True


def _key(text: bytes, path: Path) -> bytes:
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise DamageError(
            f"{path} holds no service key. Nothing is replicated or fetched while the archive is locked. Write it anew "
            "with `mailkeep service-key write`."
        )
    return key
