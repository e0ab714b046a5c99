"""Share of pairs won and Wilson's interval, against statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.rating.pair_counts import PairCounts, count_ballots_naive
from pipeline.rating.win_rate import rate_counts, wilson_interval


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_wilson_interval_agrees_with_statsmodels(n: int, share: float) -> None:
    half_points = round(2 * n * share)
    p, low, high = wilson_interval(half_points, n)
    expected = proportion_confint(half_points / 2, n, alpha=0.05, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= p <= high <= 1
    assert low < high


def test_rate_counts_worked_example() -> None:
    counts = count_ballots_naive(
        make_ballots(
            [
                ([0, 1, 2], [1, 2, 2], Mode.RANK),
                ([0, 1, 2], [None, 1, None], Mode.BEST),
                ([0, 3], None, Mode.ALL_BAD),
            ]
        )
    )
    rates = rate_counts(counts, 4)
    # 0 won two of three pairs; 1 won two, lost one, tied one; 2 lost two, tied one
    assert rates.mean == pytest.approx((2 / 3, 2.5 / 4, 0.5 / 3, None))
    assert rates.low[3] is None
    assert rates.high[3] is None


def test_rate_counts_of_no_models_is_empty() -> None:
    assert rate_counts(PairCounts.empty(), 0).mean == ()
