"""Follow the rank error of a method vote by vote.

Random matchups do not depend on ratings, so their votes are drawn at once, and all methods see the same ones for the
same seed, k and share of random votes. Elo and the paper's filter are followed by a compiled loop around the product's
own kernels: they need ten times as many votes as the peers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.paper.matchmakers import make_matchmaker
from benchmarks.paper.raters import EloRater, KsortRater, Rater, make_rater
from benchmarks.paper.world import World, make_rankings, measure_rank_error
from pipeline.rating.ksort_filter import PERFORMANCE_SD, SCORE_SDS
from pipeline.rating.scalar_kernels import filter_ballots, update_elo

RANK_BY: Final = ("mean", "score")
"""What models are ranked by: the mean, or the paper's score, mean - 3 sd."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is followed.

    Attributes
    ----------
    method : str
        As `raters.make_rater` takes it.
    policy : str
        `random`, or as `matchmakers.make_matchmaker` takes it.
    k : int
        Models in a matchup.
    random_share : float
        Share of random votes.
    horizon : int
        Votes after which a run ends.
    n_models : int
    """

    method: str
    policy: str
    k: int
    random_share: float
    horizon: int
    n_models: int = 50


def trace_errors(setting: Setting, seed: int) -> NDArray[np.float64]:
    """Return the mean squared rank error after each vote by each of `RANK_BY`, float64 (2, horizon)."""
    rng = np.random.default_rng((seed, setting.k, round(1000 * setting.random_share)))
    world = World.draw(setting.n_models, setting.random_share, rng)
    rater = make_rater(setting.method, setting.n_models)
    errors = np.empty((len(RANK_BY), setting.horizon))
    orders = np.tile(np.arange(setting.n_models), (len(RANK_BY), 1))
    if setting.policy == "random" and isinstance(rater, EloRater | KsortRater):
        ballots = make_rankings(world.draw_votes(setting.k, setting.horizon, rng))
        arrays = (ballots.offsets, ballots.models, ballots.groups, world.truth)
        if isinstance(rater, EloRater):
            _trace_elo(rater.mean, rater.k_factor, *arrays, orders[0], errors[0])
            errors[1] = errors[0]
        else:
            _trace_filter(rater.state.mu.copy(), rater.state.s2.copy(), *arrays, orders, errors)
        return errors
    for vote, ranking in enumerate(_draw_rankings(setting, world, rater, rng)):
        rater.rate(ranking)
        errors[0, vote] = measure_rank_error(rater.mean, world.truth, orders[0])
        errors[1, vote] = measure_rank_error(rater.score, world.truth, orders[1])
    return errors


def _draw_rankings(setting: Setting, world: World, rater: Rater, rng: Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the votes one by one; the rater must have taken in each before the next."""
    if setting.policy == "random":
        yield from world.draw_votes(setting.k, setting.horizon, rng)
        return
    matchmaker = make_matchmaker(setting.policy, setting.n_models, setting.k)
    for _ in range(setting.horizon):
        yield world.answer(matchmaker.propose(rater, rng)[None, :], rng)[0]


@njit(nogil=True, cache=True)
def _trace_elo(
    ratings: NDArray[np.float64],
    k_factor: float,
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    truth: NDArray[np.int64],
    order: NDArray[np.int64],
    errors: NDArray[np.float64],
) -> None:
    for vote in range(len(errors)):
        update_elo(ratings, k_factor, offsets[vote : vote + 2], models, groups)
        errors[vote] = measure_rank_error(ratings, truth, order)


@njit(nogil=True, cache=True)
def _trace_filter(
    mu: NDArray[np.float64],
    s2: NDArray[np.float64],
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    truth: NDArray[np.int64],
    orders: NDArray[np.int64],
    errors: NDArray[np.float64],
) -> None:
    for vote in range(errors.shape[1]):
        filter_ballots(mu, s2, PERFORMANCE_SD * PERFORMANCE_SD, offsets[vote : vote + 2], models, groups)
        errors[0, vote] = measure_rank_error(mu, truth, orders[0])
        errors[1, vote] = measure_rank_error(mu - SCORE_SDS * np.sqrt(s2), truth, orders[1])
