"""The posterior: goldens from independent programs, symmetries, degenerate boards, failure."""

from __future__ import annotations

import dataclasses
import math

import choix
import numpy as np
import pytest
import scipy.optimize
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots, Mode, make_ballots
from pipeline.rating.errors import FitError
from pipeline.rating.pair_counts import PairCounts, count_ballots_naive
from pipeline.rating.posterior import PosteriorFit, PosteriorSettings, fit_posterior, rating_from_logit
from tests.rating.arenas import (
    Row,
    ballot_batches,
    count_ballots,
    model_names,
    pair_row,
    renumber_ballots,
    simulate_ballots,
)

NO_RANKS = PosteriorSettings(rank_draws=0)


def one_scale(tau: float, **changes: float) -> PosteriorSettings:
    return PosteriorSettings(scales=(tau,), rank_draws=0, **changes)  # type: ignore[arg-type]


def fit(ballots: Ballots, n: int, settings: PosteriorSettings = NO_RANKS) -> PosteriorFit:
    return fit_posterior(count_ballots(ballots, n), model_names(n), settings=settings)


def pair_votes(n_models: int, n: int, seed: int) -> tuple[NDArray[np.int64], Ballots]:
    """Pairs (winner, loser), (n, 2), and the same as ballots."""
    rng = np.random.default_rng(seed)
    ballots = simulate_ballots(rng.normal(size=n_models), n, 2, rng)
    models, first = ballots.models.reshape(n, 2), ballots.groups.reshape(n, 2)[:, :1] == 0
    return np.where(first, models, models[:, ::-1]).astype(np.int64), ballots


def test_mode_agrees_with_choix() -> None:
    pairs, ballots = pair_votes(12, 400, seed=1)
    # choix penalises alpha ||theta||^2
    expected = choix.opt_pairwise(12, pairs.tolist(), alpha=1 / (2 * 2.0**2), tol=1e-12)
    np.testing.assert_allclose(fit(ballots, 12, one_scale(2.0)).mean, expected - expected.mean(), atol=1e-6)


def test_mode_and_covariance_agree_with_statsmodels_logistic_regression() -> None:
    # The ridge is given to statsmodels as data: none of its own, so the prior is made nearly flat instead.
    pairs, ballots = pair_votes(6, 3000, seed=2)
    design = np.zeros((len(pairs), 6))
    design[np.arange(len(pairs)), pairs[:, 0]] = 1.0
    design[np.arange(len(pairs)), pairs[:, 1]] = -1.0
    # half of the rows turned round: a response of ones only is no regression
    outcome = np.arange(len(pairs)) % 2
    design[outcome == 0] *= -1
    peer = sm.Logit(outcome, design[:, 1:]).fit(disp=0, tol=1e-12)
    theta = np.append(0.0, peer.params)
    covariance = np.zeros((6, 6))
    covariance[1:, 1:] = peer.cov_params()
    centring = np.eye(6) - 1 / 6
    ours = fit(ballots, 6, one_scale(1e5))
    np.testing.assert_allclose(ours.mean, theta - theta.mean(), atol=1e-7)
    np.testing.assert_allclose(ours.covariance, centring @ covariance @ centring, atol=1e-9)


def test_davidson_mode_covariance_and_evidence_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    n, tau = 7, 1.5
    ballots = simulate_ballots(rng.normal(size=n), 500, 4, rng, tie_width=0.8)
    counts = count_ballots(ballots, n)
    weight = 1 / (1 + 2 / 3)
    wins, ties = np.zeros((n, n)), np.zeros((n, n))
    columns = counts.to_columns()
    for kind, i, j, count in zip(*(columns[name] for name in ("kind", "i", "j", "n")), strict=True):
        if kind == 0:
            wins[i, j] += weight * count
        elif kind == 1:
            ties[i, j] += weight * count

    def loss(x: NDArray[np.float64]) -> float:
        theta, nu = x[:n], math.exp(x[n])
        difference = theta[:, None] - theta[None, :]
        log_d = np.log(np.exp(difference / 2) + np.exp(-difference / 2) + nu)
        log_likelihood = (wins * (difference / 2 - log_d)).sum() + (ties * (x[n] - log_d)).sum()
        return float(-log_likelihood + math.log(2 + nu) + theta @ theta / (2 * tau**2))

    peer = scipy.optimize.minimize(loss, np.zeros(n + 1), method="BFGS", options={"gtol": 1e-6})
    ours = fit(ballots, n, one_scale(tau))
    np.testing.assert_allclose(ours.mean, peer.x[:n] - peer.x[:n].mean(), atol=1e-5)
    assert ours.tie_parameter == pytest.approx(math.exp(peer.x[n]), rel=1e-5)
    hessian = _differentiate_twice(loss, peer.x)
    centring = np.eye(n) - 1 / n
    expected = centring @ np.linalg.inv(hessian)[:n, :n] @ centring
    np.testing.assert_allclose(ours.covariance, expected, rtol=2e-3, atol=1e-5)


