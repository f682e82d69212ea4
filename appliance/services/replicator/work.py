"""The kinds of runs: what each does with a remote, and what it says of it afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from typing import Final, NamedTuple

import msgspec

from appliance.cloud import audit, rehearsal
from appliance.cloud.backends import is_same_place
from appliance.cloud.checked import CheckedFile, lost_files, verified_files
from appliance.cloud.filling import fill
from appliance.cloud.local import ROOT
from appliance.cloud.manifests import ReplicaKeys, highest_epoch
from appliance.cloud.mending import REPAIRED, Mended, mend, mend_from_other
from appliance.cloud.objects import Manifest, Placed
from appliance.cloud.release import releasable, release
from appliance.cloud.remote import Remote, RemoteConfig, Room
from appliance.cloud.remotes import Remotes
from appliance.cloud.replicate import replicate as replicate_to
from appliance.cloud.restore_state import RestoreFolder
from appliance.cloud.state import ReplicaPaths, State, own_epoch
from appliance.errors import ConflictError, DamageError, MailkeepError, UnavailableError
from appliance.ingest.system_log import SYSTEM_MAILBOX
from appliance.keys.keyring import Keyring
from appliance.services.paths import Paths
from appliance.services.replicator.history import Kind, Standing
from appliance.services.replicator.progress import Progress
from appliance.store.absent import AbsentFiles
from appliance.store.seal import Chain

_ASK_SECONDS: Final = 0.5
_MOST_NAMES: Final = 3
_MOST_FAILED: Final = 5
"""Lost files that a run may ask the other remotes for in vain."""


class Work(NamedTuple):
    """What a run has to work with. ``config`` is None for what concerns all remotes together."""

    paths: Paths
    keys: ReplicaKeys
    remotes: Remotes
    config: RemoteConfig | None
    remote: Callable[[RemoteConfig], Remote]
    progress: Progress
    tell: Callable[[str], None]
    """Writes a line into the run's log."""
    fetch: Callable[[str], None]
    """Brings a volume that is not on this disk from whichever remote has it."""
    open: Callable[[RemoteConfig], Remote]
    """Opens a remote that is not among those that are replicated to; the caller closes it."""
    others_wait: Callable[[], bool]
    """Whether another run waits for this remote."""
    is_unlocked: Callable[[], bool]
    note: Callable[[str, str], None]
    """Has the archiver write an audit line (action, what)."""
    standing: Standing
    now: Callable[[], int]
    """Microseconds."""

    @property
    def place(self) -> Remote:
        """The remote that this run is about."""
        assert self.config is not None
        return self.remote(self.config)


class Outcome(NamedTuple):
    """How a run ended that did not fail."""

    words: str
    standing: Standing
    worth_telling: bool = True
    """Whether it belongs into the history though nobody asked for it."""
    is_over: bool = True
    """Whether it need not go on later."""


class SupersededError(ConflictError):
    """Somebody restored the archive from this remote: another box works for a later epoch."""


class PartlyError(MailkeepError):
    """A run that failed in part: ``standing`` is how far it came all the same."""

    def __init__(self, error: MailkeepError, standing: Standing) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.standing = standing


def replicate(work: Work) -> Outcome:
    """Everything that was acknowledged until now is on the remote on return.

    What is neither on this disk nor whole on the remote is fetched from another one that has it, and goes up again.
    """
    try:
        return _replicated(work)
    except MailkeepError as error:
        if error.code != DamageError.code or not _bring_lost(work):
            raise
        return _replicated(work)


def _replicated(work: Work) -> Outcome:
    before, place = work.standing, work.place
    paths = _paths(work)
    bad = State(paths, work.keys).bad()
    try:
        manifest = replicate_to(paths, place, work.keys, work.progress, now=work.now())
    except ConflictError as error:
        if _is_superseded(work):
            raise SupersededError(error.message) from error
        raise
    except (DamageError, UnavailableError) as error:
        # These may come at the end, when all that could be done has been done.
        written = State(paths, work.keys).load()
        _tell_repaired(work, bad)
        if written is not None and written.manifest.number != before.generation:
            raise PartlyError(error, _after(before, written.manifest, written.objects)) from error
        raise
    is_new = (manifest.epoch, manifest.number) != (before.epoch, before.generation)
    known = State(paths, work.keys).load()
    standing = _after(before, manifest, known.objects if known is not None else before.objects)
    _tell_repaired(work, bad)
    if not is_new:
        return Outcome("Nothing was new since the run before.", standing, worth_telling=False)
    work.tell(
        f"Generation {manifest.number} of epoch {manifest.epoch} holds {manifest.records} records and the chain of "
        f"seals up to number {manifest.chain_number}."
    )
    room = _room(place)
    standing = msgspec.structs.replace(standing, free=room.free, used=room.used)
    return Outcome(f"Generation {manifest.number} is complete.", standing)


