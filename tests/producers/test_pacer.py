"""When records are due: a clock that only moves when somebody waits, or is held up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.feed.pacer import Pacer


class Time:
    """Waiting moves it on; `stop_at` is when feeding is to stop."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.now = 100.0
        self.stop_at = stop_at

    def read(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now = min(self.now + seconds, max(self.stop_at, self.now))
        return self.now >= self.stop_at


@given(
    gaps=st.lists(st.integers(0, 5_000), min_size=1, max_size=30),
    speed=st.floats(0.1, 1000),
)
def test_no_record_passes_early_and_none_late_when_nothing_holds_it_up(gaps: list[int], speed: float) -> None:
    times = 1_764_000_000_000 + np.cumsum(gaps)
    clock = Time()
    pacer = Pacer(speed, clock.read, clock.wait)
    start = 0
    while start < len(times):
        count = pacer.count_due(times[start:])
        assert count
        passed = (times[start : start + count] - times[0]) / 1000 / speed
        assert passed.max() <= clock.now - 100 + 1e-6
        assert passed.min() >= clock.now - 100 - 1e-3
        start += count
    assert pacer.latest < 1e-3


def test_what_holds_the_feed_up_is_lateness() -> None:
    clock = Time()
    pacer = Pacer(10, clock.read, clock.wait)
    times = np.array([0, 1_000, 2_000, 30_000])
    assert pacer.count_due(times) == 1
    clock.now += 0.5  # writing took so long
    assert pacer.count_due(times[1:]) == 2
    assert pacer.late == pytest.approx(0.4)
    assert pacer.count_due(times[3:]) == 1
    assert clock.now == pytest.approx(103)
    assert pacer.late == pytest.approx(0, abs=1e-9)
    assert pacer.latest == pytest.approx(0.4)


def test_waiting_ends_when_it_is_to_stop() -> None:
    clock = Time(stop_at=107.5)
    pacer = Pacer(1, clock.read, clock.wait)
    assert pacer.count_due(np.array([0, 60_000])) == 1
    assert pacer.count_due(np.array([60_000])) == 0
    assert clock.now == 107.5


def test_at_full_speed_nothing_waits() -> None:
    clock = Time(stop_at=101)
    pacer = Pacer(None, clock.read, clock.wait)
    assert pacer.count_due(np.array([0, 60_000, 10**12])) == 3
    assert clock.now == 100
    clock.now = 101
    assert pacer.count_due(np.array([0])) == 0
