"""A simulated day with a burst: few voters wait, and little is made that nobody sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.dispatcher.settings import DispatcherSettings
from tests.producers.dispatcher.day import Day, Outcome, Simulation

SETTINGS = DispatcherSettings(durable=False)


def simulate(folder: Path, day: Day, settings: DispatcherSettings = SETTINGS, seed: int = 1) -> Outcome:
    return Simulation(folder, day, settings, seed).run()


def test_a_day_with_a_burst_wastes_little_and_lets_few_wait(tmp_path: Path) -> None:
    day = Day()
    outcome = simulate(tmp_path, day)
    print(len(outcome.waits), outcome.made, outcome.never_shown, outcome.waste, outcome.artifact_waste, outcome.swaps)
    for q in (0.5, 0.9, 0.95, 0.99, 0.999, 1):
        print(q, outcome.quantile(q), outcome.quantile(q, lambda came: day.burst_at <= came < day.burst_at + day.burst_s))
    assert 0
