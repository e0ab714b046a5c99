"""The calibrated posterior over skills, method `posterior`.

Model
    Pairs of a ballot follow the logistic model with Davidson's ties (module `davidson`): theta_i in logits,
    one tie parameter nu an arena. Prior theta_i ~ N(0, tau^2), tau uniform on the grid 0.5, 1, 2, ..., 128.

Weights
    The pairs of one ballot are correlated, so each counts less: 1/(1 + c (k - 2)) with k models in at least one
    ordered or tied pair. c = 1/3 for `rank`: the information of a whole ranking of k equal models is
    4 (k - H_k)/(k (k-1)) of that of its pairs if they were independent (H_k the harmonic number; 0.64 at k = 4, ours
    0.6). c = 1/2 for `best`: for the choice of one of k it is exactly 2/k. Intervals then cover at K = 2 to 8 in both
    modes, where unweighted ones fall to 85 % and less (tests/rating/test_calibration.py).

Fit
    At each tau: the mode by damped Newton from the previous tau's mode (the first from equal skills: no fit
    starts from an earlier fit, so the result is a function of the counts), covariance S = inverse negative
    Hessian with nu integrated out (Laplace), evidence Z. Means and covariances are averaged with weights
    Z/sum Z, including the spread between scales: S = sum w (S_tau + (m_tau - m)(m_tau - m)'); nu is the
    average of nu_tau. A covariance whose weight is below 1e-16 is not computed: it would not change the last
    bit of a sum of unit size.

Published moments
    Of theta_i minus the mean over the reference set (module `reference_set`), so that the common shift, which
    votes cannot tell, is in no interval. low, high = mean -+ 1.96 sd. Ranks by mean, equal ones by id; rank
    intervals by joint draws (module `rank_intervals`).

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
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.davidson import Mode, find_mode, start_mode
from pipeline.rating.errors import FitError
from pipeline.rating.methodology import numerics_fingerprint
from pipeline.rating.pair_counts import PairCounts, WeightedPairs
from pipeline.rating.rank_intervals import DRAWS, SEED, draw_rank_intervals, rank_values
from pipeline.rating.reference_set import centre_moments, find_reference

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
        Joint draws for rank intervals and their seed; 0 draws: no rank intervals (the widest ones are
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
    n = len(model_ids)
    if counts.n_models > n:
        raise FitError(f"counts name model {counts.n_models - 1}, but there are {n} model ids")
    if len(counts) and int(counts.counts.min()) < 0:
        raise FitError("counts are negative: a difference of counts is no board")
    by_id = sorted(range(n), key=model_ids.__getitem__)
    position = np.empty(n, np.int64)
    position[by_id] = np.arange(n)
    pairs = _renumber_pairs(counts.pairs(settings.weigh_ballot), position)
    comparisons = counts.comparisons(n)[by_id]
    with single_blas_thread():
        return _fit_sorted(pairs, comparisons, position, tuple(model_ids), settings)


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


def _renumber_pairs(pairs: WeightedPairs, position: NDArray[np.int64]) -> WeightedPairs:
    """Number models by ascending id and sort the pairs, so that sums run in the same order for any numbering."""
    first, second = position[pairs.first], position[pairs.second]
    swap = first > second
    order = np.lexsort((np.maximum(first, second), np.minimum(first, second)))
    return WeightedPairs(
        np.minimum(first, second)[order],
        np.maximum(first, second)[order],
        np.where(swap, pairs.losses, pairs.wins)[order],
        np.where(swap, pairs.wins, pairs.losses)[order],
        pairs.ties[order],
    )


def _fit_sorted(
    pairs: WeightedPairs,
    comparisons: NDArray[np.int64],
    position: NDArray[np.int64],
    model_ids: tuple[str, ...],
    settings: PosteriorSettings,
) -> PosteriorFit:
    n = len(model_ids)
    reference = find_reference(pairs, comparisons) if n else np.zeros(0, np.bool_)
    modes = _find_modes(pairs, n, settings) if n else []
    weights = _normalise_evidence([mode.log_evidence for mode in modes])
    mean, covariance = _average_moments(modes, weights, reference)
    sd = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    rank = rank_values(mean)
    if settings.rank_draws:
        rank_low, rank_high = draw_rank_intervals(
            mean, covariance, rank, draws=settings.rank_draws, seed=settings.rank_seed
        )
    else:
        rank_low, rank_high = np.ones(n, np.int64), np.full(n, n)
    ties = [math.exp(mode.eta) if mode.eta is not None else 0.0 for mode in modes]
    return PosteriorFit(
        model_ids=model_ids,
        mean=mean[position],
        sd=sd[position],
        low=(mean - Z_95 * sd)[position],
        high=(mean + Z_95 * sd)[position],
        rank=rank[position],
        rank_low=rank_low[position],
        rank_high=rank_high[position],
        covariance=covariance[np.ix_(position, position)],
        reference=reference[position],
        tie_parameter=math.fsum(w * nu for w, nu in zip(weights, ties, strict=True)),
        scales=settings.scales,
        prior_weights=tuple(weights),
        iterations=sum(mode.iterations for mode in modes),
        settings=settings,
        fingerprint=numerics_fingerprint(),
    )


def _find_modes(pairs: WeightedPairs, n: int, settings: PosteriorSettings) -> list[Mode]:
    start = start_mode(pairs, n)
    modes: list[Mode] = []
    for tau in settings.scales:
        mode = find_mode(pairs, n, tau, start, tolerance=settings.tolerance, max_iterations=settings.max_iterations)
        modes.append(mode)
        start = (mode.theta, mode.eta)
    return modes


def _normalise_evidence(log_evidences: list[float]) -> list[float]:
    if not log_evidences:
        return []
    top = max(log_evidences)
    raw = [math.exp(value - top) for value in log_evidences]
    total = math.fsum(raw)
    return [value / total for value in raw]


def _average_moments(
    modes: list[Mode], weights: list[float], reference: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = len(reference)
    mean, covariance = np.zeros(n), np.zeros((n, n))
    kept: list[tuple[float, NDArray[np.float64]]] = []
    for mode, weight in zip(modes, weights, strict=True):
        if weight < _NEGLIGIBLE_WEIGHT:
            continue
        inverse = np.linalg.inv(mode.hessian)[:n, :n]
        inverse = 0.5 * (inverse + inverse.T)
        centred, spread = centre_moments(mode.theta, inverse, reference)
        kept.append((weight, centred))
        mean += weight * centred
        covariance += weight * spread
    for weight, centred in kept:
        covariance += weight * np.outer(centred - mean, centred - mean)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise FitError("posterior: the averaged moments are not finite")
    return mean, covariance
