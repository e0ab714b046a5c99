"""The published status as Prometheus metrics: a collector that reads a store's sign of life when it is scraped.

Needs the extra ``metrics``. Nothing is counted here: `METRICS` says which figure of HEARTBEAT.json has which name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.contracts.reasons import Reason
from pipeline.contracts.status import FRESHNESS_BOUNDS_MS, FreshnessStatus, Status
from pipeline.contracts.store import StoreError
from pipeline.store.manifest import Heartbeat
from pipeline.store.reader import StoreReader

Value = tuple[tuple[str, ...], float]
"""Label values and the number."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its name, kind, meaning and labels, and how its values are read."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    read: Callable[[Heartbeat, Status], Iterable[Value]]
    labels: tuple[str, ...] = ()


def _one(read: Callable[[Heartbeat, Status], float | None]) -> Callable[[Heartbeat, Status], Iterator[Value]]:
    """Return a reader of a metric without labels; None is no value."""

    def values(beat: Heartbeat, status: Status) -> Iterator[Value]:
        if (number := read(beat, status)) is not None:
            yield (), number

    return values


_DEAD = tuple(reason.value for reason in Reason if reason is not Reason.DUPLICATE)

METRICS: Final = (
    MetricSpec(
        "kwise_votes_accepted_total", "counter", "Votes accepted over the life of the store.",
        lambda _, status: (((arena,), each.accepted) for arena, each in status.arenas.items()), ("arena",),
    ),
    MetricSpec(
        "kwise_votes_duplicate_total", "counter", "Votes dropped because their vote_id was accepted before.",
        _one(lambda _, status: status.duplicates),
    ),
    MetricSpec(
        "kwise_dead_letters_total", "counter", "Records that could not be used, by reason.",
        # All reasons from the start: a rate needs a zero to rise from.
        lambda _, status: (((reason,), status.dead.get(reason, 0)) for reason in _DEAD), ("reason",),
    ),
    MetricSpec(
        "kwise_log_up", "gauge", "1 while the job reaches the event log, else 0.",
        _one(lambda _, status: float(status.log_error is None)),
    ),
    MetricSpec(
        "kwise_log_lag_records", "gauge",
        "What the job has still to read; records in SQLite and Kafka, bytes of JSON lines, rows of Parquet.",
        lambda _, status: (((each.topic, str(each.partition)), each.lag) for each in status.lag),
        ("topic", "partition"),
    ),
    MetricSpec(
        "kwise_freshness_seconds", "histogram", "From append to published board, of accepted votes, since the start.",
        lambda _beat, _status: (),
    ),
    MetricSpec(
        "kwise_commits_total", "counter", "Commits of the store.", _one(lambda beat, _: beat.commit),
    ),
    MetricSpec(
        "kwise_heartbeat_timestamp_seconds", "gauge", "When the job last showed that it lives.",
        _one(lambda beat, _: beat.time / 1000),
    ),
    MetricSpec(
        "kwise_job_start_timestamp_seconds", "gauge", "When the job was started.",
        _one(lambda _, status: status.started / 1000),
    ),
    MetricSpec(
        "kwise_job_restarts_total", "counter", "Starts from the last commit after a failure, in this process.",
        _one(lambda _, status: status.restarts),
    ),
    MetricSpec(
        "kwise_window_votes", "gauge", "Votes that the de-duplication window remembers.",
        _one(lambda _, status: status.window.votes),
    ),
    MetricSpec(
        "kwise_window_limit_votes", "gauge", "Votes at which the oldest tenth of the window goes.",
        _one(lambda _, status: status.window.limit),
    ),
    MetricSpec(
        "kwise_window_horizon_timestamp_seconds", "gauge", "Votes from before this time are too old; 0: none is.",
        _one(lambda _, status: max(0, status.window.horizon) / 1000),
    ),
    MetricSpec(
        "kwise_window_memory_bytes", "gauge", "Memory of the de-duplication window.",
        _one(lambda _, status: status.window.bytes),
    ),
    MetricSpec(
        "kwise_counts_memory_bytes", "gauge", "Memory of all pair counts.",
        _one(lambda _, status: status.counts_bytes),
    ),
    MetricSpec(
        "kwise_arena_models", "gauge", "Models of an arena, retired ones too.",
        lambda _, status: (((arena,), each.models) for arena, each in status.arenas.items()), ("arena",),
    ),
    MetricSpec(
        "kwise_arena_votes", "gauge", "Votes that count: accepted and not retracted.",
        lambda _, status: (((arena,), each.votes) for arena, each in status.arenas.items()), ("arena",),
    ),
    MetricSpec(
        "kwise_arena_open_matchups", "gauge", "Matchups that are proposed and not answered yet.",
        lambda _, status: (((arena,), each.open_matchups) for arena, each in status.arenas.items()), ("arena",),
    ),
    MetricSpec(
        "kwise_store_files", "gauge", "Live files of the store.",
        lambda beat, _: (((kind,), each.files) for kind, each in beat.files.items()), ("kind",),
    ),
    MetricSpec(
        "kwise_store_bytes", "gauge", "Bytes of the live files of the store.",
        lambda beat, _: (((kind,), each.bytes) for kind, each in beat.files.items()), ("kind",),
    ),
)  # fmt: skip


class StoreCollector(Collector):
    """Turns the newest sign of life of a store into metrics; there are none before the first of a live job."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Metric]:
        """Read the status, and give each figure its name."""
        try:
            beat = self._reader.heartbeat()
        except (StoreError, OSError, msgspec.MsgspecError):
            return  # a scrape finds nothing, and the alert on missing figures says so
        if beat is None or beat.status is None:
            return
        for spec in METRICS:
            if spec.kind == "histogram":
                if beat.status.freshness is not None:
                    yield _make_histogram(spec, beat.status.freshness)
                continue
            family = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
            metric = family(spec.name, spec.help, labels=spec.labels)
            for labels, number in spec.read(beat, beat.status):
                metric.add_metric(labels, number)
            yield metric


def _make_histogram(spec: MetricSpec, freshness: FreshnessStatus) -> HistogramMetricFamily:
    bounds = [*(f"{bound / 1000:g}" for bound in FRESHNESS_BOUNDS_MS), "+Inf"]
    metric = HistogramMetricFamily(spec.name, spec.help)
    counts = (*freshness.buckets, freshness.total)
    metric.add_metric((), list(zip(bounds, counts, strict=True)), freshness.sum_ms / 1000)
    return metric
