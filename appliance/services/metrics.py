"""Metrics in Prometheus' text format: the archive in numbers for a machine that watches (docs/monitoring.md).

No label has an address or a person in it: mailboxes are named by their ids, remotes by the names an administrator gave
them. Of a locked archive what needs its key is left out, and everything else is told.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.errors import SignInError
from appliance.mail import published
from appliance.mail.published import WorkerStats
from appliance.services import api, status
from appliance.services.alarms.conditions import Certificate
from appliance.services.archive import Archive
from appliance.services.jobs import Jobs
from appliance.services.looking import Looking
from appliance.services.observing import certificate, disk_used
from appliance.services.paths import Paths
from appliance.services.principal import Principal
from appliance.services.sealed import Usage
from appliance.services.working import processes
from appliance.settings import events

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "mailkeep_"
_TOKEN_MARK: Final = "mkm_"  # noqa: S105 - how a token can be told from others
_DAY: Final = 86_400.0
_REPLICA_STATES: Final = ("new", "current", "behind", "failing", "paused", "superseded")


class MailboxCount(msgspec.Struct, frozen=True):
    """What a mailbox holds; ``last`` in seconds."""

    id: str
    records: int
    bytes: int
    last: float | None


class Measured(msgspec.Struct, frozen=True):
    """Everything that the metrics are made of."""

    status: api.Status
    now: float
    disk_used: float
    processes: dict[str, bool]
    workers: tuple[WorkerStats, ...] = ()
    doors: dict[str, str] = {}  # mailboxes' ids by their addresses
    certificate: Certificate | None = None
    wrong_tries: int = 0
    mailboxes: tuple[MailboxCount, ...] = ()
    jobs: tuple[api.JobInfo, ...] = ()


class Metrics:
    """The services of an open archive about metrics."""

    def __init__(self, archive: Archive, jobs: Jobs, looking: Looking) -> None:
        self._archive = archive
        self._jobs = jobs
        self._looking = looking

    def methods(self) -> Mapping[str, Callable[..., Any]]:
        """The services by name, for administrators."""
        return {
            "metrics_read": self.of_box, "metrics_token_make": self.make_token,
            "metrics_token_remove": self.remove_token, "metrics_token_is_set": self.has_token,
        }  # fmt: skip

    def read(self, *, secret: str = "", on_the_box: bool = False) -> bytes:
        """The metrics, for who has the token, or, as long as there is none, asks on the box itself.

        Raises SignInError.
        """
        require_token(self._archive.settings.metrics_token(), secret, on_the_box)
        return exposition(self._measured())

    def of_box(self, principal: Principal) -> bytes:
        """The metrics for an administrator."""
        principal.require("admin")
        return exposition(self._measured())

    def text(self) -> str:
        """The metrics as text, for the support bundle."""
        return exposition(self._measured()).decode()

    def make_token(self, principal: Principal) -> str:
        """A new token, shown once; the one before reads nothing any more."""
        principal.require("admin")
        token = _TOKEN_MARK + secrets.token_hex(32)
        self._archive.record(principal, events.MetricsTokenSet(_hash(token)))
        return token

    def remove_token(self, principal: Principal) -> None:
        """Metrics are read on the box only from now on, without a token."""
        principal.require("admin")
        self._archive.record(principal, events.MetricsTokenSet())

    def has_token(self, principal: Principal) -> bool:
        """Whether there is a token."""
        principal.require("admin")
        return bool(self._archive.settings.metrics_token())

    def _measured(self) -> Measured:
        archive, now = self._archive, self._archive.clock()
        numbers, usage = self._looking.recent()
        return measured(
            archive.paths, numbers, now, wrong_tries=archive.tries.total, jobs=self._jobs.all(),
            mailboxes=tuple(
                MailboxCount(one.mailbox.hex(), found.records, found.bytes, found.last and found.last / 1e6)
                for one in archive.settings.mailboxes()
                if (found := usage.get(one.mailbox, Usage())) is not None
            ),
        )  # fmt: skip


def require_token(wanted: bytes, secret: str, on_the_box: bool) -> None:
    """Raises SignInError unless the secret is the token with that hash, or there is none and it is asked on the box."""
    if wanted:
        if not hmac.compare_digest(_hash(secret), wanted):
            raise SignInError("Give the token for metrics: Authorization: Bearer mkm_…")
    elif not on_the_box:
        raise SignInError("Metrics are read on the box itself, or with a token: `mailkeep metrics token` makes one.")


def measured(paths: Paths, numbers: api.Status, now: float, **more: Any) -> Measured:
    """What can be measured without a key, with what else was."""
    workers = tuple(status.workers(paths.data))
    return Measured(
        status=numbers, now=now, disk_used=disk_used(paths.data), processes=dict(processes(paths, workers, now)),
        workers=workers, doors=_doors(paths), certificate=certificate(paths.tls, now), **more,
    )  # fmt: skip


def exposition(found: Measured) -> bytes:
    """The metrics as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(found))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, found: Measured) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        yield from families(self._found)


