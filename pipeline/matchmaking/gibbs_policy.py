"""The policy `gibbs`: sets in proportion to a prior times exp(utility / temperature), with exact propensities.

Method
------
As in "RL with KL penalties is better viewed as Bayesian inference" (arXiv 2205.11275): the best distribution over
matchups under a price for straying from a prior is that prior, tilted by the utility,

    q(set) = (1 - s) gibbs(set) + s uniform(set),      gibbs(set) ~ prior(set) exp(utility(set) / T).

- *Utility*: the expected information about the order of the set, from joint draws of the posterior (module
  `set_sampler`). Of that posterior, pairs of a ballot count in full (`BELIEF_FIT`).
- *Open matchups* count as answered on average, and each set proposed here is open for the next, so 32 at once differ.
- *Temperature* T = `temperature` x the largest information of a pair now: a fixed one would be greedy on an early board
  and random on a settled one. 0 is greedy.
- *Sampling* is slot by slot (module `set_sampler`): gibbs(set) is what that gives, and the propensity is its exact
  probability for the unordered set, summed over all orders, given posterior and open matchups.
- *Uniform share* s: every set of active models keeps a probability of at least s / C(n, k), so that votes can be
  reweighted (module `pipeline.rating.reweighting`), and nothing that the posterior is wrong about stays unasked.
- *New models first*: while there are models with fewer comparisons, open ones counted, than `first_matchups` matchups
  bring, the prior is 0 for sets without one. If half of the models are known (open ones not counted), a set has exactly
  one, and what is asked is its place; else a set has nothing else, as long as they suffice. Without new models the
  prior is uniform. Retired models are never proposed.
- *Slots* are in uniformly random order.

Many models
-----------
Over `candidates` active models, gibbs looks at that many: those with fewest comparisons as long as they are new, then
those that have most to learn against a near neighbour in the mean; chosen again after so many proposals as show each
about once. Others are in the uniform share, and the propensities stay exact.

Assumptions
-----------
As for `ksort`: a matchup answered `all_bad` or `skip` adds no comparison, so its new model stays first in line.

Differences from the paper K-Sort Arena
---------------------------------------
Its pivot and bound (module `ksort_policy`) look at marginal scores, one proposal at a time, and have no propensity.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.matchmaking.errors import MatchmakingError
from pipeline.matchmaking.pair_information import expect_answer, measure_pairs
from pipeline.matchmaking.random_policy import sample_sets
from pipeline.matchmaking.set_sampler import SetUtility, draw_set, measure_set
from pipeline.matchmaking.view import ArenaView, Belief, ProposedSet, count_open_comparisons, describe_shortage
from pipeline.rating.blas_threads import single_blas_thread
from pipeline.rating.joint_draws import draw_skills
from pipeline.rating.posterior import PosteriorSettings

if TYPE_CHECKING:
    from numpy.random import Generator

NAME: Final = "gibbs"
_NEIGHBOURS: Final = 16
_DRAWS: Final = 1024

BELIEF_FIT: Final = PosteriorSettings(pair_correlation=0.0, best_correlation=0.0, rank_draws=0)
"""How the posterior that proposals are made from is fitted.

