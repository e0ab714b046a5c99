"""Boards: counts and filter states in, ranked rows out, for each method.

=========== ====================== ============================== =========================================
method      ranked by              sd, low, high                  rank_low, rank_high (best, worst credible)
=========== ====================== ============================== =========================================
posterior   mean (logits)          Laplace posterior, +- 1.96 sd  2.5 and 97.5 % of ranks in joint draws
average     mean (logits)          mixture of posteriors, same    the same
ksort       score = mean - 3 sd    filter, +- 1.96 sd             the same, from independent skills
elo         mean (points)          null                           null
win_rate    mean (share of pairs)  null, Wilson's low and high    models whose intervals do not overlap
=========== ====================== ============================== =========================================

Equal models are ordered by id, models without a mean come last. A rank interval always holds the rank that is
shown: `ksort` ranks by a score that punishes a wide sd, so its rank can lie outside the credible ranks of the
skill, and the interval is widened to it. What a method does not have is None, never NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.rating import elo as elo_method
from pipeline.rating import ksort_filter, win_rate
from pipeline.rating.average import LIKELIHOODS, AverageState, fit_average
from pipeline.rating.elo import EloState
from pipeline.rating.joint_draws import DRAWS, SEED, draw_ranks
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.methodology import METHODOLOGY
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.posterior import Z_95, PosteriorFit, fit_posterior, rating_from_logit
from pipeline.rating.rank_groups import group_models

METHODS: Final[tuple[str, ...]] = ("posterior", "average", "ksort", "elo", "win_rate")
DEFAULT_METHOD: Final = "posterior"


@dataclass(frozen=True, slots=True)
class ModelRating:
    """One row of a board, in the method's own units; `rating*` on the published scale.

    `rank_low` is the best credible rank, `group` the rank group, `p_best` the probability to be the best model.
    `votes` = ballots that ranked something with the model shown, `comparisons` = its ordered and tied pairs. What
    the method does not have is None.
    """

    model: str
    rank: int
    rank_low: int | None
    rank_high: int | None
    group: int | None
    p_best: float | None
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    score: float | None
    rating: float | None
    rating_low: float | None
    rating_high: float | None
    votes: int
    comparisons: int


@dataclass(frozen=True, slots=True)
class MethodBoard:
    """The board of one arena under one method.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    methodology : str
        `METHODOLOGY` under which it was computed.
    rows : tuple of ModelRating
        In ranked order.
    parameters : dict
        The method's parameters and what the fit chose; plain JSON values.
    """

    method: str
    methodology: str
    rows: tuple[ModelRating, ...]
    parameters: dict[str, object]


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a method says of n models, in their order; None for what it does not have."""

    order_by: Sequence[float | None]
    mean: Sequence[float | None]
    sd: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]
    score: Sequence[float | None]
    rating: Sequence[float | None]
    rating_low: Sequence[float | None]
    rating_high: Sequence[float | None]
    rank_low: Sequence[int | None]
    rank_high: Sequence[int | None]
    group: Sequence[int | None]
    p_best: Sequence[float | None]
    parameters: dict[str, object]


def rate_models(
    method: str,
    model_ids: Sequence[str],
    counts: PairCounts,
    ksort: KsortState,
    elo: EloState,
    average: AverageState | None = None,
    *,
    posterior: PosteriorFit | None = None,
) -> MethodBoard:
    """Return the board of `method`.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    model_ids : sequence of str, (n,)
        Ids in the order of the indices of counts and states.
    counts, ksort, elo, average
        What the arena's accepted votes add up to; a state may hold fewer models, new ones are at the prior.
        Without `average` its likelihoods weigh the same.
    posterior : PosteriorFit, optional
        A fit of the same counts and ids made before; without it `posterior` fits them.

    Raises
    ------
    ValueError
        For an unknown method.
    FitError
        If `posterior` or `average` does not converge.
    """
    n = len(model_ids)
    if method == "posterior":
        fit = posterior if posterior is not None else fit_posterior(counts, model_ids)
        columns = _rate_posterior(fit, _describe_posterior(fit))
    elif method == "average":
        fit = fit_average(counts, model_ids, (known := average or AverageState.initial()).weights)
        columns = _rate_posterior(fit, _describe_average(fit, known))
    elif method == "ksort":
        columns = _rate_ksort(model_ids, ksort.grow(n))
    elif method == "elo":
        columns = _rate_elo(elo.grow(n))
    elif method == "win_rate":
        columns = _rate_wins(counts, n)
    else:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    return MethodBoard(method, METHODOLOGY, _make_rows(model_ids, counts, columns), columns.parameters)


def rank_order(model_ids: Sequence[str], values: Sequence[float | None]) -> list[int]:
    """Return indices from the largest value to the smallest, equal ones by id, None last."""

    def key(m: int) -> tuple[bool, float, str]:
        value = values[m]
        return value is None, -value if value is not None else 0.0, model_ids[m]

    return sorted(range(len(model_ids)), key=key)


def _make_rows(model_ids: Sequence[str], counts: PairCounts, columns: _Columns) -> tuple[ModelRating, ...]:
    n = len(model_ids)
    votes, comparisons = counts.model_votes(n).tolist(), counts.comparisons(n).tolist()
    return tuple(
        ModelRating(
            model=model_ids[m],
            rank=rank,
            rank_low=columns.rank_low[m],
            rank_high=columns.rank_high[m],
            group=columns.group[m],
            p_best=columns.p_best[m],
            mean=columns.mean[m],
            sd=columns.sd[m],
            low=columns.low[m],
            high=columns.high[m],
            score=columns.score[m],
            rating=columns.rating[m],
            rating_low=columns.rating_low[m],
            rating_high=columns.rating_high[m],
            votes=votes[m],
            comparisons=comparisons[m],
        )
        for rank, m in enumerate(rank_order(model_ids, columns.order_by), start=1)
    )


