"""P(i beats j): agreement with joint draws, symmetry, and the shares that simulated votes show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.rating.joint_draws import draw_ranks
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.pair_probabilities import compare_models
from pipeline.rating.posterior import PosteriorFit, fit_posterior
from tests.rating.arenas import count_ballots, model_names, simulate_ballots, weigh_equally


@pytest.fixture(scope="module")
def fit() -> PosteriorFit:
    rng = np.random.default_rng(3)
    ballots = simulate_ballots(rng.normal(size=7), 120, 3, rng, tie_width=0.8)
    return fit_posterior(count_ballots(ballots, 7), model_names(7))


def test_probabilities_agree_with_joint_draws(fit: PosteriorFit) -> None:
    rng = np.random.default_rng(8)
    skills = rng.multivariate_normal(fit.mean, fit.covariance, size=200_000, method="eigh")
    first, second = np.triu_indices(7, 1)
    ours = compare_models(fit, first, second)
    for p, (i, j) in enumerate(zip(first, second, strict=True)):
        x = skills[:, i] - skills[:, j]
        won, lost, tied = np.exp(x / 2), np.exp(-x / 2), fit.tie_parameter
        total = won + lost + tied
        assert ours.stronger[p] == pytest.approx((x > 0).mean(), abs=0.005)
        assert ours.wins[p] == pytest.approx((won / total).mean(), abs=0.003)
        assert ours.losses[p] == pytest.approx((lost / total).mean(), abs=0.003)
        assert ours.ties[p] == pytest.approx((tied / total).mean(), abs=0.003)


def test_the_next_vote_says_something_and_turns_round(fit: PosteriorFit) -> None:
    first, second = np.triu_indices(7, 1)
    ours, turned = compare_models(fit, first, second), compare_models(fit, second, first)
    np.testing.assert_allclose(ours.wins + ours.losses + ours.ties, 1)
    np.testing.assert_allclose(turned.wins, ours.losses, atol=1e-12)
    np.testing.assert_allclose(turned.stronger, 1 - ours.stronger, atol=1e-12)


def test_stronger_agrees_with_the_draws_behind_the_board(fit: PosteriorFit) -> None:
    order = np.argsort([fit.model_ids.index(name) for name in sorted(fit.model_ids)])
    drawn = draw_ranks(fit.mean[order], fit.covariance[np.ix_(order, order)]).drawn
    ours = compare_models(fit, [order[0]], [order[1]])
    assert ours.stronger[0] == pytest.approx((drawn[0] < drawn[1]).mean(), abs=0.03)


def test_many_votes_give_their_own_shares() -> None:
    rng = np.random.default_rng(4)
    skills = np.array([0.8, 0.0, -0.8])
    ballots = simulate_ballots(skills, 60_000, 2, rng, tie_width=1.0)
    counts = count_ballots(ballots, 3)
    ours = compare_models(fit_posterior(counts, model_names(3)), [0], [1])
    pairs = counts.pairs(weigh_equally)
    total = pairs.wins[0] + pairs.losses[0] + pairs.ties[0]
    assert ours.wins[0] == pytest.approx(pairs.wins[0] / total, abs=0.015)
    assert ours.ties[0] == pytest.approx(pairs.ties[0] / total, abs=0.015)


def test_unplayed_models_are_a_coin_and_a_model_is_as_strong_as_itself() -> None:
    fit = fit_posterior(PairCounts.empty(), ["a", "b"])
    ours = compare_models(fit, [0, 0], [1, 0])
    assert ours.stronger.tolist() == [0.5, 0.5]
    assert ours.wins.tolist() == pytest.approx([0.5, 0.5])
    assert ours.ties.tolist() == [0.0, 0.0]
    assert math.isfinite(ours.losses[0])
