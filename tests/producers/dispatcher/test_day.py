"""A simulated day with a burst: few voters wait, and little is made that nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.dispatcher.settings import DispatcherSettings
from tests.producers.dispatcher.day import Day, Outcome, Simulation

SETTINGS = DispatcherSettings(durable=False, lease_s=600)  # the simulated workers send no heartbeats


def simulate(folder: Path, day: Day, settings: DispatcherSettings = SETTINGS) -> Outcome:
    folder.mkdir(exist_ok=True)
    return Simulation(folder, day, settings, seed=1).run()


def test_a_day_with_a_burst_wastes_little_and_lets_few_wait(tmp_path: Path) -> None:
    day = Day(rate=0.016)
    outcome = simulate(tmp_path, day)
    in_burst = day.is_burst
    assert len(outcome.waits) > 1_500
    assert sum(map(in_burst, outcome.came)) > 250
    assert outcome.waste < 0.05
    assert outcome.artifact_waste < 0.06
    assert outcome.quantile(0.99) == 0.0
    assert outcome.quantile(0.99, in_burst) <= 10.0


def test_demand_control_is_what_saves_the_waste(tmp_path: Path) -> None:
    """Against making all that is proposed: the same hours, and most of it is for nobody."""
    hours = Day(seconds=2 * 3_600, burst_at=3_600, burst_s=600, rate=0.05, backlog=20)
    with_demand = simulate(tmp_path / "with", hours)
    without = simulate(tmp_path / "without", hours, DispatcherSettings(durable=False, ready_min=500))
    assert without.waste > 0.5
    assert with_demand.made < without.made / 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "day",
    [
        Day(rate=0.1, k=4, workers=16),
        Day(rate=0.05, k=4, workers=48, job_s=6, swap_s=15),
        Day(rate=0.05, k=4, workers=4, burst_at=10_000),
    ],
    ids=["busier", "slow models", "burst at night"],
)
def test_other_days(tmp_path: Path, day: Day) -> None:
    outcome = simulate(tmp_path, day)
    assert outcome.waste < 0.05
    assert outcome.quantile(0.99) == 0.0
    assert outcome.quantile(0.95, day.is_burst) <= 30.0
