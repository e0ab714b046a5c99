"""The gateway's figures for Prometheus: what it did since it was started, and its queues as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.errors import DispatcherError

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STATES: Final = ("proposed", "leased", "ready", "shown")
_ENDS: Final = ("voted", "expired", "cancelled", "made_never_shown", "taken", "made", "shown_ever")
_JOBS: Final = ("jobs_done", "jobs_refused", "jobs_failed", "jobs_lapsed", "jobs_dead")


class GatewayMetrics:
    """Figures of one gateway.

    Parameters
    ----------
    dispatcher
    clock : wall clock in ms
    """

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "kwise_gateway_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "kwise_gateway_request_seconds",
            "From the head of a request to the end of its answer.",
            ("route",),
            buckets=_BOUNDS,
            registry=self._registry,
        )
        self.votes = Counter("kwise_gateway_votes", "Votes acknowledged.", registry=self._registry)
        self._registry.register(_QueueCollector(dispatcher, clock))

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _QueueCollector(Collector):
    """Asks the dispatcher when it is scraped."""

    def __init__(self, dispatcher: Dispatcher, clock: Callable[[], int]) -> None:
        self._dispatcher = dispatcher
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: that would ask the dispatcher."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Turn the queues into metrics; none while the dispatcher cannot be asked."""
        try:
            arenas = self._dispatcher.counts(self._clock()).arenas
        except DispatcherError:
            return
        now = GaugeMetricFamily("kwise_gateway_matchups", "Matchups in a state now.", labels=("arena", "state"))
        ever = CounterMetricFamily("kwise_gateway_matchups_ever", "Matchups that came so far.", labels=("arena", "how"))
        jobs = CounterMetricFamily(
            "kwise_gateway_jobs", "Jobs that ended so, or tries of them.", labels=("arena", "how")
        )
        oldest = GaugeMetricFamily(
            "kwise_gateway_oldest_ready_seconds", "Age of the matchup that is ready longest.", labels=("arena",)
        )
        waiting = GaugeMetricFamily("kwise_gateway_waiting_voters", "Voters told to wait.", labels=("arena",))
        for arena, counts in arenas.items():
            for state in _STATES:
                now.add_metric((arena, state), getattr(counts, state))
            for how in _ENDS:
                ever.add_metric((arena, how.removesuffix("_ever")), getattr(counts, how))
            for how in _JOBS:
                jobs.add_metric((arena, how.removeprefix("jobs_")), getattr(counts, how))
            if counts.oldest_ready_ms is not None:
                oldest.add_metric((arena,), counts.oldest_ready_ms / 1000)
            waiting.add_metric((arena,), counts.waiting)
        yield from (now, ever, jobs, oldest, waiting)
