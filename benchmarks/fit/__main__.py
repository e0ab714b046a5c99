"""Measures fits from votes in memory: ``python -m benchmarks.fit [--quick] [--save]``.

One million votes on pairs of models, from a Bradley-Terry world, as arrays of indices; from them a score for each
model, counting included, by

- *ours*: `CountAccumulator` and `fit_point`;
- *evalica*: `bradley_terry` and `newman` (its Rust solvers) on lists of indices made beforehand;
- *choix*: `ilsr_pairwise` on a list of pairs, on the first votes and scaled up to all of them;
- *openskill* and *trueskill*: one vote after the other, likewise.

Beside these, `choix_on_matrix`: the matrix of wins counted by NumPy, and `ilsr_pairwise_dense`. It is no package that
counts votes, but the least that a fit can cost where the matrix is small; our counting keeps ballot sizes, ties,
modes and appearances apart.

And *ours* with the covariance and all that is published (`fit_posterior`: 9 prior scales, 4,000 joint draws).

Times are processor time over all threads of the process, best of several: what else the machine does costs caches,
not seconds. `error` is the largest difference from choix's maximum likelihood scores, in logits (ours has a prior).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import choix
import evalica
import numpy as np
import openskill.models
import trueskill
from numpy.typing import NDArray

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from pipeline.contracts.ballot import Ballots, Mode
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.methodology import METHODOLOGY, numerics_fingerprint
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.point_fit import fit_point
from pipeline.rating.posterior import fit_posterior

SIZES = (50, 200, 2000)
TARGETS = {
    **{f"point_{n}_against_quickest_peer": "at most 1" for n in SIZES},
    "posterior_2000_s": "at most 30",
}


def draw_pairs(n_models: int, n: int, seed: int) -> NDArray[np.int32]:
    """Draw pairs (winner, loser), int32 (n, 2)."""
    rng = np.random.default_rng(seed)
    skills, first = rng.normal(size=n_models), rng.integers(n_models, size=n)
    second = (first + rng.integers(1, n_models, size=n)) % n_models
    won = rng.random(n) < 1 / (1 + np.exp(skills[second] - skills[first]))
    return np.where(won[:, None], np.stack([first, second], 1), np.stack([second, first], 1)).astype(np.int32)


def measure(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the least seconds of processor time of several runs, and the last result."""
    best, found = float("inf"), None
    for _ in range(repeats):
        begin = time.process_time()
        found = work()
        best = min(best, time.process_time() - begin)
    return best, found


def count_pairs(pairs: NDArray[np.int32], n_models: int) -> PairCounts:
    """Count votes as the job does."""
    n = len(pairs)
    offsets, groups = np.arange(n + 1, dtype=np.int64) * 2, np.tile(np.array([0, 1], np.int8), n)
    accumulator = CountAccumulator(n_models)
    accumulator.add_ballots(Ballots(offsets, pairs.ravel(), groups, np.full(n, Mode.RANK, np.int8)))
    return accumulator.freeze()


def measure_evalica(pairs: NDArray[np.int32], repeats: int) -> dict[str, float]:
    """Seconds of evalica's Bradley-Terry and Newman solvers."""
    xs, ys = pairs[:, 0].tolist(), pairs[:, 1].tolist()
    winners = [evalica.Winner.X] * len(pairs)
    return {
        "evalica_bradley_terry": measure(lambda: evalica.bradley_terry(xs, ys, winners), repeats)[0],
        "evalica_newman": measure(lambda: evalica.newman(xs, ys, winners), repeats)[0],
    }


def fit_choix(pairs: NDArray[np.int32], n_models: int) -> NDArray[np.float64]:
    """Fit by choix from its matrix of wins, made by NumPy; a little regularised, as the boards may be incomplete."""
    codes = pairs[:, 0].astype(np.int64) * n_models + pairs[:, 1]
    wins = np.bincount(codes, minlength=n_models * n_models).reshape(n_models, n_models).astype(np.float64)
    return np.asarray(choix.ilsr_pairwise_dense(wins, alpha=1e-6), np.float64)