def _differentiate_twice(f: object, x: NDArray[np.float64], h: float = 1e-4) -> NDArray[np.float64]:
    assert callable(f)
    size, eye = len(x), np.eye(len(x)) * h
    return np.array(
        [
            [
                (f(x + eye[a] + eye[b]) - f(x + eye[a] - eye[b]) - f(x - eye[a] + eye[b]) + f(x - eye[a] - eye[b]))
                / (4 * h * h)
                for b in range(size)
            ]
            for a in range(size)
        ]
    )


def test_prior_weights_agree_with_numerical_integration() -> None:
    # Two models: the evidence is a one-dimensional integral, and Laplace's is close to it where it is near Gaussian.
    counts = count_ballots(make_ballots([pair_row(0, 1)] * 30 + [pair_row(1, 0)] * 20), 2)
    scales = (0.5, 1.0, 2.0, 4.0)
    x = np.linspace(-60, 60, 200001)
    exact = []
    for tau in scales:
        prior = np.exp(-x * x / (4 * tau**2)) / (2 * tau * math.sqrt(math.pi))
        likelihood = np.exp(-30 * np.logaddexp(0, -x) - 20 * np.logaddexp(0, x) + 34)
        exact.append(float((prior * likelihood).sum()))
    ours = fit_posterior(counts, ["a", "b"], settings=PosteriorSettings(scales=scales, rank_draws=0))
    np.testing.assert_allclose(ours.prior_weights, np.array(exact) / sum(exact), rtol=0.02)


def test_moments_average_over_scales_with_the_spread_between_them() -> None:
    rng = np.random.default_rng(5)
    ballots = simulate_ballots(rng.normal(size=8), 6, 3, rng)
    scales = (0.5, 2.0, 8.0)
    parts = [fit(ballots, 8, one_scale(tau)) for tau in scales]
    whole = fit(ballots, 8, PosteriorSettings(scales=scales, rank_draws=0))
    weights = whole.prior_weights
    mean = sum(w * part.mean for w, part in zip(weights, parts, strict=True))
    second = sum(w * (part.covariance + np.outer(part.mean, part.mean)) for w, part in zip(weights, parts, strict=True))
    assert min(weights) > 0.001
    np.testing.assert_allclose(whole.mean, mean, atol=1e-12)
    np.testing.assert_allclose(whole.covariance, second - np.outer(mean, mean), atol=1e-11)


@settings(max_examples=30)
@given(ballot_batches(n_models=6))
def test_fit_is_the_same_bits_for_any_numbering_of_models(ballots: Ballots) -> None:
    position = np.random.default_rng(3).permutation(6)
    names = model_names(6)
    renamed = [""] * 6
    for m, p in enumerate(position.tolist()):
        renamed[p] = names[m]
    straight = fit_posterior(count_ballots(ballots, 6), names)
    renumbered = fit_posterior(count_ballots(renumber_ballots(ballots, position), 6), renamed)
    for field in ("mean", "sd", "low", "high", "rank", "rank_low", "rank_high", "reference"):
        assert getattr(renumbered, field)[position].tolist() == getattr(straight, field).tolist(), field
    assert renumbered.covariance[np.ix_(position, position)].tolist() == straight.covariance.tolist()
    assert renumbered.prior_weights == straight.prior_weights


