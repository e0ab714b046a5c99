"""What a worker counts as Prometheus metrics. Needs the extra ``metrics``. Nothing is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from generation.worker.stats import ModelStats, StatsBook, WorkerStats

_OUTCOMES: Final = ("made", "refused", "failed", "released", "lost")

Values = Iterable[tuple[tuple[str, ...], float]]
"""Label values and the number."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: its name, kind, meaning and labels besides ``worker``, and how its values are read."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: Callable[[WorkerStats], Values]
    labels: tuple[str, ...] = ()


def _each_model(read: Callable[[ModelStats], float]) -> Callable[[WorkerStats], Values]:
    return lambda stats: (((model,), read(each)) for model, each in stats.models.items())


METRICS: Final = (
    MetricSpec(
        "kwise_generation_jobs_total", "counter",
        "Jobs by outcome: made, refused, failed, released unharmed, lost to others.",
        lambda stats: (
            ((model, outcome), getattr(each, outcome)) for model, each in stats.models.items() for outcome in _OUTCOMES
        ),
        ("model", "outcome"),
    ),
    MetricSpec(
        "kwise_generation_artifact_bytes_total", "counter", "Bytes of delivered artifacts.",
        _each_model(lambda each: each.made_bytes), ("model",),
    ),
    MetricSpec(
        "kwise_generation_making_seconds_total", "counter", "Time that the device spent on artifacts.",
        _each_model(lambda each: each.making_s), ("model",),
    ),
    MetricSpec(
        "kwise_generation_loads_total", "counter", "How often a model was loaded.",
        _each_model(lambda each: each.loads), ("model",),
    ),
    MetricSpec(
        "kwise_generation_loading_seconds_total", "counter", "Time that loading took.",
        _each_model(lambda each: each.loading_s), ("model",),
    ),
    MetricSpec(
        "kwise_generation_waiting_seconds_total", "counter", "Time in which there was nothing to do.",
        lambda stats: [((), stats.waiting_s)],
    ),
    MetricSpec(
        "kwise_generation_resident_bytes", "gauge", "Memory that loaded models take on the device, as measured.",
        lambda stats: [((), stats.resident_bytes)],
    ),
    MetricSpec(
        "kwise_generation_resident", "gauge", "1 for each model that is loaded.",
        lambda stats: (((model,), 1) for model in stats.resident), ("model",),
    ),
    MetricSpec(
        "kwise_generation_left_alone", "gauge", "1 for each model that this worker leaves alone after failures.",
        lambda stats: (((model,), 1) for model in stats.excluded), ("model",),
    ),
    MetricSpec(
        "kwise_generation_held_jobs", "gauge", "Jobs on loan.", lambda stats: [((), stats.held_jobs)],
    ),
    MetricSpec(
        "kwise_generation_gateway_up", "gauge", "1 while the worker reaches the gateway, else 0.",
        lambda stats: [((), float(stats.gateway_up))],
    ),
)  # fmt: skip


class WorkerCollector(Collector):
    """Turns the counts of the workers of one process into metrics, with the worker's number as a label."""

    def __init__(self, books: Sequence[StatsBook]) -> None:
        self._books = books

    def collect(self) -> Iterator[Metric]:
        """Read all counts, and give each its name."""
        read = [book.read() for book in self._books]
        for spec in METRICS:
            family = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
            metric = family(spec.name, spec.help, labels=("worker", *spec.labels))
            for number, stats in enumerate(read):
                for labels, value in spec.read(stats):
                    metric.add_metric((str(number), *labels), value)
            yield metric
