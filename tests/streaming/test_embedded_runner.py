from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.transforms.core import RestrictionProvider

from pipeline.streaming.embedded_runner import EmbeddedRunner
from tests.conftest import wait_until

BUNDLES = 400


class _Numbers(RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, _element: int, _restriction: OffsetRange) -> int:
        return 1


class OneABundleFn(beam.DoFn):
    """Emits one number a bundle."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: int,
        tracker: Any = beam.DoFn.RestrictionParam(_Numbers()),  # noqa: B008 - Beam's way to declare it
    ) -> Iterator[int]:
        number = tracker.current_restriction().start
        if tracker.try_claim(number):
            yield number
            if number + 1 < element:
                tracker.defer_remainder()


class CountFn(beam.DoFn):
    """Counts numbers; calls back with each."""

    watchers: dict[str, Any] = {}  # noqa: RUF012 - how a test in this process reaches its DoFn

    def __init__(self, watcher: str) -> None:
        self._watcher = watcher
        self._count = Metrics.counter("test", "numbers")

    def process(self, element: int) -> None:
        self._count.inc()
        self.watchers[self._watcher](element)


def run_bundles(bundles: int, watcher: str, runner: Any) -> Any:
    pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(["--streaming"]))
    _ = pipeline | beam.Create([bundles]) | beam.ParDo(OneABundleFn()) | beam.ParDo(CountFn(watcher))
    return pipeline.run()


def count_of(metrics: Any) -> int:
    found = metrics.query(beam.metrics.MetricsFilter().with_name("numbers"))["counters"]
    return int(found[0].committed) if found else 0


@pytest.mark.timeout(120)
def test_embedded_runner_keeps_memory_flat() -> None:
    """Beam's own runner holds on to several objects more with each bundle."""
    objects: list[int] = []

    def note(number: int) -> None:
        if number in {BUNDLES // 4, BUNDLES - 1}:
            gc.collect()
            objects.append(sum(1 for each in gc.get_objects() if type(each).__name__ in {"generator", "chain"}))

    CountFn.watchers["flat"] = note
    result = run_bundles(BUNDLES, "flat", EmbeddedRunner())
    before, after = objects
    assert after - before < BUNDLES // 10
    assert count_of(result.metrics()) == BUNDLES


@pytest.mark.timeout(60)
def test_live_metrics_can_be_read_from_another_thread() -> None:
    runner = EmbeddedRunner()
    go_on, reached = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        if number == 20:
            reached.set()
            assert go_on.wait(30)

    CountFn.watchers["live"] = hold
    assert count_of(runner.live_metrics()) == 0
    thread = threading.Thread(target=run_bundles, args=(25, "live", runner))
    thread.start()
    try:
        assert reached.wait(30)
        assert count_of(runner.live_metrics()) == 20
    finally:
        go_on.set()
        thread.join(30)
    assert count_of(runner.live_metrics()) == 25


@pytest.mark.timeout(60)
def test_two_runners_at_once_do_not_share_metrics() -> None:
    runners = {"first": EmbeddedRunner(), "second": EmbeddedRunner()}
    both = threading.Barrier(2, timeout=30)
    for name in runners:
        CountFn.watchers[name] = lambda number: both.wait() if number == 5 else None
    threads = [
        threading.Thread(target=run_bundles, args=(bundles, name, runner))
        for bundles, (name, runner) in zip((10, 13), runners.items(), strict=True)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), 50)
    assert [count_of(runner.live_metrics()) for runner in runners.values()] == [10, 13]
    assert fn_runner.consolidate_monitoring_infos.__module__.startswith("apache_beam.")
