"""What a policy sees of an arena, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from pipeline.matchmaking.errors import MatchmakingError

PairRow = Callable[[int], NDArray[np.int64]]
"""Comparisons of one model with each: index p -> int64 (n,), with 0 at p. Whoever asks must not change it."""


@dataclass(frozen=True, slots=True)
class Belief:
    """The joint posterior over skills, up to a common shift: mean (n,) and covariance (n, n), float64."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArenaView:
    """An arena of n models at one commit, as policies see it. Models are indices in registry order.

    Attributes
    ----------
    k : int
        Models in a matchup.
    active : bool (n,)
        Whether a model may be proposed; retired ones are not.
    mu, s2 : float64 (n,)
        Mean and variance of the paper's filter (`ksort`).
    comparisons : int64 (n,)
        Comparisons of each model: the sums of the pair rows.
    pair_row : PairRow
        Comparisons of each pair, a row at a time: 2,000 models are too many for a table.
    open_sets : tuple of tuples of int
        Matchups proposed and not answered yet. They count as if answered.
    belief : Belief or None
        The posterior, for policies that need it (`policies.needs_belief`).
    """

    k: int
    active: NDArray[np.bool_]
    mu: NDArray[np.float64]
    s2: NDArray[np.float64]
    comparisons: NDArray[np.int64]
    pair_row: PairRow
    open_sets: tuple[tuple[int, ...], ...] = ()
    belief: Belief | None = None

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.active, self.mu, self.s2, self.comparisons)}
        if shapes != {(self.n_models,)}:
            raise MatchmakingError(f"active, mu, s2 and comparisons must have one length; they have {shapes}")
        if self.belief is not None and self.belief.covariance.shape != (self.n_models, self.n_models):
            raise MatchmakingError(
                f"the belief's covariance must be of {self.n_models} models; it is {self.belief.covariance.shape}"
            )
        if self.k < 2:
            raise MatchmakingError(f"a matchup needs at least 2 models; k is {self.k}")

    @property
    def n_models(self) -> int:
        """Number of models, retired ones included."""
        return len(self.active)


@dataclass(frozen=True, slots=True)
class ProposedSet:
    """Models to be shown together.

    Attributes
    ----------
    models : tuple of int
        Indices in slot order, which is uniformly random.
    policy : str
    propensity : float or None
        Exact probability of the *unordered* set under the policy, None where the policy has none.
    """

    models: tuple[int, ...]
    policy: str
    propensity: float | None


def count_open_comparisons(view: ArenaView) -> NDArray[np.int64]:
    """Return the comparisons of each model, int64 (n,), with the open sets counted as answered."""
    comparisons = view.comparisons.astype(np.int64, copy=True)
    for models in view.open_sets:
        comparisons[list(models)] += len(models) - 1
    return comparisons


def describe_shortage(view: ArenaView) -> str | None:
    """Say why nothing can be proposed for `view`; None if something can."""
    active = int(view.active.sum())
    if active >= view.k:
        return None
    return f"{active} active models are too few for matchups of {view.k}: add models, or lower the arena's k"


def dense_pair_rows(counts: NDArray[np.int64]) -> PairRow:
    """Make a `PairRow` of a symmetric table of comparisons, int64 (n, n)."""

    def pair_row(model: int) -> NDArray[np.int64]:
        row: NDArray[np.int64] = counts[model]
        return row

    return pair_row


def sparse_pair_rows(
    n_models: int, first: NDArray[np.int64], second: NDArray[np.int64], counts: NDArray[np.int64]
) -> PairRow:
    """Make a `PairRow` of the comparisons `counts` of the pairs (`first`, `second`), in either order.

    Pairs that occur more than once are summed.
    """
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    table = coo_array((np.concatenate([counts, counts]), ends), shape=(n_models, n_models)).tocsr()
    starts, columns, values = table.indptr, table.indices, table.data

    def pair_row(model: int) -> NDArray[np.int64]:
        row = np.zeros(n_models, np.int64)
        stretch = slice(starts[model], starts[model + 1])
        row[columns[stretch]] = values[stretch]
        return row

    return pair_row
