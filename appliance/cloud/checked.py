"""What a box remembers of the checks of one replica: which objects were found whole, and when.

It lies sealed in ``DATA/replicas/<remote>/checked``. A check that is interrupted goes on from it, and what may go from
this disk (``release``) is told by it; without the file everything is checked anew.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from appliance import decoding
from appliance.cloud.clock import not_ahead
from appliance.cloud.contents import Contents
from appliance.cloud.manifests import ReplicaKeys, files_of, generation_names, inventory, kind_place
from appliance.cloud.objects import VERSION, Placed
from appliance.cloud.remote import Remote, RemoteConfig, RemoteObject
from appliance.cloud.state import ReplicaPaths, State
from appliance.errors import DamageError
from appliance.files import FILES, Files, create_directory, read_file
from appliance.sealing import open_sealed, replace_sealed

LONGEST_ROUND: Final = 7 * 86_400_000_000
"""Microseconds after which a full check that has not come to its end begins anew."""
GOOD_FOR: Final = 35 * 86_400_000_000
"""Microseconds for which an object that was found whole counts as verified."""

_NAME: Final = "checked"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """An object that was found whole. ``kind`` and ``hash`` are what the remote itself said of it then."""

    size: int
    at: int  # microseconds
    kind: str = ""
    hash: str = ""


class Checked(msgspec.Struct, frozen=True):
    """The checks of one replica so far. Times are microseconds."""

    version: int = VERSION
    begun: int = 0  # when the last full check began
    ended: int = 0  # when one was last at its end
    objects: dict[str, Mark] = {}
    here: str = ""  # path up to which this box's own files were compared by the check under way
    damaged_here: frozenset[str] = frozenset()  # paths of files of this box that are to be fetched from the replica
    generations: tuple[RemoteObject, ...] = ()  # that there were at the last full check
    keeping: tuple[int, int] = (0, 0)  # days and weeks that generations were to be kept for then
    told: frozenset[str] = frozenset()  # findings that are in the audit trail already

    @property
    def is_under_way(self) -> bool:
        """Whether a full check was begun and not ended."""
        return self.begun > self.ended


class CheckedFile:
    """The file of one remote."""

    def __init__(self, paths: ReplicaPaths, keys: ReplicaKeys, *, files: Files = FILES) -> None:
        self._folder = paths.state
        self._keys = keys
        self._files = files

    def load(self) -> Checked:
        """What was saved last; nothing where that is not this version's or this archive's."""
        with contextlib.suppress(FileNotFoundError, DamageError, msgspec.DecodeError):
            sealed = read_file(self._files, self._folder / _NAME)
            found = decoding.from_msgpack(
                open_sealed(sealed, self._keys.sealing, kind_place("checked"), _NAME), Checked
            )
            if found.version == VERSION:
                return found
        return Checked()

    def save(self, checked: Checked) -> None:
        """Durable on return. Raises OSError."""
        create_directory(self._files, self._folder.parent)
        create_directory(self._files, self._folder)
        packed = msgspec.msgpack.encode(checked)
        replace_sealed(self._files, self._folder / _NAME, self._keys.sealing, kind_place("checked"), [packed])


def verified_files(
    paths: ReplicaPaths, remote: Remote, keys: ReplicaKeys, *, now: int, files: Files = FILES
) -> dict[str, Placed]:
    """The files of the newest generation that this box wrote, as far as their objects were found whole lately and
    nothing was found wrong with them since, and the remote lists them now. None where no full check ever came to its
    end, or where the remote lies at another place now.

    Raises DamageError, NotFoundError, and as ``Remote.read`` does.
    """
    state = State(paths, keys, files=files)
    written, checked, bad = state.load(), CheckedFile(paths, keys, files=files).load(), state.bad()
    if written is None or not checked.ended:
        return {}
    newest = written.manifest.epoch, written.manifest.number
    if not state.is_of(remote.config) or newest not in generation_names(remote):
        return {}
    marks = checked.objects
    there = {one.name: one.size for one in remote.list("objects")}
    return {
        path: one
        for path, one in files_of(written.manifest, remote, keys).items()
        if one.object not in bad
        and one.object in marks
        and not_ahead(marks[one.object].at, now) + GOOD_FOR > now
        and there.get(one.object) == marks[one.object].size
    }


def remembered_files(
    paths: ReplicaPaths, config: RemoteConfig, keys: ReplicaKeys, *, files: Files = FILES
) -> dict[str, Placed] | None:
    """The files of the newest generation that this box wrote, but for those whose objects are known to be bad; None
    where this box does not remember. The remote is not asked. Raises OSError."""
    contents = _remembered(paths, config, keys, files)
    if contents is None:
        return None
    bad = State(paths, keys, files=files).bad()
    return {one.path: one for one in contents if one.object not in bad}


def lost_files(paths: ReplicaPaths, config: RemoteConfig, keys: ReplicaKeys, *, files: Files = FILES) -> list[Placed]:
    """Of the newest generation that this box wrote, the files whose objects are known to be bad, and that are not on
    this disk either: another replica may have them. The remote is not asked. Raises OSError."""
    contents = _remembered(paths, config, keys, files)
    bad = State(paths, keys, files=files).bad()
    if contents is None or not bad:
        return []
    return [one for one in contents if one.object in bad and not files.exists(paths.data / one.path)]


def _remembered(paths: ReplicaPaths, config: RemoteConfig, keys: ReplicaKeys, files: Files) -> Contents | None:
    state = State(paths, keys, files=files)
    written, sealed = state.load(), state.inventory()
    if written is None or sealed is None or not state.is_of(config):
        return None
    try:
        contents = Contents(inventory(written.manifest.inventory, sealed, keys))
    except DamageError:  # of another generation, after a crash
        return None
    contents.apply(written.manifest)
    return contents
