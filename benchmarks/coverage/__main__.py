"""Measures the calibration of `posterior` in simulated worlds: ``python -m benchmarks.coverage [--quick] [--save]``.

- *weights*: 20 models, ballots of K from a Plackett-Luce world, whole rankings (`rank`) or the best only (`best`);
  for several c in the weight 1/(1 + c (K - 2)) of a pair, the share of centred scores, of differences and of ranks
  whose 95 % interval holds the truth. `best_c` is the c whose intervals of differences come nearest to 95 %.
- *rank intervals*: the published ones against the narrowest that cover at least 95 % of ranks, over three kinds
  (quantiles of ranks in joint draws; each model's shortest span; spans with a mean mass over the board) at all masses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from pipeline.contracts.ballot import UNRANKED, Ballots, Mode
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.joint_draws import LEAST_MASS, MASS, draw_ranks
from pipeline.rating.methodology import METHODOLOGY, numerics_fingerprint
from pipeline.rating.posterior import Z_95, PosteriorFit, PosteriorSettings, fit_posterior

N_MODELS = 20
MODEL_IDS = [f"m{m:02d}" for m in range(N_MODELS)]
TARGETS = {
    "scores_cover": "0.93 to 0.97",
    "differences_cover": "0.93 to 0.97",
    "ranks_cover": "at least 0.95",
    "width_to_narrowest": "at most 1.1",
}
CORRELATIONS = {"rank": (0.0, 0.2, 1 / 3, 0.45, 0.6), "best": (0.0, 0.25, 0.4, 0.5, 0.6, 0.8)}
PUBLISHED = {"rank": PosteriorSettings().pair_correlation, "best": PosteriorSettings().best_correlation}
MASSES = (0.84, 0.86, 0.88, 0.90, 0.91, 0.92, 0.93, 0.94, 0.945, 0.95, 0.955, 0.96, 0.965, 0.97)
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class World:
    """A setting: mode and size of ballots, how many, and the spread of skills in logits."""

    mode: str
    k: int
    votes: int
    spread: float

    @property
    def name(self) -> str:
        """Name of the setting in figures."""
        return f"{self.mode}_k{self.k}_{self.votes}_votes_spread_{self.spread:g}"

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Ballots]:
        """Draw skills and ballots."""
        skills = rng.normal(size=N_MODELS) * self.spread
        models = np.argsort(rng.random((self.votes, N_MODELS)), axis=1)[:, : self.k].astype(np.int32)
        shown = skills[models] + rng.gumbel(size=models.shape)
        groups = np.argsort(np.argsort(-shown, axis=1), axis=1)
        mode = Mode.RANK if self.mode == "rank" else Mode.BEST
        if mode is Mode.BEST:
            groups = np.where(groups == 0, 0, UNRANKED)
        offsets = np.arange(self.votes + 1, dtype=np.int64) * self.k
        modes = np.full(self.votes, mode, np.int8)
        return skills, Ballots(offsets, models.ravel(), groups.astype(np.int8).ravel(), modes)


def list_worlds(*, quick: bool) -> list[World]:
    """Return the settings."""
    rank = [World("rank", k, 1200, 1.0) for k in (2, 4, 6, 8)]
    best = [World("best", k, 1200, spread) for k in (3, 4, 6, 8) for spread in (0.6, 1.0)]
    more = [World("rank", 4, 300, 1.0), World("rank", 4, 4000, 0.3), World("rank", 4, 4000, 2.0)]
    return [rank[1], best[2]] if quick else [*rank, *more, *best]


def measure_world(world: World, worlds: int, seed: int) -> dict[str, Any]:
    """Return coverage by weight, and coverage and width of rank intervals at the published weight."""
    rng = np.random.default_rng(seed)
    hits = {c: np.zeros(3) for c in CORRELATIONS[world.mode]}
    widths: dict[tuple[str, float], NDArray[np.float64]] = {}
    for _ in range(worlds):
        skills, ballots = world.draw(rng)
        accumulator = CountAccumulator(N_MODELS)
        accumulator.add_ballots(ballots)
        counts = accumulator.freeze()
        for c in hits:
            settings = PosteriorSettings(pair_correlation=c, best_correlation=c, rank_draws=DRAWS)
            fit = fit_posterior(counts, MODEL_IDS, settings=settings)
            hits[c] += count_hits(fit, skills)
            if c == PUBLISHED[world.mode]:
                for key, found in measure_rank_intervals(fit, skills).items():
                    widths[key] = widths.get(key, np.zeros(2)) + found
    coverage = {
        f"{c:.3f}": dict(zip(("scores", "differences", "ranks"), (hit / worlds).round(4).tolist(), strict=True))
        for c, hit in hits.items()
    }
    return {"coverage": coverage, **summarise_widths(widths, worlds), **pick_weight(hits, worlds)}


def count_hits(fit: PosteriorFit, skills: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of scores, differences and ranks whose interval holds the truth."""
    first, second = np.triu_indices(N_MODELS, 1)
    truth = skills - skills[fit.reference].mean()
    variance = np.diagonal(fit.covariance)
    sd = np.sqrt(variance[first] + variance[second] - 2 * fit.covariance[first, second])
    error = (fit.mean[first] - fit.mean[second]) - (truth[first] - truth[second])
    rank = rank_truth(skills)
    return np.array(
        [
            ((fit.low <= truth) & (truth <= fit.high)).mean(),
            (np.abs(error) <= Z_95 * sd).mean(),
            ((fit.rank_low <= rank) & (rank <= fit.rank_high)).mean(),
        ]
    )


