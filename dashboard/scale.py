"""The common scale of a board's bars: round ends, round steps, and a limit to what one unsure model may stretch.

A model that has hardly been played has an interval many times as wide as all others together. On a scale that holds it
whole, nothing of the others could be seen. So the scale holds every mark, and intervals as far as `reach` beyond the
outermost marks, where reach is the larger of the span of marks and the median width of the intervals. What
lies further out is cut, and shown to be so.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dashboard.formatting import Unit
from dashboard.methods import Drawn

LEAST: Final[dict[Unit, float]] = {"points": 40.0, "score": 4.0, "share": 0.04}
"""Least width by unit, so that a board without differences is not drawn as one with large ones."""
STEPS: Final = 4
"""Steps aimed at."""
_PARTS: Final = 4
"""The ends are round to this part of a step: fine enough to waste little, coarse enough that bars stand still."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From `low` to `high`, with `ticks` at round values between."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return where `value` lies, in per cent from the left, kept inside the scale."""
        return min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low)))


def fit_scale(drawn: Iterable[Drawn], *, at_least: float) -> Scale:
    """Fit a scale, at least `at_least` wide, to ratings; with nothing to draw it starts at 0.

    Values that are not finite are left out.
    """
    rows = list(drawn)
    marks = [row.mark for row in rows if row.mark is not None and math.isfinite(row.mark)]
    if not marks:
        return _round_outwards(0.0, at_least)
    low, high = min(marks), max(marks)
    intervals = [
        (row.low, row.high)
        for row in rows
        if row.low is not None and row.high is not None and math.isfinite(row.high - row.low)
    ]
    if intervals:
        reach = max(high - low, statistics.median(end - start for start, end in intervals))
        low = max(low - reach, min(low, *(start for start, _ in intervals)))
        high = min(high + reach, max(high, *(end for _, end in intervals)))
    missing = max(0.0, at_least - (high - low))
    return _round_outwards(low - missing / 2, high + missing / 2)


def _round_outwards(low: float, high: float) -> Scale:
    step = round_step((high - low) / STEPS)
    part = step / _PARTS
    first, last = math.floor(low / part + 1e-9), math.ceil(high / part - 1e-9)
    ticks = range(-(-first // _PARTS), last // _PARTS + 1)
    return Scale(first * part, last * part, tuple(tick * step for tick in ticks))


def round_step(raw: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below `raw`, which is above 0."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
