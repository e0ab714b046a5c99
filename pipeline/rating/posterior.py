"""The calibrated posterior over skills, method `posterior`.

Model
    Pairs of a ballot follow the logistic model with Davidson's ties (module `likelihoods`): theta_i in logits,
    one tie parameter nu an arena. Prior theta_i ~ N(0, tau^2), tau uniform on the grid 0.5, 1, 2, ..., 128.

Weights
    The pairs of one ballot are correlated, so each counts less: 1/(1 + c (k - 2)) with k models in at least one
    ordered or tied pair. c = 1/3 for `rank`: the information of a whole ranking of k equal models is
    4 (k - H_k)/(k (k-1)) of that of its pairs if they were independent (H_k the harmonic number; 0.64 at k = 4, ours
    0.6). c = 1/2 for `best`: for the choice of one of k it is exactly 2/k. Intervals then cover at K = 2 to 8 in both
    modes, where unweighted ones fall to 85 % and less (tests/rating/test_calibration.py).

Fit
    At each tau: the mode (module `mode`) by damped Newton from the previous tau's mode (the first from equal
    skills: no fit starts from an earlier fit, so the result is a function of the counts), covariance S = inverse
    negative Hessian with nu integrated out (Laplace), evidence Z. Means and covariances are averaged with weights
    Z/sum Z, including the spread between scales: S = sum w (S_tau + (m_tau - m)(m_tau - m)'); nu is the
    average of nu_tau. A covariance whose weight is below 1e-16 is not computed: it would not change the last
    bit of a sum of unit size.

Published moments
    Of theta_i minus the mean over the reference set (module `reference_set`), so that the common shift, which
    votes cannot tell, is in no interval. low, high = mean -+ 1.96 sd. Ranks by mean, equal ones by id; rank
    intervals and P(best) by joint draws (module `joint_draws`), rank groups by pairs (module `rank_groups`).

Ties
    Tied pairs inform nu and, symmetrically, pull the two skills together. Pairs inside the unranked
    remainder, `all_bad` and `skip` say nothing.

Guards
    Models are sorted by id before any floating-point work; one BLAS thread; a fit that does not converge or
    has numbers that are not finite raises `FitError`. Without votes the prior is the board: mean 0, sd that
    of the averaged prior (49 logits: nothing is known), centred.

Assumptions
    A voter's pairs depend on skills alone, equally for all voters and prompts; the posterior is near
    Gaussian. It is not for a model that has only won or only lost: its mean is that of a Gaussian at the
    mode, and its interval wide.

Differences from the paper K-Sort Arena
    The paper publishes its filter (module `ksort_filter`), which depends on the order of votes, ignores the
    correlation of pairs, and has no ties. This is a function of counts, has calibrated intervals and can
    forget a voter exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.joint_draws import DRAWS, SEED, draw_ranks, rank_values
from pipeline.rating.likelihoods import POSTERIOR_LIKELIHOOD, Likelihood
from pipeline.rating.methodology import numerics_fingerprint
from pipeline.rating.mixture import average_gaussians, normalise_log_weights
from pipeline.rating.mode import Fitting, Mode, find_mode, start_fit
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.rank_groups import group_models
from pipeline.rating.reference_set import centre_moments
from pipeline.rating.sorted_pairs import SortedPairs, sort_pairs

Z_95: Final = 1.959963984540054
_LOGIT_POINTS: Final = 400.0 / math.log(10.0)
_BASE_RATING: Final = 1000.0
_NEGLIGIBLE_WEIGHT: Final = 1e-16


@dataclass(frozen=True, slots=True)
class PosteriorSettings:
    """Numeric policy of the fit; the defaults are what is published.

    Attributes
    ----------
    scales : tuple of float
        Grid of prior standard deviations, ascending. From 0.5 (models hardly differ) to 128 (noise-free
        votes).
    pair_correlation, best_correlation : float
        c in the weight 1/(1 + c (k - 2)) of a pair in a ballot of k models, for `rank` and for `best`
        ballots.
    tolerance : float
        Newton decrement below which the next step is the last.
    max_iterations : int
        Newton steps for each scale. 50 noise-free models need up to 12.
    rank_draws, rank_seed : int
        Joint draws for rank intervals and P(best), and their seed; 0 draws: none of them (the widest intervals are
        reported).
    """

    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    pair_correlation: float = 1.0 / 3.0
    best_correlation: float = 1.0 / 2.0
    tolerance: float = 1e-8
    max_iterations: int = 100
    rank_draws: int = DRAWS
    rank_seed: int = SEED

    def weigh_ballot(self, k: int, best: bool) -> float:
        """Return the weight of one pair of a ballot with k compared models."""
        return 1.0 / (1.0 + (self.best_correlation if best else self.pair_correlation) * (k - 2))


DEFAULT_SETTINGS: Final = PosteriorSettings()


@dataclass(frozen=True, slots=True)
class PosteriorFit:
    """Posterior of n models; all arrays in the order of `model_ids`, moments centred, in logits.

    Attributes
    ----------
    model_ids : tuple of str, (n,)
    mean, sd, low, high : float64 (n,)
        Moments and 95 % interval.
    rank, rank_low, rank_high : int64 (n,)
        Rank from 1, best and worst credible rank.
    group : int64 (n,)
        Rank group from 1 (module `rank_groups`).
    p_best : float64 (n,) or None
        Probability that the model is the best of all; None without rank draws.
    covariance : float64 (n, n)
        Joint covariance, singular along the reference weights.
    reference : bool (n,)
        Models whose mean is 0.
    tie_parameter : float
        nu of Davidson's model; 0 without ties.
    scales, prior_weights : tuple of float
        Prior scales and their normalised evidence.
    iterations : int
        Newton steps over all scales.
    settings : PosteriorSettings
    fingerprint : str
        `numerics_fingerprint` of the machine that computed it.
    """

    model_ids: tuple[str, ...]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rank: NDArray[np.int64]
    rank_low: NDArray[np.int64]
    rank_high: NDArray[np.int64]
    group: NDArray[np.int64]
    p_best: NDArray[np.float64] | None
    covariance: NDArray[np.float64]
    reference: NDArray[np.bool_]
    tie_parameter: float
    scales: tuple[float, ...]
    prior_weights: tuple[float, ...]
    iterations: int
    settings: PosteriorSettings = field(repr=False)
    fingerprint: str = field(repr=False)

    def __len__(self) -> int:
        return len(self.model_ids)


def fit_posterior(
    counts: PairCounts, model_ids: Sequence[str], *, settings: PosteriorSettings = DEFAULT_SETTINGS
) -> PosteriorFit:
    """Fit the posterior of an arena.

    Parameters
    ----------
    counts : PairCounts
        All counts of the arena, none negative.
    model_ids : sequence of str, (n,)
        Ids of the arena's models, in the order of the counts' indices.

    Raises
    ------
    FitError
        If it does not converge, or if the counts cannot be those of votes.
    """
    with single_blas_thread():
        sorted_pairs = sort_pairs(counts, model_ids, settings.weigh_ballot)
        return finish_fit(sorted_pairs, fit_moments(sorted_pairs, settings), settings)


def rating_from_logit(logit: float | None) -> float | None:
    """Return 1000 + 400/ln(10) x logit, the published scale; None stays None.

    Raises
    ------
    ValueError
        If the logit is not finite: such a number is an error of whoever computed it and is not published.
    """
    if logit is None:
        return None
    if not math.isfinite(logit):
        raise ValueError(f"a logit of {logit} has no rating")
    return _BASE_RATING + _LOGIT_POINTS * logit


@dataclass(frozen=True, slots=True)
class Moments:
    """Posterior moments of n models sorted by id, centred on the reference set, averaged over prior scales.

    Attributes
    ----------
    mean : float64 (n,)
    covariance : float64 (n, n)
    prior_weights : tuple of float
        Normalised evidence of the prior scales.
    tie_parameter : float
        exp(e) of the likelihood, averaged; 0 without ties.
    iterations : int
        Newton steps over all scales.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    prior_weights: tuple[float, ...]
    tie_parameter: float
    iterations: int


