"""What the posterior promises is true of simulated worlds: intervals cover, ranks cover, a known order is found.

The default run is a short form: 80 worlds a setting, where the rate of coverage has a standard error of about 0.6
points (intervals of one world are correlated). The slow one has 150 worlds and more settings, among them wide spreads
of skill with 6 and 8 models a ballot, where the weight of a pair is on the safe side.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.rating.posterior import Z_95, PosteriorSettings, fit_posterior
from tests.rating.arenas import count_ballots, model_names, simulate_ballots

N_MODELS = 20


@dataclasses.dataclass
class Coverage:
    scores: float
    differences: float
    ranks: float


def measure_coverage(
    k: int, n_votes: int, worlds: int, seed: int, *, spread: float = 1.0, best: bool = False, **settings: float
) -> Coverage:
    """Share of centred scores, differences and ranks whose 95 % interval holds the truth."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(N_MODELS, 1)
    hits = np.zeros(3)
    policy = dataclasses.replace(PosteriorSettings(rank_draws=1000), **settings)  # type: ignore[arg-type]
    for _ in range(worlds):
        skills = rng.normal(size=N_MODELS) * spread
        counts = count_ballots(simulate_ballots(skills, n_votes, k, rng, best=best), N_MODELS)
        fit = fit_posterior(counts, model_names(N_MODELS), settings=policy)
        truth = skills - skills[fit.reference].mean()
        rank = np.argsort(np.argsort(-skills)) + 1
        variance = np.diagonal(fit.covariance)
        sd = np.sqrt(variance[first] + variance[second] - 2 * fit.covariance[first, second])
        error = (fit.mean[first] - fit.mean[second]) - (truth[first] - truth[second])
        hits += [
            ((fit.low <= truth) & (truth <= fit.high)).mean(),
            (np.abs(error) <= Z_95 * sd).mean(),
            ((fit.rank_low <= rank) & (rank <= fit.rank_high)).mean(),
        ]
    return Coverage(*(hits / worlds).tolist())


@pytest.mark.parametrize("k", [2, 4, 6])
def test_95_percent_intervals_cover_93_to_97_percent(k: int) -> None:
    coverage = measure_coverage(k, 1200, 80, seed=k)
    assert 0.93 <= coverage.scores <= 0.97
    assert 0.93 <= coverage.differences <= 0.97
    assert coverage.ranks >= 0.95


def test_unweighted_pairs_of_a_ballot_would_not_cover() -> None:
    # keeps the tests above able to fail: without the weight the same measure falls out of its bounds
    assert measure_coverage(6, 1200, 15, seed=6, pair_correlation=0.0).differences < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 4, 6, 8])
@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("n_votes", [300, 3000])
def test_95_percent_intervals_cover_in_many_worlds(k: int, spread: float, n_votes: int) -> None:
    coverage = measure_coverage(k, n_votes, 150, seed=100 + k, spread=spread)
    assert 0.93 <= coverage.scores <= 0.985
    assert 0.93 <= coverage.differences <= 0.985
    assert coverage.ranks >= 0.95


@pytest.mark.parametrize("k", [3, 8])
def test_95_percent_intervals_of_best_ballots_cover_93_to_97_percent(k: int) -> None:
    coverage = measure_coverage(k, 1200, 60, seed=200 + k, spread=0.6, best=True)
    assert 0.93 <= coverage.scores <= 0.97
    assert 0.93 <= coverage.differences <= 0.97
    assert coverage.ranks >= 0.95


def test_a_known_order_is_recovered() -> None:
    rng = np.random.default_rng(20)
    skills = np.linspace(3, -3, 30)[rng.permutation(30)]
    counts = count_ballots(simulate_ballots(skills, 30_000, 4, rng), 30)
    fit = fit_posterior(counts, model_names(30))
    assert np.abs(fit.rank - (np.argsort(np.argsort(-skills)) + 1)).max() <= 1
    np.testing.assert_allclose(fit.mean, skills, atol=0.15)
