"""Measures the rating package: ``python -m benchmarks.rating [--quick] [--save] --json``.

- *filter and counts*: K = 4 votes of 50 models through `ksort_filter` and `CountAccumulator` in one process and thread,
  in batches of 50,000; against openskill (Thurstone-Mosteller and Plackett-Luce) and trueskill, which take the first
  of the same votes, one by one;
- *fits*: `fit_posterior` with rank intervals for 10, 50 and 200 models, best of several, one thread.

All times are processor time of the one thread that works: what else the machine does costs caches, not seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openskill.models
import trueskill

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from pipeline.contracts.ballot import Ballots
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.elo import EloState
from pipeline.rating.elo import rate_ballots as rate_elo
from pipeline.rating.ksort_filter import KsortState, rate_ballots
from pipeline.rating.methodology import METHODOLOGY, numerics_fingerprint
from pipeline.rating.posterior import PosteriorSettings, fit_posterior

TARGETS = {"ratio_to_openskill": 100, "counts_votes_per_s": 20_000_000, "fit_50_ms": 50, "fit_200_ms": 1_500}
N_MODELS = 50
K = 4
BATCH = 50_000
REPEATS = 3


def draw_votes(n_models: int, n: int, seed: int) -> Ballots:
    """Draw n strict rankings of K of `n_models` models from a Plackett-Luce world."""
    rng = np.random.default_rng(seed)
    skills = rng.normal(size=n_models)
    models = np.argsort(rng.random((n, n_models)), axis=1)[:, :K].astype(np.int32)
    groups = np.argsort(np.argsort(-(skills[models] + rng.gumbel(size=(n, K))), axis=1), axis=1)
    offsets = np.arange(n + 1, dtype=np.int64) * K
    return Ballots(offsets, models.ravel(), groups.astype(np.int8).ravel(), np.zeros(n, np.int8))


def cut_batches(ballots: Ballots) -> list[Ballots]:
    """Cut ballots of size K into batches."""
    return [
        Ballots(
            np.arange(len(ballots.modes[low : low + BATCH]) + 1, dtype=np.int64) * K,
            ballots.models[low * K : (low + BATCH) * K],
            ballots.groups[low * K : (low + BATCH) * K],
            ballots.modes[low : low + BATCH],
        )
        for low in range(0, len(ballots), BATCH)
    ]


def measure_rate(work: Callable[[], object], votes: int) -> float:
    """Return the best votes per second of processor time of several runs."""
    best = 0.0
    for _ in range(REPEATS):
        begin = time.thread_time()
        work()
        best = max(best, votes / (time.thread_time() - begin))
    return best


def measure_ours(ballots: Ballots) -> dict[str, float]:
    """Votes/s of counting, of the filter, of both in turn, and of Elo."""
    batches = cut_batches(ballots)

    def count() -> None:
        accumulator = CountAccumulator(N_MODELS)
        for batch in batches:
            accumulator.add_ballots(batch)
            accumulator.take_delta()

    def filter_() -> None:
        state = KsortState.initial(N_MODELS)
        for batch in batches:
            state = rate_ballots(state, batch)

    def both() -> None:
        accumulator, state = CountAccumulator(N_MODELS), KsortState.initial(N_MODELS)
        for batch in batches:
            accumulator.add_ballots(batch)
            accumulator.take_delta()
            state = rate_ballots(state, batch)

    def elo() -> None:
        rate_elo(EloState.initial(N_MODELS), ballots)

    both()
    elo()
    votes = len(ballots)
    return {
        "counts_votes_per_s": measure_rate(count, votes),
        "filter_votes_per_s": measure_rate(filter_, votes),
        "filter_and_counts_votes_per_s": measure_rate(both, votes),
        "elo_votes_per_s": measure_rate(elo, votes),
    }


def measure_peers(ballots: Ballots, votes: int) -> dict[str, float]:
    """Votes/s of the peers on the first `votes` ballots."""
    rows = list(
        zip(ballots.models.reshape(-1, K)[:votes].tolist(), ballots.groups.reshape(-1, K)[:votes].tolist(), strict=True)
    )

    def run_openskill(model: openskill.models.ThurstoneMostellerFull | openskill.models.PlackettLuce) -> None:
        ratings = [model.rating() for _ in range(N_MODELS)]
        rated: Any
        for models, groups in rows:
            rated = model.rate([[ratings[m]] for m in models], ranks=[float(g) for g in groups])
            for m, (rating,) in zip(models, rated, strict=True):
                ratings[m] = rating

    def run_trueskill() -> None:
        environment = trueskill.TrueSkill(draw_probability=0.0)
        ratings = [environment.create_rating() for _ in range(N_MODELS)]
        rated: Any
        for models, groups in rows[: votes // 5]:
            rated = environment.rate([(ratings[m],) for m in models], ranks=groups)
            for m, (rating,) in zip(models, rated, strict=True):
                ratings[m] = rating

    thurstone, plackett_luce = openskill.models.ThurstoneMostellerFull(), openskill.models.PlackettLuce()
    return {
        "openskill_thurstone_votes_per_s": measure_rate(lambda: run_openskill(thurstone), votes),
        "openskill_plackett_luce_votes_per_s": measure_rate(lambda: run_openskill(plackett_luce), votes),
        "trueskill_votes_per_s": measure_rate(run_trueskill, votes // 5),
    }


def measure_fits(quick: bool) -> dict[str, float]:
    """Milliseconds of a fit with and without rank intervals, best of several."""
    figures = {}
    for n_models in (10, 50, 200):
        accumulator = CountAccumulator(n_models)
        accumulator.add_ballots(draw_votes(n_models, 100 * n_models, seed=n_models))
        counts, names = accumulator.freeze(), [f"m{m:03d}" for m in range(n_models)]
        for name, draws in (("", PosteriorSettings().rank_draws), ("_without_ranks", 0)):
            settings = PosteriorSettings(rank_draws=draws)
            rates = measure_rate(lambda c=counts, n=names, s=settings: fit_posterior(c, n, settings=s), 1)  # type: ignore[misc]
            figures[f"fit_{n_models}{name}_ms"] = round(1000 / rates, 2)
        if quick and n_models == 50:
            break
    return figures


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="fewer votes, no fit of 200 models")
    votes, peer_votes = (200_000, 1_000) if options.quick else (2_000_000, 10_000)
    machine = describe_machine()
    ballots = draw_votes(N_MODELS, votes, seed=1)
    ours = {name: round(rate) for name, rate in measure_ours(ballots).items()}
    peers = {name: round(rate) for name, rate in measure_peers(ballots, peer_votes).items()}
    both = ours["filter_and_counts_votes_per_s"]
    openskill_best = max(peers["openskill_thurstone_votes_per_s"], peers["openskill_plackett_luce_votes_per_s"])
    figures: dict[str, object] = {"votes": votes, "models": N_MODELS, "k": K, **ours}
    figures["ratio_to_openskill"] = round(both / openskill_best)
    figures["ratio_to_trueskill"] = round(both / peers["trueskill_votes_per_s"])
    figures |= measure_fits(options.quick)
    result = {
        "benchmark": "rating",
        "figures": figures,
        "peers": {"votes": peer_votes, **peers},
        "targets": TARGETS,
        "versions": describe_versions("numba", "numpy", "openskill", "scipy", "trueskill"),
        "methodology": METHODOLOGY,
        "fingerprint": numerics_fingerprint(),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
