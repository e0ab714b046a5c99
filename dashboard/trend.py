"""Ratings over time as an option object of ECharts: a line a model, and its interval as a band behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dashboard.methods import Drawn, MethodNote, bar_of_ksort
from dashboard.scale import LEAST, Scale, fit_scale
from pipeline.store.history import last_of_spans

MODELS: Final = 5
"""More lines with bands cannot be told apart."""
POINTS: Final = 160
"""Boards drawn at most: one every few pixels."""

_EARLY: Final = 10
"""The first of so many parts of the boards is early: its intervals do not stretch the chart."""

_FORMATS: Final = {"points": "%,.0f", "score": "%.2f", "share": "%.1f %%"}


def make_trend(
    history: pa.Table, models: Mapping[str, str], method: str, note: MethodNote, colours: Sequence[str]
) -> dict[str, Any] | None:
    """Return the option object; None while there are fewer than two boards in `history`.

    Parameters
    ----------
    history : Table of `pipeline.store.history.HISTORY_SCHEMA`
        Of one method.
    models : mapping of str to str
        Ids of the models to draw, best first, and their names.
    """
    commits, times = choose_boards(history)
    if len(commits) < 2:
        return None
    history = history.filter(pc.is_in(history["commit"], pa.array(commits)))
    names = tell_apart(models)
    early = len(commits) // _EARLY
    series: list[dict[str, Any]] = []
    drawn: list[Drawn] = []
    for place, model in enumerate(models):
        rows = history.filter(pc.equal(history["model"], model))
        index = np.searchsorted(commits, rows["commit"].to_numpy())
        value, low, high = _columns(rows, method, note)
        drawn += (
            Drawn(middle, middle, *((None, None) if at < early else (start, end)))
            for at, middle, start, end in zip(index.tolist(), value, low, high, strict=True)
        )
        colour = colours[place % len(colours)]
        line = [[int(time), None] for time in times]
        base = [[int(time), None] for time in times]
        band = [[int(time), None] for time in times]
        for at, middle, start, end in zip(index.tolist(), value, low, high, strict=True):
            line[at][1] = _rounded(middle)
            if start is not None and end is not None:
                base[at][1], band[at][1] = _rounded(start), _rounded(end - start)
        if any(point[1] is not None for point in band):
            series += _band_series(names[model], f"band-{place}", base, band, colour)
        series.append(
            {
                "name": names[model],
                "type": "line",
                "data": line,
                "showSymbol": False,
                "connectNulls": True,
                "lineStyle": {"width": 2, "color": colour},
                "itemStyle": {"color": colour},
                "z": 3,
            }
        )
    # Early intervals are so wide that beside them nothing else could be seen: they may leave the chart.
    scale = fit_scale(drawn, at_least=LEAST[note.unit] * (100 if note.unit == "share" else 1))
    return {
        "useUTC": True,
        "animation": False,
        "grid": {"left": 4, "right": 16, "top": 12, "bottom": 8, "containLabel": True},
        "legend": {"show": False},
        "tooltip": {"trigger": "axis", "valueFormatter": _FORMATS[note.unit], "order": "valueDesc", "confine": True},
        "xAxis": {"type": "time", "splitNumber": 5, "axisLabel": {"hideOverlap": True}},
        "yAxis": {
            "type": "value",
            "axisLabel": {"formatter": "{value} %"} if note.unit == "share" else {},
            **_axis_of(scale),
        },
        "series": series,
    }


def _axis_of(scale: Scale) -> dict[str, float | None]:
    """Return ends at whole steps: ECharts labels ends wherever they are."""
    step = scale.ticks[1] - scale.ticks[0] if len(scale.ticks) > 1 else scale.high - scale.low
    low, high = math.floor(scale.low / step + 1e-9) * step, math.ceil(scale.high / step - 1e-9) * step
    return {"min": _rounded(low), "max": _rounded(high), "interval": _rounded(step)}


def has_trend(history: pa.Table) -> bool:
    """Whether there are boards enough for a line."""
    return len(choose_boards(history)[0]) >= 2


def choose_boards(
    history: pa.Table, points: int = POINTS, *, first_too: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return commits, ascending, and log times of the boards to draw: the last of each of `points` spans of time.

    `first_too`: the very first one as well.
    """
    # Before the first vote there is the prior: no rating, and wider than everything that follows.
    history = history.filter(pc.greater(history["arena_votes"], 0))
    commits, first = np.unique(history["commit"].to_numpy(), return_index=True)
    # A log time is a running maximum; should one not be, the line must not turn back.
    times = np.maximum.accumulate(history["log_time"].to_numpy()[first])
    chosen = last_of_spans(times, points)
    chosen[:1] |= first_too
    return commits[chosen], times[chosen]


def _columns(
    rows: pa.Table, method: str, note: MethodNote
) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Return what is drawn, as `methods.draw_rating` does for the board."""
    if method == "ksort":
        # The mean: scores rise with every vote, however a model does.
        mean = rows["mean"].to_pylist()
        ends = [bar_of_ksort(*pair) for pair in zip(mean, rows["score"].to_pylist(), strict=True)]
        return mean, [low for low, _ in ends], [high for _, high in ends]
    published = note.unit == "points" and rows["rating"].null_count == 0
    columns = ("rating", "rating_low", "rating_high") if published else ("mean", "low", "high")
    factor = 100 if note.unit == "share" else 1
    value, low, high = (
        [None if cell is None else factor * cell for cell in rows[column].to_pylist()] for column in columns
    )
    return value, low, high


def _band_series(
    name: str, stack: str, base: list[list[Any]], band: list[list[Any]], colour: str
) -> list[dict[str, Any]]:
    """A band is drawn as its width, stacked on an invisible line at its lower end."""
    common = {
        "name": name,
        "type": "line",
        "stack": stack,
        "stackStrategy": "all",
        "showSymbol": False,
        "silent": True,
        "connectNulls": True,
        "lineStyle": {"width": 0, "opacity": 0},
        "itemStyle": {"color": colour},
        "tooltip": {"show": False},
        "z": 1,
    }
    return [{**common, "data": base}, {**common, "data": band, "areaStyle": {"color": colour, "opacity": 0.13}}]


def tell_apart(models: Mapping[str, str]) -> dict[str, str]:
    """Return names by id; one that two models share is followed by the id, because ECharts goes by names."""
    names = list(models.values())
    return {model: name if names.count(name) == 1 else f"{name} ({model})" for model, name in models.items()}


def _rounded(value: float | None) -> float | None:
    return round(value, 4) if value is not None and math.isfinite(value) else None
