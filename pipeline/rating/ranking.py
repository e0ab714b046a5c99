"""Ratings from whole rankings, method `ranking`: for small arenas, offline and for proposals.

Model
    Skill theta_i ~ N(0, tau^2); in one matchup a model shows X_i ~ N(theta_i, b^2), and a ballot reports the
    order of the X_i (Thurstone 1927), unless its voter did not look: with probability `lapse` a ballot comes from
    a voter to whom all models are equal. b = pi/sqrt(6), the sd of a Gumbel variable, so that skills are in
    logits, as those of the Plackett-Luce model and of `posterior` are.

Fit
    Expectation propagation (Minka 2001) with a full covariance. A ballot's likelihood is replaced by a Gaussian
    in the skills of its models, its *site*, chosen so that the moments are right when the site in question is
    exact and the others are not; inside a ballot the same is done for the pairs of its neighbouring groups, as
    in Cunningham, Hennig and Lacoste-Julien (2011) (module `ranking_kernels`). Sites are replaced in turn until
    the means rest. The result depends on the ballots, not on their order, up to the tolerance.

Prior scale, lapse, ties
    For each tau on a grid: `lapse` by maximising its posterior under a Beta(2, 40) prior, the tie margin by
    matching the expected number of tied pairs with the number seen. Means and covariances are averaged over the
    grid with weights proportional to the evidence that expectation propagation gives.

Random ballots
    A ballot's site is multiplied by the probability that it was no lapse, given all other ballots. A mixture of
    the moments of both cases would be nearer to the truth, but has sites that are no Gaussians.

Ties and unranked models
    X_i - X_j > margin for the models of neighbouring groups, abs(X_i - X_j) < margin for those of one group.
    Without ties the margin is 0. The unranked remainder is below every ranked model, and nothing is said inside
    it. `all_bad` and `skip` are left out.

Published moments
    As `posterior`: centred on the reference set, rank intervals from joint draws.

Why not counts of pairs
    The pairs of a ranking are correlated; `posterior` makes up for it by one weight, here it is in the model. So
    an order is found with fewer votes (docs/reproduction.md), at the cost of n^2 k for a ballot and a sweep: it
    is for hundreds of models and thousands of ballots, not for the job.

Guards
    Models are numbered by id, one BLAS thread, moments computed anew from the sites after each sweep. Fits that
    do not converge, or have numbers that are not finite, raise `FitError`. A start from earlier sites is for
    proposals only: it ends within the tolerance of a fresh fit, not on the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr

from pipeline.contracts.ballot import K_MAX, UNRANKED, Ballots
from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.count_accumulator import CountAccumulator, check_models
from pipeline.rating.errors import FitError
from pipeline.rating.joint_draws import DRAWS, SEED, draw_ranks, rank_values
from pipeline.rating.methodology import numerics_fingerprint
from pipeline.rating.mixture import average_gaussians, normalise_log_weights
from pipeline.rating.ranking_kernels import log_random_ballots, sweep_ballots
from pipeline.rating.reference_set import centre_moments, find_reference

PERFORMANCE_VARIANCE: Final = math.pi**2 / 6
_Z_95: Final = 1.959963984540054
_MAX_MARGIN: Final = 20.0
_FIRST_MARGIN: Final = 0.1
_EARLY_SWEEPS: Final = 4
_FREE_SWEEPS: Final = 60
"""The margin is then held: with few models, many ties and a wide prior it creeps, and the means with it."""
_HOPELESS: Final = 30.0
"""A scale whose log evidence is so far behind weighs nothing, and need not come to rest."""


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """Numeric policy of the fit.

    Attributes
    ----------
    scales : tuple of float
        Grid of prior standard deviations, in logits.
    lapse_doubt : float
        The prior of `lapse` is Beta(2, lapse_doubt), with its mode at 1/lapse_doubt; infinity: no ballot is random.
    tolerance : float
        The fit ends when in a sweep no mean moves by more than this share of its sd, nor lapse and margin by more.
    max_sweeps : int
    rank_draws, rank_seed : int
        Joint draws for rank intervals and their seed; 0 draws: the widest intervals.
    """

    scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    lapse_doubt: float = 40.0
    tolerance: float = 1e-3
    max_sweeps: int = 200
    rank_draws: int = DRAWS
    rank_seed: int = SEED


DEFAULT_RANKING_SETTINGS: Final = RankingSettings()


@dataclass(frozen=True, slots=True)
class RankingSites:
    """What expectation propagation holds at one prior scale, for m ballots.

    Attributes
    ----------
    scale, lapse, margin : float
    precisions, shifts : float64 (m, K_MAX, K_MAX), (m, K_MAX)
        The ballots' sites.
    attention : float64 (m,)
        Probability of each ballot that it was not random.
    mean, covariance : float64 (n,), (n, n)
        Moments of the skills, models by id, not centred.
    log_evidence : float
    moved : float
        Largest move in the last sweep: of a mean, as a share of its sd, of the lapse, of the margin.
    sweeps : int
    """

    scale: float
    lapse: float
    margin: float
    precisions: NDArray[np.float64] = field(repr=False)
    shifts: NDArray[np.float64] = field(repr=False)
    attention: NDArray[np.float64] = field(repr=False)
    mean: NDArray[np.float64] = field(repr=False)
    covariance: NDArray[np.float64] = field(repr=False)
    log_evidence: float
    moved: float
    sweeps: int


@dataclass(frozen=True, slots=True)
class RankingFit:
    """Posterior of n models; arrays in the order of `model_ids`, moments centred, in logits.

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
    lapse, margin : float
        Share of random ballots and tie margin, averaged over the scales.
    attention : float64 (m,)
        Probability of each ballot that orders something that it was not random, averaged over the scales.
    prior_weights : tuple of float
        Normalised evidence of the scales.
    sites : tuple of RankingSites
        One a scale: where a later fit may start.
    settings : RankingSettings
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
    lapse: float
    margin: float
    attention: NDArray[np.float64]
    prior_weights: tuple[float, ...]
    sites: tuple[RankingSites, ...] = field(repr=False)
    settings: RankingSettings = field(repr=False)
    fingerprint: str = field(repr=False)

    def __len__(self) -> int:
        return len(self.model_ids)