def fit_moments(
    sorted_pairs: SortedPairs, settings: PosteriorSettings, likelihood: Likelihood = POSTERIOR_LIKELIHOOD
) -> Moments:
    """Return the moments of the posterior under `likelihood`.

    Raises
    ------
    FitError
        If it does not converge.
    """
    modes = _find_modes(sorted_pairs, settings, likelihood) if sorted_pairs.n else []
    weights = normalise_log_weights([mode.log_evidence for mode in modes])
    mean, covariance = _average_moments(modes, weights, sorted_pairs.reference)
    ties = [math.exp(mode.eta) if mode.eta is not None else 0.0 for mode in modes]
    return Moments(
        mean=mean,
        covariance=covariance,
        prior_weights=tuple(weights),
        tie_parameter=math.fsum(w * nu for w, nu in zip(weights, ties, strict=True)),
        iterations=sum(mode.iterations for mode in modes),
    )


def finish_fit(sorted_pairs: SortedPairs, moments: Moments, settings: PosteriorSettings) -> PosteriorFit:
    """Return the fit, in the order of the model ids, with what follows from the moments."""
    n, position = sorted_pairs.n, sorted_pairs.position
    mean, covariance = moments.mean, moments.covariance
    sd = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    rank = rank_values(mean)
    if settings.rank_draws:
        drawn = draw_ranks(mean, covariance, draws=settings.rank_draws, seed=settings.rank_seed)
        rank_low, rank_high = drawn.intervals(rank)
        p_best = drawn.p_top(1)
    else:
        rank_low, rank_high, p_best = np.ones(n, np.int64), np.full(n, n), None
    return PosteriorFit(
        model_ids=sorted_pairs.model_ids,
        mean=mean[position],
        sd=sd[position],
        low=(mean - Z_95 * sd)[position],
        high=(mean + Z_95 * sd)[position],
        rank=rank[position],
        rank_low=rank_low[position],
        rank_high=rank_high[position],
        group=group_models(mean, covariance, rank)[position],
        p_best=None if p_best is None else p_best[position],
        covariance=covariance[np.ix_(position, position)],
        reference=sorted_pairs.reference[position],
        tie_parameter=moments.tie_parameter,
        scales=settings.scales,
        prior_weights=moments.prior_weights,
        iterations=moments.iterations,
        settings=settings,
        fingerprint=numerics_fingerprint(),
    )