@settings(max_examples=50)
@given(ballot_batches(n_models=8, max_size=60))
def test_fit_is_finite_centred_and_consistent(ballots: Ballots) -> None:
    ours = fit_posterior(count_ballots(ballots, 8), model_names(8))
    assert np.isfinite(ours.covariance).all()
    assert (ours.sd > 0).all()
    assert (ours.low < ours.mean).all()
    assert (ours.mean < ours.high).all()
    assert ours.mean[ours.reference].mean() == pytest.approx(0, abs=1e-9)
    weights = ours.reference / ours.reference.sum()
    np.testing.assert_allclose(ours.covariance @ weights, 0, atol=1e-9 * ours.covariance.max())
    assert (np.linalg.eigvalsh(ours.covariance) > -1e-9 * ours.covariance.max()).all()
    assert sorted(ours.rank.tolist()) == list(range(1, 9))
    assert (ours.rank_low >= 1).all()
    assert (ours.rank_low <= ours.rank).all()
    assert (ours.rank <= ours.rank_high).all()
    assert (ours.rank_high <= 8).all()
    assert math.fsum(ours.prior_weights) == pytest.approx(1)


def test_fit_is_a_function_of_counts_not_of_earlier_fits() -> None:
    rng = np.random.default_rng(6)
    ballots = simulate_ballots(rng.normal(size=30), 300, 4, rng)
    first = fit(ballots, 30)
    fit(simulate_ballots(rng.normal(size=30), 300, 4, rng), 30)
    again = fit(ballots, 30)
    assert first.covariance.tobytes() == again.covariance.tobytes()
    assert first.mean.tobytes() == again.mean.tobytes()


def test_reversed_votes_reverse_the_board() -> None:
    rng = np.random.default_rng(7)
    ballots = simulate_ballots(rng.normal(size=9), 200, 4, rng, tie_width=1.0)
    turned = dataclasses.replace(ballots, groups=(10 - ballots.groups).astype(np.int8))
    ours, reverse = fit(ballots, 9), fit(turned, 9)
    np.testing.assert_allclose(reverse.mean, -ours.mean, atol=1e-9)
    np.testing.assert_allclose(reverse.covariance, ours.covariance, rtol=1e-8)
    assert reverse.tie_parameter == pytest.approx(ours.tie_parameter, rel=1e-9)


def test_tie_parameter_is_recovered_and_zero_without_ties() -> None:
    rng = np.random.default_rng(8)
    skills, nu = np.array([1.0, 0.3, -0.2, -1.1]), 0.7
    rows: list[Row] = []
    for _ in range(6000):
        i, j = rng.permutation(4)[:2].tolist()
        odds = np.array([math.exp((skills[i] - skills[j]) / 2), math.exp((skills[j] - skills[i]) / 2), nu])
        outcome = rng.choice(3, p=odds / odds.sum())
        rows.append(pair_row(j, i) if outcome == 1 else pair_row(i, j, tied=outcome == 2))
    ours = fit(make_ballots(rows), 4)
    assert ours.tie_parameter == pytest.approx(nu, rel=0.1)
    np.testing.assert_allclose(ours.mean, skills - skills.mean(), atol=0.15)
    without = fit(make_ballots([row for row in rows if row[1] != [1, 1]]), 4)
    assert without.tie_parameter == 0.0


def test_ties_pull_two_models_together() -> None:
    won = [pair_row(0, 1)] * 8
    tied = [pair_row(0, 1, tied=True)] * 20
    alone, with_ties = fit(make_ballots(won), 2), fit(make_ballots(won + tied), 2)
    assert 0 < with_ties.mean[0] < alone.mean[0]


def test_only_ties_are_finite_and_equal() -> None:
    ours = fit(make_ballots([([0, 1, 2], [1, 1, 1], Mode.RANK)] * 50), 3)
    assert ours.mean.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert 10 < ours.tie_parameter < 1e3
    assert ours.rank.tolist() == [1, 2, 3]


def test_ballots_of_many_models_weigh_less() -> None:
    ballots = make_ballots([([0, 1, 2, 3], [1, 2, 3, 4], Mode.RANK)])
    wide = fit(ballots, 4, one_scale(1.0))
    unweighted = fit(ballots, 4, one_scale(1.0, pair_correlation=0.0))
    assert (wide.sd > unweighted.sd).all()
    # `best` has a parameter of its own
    best = make_ballots([([0, 1, 2, 3], [1, None, None, None], Mode.BEST)])
    assert (fit(best, 4, one_scale(1.0)).sd > fit(best, 4, one_scale(1.0, best_correlation=0.0)).sd).all()
    assert fit(ballots, 4, one_scale(1.0, best_correlation=0.0)).sd.tolist() == wide.sd.tolist()