def fit_ranking(
    ballots: Ballots,
    model_ids: Sequence[str],
    *,
    settings: RankingSettings = DEFAULT_RANKING_SETTINGS,
    start: RankingFit | None = None,
) -> RankingFit:
    """Fit whole rankings.

    Parameters
    ----------
    ballots : Ballots
        All ballots of the arena.
    model_ids : sequence of str, (n,)
        Ids of the models, in the order of the ballots' indices; at least one.
    start : RankingFit or None
        A fit of the first of these ballots with the same models and settings, to go on from.

    Raises
    ------
    FitError
        If it does not converge.
    ValueError
        If a ballot names a model that has no id, or `start` is no fit of the first ballots.
    """
    n = len(model_ids)
    check_models(ballots, n)
    by_id = sorted(range(n), key=model_ids.__getitem__)
    position = np.empty(n, np.int64)
    position[by_id] = np.arange(n)
    ballots = _keep_orders(ballots, position)
    if start is not None:
        _check_start(start, ballots, tuple(model_ids), settings)
    counts = CountAccumulator(n)
    counts.add_ballots(ballots)
    frozen = counts.freeze()
    reference = find_reference(frozen.pairs(lambda _k, _best: 1.0), frozen.comparisons(n))
    with single_blas_thread():
        sites = _fit_scales(ballots, n, settings, start)
        weights = _weigh_sites(sites)
        centred = [centre_moments(at.mean, at.covariance, reference) for at in sites]
        parts = [(weight, m, S) for weight, (m, S) in zip(weights, centred, strict=True)]
        mean, covariance = average_gaussians(parts, n)
        sd = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
        rank = rank_values(mean)
        rank_low, rank_high = np.ones(n, np.int64), np.full(n, n)
        if settings.rank_draws:
            drawn = draw_ranks(mean, covariance, draws=settings.rank_draws, seed=settings.rank_seed)
            rank_low, rank_high = drawn.intervals(rank)
    return RankingFit(
        model_ids=tuple(model_ids),
        mean=mean[position],
        sd=sd[position],
        low=(mean - _Z_95 * sd)[position],
        high=(mean + _Z_95 * sd)[position],
        rank=rank[position],
        rank_low=rank_low[position],
        rank_high=rank_high[position],
        covariance=covariance[np.ix_(position, position)],
        reference=reference[position],
        lapse=math.fsum(w * at.lapse for w, at in zip(weights, sites, strict=True)),
        margin=math.fsum(w * at.margin for w, at in zip(weights, sites, strict=True)),
        attention=np.asarray(sum(w * at.attention for w, at in zip(weights, sites, strict=True)), np.float64),
        prior_weights=tuple(weights),
        sites=sites,
        settings=settings,
        fingerprint=numerics_fingerprint(),
    )