def measure_online(pairs: NDArray[np.int32], n_models: int, votes: int) -> dict[str, float]:
    """Seconds of openskill and trueskill for all votes, scaled up from the first `votes`."""
    rows = pairs[:votes].tolist()

    def run_openskill() -> None:
        model = openskill.models.BradleyTerryFull()
        ratings = [model.rating() for _ in range(n_models)]
        for winner, loser in rows:
            ((ratings[winner],), (ratings[loser],)) = model.rate([[ratings[winner]], [ratings[loser]]])

    def run_trueskill() -> None:
        environment = trueskill.TrueSkill(draw_probability=0.0)
        ratings = [environment.create_rating() for _ in range(n_models)]
        for winner, loser in rows:
            ratings[winner], ratings[loser] = trueskill.rate_1vs1(ratings[winner], ratings[loser], env=environment)

    scale = len(pairs) / votes
    return {"openskill": measure(run_openskill, 1)[0] * scale, "trueskill": measure(run_trueskill, 1)[0] * scale}


def measure_size(n_models: int, votes: int, repeats: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Return figures and peers' seconds for one number of models."""
    pairs, names = draw_pairs(n_models, votes, seed=n_models), [f"m{m:05d}" for m in range(n_models)]
    counting, counts = measure(lambda: count_pairs(pairs, n_models), repeats)
    ours, point = measure(lambda: fit_point(count_pairs(pairs, n_models), names), repeats)
    peers = measure_evalica(pairs, repeats)
    rows = pairs[: votes // 20].tolist()
    peers["choix"] = 20 * measure(lambda: choix.ilsr_pairwise(n_models, rows, alpha=1e-3), 1)[0]
    peers |= measure_online(pairs, n_models, min(votes, 5_000))
    on_matrix, expected = measure(lambda: fit_choix(pairs, n_models), repeats)
    posterior = measure(lambda: fit_posterior(counts, names), 1 if n_models > 500 else repeats)[0]
    quickest = min(peers, key=lambda name: peers[name])
    figures = {
        f"point_{n_models}_ms": round(1000 * ours, 1),
        f"point_{n_models}_counting_ms": round(1000 * counting, 1),
        f"point_{n_models}_quickest_peer": quickest,
        f"point_{n_models}_against_quickest_peer": round(ours / peers[quickest], 3),
        f"point_{n_models}_against_choix_on_matrix": round(ours / on_matrix, 3),
        f"point_{n_models}_error": round(float(np.abs(point.skill - (expected - expected.mean())).max()), 4),
        f"posterior_{n_models}_s": round(posterior, 3),
    }
    peers["choix_on_matrix"] = on_matrix
    return figures, {f"{name}_{n_models}_ms": round(1000 * seconds, 1) for name, seconds in peers.items()}


def main() -> None:
    """Run all sizes and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="50 and 200 models, a tenth of the votes")
    votes = 100_000 if options.quick else 1_000_000
    machine = describe_machine()
    warm = draw_pairs(300, 2_000, seed=1)
    names = [f"m{m:05d}" for m in range(300)]
    fit_point(count_pairs(warm, 300), names)
    fit_posterior(count_pairs(warm, 300), names)
    figures: dict[str, Any] = {"votes": votes}
    peers: dict[str, float] = {}
    for n_models in SIZES[:2] if options.quick else SIZES:
        found, others = measure_size(n_models, votes, 3)
        figures |= found
        peers |= others
    result = {
        "benchmark": "fit",
        "figures": figures,
        "peers": peers,
        "targets": TARGETS,
        "versions": describe_versions("choix", "evalica", "numba", "numpy", "openskill", "scipy", "trueskill"),
        "methodology": METHODOLOGY,
        "fingerprint": numerics_fingerprint(),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