def _tell_repaired(work: Work, bad: Collection[str]) -> None:
    if mended := frozenset(bad) - State(_paths(work), work.keys).bad():
        work.note(REPAIRED, f"{work.place.config.name}: what was in {_named(mended)} was uploaded anew.")


def _bring_lost(work: Work) -> bool:
    """Whether anything came from another remote of what neither this disk nor this run's remote has."""
    name = work.place.config.name
    lost = [one.path for one in lost_files(_paths(work), work.place.config, work.keys)]
    absent = AbsentFiles(work.paths.volumes).all()
    brought = failed = 0
    let_go = [one for one in lost if one.removeprefix(ROOT) in absent]
    for path in random.SystemRandom().sample(let_go, len(let_go)):  # each has its turn in some run
        if failed == _MOST_FAILED:
            break
        try:
            work.fetch(path.removeprefix(ROOT))
        except MailkeepError as error:
            failed += 1
            work.tell(f"{path}: {error.message}")
        else:
            brought += 1
            words = (
                f"{path}, which is damaged or missing at {name} and was not on this disk, came from another replica."
            )
            work.tell(words)
            work.note(REPAIRED, words)
    here = [one for one in lost if one.removeprefix(ROOT) not in absent]
    mended = _mended_from_others(work, here) if here and work.is_unlocked() else Mended()
    return bool(brought or mended.done)


def _mended_from_others(work: Work, lost: Collection[str] = ()) -> Mended:
    """This box's files that are damaged or ``lost`` here and that this run's remote cannot mend, from the others."""
    mended = Mended()
    for config in work.remotes.remotes:
        if config.name == work.place.config.name:
            continue
        try:
            tried = mend_from_other(_paths(work), work.remote(config), work.keys, work.note, lost=lost)
        except MailkeepError as error:
            work.tell(f"Nothing could be mended from “{config.name}”: {error.message}")
            continue
        for line in (*tried.done, *tried.left):
            work.tell(line)
        mended += tried
        if not tried.left:
            break
    return mended


def _after(before: Standing, manifest: Manifest, objects: int) -> Standing:
    return msgspec.structs.replace(
        before, reached=manifest.at, first=before.first or manifest.at, epoch=manifest.epoch,
        generation=manifest.number, records=manifest.records, objects=objects,
    )  # fmt: skip


def _is_superseded(work: Work) -> bool:
    try:
        return highest_epoch(work.place, work.keys) > own_epoch(work.paths.data)
    except MailkeepError:
        return False


def _room(remote: Remote) -> Room:
    try:
        return remote.room()
    except MailkeepError:
        return Room()  # not every remote tells


def sample(work: Work) -> Outcome:
    """Some files of the replica, chosen at random, are what they should be."""
    audited = audit.sample(_paths(work), work.place, work.keys, work.progress, now=work.now(), hand_over=True)
    return _audited(work, audited)


def check(work: Work) -> Outcome:
    """All of the replica is there and whole. Other runs have their turn in between."""
    audited = audit.full(
        _paths(work), work.place, work.keys, work.progress, now=work.now(), enough=_now_and_then(work.others_wait)
    )  # fmt: skip
    if not audited.is_complete:
        return Outcome("", work.standing, is_over=False)
    return _audited(work, audited)


def _now_and_then(ask: Callable[[], bool]) -> Callable[[], bool]:
    """``ask``, but not more than a few times a second."""
    asked, answer = 0.0, False

    def enough() -> bool:
        nonlocal asked, answer
        if time.monotonic() - asked > _ASK_SECONDS:
            asked, answer = time.monotonic(), ask()
        return answer

    return enough