def draw_skills(fit: RankingFit, draws: int, rng: Generator) -> NDArray[np.float64]:
    """Draw skills jointly from the posterior, up to a common shift, float64 (draws, n)."""
    # the mixture over scales, not its Gaussian: whole draws from one scale each
    chosen = rng.choice(len(fit.sites), size=draws, p=fit.prior_weights)
    position = np.empty(len(fit), np.int64)
    position[sorted(range(len(fit)), key=fit.model_ids.__getitem__)] = np.arange(len(fit))
    skills = np.empty((draws, len(fit)))
    for place, at in enumerate(fit.sites):
        rows = np.flatnonzero(chosen == place)
        if len(rows):
            normals = rng.standard_normal((len(rows), len(fit)))
            skills[rows] = at.mean + normals @ np.linalg.cholesky(at.covariance).T
    return skills[:, position]


def _keep_orders(ballots: Ballots, position: NDArray[np.int64]) -> Ballots:
    """Leave out ballots that order nothing, and number the models by `position`."""
    ranked = np.concatenate([[0], np.cumsum(ballots.groups != UNRANKED)])
    kept = ballots.take(ranked[ballots.offsets[1:]] > ranked[ballots.offsets[:-1]])
    return Ballots(kept.offsets, position[kept.models].astype(np.int32), kept.groups, kept.modes)


def _check_start(start: RankingFit, ballots: Ballots, model_ids: tuple[str, ...], settings: RankingSettings) -> None:
    if start.model_ids != model_ids or start.settings.scales != settings.scales:
        raise ValueError("a start must be a fit of the same models at the same prior scales")
    if len(start.attention) > len(ballots):
        raise ValueError(f"the start is a fit of {len(start.attention)} ballots, of which {len(ballots)} are left")


def _fit_scales(
    ballots: Ballots, n: int, settings: RankingSettings, start: RankingFit | None
) -> tuple[RankingSites, ...]:
    """Fit all scales; those that a few sweeps, or the start, show to be out of the question are left there."""
    pairs = _list_pairs(ballots)
    if start is None:
        begun = [_start_scale(len(ballots), n, scale, settings) for scale in settings.scales]
        early_sweeps = _EARLY_SWEEPS
    else:
        begun, early_sweeps = [_extend_sites(at, len(ballots)) for at in start.sites], 1
    best = max(at.log_evidence for at in begun)
    early = [
        _sweep_scale(ballots, pairs, at, settings, early_sweeps) if at.log_evidence > best - 2 * _HOPELESS else at
        for at in begun
    ]
    best = max(at.log_evidence for at in early)
    sites = []
    for at in early:
        fitted = at
        if at.log_evidence > best - _HOPELESS and at.moved >= settings.tolerance:
            fitted = _sweep_scale(ballots, pairs, at, settings, settings.max_sweeps)
            if fitted.moved >= settings.tolerance:
                raise FitError(
                    f"ranking: no rest after {fitted.sweeps} sweeps at prior scale {at.scale} "
                    f"(the last one moved by {fitted.moved:.1e})"
                )
        sites.append(fitted)
    return tuple(sites)


