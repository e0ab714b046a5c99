"""Ballots for tests of the rating package: hypothesis strategies, and votes drawn from a known truth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode, make_ballots
from pipeline.rating.count_accumulator import CountAccumulator
from pipeline.rating.pair_counts import PairCounts

Row = tuple[list[int], list[int | None] | None, Mode]


@st.composite
def ballot_rows(draw: st.DrawFn, n_models: int = 9) -> Row:
    """One ballot of 2 to 8 of `n_models` models, in any mode."""
    k = draw(st.integers(2, min(8, n_models)))
    models = draw(st.permutations(range(n_models)))[:k]
    mode = draw(st.sampled_from(Mode))
    if mode is Mode.RANK:
        return models, list(draw(st.lists(st.integers(1, k), min_size=k, max_size=k))), mode
    if mode is Mode.BEST:
        best = draw(st.lists(st.booleans(), min_size=k - 1, max_size=k - 1))
        place = draw(st.integers(0, k - 1))
        # at least one best and one unranked model
        flags = [*best[:place], not any(best), *best[place:]]
        ranks: list[int | None] = [1 if flag else None for flag in flags]
        if None not in ranks:
            ranks[0] = None
        return models, ranks, mode
    return models, None, mode


def ballot_batches(n_models: int = 9, max_size: int = 25) -> st.SearchStrategy[Ballots]:
    """Batches of up to `max_size` ballots."""
    return st.lists(ballot_rows(n_models), max_size=max_size).map(make_ballots)


def cut_ballots(ballots: Ballots, ends: Sequence[int]) -> list[Ballots]:
    """Cut a batch before each of `ends`."""
    edges = [0, *sorted(min(end, len(ballots)) for end in ends), len(ballots)]
    index = np.arange(len(ballots))
    return [ballots.take((index >= low) & (index < high)) for low, high in pairwise(edges)]


def count_ballots(ballots: Ballots, n_models: int) -> PairCounts:
    """Count with the fast accumulator."""
    accumulator = CountAccumulator(n_models)
    accumulator.add_ballots(ballots)
    return accumulator.freeze()


def renumber_ballots(ballots: Ballots, position: NDArray[np.int64]) -> Ballots:
    """Give model m the index ``position[m]``."""
    return Ballots(ballots.offsets, position[ballots.models].astype(np.int32), ballots.groups, ballots.modes)


def simulate_ballots(
    skills: NDArray[np.float64],
    n: int,
    k: int,
    rng: np.random.Generator,
    *,
    tie_width: float = 0.0,
    best: bool = False,
) -> Ballots:
    """Draw n ballots of k random models from a Plackett-Luce world with `skills` (m,) in logits.

    With `tie_width`, performances are rounded to multiples of it, so that near ones tie; with `best`, voters name only
    the best.
    """
    models = np.argsort(rng.random((n, len(skills))), axis=1)[:, :k].astype(np.int32)
    shown = skills[models] + rng.gumbel(size=(n, k))
    if tie_width:
        shown = np.round(shown / tie_width)
    groups = (shown[:, None, :] > shown[:, :, None]).sum(axis=2)
    if best:
        groups = np.where(groups == 0, 0, UNRANKED)
    mode = Mode.BEST if best else Mode.RANK
    return Ballots(
        np.arange(n + 1, dtype=np.int64) * k,
        models.ravel(),
        groups.ravel().astype(np.int8),
        np.full(n, mode, np.int8),
    )


def pair_row(i: int, j: int, *, tied: bool = False) -> Row:
    """Return the ballot in which i beat j, or tied with it."""
    return [i, j], [1, 1 if tied else 2], Mode.RANK


def weigh_equally(k: int, best: bool) -> float:
    """Return the weight 1 for pairs of any ballot."""
    return 1.0


def model_names(n: int) -> list[str]:
    """Return n ids in alphabetic order."""
    return [f"m{index:04d}" for index in range(n)]
