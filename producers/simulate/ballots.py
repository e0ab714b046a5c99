"""How simulated voters answer: from true skills to ranks.

Model ----- A model i with skill theta_i, shown to a voter, performs as X_i = theta_i + blur * Z_i, with Z_i
drawn anew for each vote and slot; the voter orders the models by performance.

- `gumbel`: Z_i standard Gumbel. Rankings are Plackett-Luce and pairs logistic, which is what the method
  `posterior` assumes; skills are then logits (at blur 1).
- `thurstone`: Z_i standard normal. Pairs are probit, which is what the paper's filter assumes.
- `exact`: no Z at all, the paper's simulation: an honest vote is always right.

*Noise* (the paper's): with that probability the whole ballot is replaced by a random permutation. *Ties*:
each two neighbours of the ordering are called equal with probability `tie_rate`, so that three may be. Ranks
are competition ranks: 1, 2, 2, 4. *Modes*: `best` keeps the first model and leaves the rest unranked;
`all_bad` and `skip` rank nothing. Which mode an answer has does not depend on the models shown. *Bots* order
at random, or put their favourite first wherever it is shown and order the rest at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.ballot import Mode

if TYPE_CHECKING:
    from numpy.random import Generator

Judgement = Literal["gumbel", "thurstone", "exact"]

NO_RANK: Final = 0
"""Rank of an unranked model in `Answers.ranks`; ranks start at 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How voters answer.

    Attributes
    ----------
    judgement, blur
        Distribution and scale of the performances around the skills.
    noise
        Share of ballots replaced by a random permutation.
    tie_rate
        Probability that two neighbours of a ballot are tied.
    best_share, all_bad_share, skip_share
        Shares of the answers with these modes; the rest are `rank`.
    """

    judgement: Judgement
    blur: float
    noise: float
    tie_rate: float
    best_share: float
    all_bad_share: float
    skip_share: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What n voters answered to matchups of k models.

    Attributes
    ----------
    ranks : int8 (n, k)
        Rank of each slot, `NO_RANK` = unranked.
    modes : int8 (n,)
        `Mode` of each answer.
    random : bool (n,)
        Whether the order was drawn at random: by noise or by a bot.
    """

    ranks: NDArray[np.int8]
    modes: NDArray[np.int8]
    random: NDArray[np.bool_]


def answer_shown(
    skills: NDArray[np.float64],
    habits: Habits,
    rng: Generator,
    *,
    by_bot: NDArray[np.bool_],
    favourite: NDArray[np.bool_] | None,
) -> Answers:
    """Answer n matchups of k models.

    Parameters
    ----------
    skills : float64 (n, k)
        Skills of the models shown, in slot order.
    habits
        How honest voters answer; bots take their modes from it too.
    rng
        The number of draws depends on n and k only.
    by_bot : bool (n,)
        Whether a bot answers.
    favourite : bool (n, k) or None
        Where the bots' favourite is shown; None: they have none.
    """
    n = len(skills)
    performance = _perform(skills, habits, rng)
    permutation = rng.random(skills.shape)
    at_random = (rng.random(n) < habits.noise) | by_bot
    performance[at_random] = permutation[at_random]
    if favourite is not None:
        performance[favourite & by_bot[:, None]] = np.inf
    order = np.argsort(-performance, axis=1, kind="stable")
    tied = rng.random((n, skills.shape[1] - 1)) < habits.tie_rate
    modes = _draw_modes(habits, n, rng)
    return Answers(_rank_slots(order, tied, modes), modes, at_random)


def _perform(skills: NDArray[np.float64], habits: Habits, rng: Generator) -> NDArray[np.float64]:
    if habits.judgement == "exact":
        return skills.copy()
    draw = rng.gumbel if habits.judgement == "gumbel" else rng.normal
    return skills + draw(0.0, habits.blur, skills.shape)


def _draw_modes(habits: Habits, n: int, rng: Generator) -> NDArray[np.int8]:
    bounds = np.cumsum([habits.best_share, habits.all_bad_share, habits.skip_share])
    kinds = np.array([Mode.BEST, Mode.ALL_BAD, Mode.SKIP, Mode.RANK], np.int8)
    modes: NDArray[np.int8] = kinds[np.searchsorted(bounds, rng.random(n), side="right")]
    return modes


def _rank_slots(order: NDArray[np.intp], tied: NDArray[np.bool_], modes: NDArray[np.int8]) -> NDArray[np.int8]:
    n, k = order.shape
    starts = np.zeros((n, k), np.int8)
    starts[:, 1:] = np.where(tied, 0, np.arange(1, k, dtype=np.int8))
    sorted_ranks = np.maximum.accumulate(starts, axis=1) + np.int8(1)
    sorted_ranks[modes == Mode.BEST, 1:] = NO_RANK
    sorted_ranks[(modes == Mode.ALL_BAD) | (modes == Mode.SKIP)] = NO_RANK
    ranks = np.empty_like(sorted_ranks)
    np.put_along_axis(ranks, order, sorted_ranks, axis=1)
    return ranks
