"""Draws the plots of docs/method.md: ``python -m benchmarks.method_plots`` writes docs/images/method-*.svg.

Two come from raw results (`benchmarks/coverage/results.json`), two from simulated arenas with a fixed seed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots, Mode
from pipeline.rating.average import LIKELIHOODS, AverageState, end_block
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.posterior import fit_posterior

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
COVERAGE = ROOT / "benchmarks" / "coverage" / "results.json"
_COLOURS = ("#0b6e8f", "#d1722c", "#5b8c3a", "#8a4f9e", "#b23a48", "#6b7280")


def draw_votes(skills: NDArray[np.float64], n: int, k: int, rng: np.random.Generator, *, lapse: float = 0.0) -> Ballots:
    """Draw n rankings of k models from a Plackett-Luce world; a share `lapse` of them at random."""
    models = np.argsort(rng.random((n, len(skills))), axis=1)[:, :k].astype(np.int32)
    looked = rng.random(n) >= lapse
    shown = skills[models] * looked[:, None] + rng.gumbel(size=models.shape)
    groups = np.argsort(np.argsort(-shown, axis=1), axis=1)
    offsets = np.arange(n + 1, dtype=np.int64) * k
    return Ballots(offsets, models.ravel(), groups.astype(np.int8).ravel(), np.full(n, Mode.RANK, np.int8))


def plot_coverage(settings: dict[str, Any]) -> Figure:
    """Coverage of differences by the weight's c, for `rank` and `best` ballots."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = (("rank", "_k{}_1200_votes_spread_1", 1 / 3), ("best", "_k{}_1200_votes_spread_0.6", 1 / 2))
    for place, (mode, pattern, published) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.axhspan(0.93, 0.97, color="#e5e7eb", lw=0)
        for colour, k in zip(_COLOURS, (3, 4, 6, 8), strict=False):
            found = settings.get(mode + pattern.format(k))
            if found is not None:
                points = [(float(c), each["differences"]) for c, each in found["coverage"].items()]
                axes.plot(*zip(*points, strict=True), marker="o", ms=3, color=colour, label=f"K = {k}")
        axes.axvline(published, color="#111827", lw=0.8, ls=":")
        axes.set(title=f"{mode} ballots", xlabel="c in the weight 1/(1 + c (K - 2))", ylim=(0.65, 1))
        axes.set_ylabel("differences covered")
        axes.legend(frameon=False, fontsize=8)
    return figure


def plot_rank_intervals(settings: dict[str, Any]) -> Figure:
    """Coverage against width of three kinds of rank intervals."""
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    kinds = settings["rank_k4_1200_votes_spread_1"]["kinds"]
    names = {"quantiles": "quantiles", "shortest": "shortest, each model", "board": "shortest, over the board"}
    for colour, (kind, label) in zip(_COLOURS, names.items(), strict=False):
        points = [found for name, found in kinds.items() if name.split()[0] == kind]
        covered, width = zip(*points, strict=True)
        axes.plot(width, covered, marker="o", ms=3, color=colour, label=label)
    covered, width = kinds[next(name for name in kinds if name.startswith("published"))]
    axes.plot([width], [covered], marker="*", ms=12, color="#111827", ls="", label="published")
    axes.axhline(0.95, color="#111827", lw=0.8, ls=":")
    axes.set(xlabel="mean width in ranks, 20 models", ylabel="ranks covered")
    axes.legend(frameon=False, fontsize=8)
    return figure


def plot_board() -> Figure:
    """A board with its intervals, groups and P(best)."""
    rng = np.random.default_rng(7)
    skills = np.sort(rng.normal(size=14))[::-1]
    accumulator = CountAccumulator(14)
    accumulator.add_ballots(draw_votes(skills, 500, 4, rng))
    fit = fit_posterior(accumulator.freeze(), [f"model {m + 1:02d}" for m in range(14)])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    best = fit.p_best if fit.p_best is not None else np.zeros(14)
    truth = skills - skills.mean()
    for m in np.argsort(fit.rank).tolist():
        colour = _COLOURS[(int(fit.group[m]) - 1) % len(_COLOURS)]
        y = -int(fit.rank[m])
        axes.plot([fit.low[m], fit.high[m]], [y, y], color=colour, lw=3, solid_capstyle="round")
        axes.plot(fit.mean[m], y, "o", color="white", mec=colour, ms=6)
        axes.plot(truth[m], y, "|", color="#111827", ms=12)
        note = f"ranks {fit.rank_low[m]}-{fit.rank_high[m]}, group {fit.group[m]}, P(best) {best[m]:.2f}"
        axes.text(float(fit.high.max()) + 0.15, y, note, va="center", fontsize=8, color=colour)
    axes.set_yticks([-int(rank) for rank in fit.rank], fit.model_ids, fontsize=8)
    axes.set(xlabel="skill in logits, centred (bar: the truth)", xlim=(float(fit.low.min()) - 0.2, 4.6))
    return figure


def plot_average() -> Figure:
    """Weights of the likelihoods, and what the average lost against each, as votes come in."""
    rng = np.random.default_rng(3)
    skills = np.linspace(-3, 3, 20)
    accumulator, state = CountAccumulator(20), AverageState.initial()
    sizes, weights, behind, total = [], [], [], 0
    for size in [256 * 2**p for p in range(8)]:
        accumulator.add_ballots(draw_votes(skills, size - total, 4, rng, lapse=0.05))
        total = size
        state = end_block(state, accumulator.freeze(), total)
        sizes.append(total)
        weights.append(state.weights)
        behind.append(state.loss - float(state.losses.min()))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for m, likelihood in enumerate(LIKELIHOODS):
        left.plot(sizes, [each[m] for each in weights], marker="o", ms=3, color=_COLOURS[m], label=likelihood.name)
    left.set(xscale="log", xlabel="votes", ylabel="weight", title="5 % of ballots at random")
    left.legend(frameon=False, fontsize=7)
    right.plot(sizes, behind, marker="o", ms=3, color=_COLOURS[0], label="loss of the average above the best's")
    right.axhline(np.log(len(LIKELIHOODS)), color="#111827", lw=0.8, ls=":", label="ln M, the guarantee")
    right.set(xscale="log", xlabel="votes", ylabel="nats, all blocks so far", ylim=(0, 2))
    right.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    """Draw all plots."""
    mpl.rcParams.update({"svg.hashsalt": "method", "axes.spines.top": False, "axes.spines.right": False})
    settings = json.loads(COVERAGE.read_text())["settings"]
    plots = {
        "weights": plot_coverage(settings),
        "rank-intervals": plot_rank_intervals(settings),
        "board": plot_board(),
        "average": plot_average(),
    }
    for name, figure in plots.items():
        figure.savefig(IMAGES / f"method-{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
