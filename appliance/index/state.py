"""The state file in the live folder: which shards the writer has open, which lie on the disk. Replaced as a whole."""

from __future__ import annotations

import msgspec

from appliance.files import Files, replace_file
from appliance.index import schema
from appliance.index.engine import engine_trouble
from appliance.index.manifest import State
from appliance.index.place import Place

STATE = "state"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


def write_state(place: Place, state: State, *, files: Files) -> None:
    """Tell readers of ``state``."""
    with engine_trouble(place):
        replace_file(files, place.live / STATE, _encode(state))


def read_state(place: Place) -> State | None:
    """What the writer told last; None where none runs that this version understands."""
    try:
        state = _decode((place.live / STATE).read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return state if state.version == schema.SCHEMA_VERSION else None


def state_stamp(place: Place) -> tuple[int, int, int] | None:
    """Changes whenever the state does; None where no writer runs."""
    try:
        status = (place.live / STATE).stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