def _find_modes(sorted_pairs: SortedPairs, settings: PosteriorSettings, likelihood: Likelihood) -> list[Mode]:
    fitting = Fitting(likelihood, settings.tolerance, settings.max_iterations)
    start = start_fit(sorted_pairs.pairs, sorted_pairs.n, fitting)
    modes: list[Mode] = []
    best = -math.inf
    for tau in settings.scales:
        mode = find_mode(sorted_pairs.pairs, sorted_pairs.n, tau, start, fitting)
        start = mode.start
        best = max(best, mode.log_evidence)
        # a factor has n^2 numbers: those that will not count are not kept (32 MB each at 2,000 models)
        modes = [_drop_negligible(known, best) for known in [*modes, mode]]
    return modes


def _drop_negligible(mode: Mode, best: float) -> Mode:
    if mode.factor is None or math.exp(mode.log_evidence - best) >= _NEGLIGIBLE_WEIGHT:
        return mode
    return replace(mode, factor=None)


def _average_moments(
    modes: list[Mode], weights: list[float], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    parts = [
        (weight, *centre_moments(mode.theta, mode.take_covariance(), reference))
        for mode, weight in zip(modes, weights, strict=True)
        if weight >= _NEGLIGIBLE_WEIGHT
    ]
    return average_gaussians(parts, len(reference))