def _weigh_sites(sites: Sequence[RankingSites]) -> list[float]:
    best = max(at.log_evidence for at in sites)
    return normalise_log_weights([at.log_evidence if at.log_evidence > best - _HOPELESS else -math.inf for at in sites])


def _start_scale(count: int, n: int, scale: float, settings: RankingSettings) -> RankingSites:
    """Return the prior of n models at `scale`, with empty sites for `count` ballots."""
    return RankingSites(
        scale=scale,
        lapse=0.0 if math.isinf(settings.lapse_doubt) else 1.0 / settings.lapse_doubt,
        margin=_FIRST_MARGIN,
        precisions=np.zeros((count, K_MAX, K_MAX)),
        shifts=np.zeros((count, K_MAX)),
        attention=np.ones(count),
        mean=np.zeros(n),
        covariance=np.eye(n) * scale**2,
        log_evidence=0.0,
        moved=math.inf,
        sweeps=0,
    )


def _extend_sites(at: RankingSites, count: int) -> RankingSites:
    """Return `at` with empty sites for further ballots, `count` in all: the moments stay."""
    more = count - len(at.attention)
    return replace(
        at,
        precisions=np.concatenate([at.precisions, np.zeros((more, K_MAX, K_MAX))]),
        shifts=np.concatenate([at.shifts, np.zeros((more, K_MAX))]),
        attention=np.concatenate([at.attention, np.ones(more)]),
        moved=math.inf,
    )


def _sweep_scale(
    ballots: Ballots, pairs: _Pairs, at: RankingSites, settings: RankingSettings, max_sweeps: int
) -> RankingSites:
    """Sweep until the means rest, or `max_sweeps` times."""
    n, count = len(at.mean), len(ballots)
    precisions, shifts, attention = at.precisions.copy(), at.shifts.copy(), at.attention.copy()
    mean, covariance, lapse, margin, log_mass, moved = at.mean, at.covariance, at.lapse, at.margin, 0.0, math.inf
    evidence, log_odds, log_random = np.zeros(count), np.zeros(count), np.zeros(count)
    if not pairs.tied.any():
        margin = 0.0
    sweeps = 0
    while sweeps < max_sweeps and moved >= settings.tolerance:
        sweeps += 1
        before, lapse_before, margin_before = mean, lapse, margin
        if at.sweeps + sweeps > 1 and sweeps <= _FREE_SWEEPS and pairs.tied.any():
            margin = _match_margin(mean, covariance, pairs)
        if sweeps == 1 or margin != margin_before:
            log_random = log_random_ballots(ballots.offsets, ballots.groups, PERFORMANCE_VARIANCE, margin)
        mean, covariance = mean.copy(), covariance.copy()
        sweep_ballots(
            mean,
            covariance,
            ballots.offsets,
            ballots.models,
            ballots.groups,
            PERFORMANCE_VARIANCE,
            margin,
            lapse,
            _damp(sweeps),
            log_random,
            precisions,
            shifts,
            log_odds,
            attention,
            evidence,
        )
        mean, covariance, log_mass = _collect_moments(ballots, precisions, shifts, n, at.scale)
        if not math.isinf(settings.lapse_doubt):
            lapse = _find_lapse(log_odds, settings.lapse_doubt)
        moved = float((np.abs(mean - before) / np.sqrt(np.diagonal(covariance))).max())
        moved = max(moved, abs(lapse - lapse_before), abs(margin - margin_before) if margin else 0.0)
        if not math.isfinite(moved):
            raise FitError(
                f"ranking: moments at prior scale {at.scale} are not finite after {at.sweeps + sweeps} sweeps"
            )
    log_evidence = log_mass + float(evidence.sum()) + _log_lapse_prior(lapse, settings.lapse_doubt)
    return RankingSites(
        *(at.scale, lapse, margin, precisions, shifts, attention, mean, covariance),
        log_evidence=log_evidence,
        moved=moved,
        sweeps=at.sweeps + sweeps,
    )


