"""Demand: how many matchups to keep ready, with hysteresis, and how long to wait."""

from __future__ import annotations

import math

import pytest

from producers.dispatcher.demand import ArenaDemand, Demand, Meter
from producers.dispatcher.settings import DispatcherSettings
from tests.producers.dispatcher.queues import SECOND, START

SETTINGS = DispatcherSettings(lead_s=30, spread=3, ready_min=4, ready_max=100, hysteresis=0.25, patience_s=15)


def serve(demand: ArenaDemand, rate: float, seconds: int, start: int = START) -> int:
    """Serve voters at an even rate; return when that ends."""
    for number in range(round(rate * seconds)):
        demand.note_served(f"v{start}-{number}", start + round(number / rate * SECOND))
    return start + seconds * SECOND


def test_a_meter_settles_at_the_rate_and_forgets() -> None:
    meter = Meter(10)
    for number in range(1_000):
        meter.note(START + number * 100)
    end = START + 100_000
    assert meter.rate(end) == pytest.approx(10, rel=0.02)
    assert meter.rate(end + 10_000) == pytest.approx(10 / math.e, rel=0.02)
    assert meter.rate(end - 5_000) == meter.rate(end - 100)  # of the past it knows nothing


def test_a_quiet_arena_wants_the_minimum() -> None:
    demand = ArenaDemand(SETTINGS)
    assert demand.target(START) == 4
    assert demand.missing(0, START) == 4
    assert demand.missing(4, START) == 0


def test_the_target_is_a_quantile_of_the_voters_of_the_lead_time() -> None:
    demand = ArenaDemand(SETTINGS)
    end = serve(demand, rate=1, seconds=600)
    assert demand.target(end) == pytest.approx(30 + 3 * math.sqrt(30), abs=3)


def test_the_target_has_a_limit() -> None:
    demand = ArenaDemand(SETTINGS)
    assert demand.target(serve(demand, rate=50, seconds=60)) == 100


def test_one_voter_in_a_quiet_night_is_no_burst() -> None:
    demand = ArenaDemand(SETTINGS)
    demand.note_served("v", START)
    assert demand.target(START) == 4
    demand.note_served("w", START + SECOND)
    assert demand.target(START + SECOND) > 4


def test_a_burst_is_seen_within_seconds_and_a_lull_is_not_believed_at_once() -> None:
    demand = ArenaDemand(SETTINGS)
    calm = serve(demand, rate=0.2, seconds=600)
    before = demand.target(calm)
    burst = serve(demand, rate=2, seconds=15, start=calm)
    assert demand.target(burst) > 3 * before
    steady = serve(demand, rate=2, seconds=300, start=burst)
    assert demand.target(steady + 10 * SECOND) > 0.8 * demand.target(steady)


def test_slow_making_lengthens_the_lead() -> None:
    demand = ArenaDemand(SETTINGS)
    end = serve(demand, rate=0.5, seconds=600)
    before = demand.target(end)
    for _ in range(50):
        demand.note_made(60 * SECOND, end)
    assert demand.target(end) > 2 * before


def test_making_begins_late_and_goes_on_to_the_target() -> None:
    demand = ArenaDemand(SETTINGS)
    end = serve(demand, rate=1, seconds=600)
    target = demand.target(end)
    assert demand.missing(target - 1, end) == 0
    assert demand.missing(math.floor(0.75 * target), end) > 0
    assert demand.missing(target - 1, end) == 1
    assert demand.missing(target, end) == 0
    assert demand.missing(target - 1, end) == 0


def test_a_voter_who_waits_is_wanted_for_at_once_and_counts_once() -> None:
    demand = ArenaDemand(SETTINGS)
    for _ in range(3):
        demand.note_waiting("v", START)
    assert demand.waiting(START) == 1
    assert demand.missing(4, START + SECOND) >= 1
    assert demand.rate(START) == pytest.approx(1 / 120)
    demand.note_served("v", START + SECOND)
    assert demand.waiting(START + SECOND) == 0
    assert demand.rate(START + SECOND) < 1 / 120


def test_a_voter_who_left_waits_no_longer() -> None:
    demand = ArenaDemand(SETTINGS)
    wait_s = demand.note_waiting("v", START)
    assert demand.waiting(START + (wait_s + 14) * SECOND) == 1
    assert demand.waiting(START + (wait_s + 15) * SECOND) == 0


def test_the_wait_is_the_place_in_the_queue_by_the_pace_of_making() -> None:
    demand = ArenaDemand(SETTINGS)
    for number in range(600):
        demand.note_made(20 * SECOND, START + number * 500)  # two a second, each in the making for 20 s
    now = START + 300 * SECOND
    waits = [demand.note_waiting(f"v{number}", now) for number in range(100)]
    assert waits[0] == 1
    assert waits[9] == pytest.approx(5, abs=1)
    assert waits[19] == pytest.approx(10, abs=1)
    assert waits[-1] == 20


def test_the_wait_is_never_long() -> None:
    demand = ArenaDemand(SETTINGS)
    assert demand.note_waiting("v", START) == 5
    demand.note_made(3_600 * SECOND, START)
    assert [demand.note_waiting(f"w{number}", START) for number in range(1_000)][-1] == 30


def test_arenas_are_apart() -> None:
    demand = Demand(SETTINGS)
    demand.note_waiting("one", "v", START)
    assert demand.describe("one", START)[1] == 1
    assert demand.describe("other", START)[1] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease_s", 0),
        ("max_attempts", 0),
        ("hysteresis", 1.0),
        ("hysteresis", -0.1),
        ("ready_max", 1),
        ("ready_min", -1),
        ("spread", -1),
        ("keep_s", -1),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        DispatcherSettings(**{name: value})  # type: ignore[arg-type]
