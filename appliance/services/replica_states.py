"""How far the remotes are, for faces and for the status: from the replicator's history, and from the log itself.

None of it needs a key, so it is told of a locked archive too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from appliance.cloud.clock import not_ahead
from appliance.errors import MailkeepError
from appliance.services import api
from appliance.services.alarms.trouble import Figures, Trouble
from appliance.services.paths import Paths
from appliance.services.replicator.history import History, Run, Standing
from appliance.services.replicator.progress import HowFar, how_far, progress_place
from appliance.services.unreplicated import Unreplicated, Waiting
from appliance.store.reader import LogReader

LATE_INTERVALS = 2
"""Intervals that a remote may be behind before there is an alarm."""

_SECOND = 1_000_000


class Seen(NamedTuple):
    """All remotes at one moment, and the messages that none of them has."""

    replicas: tuple[api.ReplicaState, ...]
    only_here: int
    trouble: str = ""
    """Why nothing is known of them."""
    ahead: frozenset[str] = frozenset()
    """Those whose last run was at a time that is yet to come: the clock was wrong then, or is wrong now."""


class ReplicaStates:
    """Looks at the remotes of one data folder."""

    def __init__(self, paths: Paths, reader: LogReader) -> None:
        self._paths = paths
        self._unreplicated = Unreplicated(reader, paths.volumes)
        self._history: History | None = None

    @property
    def history(self) -> History:
        """The replicator's history. Raises StorageError, UnavailableError."""
        if self._history is None:
            self._history = History(self._paths.jobs)
        return self._history

    def close(self) -> None:
        """Close the history."""
        if self._history is not None:
            self._history.close()
            self._history = None

    def see(self, now: float, records: int, remotes: Mapping[str, Standing] | None = None) -> Seen:
        """The remotes now, where the log has ``records`` messages in all.

        ``remotes`` are those that are set up, with interval and pause as they are set; without them, as in a locked
        archive, they are those that the replicator knows of.
        """
        if remotes is None and not self._paths.jobs.exists():
            return Seen((), records)
        if remotes is not None and not remotes:
            return Seen((), records)
        try:
            standings = self._standings(remotes)
            ahead = frozenset(name for name, one in standings.items() if _is_ahead(one, now))
            # When that was is not known, so nothing counts as there until the next run.
            standings |= {name: msgspec.structs.replace(standings[name], reached=0) for name in ahead}
            waiting = self._waiting(standings, records)
            unfinished = {run.remote: run for run in self.history.unfinished()}
        except MailkeepError as error:
            return Seen((), 0, error.message)
        states = tuple(
            _state(name, one, waiting[name], unfinished.get(name), self._paths, now) for name, one in standings.items()
        )
        return Seen(states, min((one.waiting for one in states), default=records), ahead=ahead)

    def run(self, run: Run) -> api.RunInfo:
        """A run as faces show it."""
        return run_info(run, how_far(progress_place(self._paths, run.remote)))

    def _standings(self, remotes: Mapping[str, Standing] | None) -> dict[str, Standing]:
        known = self.history.standings()
        if remotes is None:
            return known
        return {
            name: msgspec.structs.replace(known.get(name, Standing()), interval=one.interval, paused=one.paused)
            for name, one in remotes.items()
        }

    def _waiting(self, standings: Mapping[str, Standing], records: int) -> dict[str, Waiting]:
        """What each remote lacks; one that has nothing at all lacks everything."""
        reached = sorted({one.reached for one in standings.values() if one.reached})
        counted = dict(zip(reached, self._unreplicated.since(*reached), strict=True))
        return {name: counted.get(one.reached, Waiting(records, 0)) for name, one in standings.items()}


def troubles(seen: Seen) -> Iterator[Trouble]:
    """What an administrator should look at."""
    if seen.trouble:
        yield Trouble("replica-unknown", "warning", figures={"trouble": seen.trouble})
    for one in seen.replicas:
        named: Figures = {"name": one.name, "trouble": one.trouble}
        if one.unsound:
            yield Trouble("replica-unsound", "error", one.name, {"name": one.name, "trouble": one.unsound})
        if one.name in seen.ahead:
            yield Trouble("replica-clock", "error", one.name, named)
        if one.state == "superseded":
            yield Trouble("replica-superseded", "error", one.name, named)
        elif one.state == "behind" and one.reached_at is None and one.name not in seen.ahead:
            yield Trouble("replica-empty", "error", one.name, named)
        elif one.state == "behind":
            behind: Figures = {"lag": one.lag_seconds, "waiting": one.waiting, "paused": int(one.next_at is None)}
            yield Trouble("replica-behind", "error", one.name, named | behind)
    late = [one for one in seen.replicas if one.state in ("behind", "superseded", "paused")]
    if seen.replicas and len(late) == len(seen.replicas) and seen.only_here:
        yield Trouble("unreplicated", "warning", figures={"count": seen.only_here})


def run_info(run: Run, now: HowFar | None = None) -> api.RunInfo:
    """A run as faces show it; ``now`` is what was last said by the run that concerns its remote."""
    begun, ended = _seconds(run.begun), _seconds(run.ended)
    lasted = (run.ended - run.begun) / _SECOND if run.ended and run.begun else 0.0
    info = api.RunInfo(
        id=run.id, remote=run.remote, kind=run.kind, asked=run.asked, state=run.state, queued_at=run.queued // _SECOND,
        begun_at=begun, ended_at=ended, words=run.words, bytes=run.bytes,
        rate=run.bytes / lasted if lasted and run.times == 1 else 0.0, times=run.times, lines=run.lines,
    )  # fmt: skip
    if run.state != "running" or now is None or now.run != run.id:
        return info
    return msgspec.structs.replace(
        info, done=now.done, total=now.total, rate=now.rate, eta=now.eta, what=now.what, bytes=now.done
    )


def _state(
    name: str, standing: Standing, waiting: Waiting, run: Run | None, paths: Paths, now: float
) -> api.ReplicaState:
    lag = max(now - standing.reached / _SECOND, 0.0) if waiting.records and standing.reached else 0.0
    return api.ReplicaState(
        name=name,
        state=_word(standing, waiting, lag),
        interval=standing.interval,
        reached_at=_seconds(standing.reached or None),
        first_at=_seconds(standing.first or None),
        lag_seconds=lag,
        waiting=waiting.records,
        waiting_bytes=waiting.bytes,
        last_at=_seconds(standing.ended.get("replicate")),
        next_at=None if standing.paused else max(standing.next_run(int(now * _SECOND)) // _SECOND, int(now)),
        epoch=standing.epoch,
        generation=standing.generation,
        records=standing.records,
        objects=standing.objects,
        free=standing.free,
        used=standing.used,
        trouble=standing.trouble,
        failures=standing.failures,
        unsound=standing.unsound,
        checked_at=_seconds(standing.ended.get("check")),
        rehearsed_at=_seconds(standing.ended.get("rehearse")),
        run=None if run is None else run_info(run, how_far(progress_place(paths, name))),
    )


def _is_ahead(standing: Standing, now: float) -> bool:
    return standing.reached != not_ahead(standing.reached, int(now * _SECOND))


def _word(
    standing: Standing, waiting: Waiting, lag: float
) -> Literal["new", "current", "behind", "failing", "paused", "superseded"]:
    if standing.superseded:
        return "superseded"
    if lag > LATE_INTERVALS * standing.interval or (not standing.reached and waiting.records and standing.failures):
        return "behind"
    if standing.paused:
        return "paused"
    if standing.failures:
        return "failing"
    return "current" if standing.reached else "new"


def _seconds(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // _SECOND
