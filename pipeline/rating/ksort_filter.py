"""The online filter of K-Sort Arena (arXiv 2408.14468), method `ksort`.

Model
    Skill theta_i ~ N(mu_i, s_i^2), independent between models; what a model shows in one matchup is
    X_i ~ N(theta_i, b^2). A ballot reports the order of the X_i. Priors mu = 25, s = 25/3, b = 25/6.

Update
    A ballot counts as independent comparisons, one for each pair that it orders. All terms use the values
    before the ballot; ballots are applied in order. With c = sqrt(2 b^2 + s_i^2 + s_q^2), V(x) =
    pdf(x)/cdf(x) and W(x) = V(x) (V(x) + x),

        mu_i   += s_i^2 [ sum over q beaten by i  V((mu_i - mu_q)/c)/c
                          - sum over q that beat i  V((mu_q - mu_i)/c)/c ]                             (9)
        s_i^2  *= max(1 - sum over both kinds of q  s_i^2/c^2 W((mu_winner - mu_loser)/c), floor_i)   (10)

    with floor_i = b^2 / (b^2 + s_i^2).

Ties
    Tied pairs and pairs inside the unranked remainder do nothing, as in the paper; nor do `all_bad` and
    `skip`.

Guards
    - Eq. 10 has no floor in the paper, and turns negative: W < 1 and s^2/c^2 = 0.4 at the priors, so an upset
      at K = 4 gives factors down to -0.2, and at K = 5 the very first ballot gives -0.02 to every model. Our
      floor is what the model itself allows: a ballot can tell no more about theta_i than X_i would, and given
      X_i the variance is s_i^2 b^2/(b^2 + s_i^2). At K = 2 it is never reached; where eq. 10 stays above it
      nothing changes. A constant such as 1e-4 (Weng and Lin, JMLR 12, 2011) is positive too, but lets one
      ballot divide s by 100, after which the model no longer moves: at K = 6 and 8 the order then never
      settles (benchmarks/rating/variance_floor.json).
    - V and W keep full precision for very negative arguments (module `scalar_kernels`): a quotient of
      underflowing numbers would be NaN from x = -38 on.

Differences from the paper
    The floor, and ballots with ties or an unranked remainder, for which the paper has no rule: they use the
    pairs that they order. Nothing else; the known faults stay, because this is the reference that the other
    methods are compared with: pairs of one ballot are treated as independent, so that variance collapses, and
    a wrong order can freeze.

Numerics
    Scalar code in slot order, + - * / sqrt only: the same bits on every machine and however ballots are cut
    into batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from pipeline.contracts.ballot import Ballots
from pipeline.rating.count_accumulator import check_models
from pipeline.rating.filter_bytes import decode_arrays, encode_arrays
from pipeline.rating.scalar_kernels import filter_ballots

PRIOR_MEAN: Final = 25.0
PRIOR_SD: Final = 25.0 / 3.0
PERFORMANCE_SD: Final = 25.0 / 6.0
SCORE_SDS: Final = 3.0

_NAME: Final = b"ksrt"


@dataclass(frozen=True, slots=True, eq=False)
class KsortState:
    """What the filter believes of n models.

    Attributes
    ----------
    mu : float64 (n,)
        Means, in the paper's units (prior 25).
    s2 : float64 (n,)
        Variances, always positive.
    """

    mu: NDArray[np.float64]
    s2: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.mu.setflags(write=False)
        self.s2.setflags(write=False)

    def __len__(self) -> int:
        return len(self.mu)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KsortState):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def initial(cls, n: int) -> KsortState:
        """Return the prior of n models."""
        return cls(np.full(n, PRIOR_MEAN), np.full(n, PRIOR_SD * PRIOR_SD))

    def grow(self, n: int) -> KsortState:
        """Return the state of n models, new ones at the prior; `self` if there are n already."""
        if n <= len(self):
            return self
        new = KsortState.initial(n - len(self))
        return KsortState(np.concatenate([self.mu, new.mu]), np.concatenate([self.s2, new.s2]))

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviations, float64 (n,)."""
        return np.sqrt(self.s2)

    @property
    def score(self) -> NDArray[np.float64]:
        """The paper's conservative score mu - 3 s, by which its board is ranked, float64 (n,)."""
        return self.mu - SCORE_SDS * self.sd

    def to_bytes(self) -> bytes:
        """Return the stored form, exact to the bit."""
        return encode_arrays(_NAME, (self.mu, self.s2))

    @classmethod
    def from_bytes(cls, data: bytes) -> KsortState:
        """Read what `to_bytes` wrote."""
        mu, s2 = decode_arrays(_NAME, 2, data)
        return cls(mu, s2)


def rate_ballots(state: KsortState, ballots: Ballots) -> KsortState:
    """Apply `ballots` in order by eqs 9-10 and return the new state.

    Raises
    ------
    ValueError
        If a ballot names a model that `state` does not hold: grow it first.
    """
    check_models(ballots, len(state))
    mu, s2 = state.mu.copy(), state.s2.copy()
    filter_ballots(mu, s2, PERFORMANCE_SD * PERFORMANCE_SD, ballots.offsets, ballots.models, ballots.groups)
    return KsortState(mu, s2)


def rate_ballots_naive(state: KsortState, ballots: Ballots, *, constant_floor: float | None = None) -> KsortState:
    """Do what `rate_ballots` does, in plain Python as the equations are printed: its reference in tests.

    With `constant_floor` it stands in for floor_i of every model (benchmarks/rating/variance_floor.py).
    """
    mu, s2 = state.mu.tolist(), state.s2.tolist()
    for b in range(len(ballots)):
        span = slice(int(ballots.offsets[b]), int(ballots.offsets[b + 1]))
        ballot = list(zip(ballots.models[span].tolist(), ballots.groups[span].tolist(), strict=True))
        new: dict[int, tuple[float, float]] = {}
        for i, group in ballot:
            shift, shrink = 0.0, 0.0
            for q, other in ballot:
                if group == other:
                    continue
                c = math.sqrt(2 * PERFORMANCE_SD**2 + s2[i] + s2[q])
                sign = 1.0 if group < other else -1.0
                x = sign * (mu[i] - mu[q]) / c
                v = math.exp(-x * x / 2 - math.log(math.sqrt(2 * math.pi)) - float(log_ndtr(x)))
                shift += sign * v / c
                shrink += s2[i] / c**2 * v * (v + x)
            bound = PERFORMANCE_SD**2 / (PERFORMANCE_SD**2 + s2[i])
            floor = bound if constant_floor is None else constant_floor
            new[i] = (mu[i] + s2[i] * shift, s2[i] * max(1 - shrink, floor))
        for i, (mean, variance) in new.items():
            mu[i], s2[i] = mean, variance
    return KsortState(np.array(mu, np.float64), np.array(s2, np.float64))
