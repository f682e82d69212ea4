"""How alarms are told while the archive is locked: sealed with the service key, which may lie on the box.

A box that came up after a power cut and waits for its passphrase should say so. The settings cannot be read then, but
where replication may go on while the archive is locked (``services.service_key``), telling of alarms may too.
"""

from __future__ import annotations

import msgspec

from appliance import decoding
from appliance.cloud.manifests import ReplicaKeys
from appliance.errors import DamageError
from appliance.files import FILES, Files, read_file
from appliance.sealing import open_sealed, replace_sealed
from appliance.services.notifying.notifier import Setup
from appliance.services.paths import Paths

_PLACE = b"mailkeep notifying v1\x00"


def write_setup(paths: Paths, keys: ReplicaKeys, setup: Setup, *, files: Files = FILES) -> None:
    """Lay down how people are told, durably. Raises OSError."""
    replace_sealed(files, paths.notifying, keys.sealing, _PLACE, [msgspec.msgpack.encode(setup)])


def read_setup(paths: Paths, keys: ReplicaKeys, *, files: Files = FILES) -> Setup | None:
    """The same; None where nothing was set. Raises DamageError, OSError."""
    try:
        sealed = read_file(files, paths.notifying)
    except FileNotFoundError:
        return None
    try:
        return decoding.from_msgpack(open_sealed(sealed, keys.sealing, _PLACE, "notifying"), Setup)
    except msgspec.DecodeError as error:
        raise DamageError("notifying was written by another version of mailkeep.") from error