def families(found: Measured) -> Iterator[Metric]:
    """Every metric there is to tell."""
    yield from _about_the_box(found)
    yield from _about_the_gateway(found)
    yield from _about_the_log(found)
    yield from _about_replicas(found)
    yield from _about_trouble(found)


def _about_the_box(found: Measured) -> Iterator[Metric]:
    now = found.status
    yield _gauge("info", "The version that runs; always 1.", [({"version": now.version}, 1)])
    yield _gauge("start_time_seconds", "When the archiver began, in seconds since 1970.", now.started_at)
    yield _gauge("unlocked", "1 while the archive is unlocked.", int(now.unlocked))
    yield _gauge(
        "process_up", "1 for each process that answers or works, 0 for one that does not.",
        (({"process": name}, int(up)) for name, up in found.processes.items()),
    )  # fmt: skip
    yield _gauge("disk_total_bytes", "Size of the file system with the data folder.", now.disk_total)
    yield _gauge("disk_free_bytes", "Bytes that may still be written on that file system.", now.disk_free)
    yield _gauge("disk_used_ratio", "Share of that file system that is in use, as df(1) tells it.", found.disk_used)
    yield _gauge("log_bytes", "Size of the log: all volumes.", now.log_bytes)
    if now.unlocked:
        yield _gauge("index_bytes", "Size of the sealed search index on the disk.", now.index_bytes)
        yield _gauge("index_memory_bytes", "Size of the live search index in memory.", now.index_live_bytes)
    if found.certificate is not None:
        ends = 0.0 if found.certificate.problem else found.now + found.certificate.days_left * _DAY
        yield _gauge(
            "certificate_end_timestamp_seconds",
            "When the certificate of gateway and web ends; 0 where it cannot be used.",
            ends,
        )


def _about_the_gateway(found: Measured) -> Iterator[Metric]:
    workers = found.workers

    def of_each(value: Callable[[WorkerStats], int]) -> list[tuple[dict[str, str], float]]:
        return [({"worker": str(one.worker)}, value(one)) for one in workers]

    yield _counter("gateway_accepted", "Messages that were acknowledged.", of_each(lambda one: one.accepted))
    yield _counter(
        "gateway_deferred", "Commands answered 4xx: the sender tries again.", of_each(lambda one: one.deferred)
    )
    yield _counter("gateway_refused", "Commands answered 5xx.", of_each(lambda one: one.refused))
    yield _counter("gateway_bytes", "Bytes of acknowledged messages.", of_each(lambda one: one.bytes))
    yield _counter("gateway_connections", "Connections that were taken.", of_each(lambda one: one.connections))
    yield _gauge("gateway_connections_open", "Connections that are open.", of_each(lambda one: one.open))
    reasons: Counter[str] = Counter()
    turned_away: Counter[str] = Counter()
    for worker in workers:
        reasons.update(worker.reasons)
        for address, count in worker.turned_away.items():
            turned_away[found.doors.get(address, "gone")] += count
    yield _counter(
        "gateway_answers", "Commands that were refused or deferred, by reason.",
        (({"reason": reason}, count) for reason, count in sorted(reasons.items())),
    )  # fmt: skip
    yield _counter(
        "gateway_turned_away", "Deliveries put off by a mailbox's own state or rules, by its id.",
        (({"mailbox": mailbox}, count) for mailbox, count in sorted(turned_away.items())),
    )  # fmt: skip


def _about_the_log(found: Measured) -> Iterator[Metric]:
    now = found.status
    yield _gauge("records", "Records of messages in the log.", now.records)
    yield _gauge("catalogue_records", "Records of messages in the catalogue.", now.projected)
    yield _gauge("messages", "Distinct messages in the catalogue.", now.messages)
    yield _gauge("messages_unassigned", "Messages that belong to nobody.", now.unassigned)
    yield _gauge("messages_unparsed", "Messages that could not be read as mail.", now.unparsed)
    yield _gauge("backlog_records", "Records that are not searchable yet.", now.backlog)
    yield _gauge(
        "oldest_unsearchable_seconds",
        "Age of the oldest record that is not searchable; 0 without any.",
        now.oldest_unsearchable_seconds,
    )
    if now.last_message_at is not None:
        yield _gauge("last_message_timestamp_seconds", "When the newest message came in.", now.last_message_at)
    yield _gauge("volumes", "Volumes of the log.", now.volumes)
    yield _gauge("volumes_unsigned", "Volumes that are not signed yet.", now.volumes - now.volumes_signed)
    if not now.unlocked:
        return
    yield _gauge("messages_searchable", "Messages in the search index.", now.indexed)
    yield _gauge("records_sealed", "Records in sealed mailboxes, which are never searchable.", now.sealed)
    yield _gauge("records_erased", "Erased records whose ciphertext is not dropped yet.", now.erased)
    yield _gauge("counts_agree", "1 while log, catalogue and index count the same.", int(now.agrees))
    yield _gauge("users", "Users.", now.users)
    yield _gauge(
        "mailbox_records", "Records that a mailbox holds, by its id.",
        (({"mailbox": one.id}, one.records) for one in found.mailboxes),
    )  # fmt: skip
    yield _gauge(
        "mailbox_bytes", "Size of what a mailbox holds, by its id.",
        (({"mailbox": one.id}, one.bytes) for one in found.mailboxes),
    )  # fmt: skip
    yield _gauge(
        "mailbox_last_message_timestamp_seconds", "When the newest message of a mailbox came in, by its id.",
        (({"mailbox": one.id}, one.last) for one in found.mailboxes if one.last is not None),
    )  # fmt: skip


