"""Ranks over time as an option object of ECharts: a line a model, the first rank on top."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dashboard.theme import Palette
from dashboard.trend import choose_boards, tell_apart

POINTS: Final = 60
"""Boards drawn at most: lines that cross more often cannot be followed."""
ROW: Final = 28
"""Pixels a rank."""
_LABEL: Final = 150
_PHONE_LABEL: Final = 116
"""Pixels for a name at the right end: where there is room, and where there is not."""


def make_bump(
    history: pa.Table, models: Mapping[str, str], lit: Collection[str], ranks: int, palette: Palette
) -> dict[str, Any] | None:
    """Return the option object; None while there are fewer than two boards in `history`.

    Parameters
    ----------
    history : Table of `pipeline.store.history.HISTORY_SCHEMA`
        Of one method.
    models : mapping of str to str
        Ids of the models to draw, best first, and their names.
    lit
        Those drawn in colour, at most as many as `palette.series` has; the others are grey.
    ranks
        Ranks that the chart reaches down to.
    """
    commits, times = choose_boards(history, POINTS - 1, first_too=True)
    if len(commits) < 2:
        return None
    history = history.filter(pc.is_in(history["commit"], pa.array(commits)))
    names = tell_apart(models)
    colours = dict(zip([model for model in models if model in lit], palette.series, strict=False))
    series = []
    for model in models:
        rows = history.filter(pc.equal(history["model"], model))
        at = np.searchsorted(commits, rows["commit"].to_numpy())
        line: list[list[int | None]] = [[int(time), None] for time in times]
        for place, rank in zip(at.tolist(), rows["rank"].to_pylist(), strict=True):
            line[place][1] = rank if rank <= ranks else None
        series.append(_make_line(names[model], line, colours.get(model), palette))
    return {
        "useUTC": True,
        "animation": False,
        "grid": {"left": 20, "right": _LABEL, "top": 12, "bottom": 8, "containLabel": True},
        "legend": {"show": False},
        "tooltip": {"trigger": "item", "formatter": "{a}: rank {@[1]}", "confine": True},
        "xAxis": {"type": "time", "splitNumber": 5, "axisLabel": {"hideOverlap": True}},
        "yAxis": {
            "type": "value",
            "inverse": True,
            "min": 0.5,
            "max": ranks + 0.5,
            "interval": 1,
            "axisLabel": {"show": False},
            "splitLine": {"show": False},
        },
        "series": series,
        "media": [{"query": {"maxWidth": 560}, "option": {"grid": {"right": _PHONE_LABEL}}}],
    }


def _make_line(name: str, line: list[list[int | None]], colour: str | None, palette: Palette) -> dict[str, Any]:
    last, opacity = line[-1][1], 0.4 if colour is None else 1
    return {
        "name": name,
        "type": "line",
        "data": line,
        "showSymbol": True,
        "symbol": "circle",
        "symbolSize": 1 if colour is None else 3,
        "connectNulls": False,
        "lineStyle": {"width": 1.5 if colour is None else 3, "color": colour or palette.muted, "opacity": opacity},
        "itemStyle": {"color": colour or palette.muted, "opacity": 0},  # there to be pointed at
        "emphasis": {"lineStyle": {"width": 3, "opacity": 1}},
        "endLabel": {
            "show": last is not None,
            "formatter": f"{last}  {_shorten(name)}",
            "color": colour or palette.muted,
            "fontWeight": 600 if colour else 400,
            "fontSize": 12,
            "distance": 8,
        },
        "z": 2 if colour is None else 4,
    }


def _shorten(name: str) -> str:
    # Braces would be read as a template.
    plain = name.replace("{", "(").replace("}", ")")
    return plain if len(plain) <= 20 else plain[:19] + "…"
