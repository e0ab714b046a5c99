"""An arena in small: the product's counts, published posterior and policy, with simulated voters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.paper.world import World, make_rankings, measure_rank_error
from pipeline.matchmaking.gibbs_policy import BELIEF_FIT
from pipeline.matchmaking.policies import propose_sets
from pipeline.matchmaking.view import ArenaView, Belief, dense_pair_rows
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.posterior import PosteriorSettings, fit_posterior

K: Final = 4
N_MODELS: Final = 50
FIT: Final = PosteriorSettings(rank_draws=0)
EACH_VOTE: Final = 300
"""So many votes are each followed by a fit, later ones in tens: proposals in between know them as open."""


@dataclass(frozen=True, slots=True)
class ThurstoneWorld(World):
    """Models with skills, and voters who see each performance with Gaussian noise.

    Attributes
    ----------
    skills : float64 (n,)
    noise_sd : float
    """

    skills: NDArray[np.float64]
    noise_sd: float

    @classmethod
    def draw_skills(cls, n_models: int, noise_sd: float, rng: Generator) -> ThurstoneWorld:
        """Draw skills from N(0, 1), and their order."""
        skills = rng.standard_normal(n_models)
        truth = np.empty(n_models, np.int64)
        truth[np.argsort(-skills)] = np.arange(n_models)
        return cls(truth, 0.0, skills, noise_sd)

    def answer(self, sets: NDArray[np.int64], rng: Generator) -> NDArray[np.int64]:
        """Return the voters' rankings of `sets` (m, k): the same models, best first, int64 (m, k)."""
        seen = self.skills[sets] + self.noise_sd * rng.standard_normal(sets.shape)
        return np.take_along_axis(sets, np.argsort(-seen, axis=1), axis=1)


class Arena:
    """Counts, the published posterior and the open matchups of n models.

    Parameters
    ----------
    world
        Answers matchups.
    policy : str
    at_once : int
        How many matchups are out at once; any of them may be answered next.
    rng
        Decides everything.
    newcomer : int or None
        A model that is not proposed before `enter`.
    """

    def __init__(self, world: World, policy: str, at_once: int, rng: Generator, *, newcomer: int | None = None) -> None:
        n = len(world.truth)
        self._world = world
        self._policy = policy
        self._at_once = at_once
        self._rng = rng
        self._names = [f"m{model:03d}" for model in range(n)]
        self._counts = CountAccumulator(n)
        self._pairs = np.zeros((n, n), np.int64)
        self._order = np.arange(n)
        self._open: list[tuple[int, ...]] = []
        self._unfitted: list[tuple[int, ...]] = []
        self.votes = 0
        prior = KsortState.initial(n)
        self._view = ArenaView(
            k=K,
            active=np.arange(n) != (-1 if newcomer is None else newcomer),
            mu=prior.mu,
            s2=prior.s2,
            comparisons=np.zeros(n, np.int64),
            pair_row=dense_pair_rows(self._pairs),
        )
        self.fit()

    @property
    def mean(self) -> NDArray[np.float64]:
        """Published means, float64 (n,)."""
        return self._mean

    def enter(self, newcomer: int) -> None:
        """Let a new model be proposed; what is open is withdrawn."""
        active = self._view.active.copy()
        active[newcomer] = True
        self._view = replace(self._view, active=active)
        self._open = []

    def vote(self) -> tuple[int, ...]:
        """Have one of the open matchups answered, and return its models."""
        if len(self._open) < self._at_once:
            view = replace(self._view, open_sets=(*self._unfitted, *self._open))
            missing = self._at_once - len(self._open)
            self._open += [proposed.models for proposed in propose_sets(self._policy, view, missing, self._rng)]
        models = self._open.pop(int(self._rng.integers(len(self._open))))
        ranking = self._world.answer(np.array([models]), self._rng)
        self._counts.add_ballots(make_rankings(ranking))
        self._pairs[np.ix_(models, models)] += 1
        self._pairs[models, models] = 0
        self._unfitted.append(models)
        self.votes += 1
        if self.votes <= EACH_VOTE or self.votes % 10 == 0:
            self.fit()
        return models

    def fit(self) -> None:
        """Fit the posterior as it is published, and as it is proposed from."""
        counts = self._counts.freeze()
        self._mean = fit_posterior(counts, self._names, settings=FIT).mean
        fit = fit_posterior(counts, self._names, settings=BELIEF_FIT)
        comparisons = counts.comparisons(len(self._names))
        self._view = replace(self._view, belief=Belief(fit.mean, fit.covariance), comparisons=comparisons)
        self._unfitted = []

    def measure_error(self) -> float:
        """Return the mean squared rank error of the board."""
        return measure_rank_error(self.mean, self._world.truth, self._order)


def count_to_order(world: World, policy: str, at_once: int, horizon: int, rng: Generator) -> int:
    """Return after how many votes the rank error stays 0 until `horizon`; `horizon` if it does not."""
    arena = Arena(world, policy, at_once, rng)
    settled = horizon
    for vote in range(1, horizon + 1):
        arena.vote()
        settled = horizon if arena.measure_error() > 0.0 else min(settled, vote)
    return settled


def measure_after(world: World, policy: str, at_once: int, votes: int, rng: Generator) -> float:
    """Return the mean squared rank error after `votes` votes."""
    arena = Arena(world, policy, at_once, rng)
    for _ in range(votes):
        arena.vote()
    arena.fit()
    return arena.measure_error()


def place_newcomer(world: World, policy: str, settle: int, horizon: int, rng: Generator) -> int:
    """Return after how many of its matchups a new model's rank stays within 1 of the true one; else `horizon`.

    49 models are rated first with `settle` votes; other matchups may be answered in between.
    """
    newcomer = int(rng.integers(len(world.truth)))
    arena = Arena(world, policy, 1, rng, newcomer=newcomer)
    for _ in range(settle):
        arena.vote()
    arena.enter(newcomer)
    placed, matchups = horizon, 0
    while matchups < horizon:
        if newcomer not in arena.vote():
            continue
        matchups += 1
        arena.fit()
        rank = int((arena.mean > arena.mean[newcomer]).sum())
        placed = horizon if abs(rank - int(world.truth[newcomer])) > 1 else min(placed, matchups)
    return placed
