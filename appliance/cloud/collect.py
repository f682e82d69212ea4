"""Garbage on a remote: generations that need not be kept, and objects that no kept generation names.

Kept are the newest generation, the last of each of the latest days and weeks that have one, for weeks the last of each
epoch before, since it may hold what the restored box has not, and what is locked. Nothing is deleted as long as a kept
manifest does not open: nobody could say what it names.

A clock that is ahead makes everything old, and what is deleted does not come back when it is put right. So how late it
is, is what the generations' own times agree on (``agreed_time``), and never later than the newest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from appliance.cloud.clock import SLACK
from appliance.cloud.manifests import ReplicaKeys, generation, objects_of, read_inventory
from appliance.cloud.objects import Manifest, parse_generation
from appliance.cloud.remote import Remote, RemoteConfig, RemoteObject
from appliance.cloud.upload import Progress
from appliance.errors import ForbiddenError

_DAY = 86_400_000_000
_SPARED = 2 * _DAY
"""Microseconds that an object stays though nothing names it: a box that has just taken over may be uploading it."""
_LEAP = _SPARED
"""Microseconds between two generations, above which the clock may have leapt."""
_AGREEING = _DAY
"""Microseconds that runs after a leap have to go on for, before the time that they tell is believed."""


class Collected(NamedTuple):
    """What went."""

    generations: int
    objects: int
    size: int  # bytes


def collect(remote: Remote, keys: ReplicaKeys, progress: Progress, *, now: int) -> Collected:
    """Delete what need not be kept. Raises DamageError where a kept manifest does not open, and as ``Remote`` does.

    To be called while nobody uploads to the remote: what is there and not named is garbage.
    """
    listed = [one for one in remote.list("generations") if parse_generation(one.name) is not None]
    kept = kept_generations(listed, remote.config, now)
    manifests = _read(remote, keys, kept)
    # Manifests first: one that names what is gone would be a promise that nobody can keep.
    unneeded = [one for one in listed if one.name not in kept]
    deleted = _delete(remote, unneeded, progress)
    manifests += _read(remote, keys, [one.name for one in unneeded if one not in deleted])
    alive = named_objects(manifests, remote, keys)
    before = agreed_time(listed, now) - max(_SPARED, remote.config.lock_days * _DAY)
    garbage = [
        one
        for one in (*remote.list("objects"), *remote.list("keyrings"))
        if one.name not in alive and one.modified < before
    ]
    gone = _delete(remote, garbage, progress)
    return Collected(len(deleted), len(gone), sum(one.size for one in gone))


def kept_generations(listed: Sequence[RemoteObject], config: RemoteConfig, now: int) -> list[str]:
    """The manifests that stay, by name: by their own time, which the remote tells. Those of a time that is not agreed
    on stay, and do not count as a day or a week."""
    until = agreed_time(listed, now)
    newest_first = sorted(listed, key=lambda one: parse_generation(one.name) or (0, 0), reverse=True)
    agreed = [one for one in newest_first if one.modified <= until]
    kept = [one.name for one in newest_first[:1]]
    kept += [one.name for one in newest_first if one.modified > until]
    kept += _last_of_each(agreed, "%Y-%m-%d", config.keep_daily)
    kept += _last_of_each(agreed, "%G-%V", config.keep_weekly)
    last_of_epoch = {(parse_generation(one.name) or (0, 0))[0]: one for one in reversed(agreed)}.values()
    kept += [one.name for one in last_of_epoch if one.modified + 7 * config.keep_weekly * _DAY > until]
    if config.lock_days:
        # The first of each day is the one that was locked (see ``replicate``).
        first_of_day = {_period(one, "%Y-%m-%d"): one for one in agreed}.values()
        kept += [one.name for one in first_of_day if one.modified + config.lock_days * _DAY > until]
    return list(dict.fromkeys(kept))


def agreed_time(listed: Iterable[RemoteObject], now: int) -> int:
    """How late it is at least, in microseconds: the time of the newest generation that is not yet to come, unless it
    is right after a leap; then that of the newest one before.

    Where the remote's clock gives the times it is right though this box's is not. Where this box's does, as on a
    mounted disk, a wrong one is believed once generations have come for a day since it leapt. 0 where there is none.
    """
    times = sorted((one.modified for one in listed if one.modified <= now + SLACK), reverse=True)
    for later, earlier in pairwise(times):
        if later - earlier > _LEAP:
            return times[0] if times[0] - later >= _AGREEING else earlier
    return times[0] if times else 0


def named_objects(manifests: Iterable[Manifest], remote: Remote, keys: ReplicaKeys) -> set[str]:
    """All objects that these generations need; of their inventories, only one is in memory at a time."""
    alive: set[str] = set()
    by_inventory: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        alive.update(objects_of(manifest))
        by_inventory.setdefault(manifest.inventory, []).append(manifest)
    for sharing in by_inventory.values():
        # What of an inventory all of its generations have removed, or have elsewhere, is not needed.
        removed = frozenset.intersection(
            *(frozenset((*one.removed, *(moved.path for moved in one.added))) for one in sharing)
        )
        files = read_inventory(sharing[0].inventory, remote, keys)
        alive.update(one.object for path, one in files.items() if path not in removed)
    return alive


def _read(remote: Remote, keys: ReplicaKeys, names: Iterable[str]) -> list[Manifest]:
    return [generation(remote, keys, *parsed) for name in names if (parsed := parse_generation(name)) is not None]


def _last_of_each(newest_first: Sequence[RemoteObject], period: str, count: int) -> list[str]:
    last: dict[str, str] = {}
    for one in newest_first:
        last.setdefault(_period(one, period), one.name)
    return list(last.values())[:count]


def _period(one: RemoteObject, period: str) -> str:
    return datetime.fromtimestamp(one.modified / 1e6, UTC).strftime(period)


def _delete(remote: Remote, objects: Sequence[RemoteObject], progress: Progress) -> list[RemoteObject]:
    """Delete objects, several at a time, until stopped; those that went. What is locked stays."""

    def deleted(one: RemoteObject) -> bool:
        if progress.stopped():
            return False
        try:
            remote.delete(one.name)
        except ForbiddenError:
            return False
        return True

    with ThreadPoolExecutor(max(1, remote.config.transfers)) as threads:
        return [one for one, went in zip(objects, threads.map(deleted, objects), strict=True) if went]
