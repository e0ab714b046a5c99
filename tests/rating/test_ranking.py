"""The engine on whole rankings: against an independent program, against its naive form, and in simulated worlds."""

from __future__ import annotations

import dataclasses
import math

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode, make_ballots
from pipeline.rating.errors import FitError
from pipeline.rating.posterior import Z_95
from pipeline.rating.ranking import PERFORMANCE_VARIANCE, RankingSettings, draw_skills, fit_ranking
from pipeline.rating.ranking_naive import fit_scale_naive
from tests.rating.arenas import Row, model_names, renumber_ballots, simulate_ballots

CLOSE = RankingSettings(lapse_doubt=math.inf, tolerance=1e-4, rank_draws=0)
EXACT = RankingSettings(lapse_doubt=math.inf, tolerance=1e-9, rank_draws=0)


def at_scale(scale: float) -> RankingSettings:
    return dataclasses.replace(EXACT, scales=(scale,))


def test_pairs_are_rated_as_choix_does() -> None:
    rng = np.random.default_rng(1)
    data = [tuple(rng.permutation(6)[:2].tolist()) for _ in range(40)]
    fit = fit_ranking(
        make_ballots([(list(pair), [1, 2], Mode.RANK) for pair in data]), model_names(6), settings=at_scale(2)
    )
    # its unit is the sd of the difference of two performances
    unit = math.sqrt(2 * PERFORMANCE_VARIANCE)
    mean, covariance = choix.ep_pairwise(6, data, alpha=(unit / 2) ** 2, model="probit", max_iter=1000)
    np.testing.assert_allclose(fit.sites[0].mean, mean * unit, atol=1e-3)
    np.testing.assert_allclose(fit.sites[0].covariance, covariance * unit**2, atol=1e-3)


def test_the_nested_form_agrees_with_the_naive_one() -> None:
    rows: list[Row] = [
        ([0, 1, 2, 3], [1, 2, 3, 4], Mode.RANK),
        ([3, 1, 4], [1, 1, 2], Mode.RANK),
        ([2, 4, 0], [None, 1, None], Mode.BEST),
        ([4, 2], [1, 1], Mode.RANK),
        ([0, 1, 3, 4], [2, 1, 2, 3], Mode.RANK),
    ]
    ballots = make_ballots(rows)
    at = fit_ranking(ballots, model_names(5), settings=at_scale(1.5)).sites[0]
    mean, covariance, log_evidence = fit_scale_naive(ballots, 5, 1.5, at.margin)
    np.testing.assert_allclose(at.mean, mean, atol=1e-5)
    np.testing.assert_allclose(at.covariance, covariance, atol=1e-5)
    assert at.log_evidence == pytest.approx(log_evidence, abs=1e-5)


def test_evidence_of_one_ranking_is_its_probability() -> None:
    # of equal models all 4! orders are equally likely; expectation propagation is off by a few percent
    fit = fit_ranking(make_ballots([([0, 1, 2, 3], [1, 2, 3, 4], Mode.RANK)]), model_names(4), settings=at_scale(1))
    assert math.exp(fit.sites[0].log_evidence) == pytest.approx(1 / 24, rel=0.05)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_ratings_do_not_depend_on_numbers_slots_or_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ballots = simulate_ballots(rng.normal(size=6), 12, 4, rng, tie_width=0.8)
    names = model_names(6)
    fit = fit_ranking(ballots, names, settings=EXACT)
    position = rng.permutation(6)
    shuffled = _shuffle(renumber_ballots(ballots, position), rng)
    renamed = ["" for _ in names]
    for model, place in enumerate(position.tolist()):
        renamed[place] = names[model]
    other = fit_ranking(shuffled, renamed, settings=EXACT)
    np.testing.assert_allclose(other.mean[position], fit.mean, atol=1e-4)
    np.testing.assert_allclose(other.sd[position], fit.sd, atol=1e-4)


def _shuffle(ballots: Ballots, rng: np.random.Generator) -> Ballots:
    """Put ballots, and the slots inside them, into another order."""
    rows: list[Row] = []
    for b in rng.permutation(len(ballots)).tolist():
        slots = rng.permutation(np.arange(ballots.offsets[b], ballots.offsets[b + 1]))
        ranks: list[int | None] = [None if group == UNRANKED else int(group) for group in ballots.groups[slots]]
        rows.append((ballots.models[slots].tolist(), ranks, Mode(int(ballots.modes[b]))))
    return make_ballots(rows)


def test_tied_models_are_rated_alike() -> None:
    fit = fit_ranking(make_ballots([([0, 1, 2, 3], [1, 2, 2, 2], Mode.RANK)] * 3), model_names(4), settings=CLOSE)
    assert fit.mean[0] > fit.mean[1]
    np.testing.assert_allclose(fit.mean[1:], fit.mean[1], atol=1e-3)
    np.testing.assert_allclose(fit.sd[1:], fit.sd[1], atol=1e-3)
    assert fit.margin > 0