The weights of the published one make its intervals right. A matchmaker that is as careful asks again what is known, and
needs about an eighth more votes to the exact order of 50 models.
"""


@dataclass(frozen=True, slots=True)
class GibbsSettings:
    """Numeric policy; the defaults are what is proposed (benchmarks/matchmaking says what they reach).

    Attributes
    ----------
    temperature : float
        Relative to the largest information of a pair; 0 = greedy.
    uniform_share : float
        Share of proposals that are uniform over all sets.
    first_matchups : int
        A model is new until it has the comparisons of so many matchups, open ones counted.
    candidates : int
        Most models that are looked at for one proposal.
    """

    temperature: float = 0.05
    uniform_share: float = 0.05
    first_matchups: int = 3
    candidates: int = 256

    def __post_init__(self) -> None:
        if self.temperature < 0.0 or not 0.0 <= self.uniform_share <= 1.0:
            raise MatchmakingError(
                f"temperature {self.temperature} must not be negative, and uniform_share {self.uniform_share} must be "
                "between 0 and 1"
            )


DEFAULT_SETTINGS: Final = GibbsSettings()


def propose_gibbs(
    view: ArenaView, count: int, rng: Generator, *, settings: GibbsSettings = DEFAULT_SETTINGS
) -> list[ProposedSet]:
    """Propose `count` sets of active models; none if they are fewer than k.

    Raises
    ------
    MatchmakingError
        The view has no belief.
    """
    if describe_shortage(view) is not None:
        return []
    if view.belief is None:
        raise MatchmakingError("policy gibbs needs the posterior: make the view with its belief")
    comparisons = count_open_comparisons(view)
    open_sets = list(view.open_sets)
    most = max(settings.candidates, 2 * view.k)
    # With all models in sight there is nothing to choose again.
    at_once = count if int(view.active.sum()) <= most else max(1, most // view.k)
    proposals: list[ProposedSet] = []
    with single_blas_thread():
        while len(proposals) < count:
            table = _Table(view, view.belief, comparisons, open_sets, most, settings)
            for _ in range(min(at_once, count - len(proposals))):
                models, propensity = table.propose(rng)
                proposals.append(ProposedSet(tuple(rng.permutation(models).tolist()), NAME, propensity))
                open_sets.append(tuple(models.tolist()))
                comparisons[models] += view.k - 1
    return proposals


def choose_candidates(
    active: NDArray[np.int64], belief: Belief, comparisons: NDArray[np.int64], is_new: NDArray[np.bool_], most: int
) -> NDArray[np.int64]:
    """Return the at most `most` of the models `active`, int64 (m,), that one proposal looks at, ascending.

    New ones come first, those with fewest comparisons foremost; the others by the largest information about their
    order against one of their neighbours in the mean. Equal ones by index.
    """
    if len(active) <= most:
        return active
    by_mean = active[np.argsort(belief.mean[active], kind="stable")]
    largest = np.full(len(belief.mean), -np.inf)
    variance = np.diagonal(belief.covariance)
    for step in range(1, min(_NEIGHBOURS, len(by_mean) - 1) + 1):
        lower, upper = by_mean[:-step], by_mean[step:]
        v = variance[lower] + variance[upper] - 2.0 * belief.covariance[lower, upper]
        doubt = -((belief.mean[upper] - belief.mean[lower]) ** 2) / np.maximum(v, 1e-12)  # information grows with it
        np.maximum.at(largest, lower, doubt)
        np.maximum.at(largest, upper, doubt)
    keys = (active, -largest[active], np.where(is_new[active], comparisons[active], 0), ~is_new[active])
    return np.sort(active[np.lexsort(keys)[:most]])


class _Table:
    """The informations of the candidates' pairs, kept up to date from one proposal to the next."""

    def __init__(
        self,
        view: ArenaView,
        belief: Belief,
        comparisons: NDArray[np.int64],
        open_sets: list[tuple[int, ...]],
        most: int,
        settings: GibbsSettings,
    ) -> None:
        self._settings = settings
        self._k = view.k
        self._active = np.flatnonzero(view.active)
        self._few = settings.first_matchups * (view.k - 1)
        self._comparisons = comparisons
        models = choose_candidates(self._active, belief, comparisons, comparisons < self._few, most)
        self._models = models
        self._place = np.full(view.n_models, -1)
        self._place[models] = np.arange(len(models))
        self._known = int((view.comparisons[models] >= self._few).sum())
        self._mean = belief.mean[models]
        self._covariance = np.ascontiguousarray(belief.covariance[np.ix_(models, models)])
        self._expected = self._covariance
        self._untold = measure_pairs(self._mean, self._covariance, self._covariance)
        self._draws = draw_skills(self._mean, self._covariance, draws=_DRAWS).T.copy()
        for open_set in open_sets:
            self._expect(np.array(open_set, np.int64))

    def _expect(self, open_set: NDArray[np.int64]) -> None:
        """Count a set as answered on average, as far as its models are in sight."""
        weight = BELIEF_FIT.weigh_ballot(len(open_set), best=False)
        places = self._place[open_set]
        places = places[places >= 0]
        if len(places) > 1:
            self._expected = expect_answer(self._mean, self._covariance, self._expected, places, weight)

    def propose(self, rng: Generator) -> tuple[NDArray[np.int64], float]:
        """Draw a set of models, int64 (k,), and return it with its propensity."""
        share, k = self._settings.uniform_share, self._k
        utility = self._value_sets()
        if rng.random() < share:
            models = self._active[sample_sets(len(self._active), k, 1, rng)[0]]
        else:
            models = self._models[draw_set(utility, rng.random(k - 1))]
        places = self._place[models]
        propensity = share / comb(len(self._active), k)
        if places.min() >= 0:
            propensity += (1.0 - share) * measure_set(utility, np.sort(places))
        self._expect(models)
        return models, propensity

    def _value_sets(self) -> SetUtility:
        information = measure_pairs(self._mean, self._covariance, np.ascontiguousarray(self._expected))
        allowed, drawable = self._find_drawable()
        return SetUtility(
            information,
            allowed,
            self._untold,
            self._draws,
            drawable,
            self._settings.temperature * float(np.max(information, where=allowed, initial=0.0)),
        )

    def _find_drawable(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which pairs may come first, bool (m, m), and which models after them, bool (m,): new ones go first."""
        is_new = self._comparisons[self._models] < self._few
        new, everyone = int(is_new.sum()), np.ones(len(is_new), np.bool_)
        if new and self._known >= max(self._k - 1, len(is_new) / 2):
            allowed, drawable = is_new[:, None] ^ is_new, ~is_new
        elif new >= self._k:
            allowed, drawable = is_new[:, None] & is_new, is_new
        elif new:
            allowed, drawable = is_new[:, None] | is_new, everyone
        else:
            allowed, drawable = np.ones((len(is_new), len(is_new)), np.bool_), everyone
        np.fill_diagonal(allowed, val=False)
        return allowed, drawable
