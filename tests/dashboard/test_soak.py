"""A page that stays open does not grow, and neither does the server behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.soak import rise, soak


def test_rise_is_that_of_the_floor() -> None:
    assert rise([9.0] * 8 + [2.0, 3.0, 2.0, 9.0] + [3.0, 2.0, 9.0, 4.0]) == 0.0
    assert rise([1.0] * 8 + [2.0] * 4 + [3.0] * 4) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("drawings", "models", "most"),
    [
        pytest.param(240, 44, 0.05, marks=pytest.mark.timeout(600)),  # more models than a table draws at once
        pytest.param(30_000, 12, 0.05, marks=[pytest.mark.slow, pytest.mark.timeout(14_400)]),
    ],
)
def test_page_and_server_stay_as_big_as_they_are(
    browser: Browser, tmp_path: Path, drawings: int, models: int, most: float
) -> None:
    samples = list(soak(browser, tmp_path / "store", drawings, 40, models))
    rises = {
        name: rise([getattr(sample, name) for sample in samples])
        for name in ("heap_mb", "server_mb", "nodes", "listeners")
    }
    assert max(rises.values()) < most, (rises, samples)