def _damp(sweeps: int) -> float:
    """Return the step of a sweep: shorter ones end the swings of ballots that may or may not be random."""
    return 1.0 if sweeps <= 8 else 0.5 if sweeps <= 24 else 0.25


def _log_lapse_prior(lapse: float, doubt: float) -> float:
    return 0.0 if math.isinf(doubt) else math.log(lapse) + (doubt - 1.0) * math.log1p(-lapse)


def _find_lapse(log_odds: NDArray[np.float64], doubt: float) -> float:
    """Return the mode of the lapse given each ballot's log odds of not being random, by bisection."""
    inverse_odds = np.exp(np.minimum(-log_odds, 700.0))
    low, high = 0.0, 1.0
    while high - low > 1e-7:
        middle = 0.5 * (low + high)
        slope = float(((inverse_odds - 1.0) / (1.0 - middle + middle * inverse_odds)).sum())
        slope += 1.0 / middle - (doubt - 1.0) / (1.0 - middle)
        low, high = (middle, high) if slope > 0.0 else (low, middle)
    return 0.5 * (low + high)


def _collect_moments(
    ballots: Ballots, precisions: NDArray[np.float64], shifts: NDArray[np.float64], n: int, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return mean and covariance of the skills given the sites, and the log mass of prior times sites."""
    sizes = np.diff(ballots.offsets)
    owner = np.repeat(np.arange(len(ballots)), sizes)
    slot = np.arange(len(owner)) - ballots.offsets[owner]
    models = np.full((len(ballots), K_MAX), n)
    models[owner, slot] = ballots.models
    # the row and column n take what lies beside short ballots, which is zero
    total, shift = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    np.add.at(total, (models[:, :, None], models[:, None, :]), precisions)
    np.add.at(shift, models, shifts)
    precision = total[:n, :n] + np.eye(n) / scale**2
    try:
        factor = np.linalg.cholesky(precision)
    except np.linalg.LinAlgError as error:
        raise FitError(f"ranking: the sites at prior scale {scale} are no posterior") from error
    half = np.linalg.inv(factor)
    covariance = half.T @ half
    mean = covariance @ shift[:n]
    log_mass = 0.5 * float(shift[:n] @ mean) - float(np.log(np.diagonal(factor)).sum()) - n * math.log(scale)
    return mean, covariance, log_mass


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The compared pairs of all ballots: models, int64 (p,) each, and whether they tied, bool (p,)."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    tied: NDArray[np.bool_]


def _list_pairs(ballots: Ballots) -> _Pairs:
    first: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    second: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    sizes = np.diff(ballots.offsets)
    for k in np.unique(sizes):
        rows = ballots.offsets[:-1][sizes == k]
        a, c = np.triu_indices(int(k), 1)
        first.append((rows[:, None] + a).ravel())
        second.append((rows[:, None] + c).ravel())
    one, other = np.concatenate(first), np.concatenate(second)
    compared = (ballots.groups[one] != UNRANKED) | (ballots.groups[other] != UNRANKED)
    one, other = one[compared], other[compared]
    tied = ballots.groups[one] == ballots.groups[other]
    return _Pairs(ballots.models[one].astype(np.int64), ballots.models[other].astype(np.int64), tied)


def _match_margin(mean: NDArray[np.float64], covariance: NDArray[np.float64], pairs: _Pairs) -> float:
    """Return the margin at which as many ties of these pairs are expected as were seen, by bisection."""
    variance = np.diagonal(covariance)
    spread = variance[pairs.first] + variance[pairs.second] - 2 * covariance[pairs.first, pairs.second]
    sd, difference = np.sqrt(spread + 2 * PERFORMANCE_VARIANCE), mean[pairs.first] - mean[pairs.second]
    seen, low, high = int(pairs.tied.sum()), 0.0, _MAX_MARGIN
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        expected = float((ndtr((middle - difference) / sd) - ndtr((-middle - difference) / sd)).sum())
        low, high = (middle, high) if expected < seen else (low, middle)
    return 0.5 * (low + high)
