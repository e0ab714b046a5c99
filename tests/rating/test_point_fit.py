"""Point fits: agreement with choix and with the posterior, large sparse boards, warm starts, numbering."""

from __future__ import annotations

import choix
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots, Mode
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.point_fit import fit_point
from pipeline.rating.posterior import PosteriorSettings, fit_posterior
from tests.rating.arenas import count_ballots, model_names, renumber_ballots, simulate_ballots


def draw_pairs(n_models: int, n: int, seed: int) -> tuple[NDArray[np.int64], Ballots]:
    """Draw pairs (winner, loser), (n, 2), and the same as ballots."""
    rng = np.random.default_rng(seed)
    skills, first = rng.normal(size=n_models), rng.integers(n_models, size=n)
    second = (first + rng.integers(1, n_models, size=n)) % n_models
    won = rng.random(n) < 1 / (1 + np.exp(skills[second] - skills[first]))
    pairs = np.where(won[:, None], np.stack([first, second], 1), np.stack([second, first], 1))
    groups = np.tile(np.array([0, 1], np.int8), n)
    offsets = np.arange(n + 1, dtype=np.int64) * 2
    return pairs, Ballots(offsets, pairs.astype(np.int32).ravel(), groups, np.full(n, Mode.RANK, np.int8))


def test_skills_agree_with_choix() -> None:
    pairs, ballots = draw_pairs(15, 600, seed=1)
    expected = choix.opt_pairwise(15, pairs.tolist(), alpha=1 / (2 * 2.0**2), tol=1e-12)
    ours = fit_point(count_ballots(ballots, 15), model_names(15))
    np.testing.assert_allclose(ours.skill, expected - expected.mean(), atol=1e-6)


def test_skills_are_those_of_the_posterior_at_the_scale() -> None:
    rng = np.random.default_rng(2)
    counts = count_ballots(simulate_ballots(rng.normal(size=9), 200, 4, rng, tie_width=0.7), 9)
    alone = fit_posterior(counts, model_names(9), settings=PosteriorSettings(scales=(4.0,), rank_draws=0))
    ours = fit_point(counts, model_names(9), scale=4.0)
    np.testing.assert_allclose(ours.skill, alone.mean, atol=1e-7)
    assert ours.tie_parameter == pytest.approx(alone.tie_parameter, rel=1e-6)


def test_a_large_sparse_board_solves_its_equations() -> None:
    n = 2000
    pairs, ballots = draw_pairs(n, 40_000, seed=3)
    ours = fit_point(count_ballots(ballots, n), model_names(n))
    winner, loser = pairs.T
    surprise = 1 / (1 + np.exp(ours.skill[winner] - ours.skill[loser]))
    gradient = np.bincount(winner, surprise, n) - np.bincount(loser, surprise, n)
    # at the mode the gradient of the likelihood is the prior's pull; the skills' own mean is the shift
    shift = -(gradient.mean() * 4.0 - ours.skill.mean())
    np.testing.assert_allclose(gradient, (ours.skill - shift) / 4.0, atol=1e-4)


def test_a_warm_start_ends_in_the_same_place_sooner() -> None:
    _, ballots = draw_pairs(30, 3000, seed=4)
    counts, names = count_ballots(ballots, 30), model_names(30)
    cold = fit_point(counts, names)
    warm = fit_point(counts, names, start=fit_point(count_ballots(ballots.take(np.arange(3000) < 2900), 25 + 5), names))
    np.testing.assert_allclose(warm.skill, cold.skill, atol=1e-7)
    assert warm.iterations < cold.iterations


def test_skills_are_the_same_bits_for_any_numbering() -> None:
    _, ballots = draw_pairs(12, 300, seed=5)
    position, names = np.random.default_rng(6).permutation(12), model_names(12)
    renamed = [""] * 12
    for m, p in enumerate(position.tolist()):
        renamed[p] = names[m]
    straight = fit_point(count_ballots(ballots, 12), names)
    renumbered = fit_point(count_ballots(renumber_ballots(ballots, position), 12), renamed)
    assert renumbered.skill[position].tolist() == straight.skill.tolist()


def test_nothing_to_fit_is_fitted() -> None:
    assert fit_point(PairCounts.empty(), []).skill.tolist() == []
    assert fit_point(PairCounts.empty(), ["a", "b"]).skill.tolist() == [0.0, 0.0]
