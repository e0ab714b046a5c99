"""Draws the pictures of docs/reproduction.md from the raw results: ``python -m benchmarks.paper.plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper.experiments import check_votes
from benchmarks.paper.raw import find_row, read_raw

FOLDER: Final = Path(__file__).parents[2] / "docs" / "images"
ERROR_NAME: Final = "paper-rank-error.svg"
NEWCOMER_NAME: Final = "paper-newcomer.svg"

_CURVES: Final = (
    ("ranking", "order-entropy", 4, "mean", "ranking, least certain order (ours)"),
    ("ksort", "ksort", 4, "score", "K-Sort, its matchmaking"),
    ("ksort", "random", 4, "score", "K-Sort, random matchups"),
    ("trueskill", "random", 4, "mean", "trueskill, random matchups"),
    ("openskill-pl", "random", 4, "mean", "openskill (Plackett-Luce), random matchups"),
    ("elo-4", "random", 2, "mean", "Elo, K factor 4, random pairs"),
    ("elo-32", "random", 2, "mean", "Elo, K factor 32, random pairs"),
)
_FLOOR: Final = 0.01
"""Where an error of 0 is drawn: it has no logarithm. The smallest other error of 50 models is 0.04."""


def draw_rank_error(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw medians and quartiles of the rank error over votes, noise-free and with random votes."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, share in zip(figure.subplots(1, 2, sharey=True), (0.0, 0.05), strict=True):
        for color, (method, policy, k, by, label) in enumerate(_CURVES):
            row = find_row(rows, experiment="order", method=method, policy=policy, k=k, random_share=share)
            if row is None:
                continue
            low, median, high = np.quantile(np.maximum(row[by]["errors"], _FLOOR), (0.25, 0.5, 0.75), axis=0)
            votes = check_votes(row["horizon"])
            axes.plot(votes, median, color=f"C{color}", label=label)
            axes.fill_between(votes, low, high, color=f"C{color}", alpha=0.2, linewidth=0)
        axes.set(xscale="log", yscale="log", xlabel="votes", ylim=(_FLOOR * 0.8, 500))
        axes.axhline(_FLOOR, color="0.7", linewidth=0.8, linestyle=":")
        _finish(axes, share)
    figure.axes[0].set_ylabel("mean squared rank error (dotted line: 0)")
    _add_legend(figure)
    return figure


def draw_newcomer(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the share of runs in which the new model is at most one place off, over matchups with it."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, share in zip(figure.subplots(1, 2, sharey=True), (0.0, 0.05), strict=True):
        chosen = [row for row in rows if row["experiment"] == "newcomer" and row["random_share"] == share]
        for color, row in enumerate(chosen):
            for by, style in (("mean", "-"), ("score", "--")):
                near = (np.array(row[by]["errors"]) <= 1).mean(axis=0)
                label = f"{row['method']}, opponents by {row['policy']}, ranked by {by}"
                axes.plot(check_votes(row["horizon"], 1), near, style, color=f"C{color}", label=label)
        axes.set(xscale="log", xlabel="matchups with the new model", ylim=(0, 1.02))
        _finish(axes, share)
    figure.axes[0].set_ylabel("runs within one place")
    _add_legend(figure)
    return figure


def _finish(axes: Axes, share: float) -> None:
    axes.set_title(f"{100 * share:.0f} % of the votes are random" if share else "noise-free")
    axes.grid(alpha=0.25)


def _add_legend(figure: Figure) -> None:
    lines, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, fontsize=8)


def main() -> None:
    """Write both pictures."""
    rows = read_raw()["rows"]
    # the same bytes for the same results
    with mpl.rc_context({"svg.hashsalt": "paper", "svg.fonttype": "none"}):
        for name, figure in ((ERROR_NAME, draw_rank_error(rows)), (NEWCOMER_NAME, draw_newcomer(rows))):
            figure.savefig(FOLDER / name, metadata={"Date": None})


if __name__ == "__main__":
    main()
