"""How much votes have told: the precision of past boards, and what it grew by a vote, as an option object of ECharts.

What a board knows of its models is measured by the entropy of their ratings, the sum of log2 of their standard
deviations (up to a constant; the correlations between them are left out). What it falls by from one board to a later
one, divided by the votes between, is the information of a vote in bits. Where models come to count, boards before and
after cannot be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dashboard.theme import Palette

SPANS: Final = 60
"""Points drawn at most: over shorter spans the noise of single votes is all that is seen."""
_LATELY: Final = 0.1
"""Share of the newest votes that the figure is of."""

INFORMATION_SCHEMA: Final = pa.schema(
    [("log_time", pa.int64()), ("votes", pa.int64()), ("models", pa.int32()), ("bits_per_vote", pa.float64())]
)
"""One row a span between boards, as of its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Information:
    """Bits a vote between boards: log time (ms) and votes at the end of n spans, models that counted, bits; (n,)."""

    times: NDArray[np.int64]
    votes: NDArray[np.int64]
    models: NDArray[np.int64]
    bits: NDArray[np.float64]


def measure_information(precision: pa.Table, spans: int = SPANS) -> Information:
    """Measure what votes told between boards.

    Parameters
    ----------
    precision : Table of `pipeline.store.history.PRECISION_SCHEMA`
    spans
        Spans of equal numbers of votes aimed at.
    """
    votes = precision["arena_votes"].to_numpy()
    if not len(votes):
        empty = np.zeros(0, np.int64)
        return Information(empty, empty, empty, np.zeros(0))
    # The last board of each span of votes; retractions make votes fall, such steps are left out below.
    width = max(1, -(-int(votes.max()) // spans))
    chosen = np.flatnonzero(np.append(np.diff(votes // width) != 0, True))
    votes, times = votes[chosen], precision["log_time"].to_numpy()[chosen]
    models, log_sd = precision["models"].to_numpy()[chosen], precision["log_sd"].to_numpy()[chosen]
    steps = np.diff(votes)
    keep = (steps > 0) & (np.diff(models) == 0)
    # What was measured beyond the votes that a retraction left is of votes that do not count any more.
    fewest_later = np.minimum.accumulate(votes[::-1])[::-1]
    keep[:-1] &= votes[1:-1] < fewest_later[2:]
    bits = -np.diff(log_sd)[keep] / math.log(2) / steps[keep]
    ends = np.flatnonzero(keep) + 1
    return Information(times[ends], votes[ends], models[ends].astype(np.int64), bits)


def describe_lately(information: Information) -> float | None:
    """Return the bits a vote over about the newest tenth of the votes; None where nothing can be said."""
    if not len(information.bits):
        return None
    recent = information.votes >= information.votes[-1] * (1 - _LATELY)
    return float(information.bits[recent].mean())


def tabulate_information(information: Information) -> pa.Table:
    """Return the spans as `INFORMATION_SCHEMA`."""
    return pa.table(
        [
            pa.array(information.times),
            pa.array(information.votes),
            pa.array(information.models.astype(np.int32)),
            pa.array(information.bits),
        ],
        schema=INFORMATION_SCHEMA,
    )


def has_chart(information: Information) -> bool:
    """Whether there are spans enough for a line."""
    return len(information.bits) >= 3


def make_information_chart(information: Information, palette: Palette) -> dict[str, Any] | None:
    """Return the option object: bits a vote over votes; None while there are fewer than three spans."""
    if not has_chart(information):
        return None
    colour = palette.series[0]
    points = [list(point) for point in zip(information.votes.tolist(), information.bits.round(4).tolist(), strict=True)]
    return {
        "animation": False,
        "grid": {"left": 4, "right": 24, "top": 12, "bottom": 24, "containLabel": True},
        "legend": {"show": False},
        "tooltip": {"trigger": "axis", "valueFormatter": "%.3f bits", "confine": True},
        "xAxis": {
            "type": "value",
            "min": points[0][0],
            "max": points[-1][0],
            "name": "Votes",
            "nameLocation": "middle",
            "nameGap": 28,
            "splitLine": {"show": False},
            "axisLabel": {"hideOverlap": True, "showMinLabel": False, "showMaxLabel": False},
        },
        "yAxis": {"type": "value", "axisLabel": {"formatter": "{value}"}},
        "series": [
            {
                "name": "Bits a vote",
                "type": "line",
                "data": points,
                "showSymbol": False,
                "lineStyle": {"width": 2, "color": colour},
                "itemStyle": {"color": colour},
                "areaStyle": {"color": colour, "opacity": 0.13},
            }
        ],
    }
