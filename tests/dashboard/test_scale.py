from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.methods import Drawn
from dashboard.scale import fit_scale, round_step

NUMBERS = st.floats(-1e6, 1e6)


def drawn(mark: float | None, low: float | None = None, high: float | None = None) -> Drawn:
    return Drawn(number=mark, mark=mark, low=low, high=high)


def test_scale_holds_marks_and_usual_intervals_between_round_ends() -> None:
    scale = fit_scale([drawn(1175, 1150, 1201), drawn(802, 760, 844)], at_least=40)
    assert (scale.low, scale.high) == (750, 1250)
    assert scale.ticks == (800, 1000, 1200)


def test_scale_is_not_stretched_by_one_unsure_model() -> None:
    settled = [drawn(900 + 20 * place, 890 + 20 * place, 910 + 20 * place) for place in range(10)]
    scale = fit_scale([*settled, drawn(1000, -4000, 6000)], at_least=40)
    assert scale.high - scale.low < 4 * (1080 - 900)
    assert scale.place(-4000) == 0
    assert scale.place(6000) == 100


def test_scale_of_a_prior_holds_its_intervals() -> None:
    scale = fit_scale([drawn(1000, 500, 1500)] * 5, at_least=40)
    assert scale.low <= 500
    assert scale.high >= 1500


def test_scale_of_equal_marks_without_intervals_has_the_least_width() -> None:
    scale = fit_scale([drawn(1500.0)] * 3, at_least=40)
    assert scale.high - scale.low == pytest.approx(40)
    assert scale.place(1500) == pytest.approx(50)


@pytest.mark.parametrize("rows", [[], [drawn(None)], [drawn(math.nan, math.nan, math.nan)]])
def test_scale_without_numbers_is_still_a_scale(rows: list[Drawn]) -> None:
    scale = fit_scale(rows, at_least=4)
    assert (scale.low, scale.high) == (0, 4)


def test_scale_leaves_out_infinite_ends() -> None:
    scale = fit_scale([drawn(1.0, -math.inf, math.inf), drawn(2.0, 1.5, 2.5)], at_least=1)
    assert scale.high - scale.low < 10


@given(st.lists(st.tuples(NUMBERS, st.floats(0, 1e5)), min_size=1, max_size=30))
def test_scale_holds_every_mark_and_has_ticks_inside(pairs: list[tuple[float, float]]) -> None:
    scale = fit_scale([drawn(mark, mark - half, mark + half) for mark, half in pairs], at_least=1e-3)
    assert all(scale.low - 1e-3 <= mark <= scale.high + 1e-3 for mark, _ in pairs)
    assert 1 <= len(scale.ticks) <= 7
    assert all(0 <= scale.place(tick) <= 100 for tick in scale.ticks)
    assert list(scale.ticks) == sorted(scale.ticks)


@pytest.mark.parametrize(("raw", "step"), [(0.9, 1), (1, 1), (1.1, 2), (3, 5), (6, 10), (0.03, 0.05), (100, 100)])
def test_round_step(raw: float, step: float) -> None:
    assert round_step(raw) == pytest.approx(step)