def _named(names: Collection[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(sorted(names)[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _audited(work: Work, audited: audit.Audited) -> Outcome:
    """What a check found, mended as far as that is possible. Raises DamageError where anything was wrong."""
    for line in audited.lines():
        work.tell(line)
    mended = mend(
        _paths(work), work.place, work.keys, audited, work.note, now=work.now(), may_change_here=work.is_unlocked()
    )  # fmt: skip
    for line in (*mended.done, *mended.left):
        work.tell(line)
    if work.is_unlocked() and CheckedFile(_paths(work), work.keys).load().damaged_here:
        _mended_from_others(work)
    standing = work.standing
    if not audited.is_whole:
        standing = replicate(work).standing  # which uploads anew what is not as it should be
    if not audited.is_whole:
        words = f"{audited.words} Where one of the two copies was whole, it was put in the other's place."
        raise PartlyError(DamageError(words), standing)
    return Outcome(audited.words, standing)


def rehearse(work: Work) -> Outcome:
    """The archive could be restored from the remote, as far as can be seen without the recovery key."""
    scratch = work.paths.replicas / "rehearsal" / work.place.config.name
    rehearsed = rehearsal.rehearse(scratch, work.place, work.keys, work.progress, hand_over=_paths(work))
    for line in rehearsed.lines():
        work.tell(line)
    if not rehearsed.is_whole:
        raise DamageError(rehearsed.words)
    return Outcome(rehearsed.words, work.standing)


def release_old(work: Work) -> Outcome:
    """Volumes that are old enough, and that two verified replicas have, are not on this disk any more."""
    days = work.remotes.keep_local_days
    if not days:
        return Outcome("All mail stays on this disk: it is set so.", work.standing, worth_telling=False)
    now, volumes = work.now(), work.paths.volumes
    manifests: dict[str, Mapping[str, Placed]] = {}
    counted: list[RemoteConfig] = []
    for config in work.remotes.remotes:
        # Two remotes at one place are one copy; what lies at one that is paused nobody looks after.
        if config.paused or any(is_same_place(config, one) for one in counted):
            continue
        counted.append(config)
        try:
            place = work.remote(config)
            if highest_epoch(place, work.keys) > own_epoch(work.paths.data):
                work.tell(f"Nothing was let go of on account of “{config.name}”: another box writes there.")
                continue
            paths = ReplicaPaths.of(work.paths.data, config.name)
            manifests[config.name] = verified_files(paths, place, work.keys, now=now)
        except MailkeepError as error:
            work.tell(f"Nothing was let go of on account of “{config.name}”: {error.message}")
    chain = Chain.load(volumes, archive_id=work.keys.archive, verify_key=work.keys.verify_key)
    keyring = Keyring.load(work.paths.keyring)
    keep = {SYSTEM_MAILBOX, *(one for one in keyring.mailboxes if keyring.is_sealed(one))}
    old = releasable(volumes, chain, manifests, keep=keep, older_than=days * DAY * 1_000_000, now=now)
    done = release(volumes, old, chain, stopped=work.progress.stopped)
    if not done.files:
        return Outcome("No volume could be let go of.", work.standing, worth_telling=False)
    work.note("replica.release", f"{done.files} volumes, {done.bytes} bytes")
    return Outcome(f"{done.files} volumes are on the replicas only now; they come back when needed.", work.standing)


def fill_restored(work: Work) -> Outcome:
    """What a restore still has to bring is here."""
    config = RestoreFolder(work.paths.data).load(work.keys).remote
    try:
        with closing(work.open(config)) as remote:
            filled = fill(work.paths.data, remote, work.keys, work.progress)
    except ConflictError as error:  # `mailkeep restore` is at it still
        return Outcome(error.message, work.standing, worth_telling=False)
    if not filled.is_whole:
        raise DamageError(" ".join((*filled.status.missing, *filled.status.errors)) or "The restore is incomplete.")
    return Outcome(f"The restore is complete: {filled.files} volumes came down, and all was verified.", work.standing)


def _paths(work: Work) -> ReplicaPaths:
    return ReplicaPaths.of(work.paths.data, work.place.config.name)


WORKS: Mapping[Kind, Callable[[Work], Outcome]] = {
    "replicate": replicate, "sample": sample, "check": check, "rehearse": rehearse, "release": release_old,
    "fill": fill_restored,
}  # fmt: skip
"""What each kind of run does."""

DAY: Final = 86_400
EVERY: Mapping[Kind, int] = {"sample": DAY, "check": 7 * DAY, "rehearse": 7 * DAY}
"""Seconds after which a kind of run other than ``replicate`` begins by itself, for each remote."""

OF_ALL: Sequence[Kind] = ("release", "fill")
"""Kinds that concern all remotes together."""
