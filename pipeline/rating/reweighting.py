"""Off-policy checks: what votes on proposed matchups say of uniformly random ones, and of slots.

Reweighting
    A matchmaker shows near models to each other, so the share of pairs that a model won says whom it met. A vote on a
    matchup of k of n models whose unordered set had propensity p gets the weight

        w = 1 / (p C(n, k)),

    the ratio of the uniform probability to the matchmaker's (inverse propensity; Horvitz and Thompson 1952). A model's
    share of pairs won under uniform matchups is then estimated by sum w (won + tied/2) / sum w pairs (Hajek: weights
    are normalised by their sum), with the variance sum w^2 (won + tied/2 - share pairs)^2 / (sum w pairs)^2 over votes.
    Under `gibbs` with a uniform share s no weight exceeds 1/s. Votes without a propensity are left out, and counted.

Effective sample size
    (sum w)^2 / sum w^2: as many uniform votes would know as much (Kish 1965).

Slots
    Slots are random, so without position bias a slot wins half of its pairs. A slot's share is the mean over votes of
    the share of its pairs that it won, with the standard error of that mean: pairs of one vote are not independent.

Assumptions
    n is the number of models now; with models that came or went since, weights of earlier votes are too small or too
    large by one factor for all of them, and what they target are the sets of their time. The posterior needs no
    reweighting where its model is right: that is what the comparison with its implied shares checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, UNRANKED, Ballots

Z_95: Final = 1.959963984540054
_MIN_EFFECTIVE: Final = 2


@dataclass(frozen=True, slots=True)
class Share:
    """A share of pairs won, with its 95 % interval; None where there are no pairs (share) or too few (interval)."""

    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class OffPolicyCheck:
    """What votes say when they are reweighted.

    Attributes
    ----------
    votes : int
        With ordered or tied pairs.
    without_propensity : int
        Among them: counted in `plain` and `slots` only.
    effective_votes : float
        Effective sample size of the others.
    plain : tuple of float or None, (n,)
        Share of pairs that each model won, as they were shown.
    reweighted : tuple of Share, (n,)
        The same, for uniform matchups.
    slots : tuple of Share, (8,)
        Share of its pairs that each slot won; half without position bias.
    """

    votes: int
    without_propensity: int
    effective_votes: float
    plain: tuple[float | None, ...]
    reweighted: tuple[Share, ...]
    slots: tuple[Share, ...]


class OffPolicySums:
    """Sums over votes from which an `OffPolicyCheck` follows; batches may be added in any order.

    Parameters
    ----------
    n_models : int
        All models of the arena; ballots have smaller indices.
    """

    def __init__(self, n_models: int) -> None:
        self._n_models = n_models
        self._uniform = np.array([0.0, 0.0, *(float(comb(n_models, k)) for k in range(2, K_MAX + 1))])
        self._models = np.zeros((7, n_models))
        self._slots = np.zeros((3, K_MAX))
        self._votes = np.zeros(4)

    def add(self, ballots: Ballots, propensities: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
        """Add n ballots with their propensities, float64 (n,), where they are `known`, bool (n,); else they are unused.

        Raises
        ------
        ValueError
            A known propensity is not in (0, 1], or a model index is not below the number of models.
        """
        used = propensities[known]
        if not ((used > 0.0) & (used <= 1.0 + 1e-9)).all():
            raise ValueError("a propensity is not a probability above 0")
        if len(ballots.models) and int(ballots.models.max()) >= self._n_models:
            raise ValueError(f"ballots name model {int(ballots.models.max())} of {self._n_models}")
        weights = np.zeros(len(ballots))
        sizes = np.diff(ballots.offsets)
        weights[known] = 1.0 / (used * np.maximum(self._uniform[sizes[known]], 1.0))
        _add_votes(
            ballots.offsets, ballots.models, ballots.groups, weights, known, self._models, self._slots, self._votes
        )

    def check(self) -> OffPolicyCheck:
        """Return what follows from the sums."""
        points, pairs, weighted_points, weighted_pairs, pp, pm, mm = self._models
        votes, without, total, squares = self._votes.tolist()
        effective = total * total / squares if squares > 0.0 else 0.0
        reweighted = []
        for model in range(self._n_models):
            if weighted_pairs[model] <= 0.0:
                reweighted.append(Share(None, None, None))
                continue
            share = weighted_points[model] / weighted_pairs[model]
            variance = max(pp[model] - 2.0 * share * pm[model] + share * share * mm[model], 0.0)
            reweighted.append(_make_share(float(share), float(np.sqrt(variance) / weighted_pairs[model]), effective))
        slots = []
        for shares, squared, count in self._slots.T.tolist():
            mean = shares / count if count else None
            spread = 0.0 if mean is None else max(squared / count - mean * mean, 0.0)
            slots.append(_make_share(mean, (spread / max(count, 1.0)) ** 0.5, count))
        return OffPolicyCheck(
            votes=round(votes),
            without_propensity=round(without),
            effective_votes=effective,
            plain=tuple(float(p / m) if m > 0 else None for p, m in zip(points, pairs, strict=True)),
            reweighted=tuple(reweighted),
            slots=tuple(slots),
        )


def _make_share(share: float | None, error: float, votes: float) -> Share:
    if share is None or votes < _MIN_EFFECTIVE:
        return Share(share, None, None)
    return Share(share, max(0.0, share - Z_95 * error), min(1.0, share + Z_95 * error))


@njit(nogil=True, cache=True)
def _add_votes(
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    weights: NDArray[np.float64],
    known: NDArray[np.bool_],
    sums: NDArray[np.float64],
    slots: NDArray[np.float64],
    votes: NDArray[np.float64],
) -> None:
    for vote in range(len(weights)):
        begin, end = offsets[vote], offsets[vote + 1]
        w = weights[vote]
        answered = False
        for a in range(begin, end):
            points, pairs = 0.0, 0.0
            for b in range(begin, end):
                if a == b or (groups[a] == UNRANKED and groups[b] == UNRANKED):
                    continue
                pairs += 1.0
                if groups[a] < groups[b]:
                    points += 1.0
                elif groups[a] == groups[b]:
                    points += 0.5
            if pairs == 0.0:
                continue
            answered = True
            model, slot, share = models[a], a - begin, points / pairs
            sums[0, model] += points
            sums[1, model] += pairs
            sums[2, model] += w * points
            sums[3, model] += w * pairs
            sums[4, model] += w * w * points * points
            sums[5, model] += w * w * points * pairs
            sums[6, model] += w * w * pairs * pairs
            slots[0, slot] += share
            slots[1, slot] += share * share
            slots[2, slot] += 1.0
        if answered:
            votes[0] += 1.0
            votes[1] += 0.0 if known[vote] else 1.0
            votes[2] += w
            votes[3] += w * w