def rank_truth(skills: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the true ranks from 1."""
    return np.argsort(np.argsort(-skills)) + 1


def measure_rank_intervals(
    fit: PosteriorFit, skills: NDArray[np.float64]
) -> dict[tuple[str, float], NDArray[np.float64]]:
    """Return (coverage, mean width) of rank intervals of several kinds; the width of one rank is 1."""
    drawn, truth = draw_ranks(fit.mean, fit.covariance, draws=DRAWS), rank_truth(skills)
    found = {("published", MASS): drawn.intervals(fit.rank)}
    for mass in MASSES:
        # each model on its own: all mass is at least, so that nothing is cut
        found["shortest", mass] = drawn.intervals(fit.rank, mass=mass, least_mass=1.0)
        found["board", mass] = drawn.intervals(fit.rank, mass=mass, least_mass=mass - (MASS - LEAST_MASS))
        low, high = np.quantile(drawn.drawn, (0.5 - mass / 2, 0.5 + mass / 2), axis=1, method="inverted_cdf")
        found["quantiles", mass] = (
            np.minimum(low, fit.rank).astype(np.int64),
            np.maximum(high, fit.rank).astype(np.int64),
        )
    return {
        key: np.array([((low <= truth) & (truth <= high)).mean(), (high - low + 1).mean()])
        for key, (low, high) in found.items()
    }


def summarise_widths(widths: dict[tuple[str, float], NDArray[np.float64]], worlds: int) -> dict[str, Any]:
    """Return the published intervals beside the narrowest of all kinds that cover at least 95 %."""
    means = {key: found / worlds for key, found in widths.items()}
    ours, quantiles = means["published", MASS], means["quantiles", 0.95]
    covering = {key: found for key, found in means.items() if found[0] >= 0.95}
    narrowest = min(covering, key=lambda key: covering[key][1]) if covering else None
    return {
        "ranks_cover": round(float(ours[0]), 4),
        "width": round(float(ours[1]), 3),
        "narrowest": None if narrowest is None else f"{narrowest[0]} {narrowest[1]:g}",
        "narrowest_covers": None if narrowest is None else round(float(covering[narrowest][0]), 4),
        "width_to_narrowest": None if narrowest is None else round(float(ours[1] / covering[narrowest][1]), 3),
        "quantiles_to_narrowest": None if narrowest is None else round(float(quantiles[1] / covering[narrowest][1]), 3),
        "kinds": {f"{kind} {mass:g}": found.round(4).tolist() for (kind, mass), found in means.items()},
    }


def pick_weight(hits: dict[float, NDArray[np.float64]], worlds: int) -> dict[str, float]:
    """Return the c whose intervals of differences are nearest to 95 %, between those that were tried."""
    tried = sorted(hits)
    covered = [float(hits[c][1]) / worlds for c in tried]
    return {"best_c": round(float(np.interp(0.95, covered, tried)), 3)}


def main() -> None:
    """Run all settings and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="two settings, few worlds")
    worlds = 10 if options.quick else 100
    machine = describe_machine()
    settings = {
        world: measure_world(world, worlds, seed) for seed, world in enumerate(list_worlds(quick=options.quick))
    }
    figures: dict[str, Any] = {"worlds": worlds, "models": N_MODELS}
    for world, found in settings.items():
        published = found["coverage"][f"{PUBLISHED[world.mode]:.3f}"]
        figures[f"{world.name}_scores_cover"] = published["scores"]
        figures[f"{world.name}_differences_cover"] = published["differences"]
        figures[f"{world.name}_ranks_cover"] = published["ranks"]
        figures[f"{world.name}_width_to_narrowest"] = found["width_to_narrowest"]
        figures[f"{world.name}_quantiles_to_narrowest"] = found["quantiles_to_narrowest"]
        if world.k > 2:
            figures[f"{world.name}_best_c"] = found["best_c"]
    result = {
        "benchmark": "coverage",
        "figures": figures,
        "targets": {f"{w.name}_{figure}": target for w in settings for figure, target in TARGETS.items()},
        "settings": {world.name: found for world, found in settings.items()},
        "versions": describe_versions("numba", "numpy", "scipy"),
        "methodology": METHODOLOGY,
        "fingerprint": numerics_fingerprint(),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
