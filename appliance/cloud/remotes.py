"""The remotes as the replicator is told of them: written by the archiver, who keeps the settings, read by the
replicator, who has no key to them.

``DATA/replicas/remotes`` holds them, and ``DATA/replicas/tokens`` what the providers have changed in their options
since (OAuth tokens that were refreshed). Both are sealed with the replicas' own key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from appliance import decoding
from appliance.cloud.backends import check_config
from appliance.cloud.manifests import ReplicaKeys, kind_place
from appliance.cloud.remote import RemoteConfig
from appliance.errors import DamageError, UsageError
from appliance.files import FILES, Files, create_directory, read_file
from appliance.sealing import open_sealed, replace_sealed

TAKEN: Final = frozenset({"all", "remotes", "tokens", "epoch", "restore", "rehearsal", "replica", "secret"})
"""Names that no remote can have: those of other things in ``DATA/replicas`` and ``DATA/run/replica``."""

_Name = Literal["remotes", "tokens"]

T = TypeVar("T")


class Remotes(msgspec.Struct, frozen=True):
    """All remotes, and what holds for them together."""

    remotes: tuple[RemoteConfig, ...] = ()
    keep_local_days: int = 0  # 0: volumes are not dropped here
    rehearsal: bool = True

    def find(self, name: str) -> RemoteConfig | None:
        """The remote of that name."""
        return next((one for one in self.remotes if one.name == name), None)


class _Refreshed(msgspec.Struct, frozen=True):
    """Options that a provider changed. They hold as long as the administrator's own are those with the hash ``of``."""

    of: bytes
    options: dict[str, str]


def write_remotes(data: Path, keys: ReplicaKeys, remotes: Remotes, *, files: Files = FILES) -> None:
    """Tell the replicator of the remotes, durably. Raises OSError."""
    _write(data, "remotes", keys, remotes, files)


def read_remotes(data: Path, keys: ReplicaKeys, *, files: Files = FILES) -> Remotes:
    """The remotes, their options as the providers have refreshed them; none where nothing was written yet.

    Raises DamageError where the file was altered or is of another archive, OSError.
    """
    found = _read(data, "remotes", keys, Remotes, files) or Remotes()
    refreshed = _tokens(data, keys, files)
    return msgspec.structs.replace(found, remotes=tuple(_with(one, refreshed.get(one.name)) for one in found.remotes))


def keep_tokens(
    data: Path, keys: ReplicaKeys, changed: Mapping[str, Mapping[str, str]], *, files: Files = FILES
) -> None:
    """Keep options that providers have changed, by remote, durably; those of remotes that are gone are forgotten.

    Raises DamageError, OSError.
    """
    told = _read(data, "remotes", keys, Remotes, files) or Remotes()
    before = _tokens(data, keys, files)
    after = {one.name: before[one.name] for one in told.remotes if one.name in before}
    for one in told.remotes:
        if changed.get(one.name):
            after[one.name] = _Refreshed(_hash(one), dict(changed[one.name]))
    if after != before:
        _write(data, "tokens", keys, after, files)


def check(config: RemoteConfig) -> RemoteConfig:
    """``config`` if it can be a remote of this archive. Raises UsageError."""
    check_config(config)
    if config.name in TAKEN:
        raise UsageError(f"“{config.name}” cannot name a remote: something else is called so. Take another name.")
    return config


def _with(config: RemoteConfig, refreshed: _Refreshed | None) -> RemoteConfig:
    if refreshed is None or refreshed.of != _hash(config):
        return config
    return msgspec.structs.replace(config, options={**config.options, **refreshed.options})


def _hash(config: RemoteConfig) -> bytes:
    """Of what the administrator set: when he gives another token, his counts."""
    return sha256(msgspec.msgpack.encode([config.type, sorted(config.options.items())])).digest()


def _tokens(data: Path, keys: ReplicaKeys, files: Files) -> dict[str, _Refreshed]:
    with contextlib.suppress(DamageError):  # the administrator's own are tried instead
        return _read(data, "tokens", keys, dict[str, _Refreshed], files) or {}
    return {}


def _read(data: Path, name: _Name, keys: ReplicaKeys, kind: type[T], files: Files) -> T | None:
    try:
        sealed = read_file(files, data / "replicas" / name)
    except FileNotFoundError:
        return None
    packed = open_sealed(sealed, keys.sealing, kind_place(name), f"replicas/{name}")
    try:
        return decoding.from_msgpack(packed, kind)
    except msgspec.DecodeError as error:
        raise DamageError(f"replicas/{name} was written by another version of mailkeep.") from error


def _write(data: Path, name: _Name, keys: ReplicaKeys, content: object, files: Files) -> None:
    folder = data / "replicas"
    create_directory(files, folder)
    replace_sealed(files, folder / name, keys.sealing, kind_place(name), [msgspec.msgpack.encode(content)])