def _rate_posterior(fit: PosteriorFit, parameters: dict[str, object]) -> _Columns:
    absent = [None] * len(fit)
    mean, low, high = fit.mean.tolist(), fit.low.tolist(), fit.high.tolist()
    return _Columns(
        order_by=mean,
        mean=mean,
        sd=fit.sd.tolist(),
        low=low,
        high=high,
        score=absent,
        rating=[rating_from_logit(x) for x in mean],
        rating_low=[rating_from_logit(x) for x in low],
        rating_high=[rating_from_logit(x) for x in high],
        rank_low=fit.rank_low.tolist(),
        rank_high=fit.rank_high.tolist(),
        group=fit.group.tolist(),
        p_best=absent if fit.p_best is None else fit.p_best.tolist(),
        parameters=parameters,
    )


def _describe_posterior(fit: PosteriorFit) -> dict[str, object]:
    return {
        "prior_scales": list(fit.scales),
        "prior_weights": list(fit.prior_weights),
        "tie_parameter": fit.tie_parameter,
        "pair_correlation": fit.settings.pair_correlation,
        "best_correlation": fit.settings.best_correlation,
        "reference": sorted(m for m, inside in zip(fit.model_ids, fit.reference, strict=True) if inside),
        "rank_draws": fit.settings.rank_draws,
        "rank_seed": fit.settings.rank_seed,
        "fingerprint": fit.fingerprint,
    }


def _describe_average(fit: PosteriorFit, state: AverageState) -> dict[str, object]:
    likelihoods = [
        {"name": likelihood.name, "lapse": likelihood.lapse, "weight": weight, "loss": loss}
        for likelihood, weight, loss in zip(LIKELIHOODS, state.weights, state.losses.tolist(), strict=True)
    ]
    # a tie parameter of one likelihood means nothing to another
    described = {name: value for name, value in _describe_posterior(fit).items() if name != "tie_parameter"}
    return {**described, "likelihoods": likelihoods, "loss": state.loss, "blocks": state.blocks}


def _rate_ksort(model_ids: Sequence[str], state: KsortState) -> _Columns:
    n = len(model_ids)
    absent = [None] * n
    score = state.score.tolist()
    order = np.array(rank_order(model_ids, score), np.int64)
    ranks = np.empty(n, np.int64)
    ranks[order] = np.arange(1, n + 1)
    # drawn in the order of ids, so that numbering models differently changes nothing
    by_id = np.array(sorted(range(n), key=model_ids.__getitem__), np.int64)
    drawn = draw_ranks(state.mu[by_id], state.s2[by_id])
    low, high, p_best = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n)
    low[by_id], high[by_id] = drawn.intervals(ranks[by_id])
    p_best[by_id] = drawn.p_top(1)
    return _Columns(
        order_by=score,
        mean=state.mu.tolist(),
        sd=state.sd.tolist(),
        low=(state.mu - Z_95 * state.sd).tolist(),
        high=(state.mu + Z_95 * state.sd).tolist(),
        score=score,
        rating=absent,
        rating_low=absent,
        rating_high=absent,
        rank_low=low.tolist(),
        rank_high=high.tolist(),
        group=group_models(state.mu, state.s2, ranks).tolist(),
        p_best=p_best.tolist(),
        parameters={
            "prior_mean": ksort_filter.PRIOR_MEAN,
            "prior_sd": ksort_filter.PRIOR_SD,
            "performance_sd": ksort_filter.PERFORMANCE_SD,
            "score_sds": ksort_filter.SCORE_SDS,
            "rank_draws": DRAWS,
            "rank_seed": SEED,
        },
    )


def _rate_elo(state: EloState) -> _Columns:
    absent = [None] * len(state)
    mean = state.ratings.tolist()
    return _Columns(
        order_by=mean,
        mean=mean,
        sd=absent,
        low=absent,
        high=absent,
        score=absent,
        rating=mean,
        rating_low=absent,
        rating_high=absent,
        rank_low=absent,
        rank_high=absent,
        group=absent,
        p_best=absent,
        parameters={"k_factor": elo_method.K_FACTOR, "base_rating": elo_method.BASE_RATING},
    )


def _rate_wins(counts: PairCounts, n: int) -> _Columns:
    rates = win_rate.rate_counts(counts, n)
    absent = [None] * n
    # a model without pairs may be anywhere
    low = np.array([0.0 if value is None else value for value in rates.low])
    high = np.array([1.0 if value is None else value for value in rates.high])
    above = n - np.searchsorted(np.sort(low), high, side="right")
    below = np.searchsorted(np.sort(high), low, side="left")
    return _Columns(
        order_by=rates.mean,
        mean=rates.mean,
        sd=absent,
        low=rates.low,
        high=rates.high,
        score=absent,
        rating=absent,
        rating_low=absent,
        rating_high=absent,
        rank_low=(1 + above).tolist(),
        rank_high=(n - below).tolist(),
        group=absent,
        p_best=absent,
        parameters={"interval": "wilson", "confidence": 0.95},
    )
