"""Letting go of volumes here that replicas hold, so that an archive can be larger than its disk.

A file goes only after the list of absent files names it durably: whenever the power goes, each volume is either here
or listed, and what is listed is fetched when somebody reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from appliance.cloud.objects import Placed
from appliance.errors import UnavailableError
from appliance.files import FILES, Files
from appliance.store.absent import AbsentFile, AbsentFiles, held
from appliance.store.failures import storage_error
from appliance.store.names import VolumeName, is_mailbox_folder, parse_archive, parse_volume
from appliance.store.seal import Chain, Seal

COPIES: Final = 2
"""Replicas that have to hold a file before it may go here."""

_ROOT: Final = "volumes/"


class Released(msgspec.Struct, frozen=True):
    """What went. ``busy`` are the folders of mailboxes that other work had: they are for the next time."""

    files: int
    bytes: int
    busy: tuple[str, ...] = ()


def releasable(
    volumes: Path,
    chain: Chain,
    manifests: Mapping[str, Mapping[str, Placed]],
    *,
    keep: Collection[bytes],
    older_than: int,
    now: int,
    copies: int = COPIES,
    files: Files = FILES,
) -> list[str]:
    """The volumes and archive volumes that need not be here, the oldest first.

    Those that were signed longer than ``older_than`` ago, and that at least ``copies`` of the replicas hold with the
    hash that was signed. ``manifests`` has, by remote, the files of a generation that was verified. Mailboxes in
    ``keep`` stay whole: sealed ones, which are read while the archive is locked, too, and the system's. The newest
    volume of a writer stays. Times are microseconds. None at all where the chain of seals is not whole.

    Raises StorageError.
    """
    if chain.findings:
        return []
    try:
        here = _here(files, volumes)
    except OSError as error:
        raise storage_error(error) from error
    newest = _newest({*here, *chain.seals})
    border = now - older_than
    found: list[tuple[int, str]] = []
    for seal in _in_use(chain):
        age = _age(seal, chain)
        if seal.volume not in here or seal.volume in newest or age > border or _mailbox(seal.volume) in keep:
            continue
        if not here.isdisjoint(one.volume for one in seal.replaces):
            continue  # a crash left them; the archiver clears them away first
        if sum(_holds(placed, seal) for placed in manifests.values()) >= copies:
            found.append((age, seal.volume))
    return [path for _, path in sorted(found)]


def release(
    volumes: Path,
    paths: Iterable[str],
    chain: Chain,
    *,
    stopped: Callable[[], bool] = lambda: False,
    files: Files = FILES,
) -> Released:
    """Let go of what ``releasable`` found: listed as absent, durably, then removed.

    A mailbox that is being compacted is left alone. Raises DamageError where the list of absent files is damaged,
    StorageError; then what is not listed is still here.
    """
    count = size = 0
    busy: list[str] = []
    for folder, group in groupby(sorted(paths), key=lambda path: path.partition("/")[0]):
        if stopped():
            break
        try:
            with held(volumes / folder, seconds=0, files=files):
                gone = _let_go(volumes, [chain.seals[path] for path in group], files)
        except UnavailableError:
            busy.append(folder)
            continue
        count += len(gone)
        size += sum(seal.size for seal in gone)
    return Released(count, size, tuple(busy))


def _let_go(volumes: Path, seals: Sequence[Seal], files: Files) -> list[Seal]:
    try:
        # One that was replaced since is no part of the archive any more.
        here = [seal for seal in seals if files.exists(volumes / seal.volume)]
        if here:
            AbsentFiles(volumes, files=files).add(AbsentFile(one.volume, one.size, one.file_hash) for one in here)
        for seal in here:
            files.unlink(volumes / seal.volume)
        if here:
            files.sync_directory(volumes / here[0].volume.partition("/")[0])
    except OSError as error:
        raise storage_error(error) from error
    return here


def _in_use(chain: Chain) -> list[Seal]:
    """The seals of what the archive consists of: what was replaced is not among it."""
    plain = [seal for path, seal in chain.seals.items() if not seal.replaces and chain.archive_of(path) is None]
    return [*plain, *chain.archives]


def _age(seal: Seal, chain: Chain) -> int:
    """When the newest of its mail was sealed first."""
    replaced = (chain.seal_of(one.volume) for one in seal.replaces)
    return max((one.sealed_at for one in replaced if one is not None), default=seal.sealed_at)


def _holds(placed: Mapping[str, Placed], seal: Seal) -> bool:
    one = placed.get(_ROOT + seal.volume)
    return one is not None and (one.size, one.hash) == (seal.size, seal.file_hash)


def _here(files: Files, volumes: Path) -> set[str]:
    return {
        f"{folder}/{name}"
        for folder in files.names(volumes)
        if is_mailbox_folder(folder)
        for name in files.names(volumes / folder)
        if parse_volume(f"{folder}/{name}") or parse_archive(f"{folder}/{name}")
    }


def _newest(paths: Iterable[str]) -> frozenset[str]:
    """The newest volume of each writer and mailbox."""
    newest: dict[tuple[bytes, str], VolumeName] = {}
    for name in filter(None, map(parse_volume, paths)):
        key = name.mailbox, name.writer
        newest[key] = max(newest.get(key, name), name)
    return frozenset(map(str, newest.values()))


def _mailbox(path: str) -> bytes:
    return bytes.fromhex(path.partition("/")[0])
