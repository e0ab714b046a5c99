"""Elo, a baseline, method `elo`.

Model
    P(i beats j) = 1 / (1 + 10^((R_j - R_i)/400)). Every model starts at 1000.

Update
    All pairs of a ballot at once, from the values before it; ballots in order:

        R_i += K sum over compared j [ score_ij - P(i beats j) ],   score 1 / 0.5 / 0 for won / tied / lost.

    Pairs inside the unranked remainder were not compared and do nothing; `all_bad` and `skip` move nothing.

K factor
    4, as in FastChat's Chatbot Arena. At rest a rating scatters around its value with a variance of about K
    (400/ln 10)/2, that is a standard deviation of 19 points at K = 4 and 53 at the chess value 32; and a
    ballot of K-wise votes moves a model by up to seven pairs at once.

Uncertainty
    None: Elo has no such notion, and the board says null rather than invent one.

Numerics
    Scalar code in slot order: the same bits on every machine and however ballots are cut into batches. The
    two models of a pair move by the same amount, so that the sum of all ratings stays n x 1000 up to
    rounding.

Differences from the paper K-Sort Arena
    The paper lets Elo see pairs, one vote each; here a K-wise vote gives all its pairs, so that the methods
    are compared on the same votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.ballot import UNRANKED, Ballots
from pipeline.rating.count_accumulator import check_models
from pipeline.rating.filter_bytes import decode_arrays, encode_arrays
from pipeline.rating.scalar_kernels import update_elo

BASE_RATING: Final = 1000.0
K_FACTOR: Final = 4.0

_NAME: Final = b"elo1"


@dataclass(frozen=True, slots=True, eq=False)
class EloState:
    """Elo ratings of n models.

    Attributes
    ----------
    ratings : float64 (n,)
        Ratings on the published scale (1000 at the start, 400 points = odds of 10).
    """

    ratings: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.ratings.setflags(write=False)

    def __len__(self) -> int:
        return len(self.ratings)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EloState):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def initial(cls, n: int) -> EloState:
        """Return n models at the base rating."""
        return cls(np.full(n, BASE_RATING))

    def grow(self, n: int) -> EloState:
        """Return the state of n models, new ones at the base; `self` if there are n already."""
        if n <= len(self):
            return self
        return EloState(np.concatenate([self.ratings, np.full(n - len(self), BASE_RATING)]))

    def to_bytes(self) -> bytes:
        """Return the stored form, exact to the bit."""
        return encode_arrays(_NAME, (self.ratings,))

    @classmethod
    def from_bytes(cls, data: bytes) -> EloState:
        """Read what `to_bytes` wrote."""
        return cls(*decode_arrays(_NAME, 1, data))


def rate_ballots(state: EloState, ballots: Ballots) -> EloState:
    """Apply `ballots` in order and return the new state.

    Raises
    ------
    ValueError
        If a ballot names a model that `state` does not hold: grow it first.
    """
    check_models(ballots, len(state))
    ratings = state.ratings.copy()
    update_elo(ratings, K_FACTOR, ballots.offsets, ballots.models, ballots.groups)
    return EloState(ratings)


def rate_ballots_naive(state: EloState, ballots: Ballots) -> EloState:
    """Do what `rate_ballots` does, in plain Python: its reference in tests."""
    ratings = state.ratings.tolist()
    for b in range(len(ballots)):
        span = slice(int(ballots.offsets[b]), int(ballots.offsets[b + 1]))
        ballot = list(zip(ballots.models[span].tolist(), ballots.groups[span].tolist(), strict=True))
        before = list(ratings)
        for i, group in ballot:
            for j, other in ballot:
                if i == j or group == other == UNRANKED:
                    continue
                score = 0.5 if group == other else float(group < other)
                ratings[i] += K_FACTOR * (score - 1.0 / (1.0 + 10.0 ** ((before[j] - before[i]) / 400.0)))
    return EloState(np.array(ratings, np.float64))