def test_more_ties_bring_models_together() -> None:
    wins: Row = ([0, 1], [1, 2], Mode.RANK)
    ties: Row = ([0, 1], [1, 1], Mode.RANK)
    lead = [
        float(np.diff(fit_ranking(make_ballots(rows), model_names(2), settings=CLOSE).mean)[0])
        for rows in ([wins] * 4 + [ties], [wins] * 4 + [ties] * 6)
    ]
    assert lead[0] < lead[1] < 0


def test_the_unranked_remainder_says_nothing_inside() -> None:
    ballots = make_ballots([([0, 1, 2], [1, None, None], Mode.BEST), ([0, 1, 2], None, Mode.ALL_BAD)])
    fit = fit_ranking(ballots, model_names(3), settings=EXACT)
    assert fit.mean[0] > fit.mean[1] == pytest.approx(fit.mean[2], abs=1e-9)
    assert len(fit.attention) == 1, "all_bad orders nothing"


def test_without_ballots_the_prior_is_the_board() -> None:
    fit = fit_ranking(make_ballots([([0, 1], None, Mode.SKIP)]), model_names(3))
    np.testing.assert_array_equal(fit.mean, 0)
    assert fit.sd[0] > 10


def test_random_ballots_are_seen_through() -> None:
    rng = np.random.default_rng(4)
    skills = np.linspace(8, -8, 12)
    rows: list[Row] = []
    for b in range(120):
        models = rng.permutation(12)[:4]
        order = np.argsort(-(skills[models] + rng.normal(size=4)))
        ranks = np.argsort(order)
        rows.append((models.tolist(), (3 - ranks if b % 20 == 7 else ranks).tolist(), Mode.RANK))
    fit = fit_ranking(make_ballots(rows), model_names(12))
    reversed_ = np.arange(120) % 20 == 7
    assert np.median(fit.attention[reversed_]) < 0.2
    assert np.median(fit.attention[~reversed_]) > 0.95
    np.testing.assert_array_equal(fit.rank, np.arange(1, 13))
    assert 0.01 < fit.lapse < 0.15


def test_a_start_ends_where_a_fresh_fit_does() -> None:
    rng = np.random.default_rng(5)
    ballots = simulate_ballots(rng.normal(size=8), 60, 4, rng)
    first = ballots.take(np.arange(60) < 50)
    fresh = fit_ranking(ballots, model_names(8))
    warm = fit_ranking(ballots, model_names(8), start=fit_ranking(first, model_names(8)))
    np.testing.assert_allclose(warm.mean, fresh.mean, atol=0.02)
    np.testing.assert_allclose(warm.sd, fresh.sd, atol=0.02)


def test_a_start_of_other_models_or_more_ballots_is_refused() -> None:
    rng = np.random.default_rng(6)
    ballots = simulate_ballots(rng.normal(size=5), 4, 4, rng)
    fit = fit_ranking(ballots, model_names(5))
    with pytest.raises(ValueError, match="same models"):
        fit_ranking(ballots, model_names(6), start=fit)
    with pytest.raises(ValueError, match="4 ballots, of which 2"):
        fit_ranking(ballots.take(np.arange(4) < 2), model_names(5), start=fit)


def test_a_fit_that_does_not_rest_is_an_error() -> None:
    rng = np.random.default_rng(7)
    ballots = simulate_ballots(rng.normal(size=5), 30, 4, rng)
    with pytest.raises(FitError, match="no rest"):
        fit_ranking(ballots, model_names(5), settings=dataclasses.replace(EXACT, tolerance=1e-15, max_sweeps=2))


def test_draws_have_the_moments_of_the_fit() -> None:
    rng = np.random.default_rng(8)
    ballots = simulate_ballots(np.array([1.0, -1, 0, 0.5]), 60, 3, rng)
    fit = fit_ranking(ballots, ["d", "b", "c", "a"])
    draws = draw_skills(fit, 20_000, rng)
    draws -= draws[:, fit.reference].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(draws.mean(axis=0), fit.mean, atol=0.02)
    np.testing.assert_allclose(draws.std(axis=0), fit.sd, rtol=0.05)


@pytest.mark.parametrize("kind", ["rank", "ties", "best"])
def test_95_percent_intervals_cover(kind: str) -> None:
    # short form: 10 worlds, standard error about 1.6 points
    rng = np.random.default_rng(9)
    first, second = np.triu_indices(12, 1)
    hits = np.zeros(2)
    for _ in range(10):
        skills = rng.normal(size=12)
        # performances of the Gumbel kind: intervals must stand that the model is Gaussian
        ballots = simulate_ballots(skills, 150, 4, rng, tie_width=1.0 if kind == "ties" else 0, best=kind == "best")
        fit = fit_ranking(ballots, model_names(12), settings=RankingSettings(rank_draws=0))
        truth = skills - skills[fit.reference].mean()
        variance = np.diagonal(fit.covariance)
        sd = np.sqrt(variance[first] + variance[second] - 2 * fit.covariance[first, second])
        error = (fit.mean[first] - fit.mean[second]) - (truth[first] - truth[second])
        hits += [((fit.low <= truth) & (truth <= fit.high)).mean(), (np.abs(error) <= Z_95 * sd).mean()]
    coverage = hits / 10
    assert (coverage > 0.91).all(), coverage
    assert (coverage < 0.99).all(), coverage