def _about_replicas(found: Measured) -> Iterator[Metric]:
    replicas = found.status.replicas

    def of_each(value: Callable[[api.ReplicaState], float | None]) -> list[tuple[dict[str, str], float]]:
        return [({"remote": one.name}, told) for one in replicas if (told := value(one)) is not None]

    yield _gauge("only_here_records", "Records that no replica has.", found.status.only_here)
    yield _gauge(
        "replica_state", "1 for the state that a replica is in.",
        (
            ({"remote": one.name, "state": state}, int(one.state == state))
            for one in replicas
            for state in _REPLICA_STATES
        ),
    )  # fmt: skip
    yield _gauge(
        "replica_lag_seconds",
        "How far a replica is behind; 0 where nothing is missing.",
        of_each(lambda one: one.lag_seconds),
    )
    yield _gauge("replica_waiting_records", "Records that a replica lacks.", of_each(lambda one: one.waiting))
    yield _gauge("replica_waiting_bytes", "Size of what a replica lacks.", of_each(lambda one: one.waiting_bytes))
    yield _gauge("replica_records", "Records in a replica's last generation.", of_each(lambda one: one.records))
    yield _gauge("replica_objects", "Objects that a replica's last generation needs.", of_each(lambda one: one.objects))
    yield _gauge("replica_generation", "Number of a replica's last generation.", of_each(lambda one: one.generation))
    yield _gauge("replica_failures", "Runs of a replica that failed in a row.", of_each(lambda one: one.failures))
    yield _gauge(
        "replica_last_success_timestamp_seconds",
        "When a run of a replica last ended well.",
        of_each(lambda one: one.last_at),
    )
    yield _gauge(
        "replica_checked_timestamp_seconds", "When a replica was last found whole.", of_each(lambda one: one.checked_at)
    )
    yield _gauge(
        "replica_rehearsed_timestamp_seconds", "When a restore from a replica was last rehearsed and went well.",
        of_each(lambda one: one.rehearsed_at),
    )  # fmt: skip
    yield _gauge("replica_free_bytes", "Bytes free on the remote, where it tells.", of_each(lambda one: one.free))


def _about_trouble(found: Measured) -> Iterator[Metric]:
    alarms = Counter((one.kind, one.level) for one in found.status.alarms)
    yield _gauge(
        "alarms", "Alarms that stand, by kind.",
        (({"kind": kind, "level": level}, count) for (kind, level), count in sorted(alarms.items())),
    )  # fmt: skip
    yield _gauge(
        "alarms_unacknowledged", "Alarms that nobody has acknowledged.",
        sum(not one.acknowledged_by for one in found.status.alarms),
    )  # fmt: skip
    yield _counter(
        "sign_in_failures", "Wrong passwords, codes and tokens since the archiver began.", [({}, found.wrong_tries)]
    )
    if found.status.unlocked:
        jobs = Counter((one.kind, one.state) for one in found.jobs)
        yield _gauge(
            "jobs", "Jobs that are remembered, by kind and state.",
            (({"kind": kind, "state": state}, count) for (kind, state), count in sorted(jobs.items())),
        )  # fmt: skip


def _gauge(name: str, words: str, values: float | Iterable[tuple[dict[str, str], float]]) -> Metric:
    return _filled(GaugeMetricFamily, name, words, values)


def _counter(name: str, words: str, values: Iterable[tuple[dict[str, str], float]]) -> Metric:
    """The exposition adds ``_total`` to the name."""
    return _filled(CounterMetricFamily, name, words, values)


def _filled(
    family: type[GaugeMetricFamily] | type[CounterMetricFamily], name: str, words: str,
    values: float | Iterable[tuple[dict[str, str], float]],
) -> Metric:  # fmt: skip
    pairs = [({}, values)] if isinstance(values, (int, float)) else list(values)
    labels = list(pairs[0][0]) if pairs else []
    metric = family(_PREFIX + name, words, labels=labels)
    for named, value in pairs:
        metric.add_metric([named[label] for label in labels], value)
    return metric


def _doors(paths: Paths) -> dict[str, str]:
    try:
        told = published.decode_settings(published.settings_path(paths.data).read_bytes())
    except (OSError, ValueError):
        return {}
    return {
        address: one.id
        for one in told.mailboxes
        for address in (*one.addresses, *(published.ALL_OF + domain for domain in one.catch_all))
    }


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