def test_all_bad_and_skip_move_nothing() -> None:
    rng = np.random.default_rng(9)
    rows: list[Row] = [(rng.permutation(5)[:4].tolist(), [1, 2, 3, 4], Mode.RANK) for _ in range(20)]
    void: list[Row] = [([0, 1, 2, 3], None, Mode.ALL_BAD), ([1, 2, 3, 4], None, Mode.SKIP)]
    assert fit(make_ballots(rows + void * 9), 5).covariance.tolist() == fit(make_ballots(rows), 5).covariance.tolist()


def test_an_unplayed_model_widens_nobody_elses_interval() -> None:
    rng = np.random.default_rng(10)
    ballots = simulate_ballots(rng.normal(size=10), 400, 4, rng)
    known, with_new = fit(ballots, 10), fit(ballots, 11)
    assert with_new.reference.tolist() == [True] * 10 + [False]
    np.testing.assert_allclose(with_new.sd[:10], known.sd, rtol=1e-3)
    assert with_new.sd[10] > 5 * known.sd.max()


def test_sd_does_not_depend_on_the_prior_scale() -> None:
    # uncentred it would be 0.4 at prior scale 1 and 52 at 128
    rng = np.random.default_rng(11)
    ballots = simulate_ballots(rng.normal(size=6), 5000, 2, rng)
    near, far = (fit(ballots, 6, one_scale(tau)) for tau in (2.0, 128.0))
    np.testing.assert_allclose(near.sd, far.sd, rtol=0.01)


def test_a_board_without_votes_is_the_prior() -> None:
    ours = fit_posterior(PairCounts.empty(), model_names(5))
    scales = np.array(ours.scales)
    assert ours.mean.tolist() == [0.0] * 5
    assert ours.prior_weights == pytest.approx([1 / 9] * 9)
    assert ours.sd.tolist() == pytest.approx([math.sqrt((scales**2).mean() * (1 - 1 / 5))] * 5)
    assert ours.rank.tolist() == [1, 2, 3, 4, 5]
    assert ours.rank_low.tolist() == [1] * 5
    assert ours.rank_high.tolist() == [5] * 5
    assert ours.reference.all()


@pytest.mark.parametrize("n", [0, 1])
def test_a_board_of_fewer_than_two_models_is_finite(n: int) -> None:
    ours = fit_posterior(PairCounts.empty(), model_names(n))
    assert ours.mean.tolist() == [0.0] * n
    assert ours.sd.tolist() == [0.0] * n
    assert ours.rank.tolist() == ours.rank_high.tolist() == [1] * n


@pytest.mark.parametrize("votes", [1, 10**6])
def test_noise_free_votes_on_a_chain_converge(votes: int) -> None:
    n = 50
    rows = [pair_row(i, i + 1) for i in range(n - 1)]
    counts = count_ballots(make_ballots(rows), n)
    counts = PairCounts(counts.codes, counts.counts * votes)
    ours = fit_posterior(counts, model_names(n))
    assert ours.rank.tolist() == list(range(1, n + 1))
    assert np.isfinite(ours.covariance).all()


def test_a_fit_that_does_not_converge_raises() -> None:
    rng = np.random.default_rng(12)
    counts = count_ballots(simulate_ballots(rng.normal(size=6), 50, 4, rng), 6)
    with pytest.raises(FitError, match="no convergence in 2 Newton steps"):
        fit_posterior(counts, model_names(6), settings=PosteriorSettings(max_iterations=2))


def test_counts_that_cannot_be_those_of_votes_raise() -> None:
    counts = count_ballots_naive(make_ballots([([0, 1], [1, 2], Mode.RANK)]))
    with pytest.raises(FitError, match="negative"):
        fit_posterior(PairCounts.empty().subtract(counts), ["a", "b"])
    with pytest.raises(FitError, match="1 model ids"):
        fit_posterior(counts, ["a"])


@given(st.floats(-1e6, 1e6))
def test_rating_from_logit_is_400_points_for_odds_of_ten(logit: float) -> None:
    rating = rating_from_logit(logit)
    assert rating is not None
    assert rating == pytest.approx(1000 + 400 * logit / math.log(10))


def test_rating_from_logit_is_never_nan() -> None:
    assert rating_from_logit(None) is None
    assert rating_from_logit(math.log(10)) == pytest.approx(1400)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="no rating"):
            rating_from_logit(bad)
