"""Share of pairs won, a baseline, method `win_rate`.

Estimate
    p = (won + ties/2) / n over the n ordered and tied pairs of a model, whatever the ballot size.

Interval
    Wilson's score interval at 95 %, from n and p (ties enter as half wins):

        (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    It stays inside [0, 1] and is not empty at p = 0 or 1.

Assumptions
    Every model meets opponents of the same strength, and pairs of one ballot are independent. Neither holds
    under a matchmaker: that is why this is a baseline. A model without pairs has neither share nor interval
    (null).

Differences from the paper K-Sort Arena
    The paper has no such method.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.pair_counts import PairCounts

Z_95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class WinRates:
    """Shares of pairs won, one element a model; None where a model has no pairs."""

    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


def rate_counts(counts: PairCounts, n: int) -> WinRates:
    """Return share and interval of each of n models."""
    half_points = count_half_points(counts, n).tolist()
    pairs = counts.comparisons(n).tolist()
    rows = [wilson_interval(h, m) if m > 0 else (None, None, None) for h, m in zip(half_points, pairs, strict=True)]
    means, lows, highs = zip(*rows, strict=True) if rows else ((), (), ())
    return WinRates(tuple(means), tuple(lows), tuple(highs))


def count_half_points(counts: PairCounts, n: int) -> NDArray[np.int64]:
    """Twice the pairs won plus the pairs tied of each model, exact, int64 (n,)."""
    return 2 * counts.pairs_won(n) + counts.pairs_tied(n)


def wilson_interval(half_points: int, n: int) -> tuple[float, float, float]:
    """Return (share, low, high) at 95 % for `half_points` half wins in n > 0 pairs."""
    p = half_points / (2 * n)
    z2 = Z_95 * Z_95
    centre = p + z2 / (2 * n)
    half_width = Z_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    # rounding must not push an end past the share: at p = 0 and 1 one end is exactly there
    return p, max(min((centre - half_width) / scale, p), 0.0), min(max((centre + half_width) / scale, p), 1.0)
