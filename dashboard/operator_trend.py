"""The operator's last hour as an option object of ECharts: three charts on one axis of time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa

from dashboard.theme import Palette
from pipeline.contracts.status import FRESHNESS_TARGET_MS, Sample

_GAP_MS: Final = 15_000
"""Longer without a sample: the job was not there, and no line is drawn."""
_HEIGHT: Final = 110
_STEP: Final = 160
"""Pixels: of one chart, and from one to the next."""
HEIGHT: Final = 3 * _STEP - 10

Point = list[Any]


def list_rates(samples: Sequence[Sample]) -> list[tuple[int, float | None]]:
    """Return (time, votes a second since the sample before); None after a gap, or where totals began anew."""
    rates: list[tuple[int, float | None]] = []
    for before, sample in pairwise(samples):
        passed = sample.time - before.time
        if passed > _GAP_MS or sample.accepted < before.accepted or passed <= 0:
            rates.append((sample.time, None))
        else:
            rates.append((sample.time, 1000 * (sample.accepted - before.accepted) / passed))
    return rates


def has_operations_trend(samples: Sequence[Sample]) -> bool:
    """Whether there are samples enough for a line."""
    return len(samples) >= 3


def make_operations_trend(samples: Sequence[Sample], palette: Palette) -> dict[str, Any] | None:
    """Return the option object; None while there are fewer than three samples."""
    if not has_operations_trend(samples):
        return None
    first, second = palette.series[0], palette.series[1]
    lines = [
        _line(
            "Votes a second",
            [[time, _rounded(rate)] for time, rate in list_rates(samples)],
            0,
            first,
            "%,.1f",
            area=True,
        ),
        _line("p99", _with_gaps([(s.time, _seconds(s.p99_ms)) for s in samples]), 1, second, "%.2f s"),
        _line("p50", _with_gaps([(s.time, _seconds(s.p50_ms)) for s in samples]), 1, first, "%.2f s"),
        _line("Waiting", _with_gaps([(s.time, s.lag) for s in samples]), 2, first, "%,.0f", area=True),
    ]
    lines[1]["markLine"] = {
        "silent": True,
        "symbol": "none",
        "label": {"show": False},
        "lineStyle": {"type": "dashed", "color": palette.muted, "opacity": 0.6},
        "data": [{"yAxis": FRESHNESS_TARGET_MS / 1000}],
    }
    titles = (
        "Votes a second",
        "Seconds from append to board    {p99|━} p99    {p50|━} p50",
        "Records waiting in the log",
    )
    ends = {"min": samples[0].time, "max": samples[-1].time}
    return {
        "useUTC": True,
        "animation": False,
        "title": [
            {
                "text": text,
                "left": 0,
                "top": place * _STEP,
                "padding": [4, 0, 0, 0],
                "textStyle": {
                    "fontSize": 13,
                    "fontWeight": 400,
                    "color": palette.muted,
                    "rich": {"p99": {"color": second}, "p50": {"color": first}},
                },
            }
            for place, text in enumerate(titles)
        ],
        "grid": [
            {"left": 56, "right": 12, "top": place * _STEP + 30, "height": _HEIGHT - 14} for place in range(len(titles))
        ],
        "legend": {"show": False},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": [
            {"type": "time", "gridIndex": place, "splitNumber": 6, "axisLabel": {"hideOverlap": True}, **ends}
            for place in range(len(titles))
        ],
        "yAxis": [
            {"type": "value", "gridIndex": place, "min": 0, "splitNumber": 3, "minInterval": 1 if place == 2 else 0}
            for place in range(len(titles))
        ],
        "series": lines,
    }


def tabulate_samples(samples: Sequence[Sample]) -> pa.Table:
    """Return samples as a table, a row each."""
    names = Sample.__struct_fields__
    return pa.table({name: pa.array([getattr(sample, name) for sample in samples], pa.int64()) for name in names})


def _line(
    name: str, points: list[Point], place: int, colour: str, value_format: str, *, area: bool = False
) -> dict[str, Any]:
    line: dict[str, Any] = {
        "name": name,
        "type": "line",
        "data": points,
        "xAxisIndex": place,
        "yAxisIndex": place,
        "showSymbol": False,
        "lineStyle": {"width": 1.5, "color": colour},
        "itemStyle": {"color": colour},
        "tooltip": {"valueFormatter": value_format},
    }
    return line | {"areaStyle": {"color": colour, "opacity": 0.13}} if area else line


def _with_gaps(values: list[tuple[int, float | None]]) -> list[Point]:
    """Return points with an empty one in each gap, so that no line is drawn over it."""
    points: list[Point] = []
    for time, value in values:
        if points and time - points[-1][0] > _GAP_MS:
            points.append([points[-1][0] + 1, None])
        points.append([time, value])
    return points


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)
