"""The raw results of all seeds: read, written, and summed up as medians and quartiles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

RAW: Final = Path(__file__).parent / "raw.json"


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Quartiles of a number of votes over seeds; None where a quartile falls on a run that did not get there.

    Attributes
    ----------
    low, median, high : float or None
    reached, runs : int
        Runs that got there, and all runs.
    """

    low: float | None
    median: float | None
    high: float | None
    reached: int
    runs: int


def sum_up(votes: Sequence[int | None]) -> Quartiles:
    """Return the quartiles of `votes`; a run that did not get there counts as later than all others."""
    ordered = np.sort([np.inf if vote is None else float(vote) for vote in votes])
    # no interpolation towards infinity: each quartile is a run's own value, or the mean of two
    at = [(len(ordered) - 1) * share for share in (0.25, 0.5, 0.75)]
    values = [0.5 * float(ordered[int(np.floor(place))] + ordered[int(np.ceil(place))]) for place in at]
    low, median, high = (value if np.isfinite(value) else None for value in values)
    return Quartiles(low, median, high, reached=sum(vote is not None for vote in votes), runs=len(votes))


def write_raw(raw: Mapping[str, Any], path: Path = RAW) -> None:
    """Write raw results, one row a line, so that a diff shows which experiment changed."""
    head = {key: value for key, value in raw.items() if key != "rows"}
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in raw["rows"])
    path.write_text(f'{{"about": {json.dumps(head)},\n"rows": [\n{rows}\n]}}\n')


def read_raw(path: Path = RAW) -> dict[str, Any]:
    """Read what `write_raw` wrote."""
    kept = json.loads(path.read_text())
    return {**kept["about"], "rows": kept["rows"]}


def find_row(rows: Sequence[Mapping[str, Any]], **wanted: Any) -> Mapping[str, Any] | None:
    """Return the row whose fields are those of `wanted`; None if there is none."""
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)
