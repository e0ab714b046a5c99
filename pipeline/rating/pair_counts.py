"""Pair counts: what votes add to an arena, as exact sparse integers.

A count belongs to a key (kind, k, best, i, j), packed into one non-negative int64 *code*:

===========  =======================================================  ================
kind         counts                                                   i, j
===========  =======================================================  ================
`Kind.WIN`   ordered pairs                                            i beat j
`Kind.TIE`   tied pairs                                               i < j
`SHOWN`      ballots that ordered or tied something, with i shown     j = 0
`ALL_BAD`    `all_bad` answers to matchups with i (k = best = 0)      j = 0
`SKIP`       skipped matchups with i (k = best = 0)                   j = 0
===========  =======================================================  ================

k is the number of models of the ballot in at least one ordered or tied pair, best says that its mode was
`best`: the two decide how much a pair weighs in the posterior. Model indices stay below 2**24.

Integers add in any order, merge, and subtract exactly; that is what makes retraction and replay exact.
`PairCounts` is the frozen value, `CountAccumulator` (module `count_accumulator`) the mutable one of the hot
path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode

MODEL_BITS: Final = 24
MAX_MODELS: Final = 1 << MODEL_BITS
BEST_SHIFT: Final = 2 * MODEL_BITS
K_SHIFT: Final = BEST_SHIFT + 1
KIND_SHIFT: Final = K_SHIFT + 4
_MODEL_MASK: Final = MAX_MODELS - 1


class Kind(IntEnum):
    """What a count counts. The values are stored: never renumber them."""

    WIN = 0
    TIE = 1
    SHOWN = 2
    ALL_BAD = 3
    SKIP = 4


@dataclass(frozen=True, slots=True)
class WeightedPairs:
    """Weighted outcomes of each pair of models that was compared, p pairs.

    Attributes
    ----------
    first, second : int64 (p,)
        Model indices, ``first < second``, sorted by (first, second).
    wins, losses, ties : float64 (p,)
        Weighted number of ballots in which `first` beat `second`, lost to it, tied with it.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    wins: NDArray[np.float64]
    losses: NDArray[np.float64]
    ties: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """Sparse integer counts of one arena.

    Attributes
    ----------
    codes : int64 (m,)
        Packed keys, strictly increasing.
    counts : int64 (m,)
        Counts, never zero. Negative ones occur in differences only (`subtract`, a delta after a retraction).
    """

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        self.codes.setflags(write=False)
        self.counts.setflags(write=False)

    def __len__(self) -> int:
        return len(self.codes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairCounts):
            return NotImplemented
        return np.array_equal(self.codes, other.codes) and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def empty(cls) -> PairCounts:
        """Return the counts of no votes."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def from_entries(cls, codes: NDArray[np.int64], counts: NDArray[np.int64]) -> PairCounts:
        """Build counts from entries in any order; equal codes are added, zeros are dropped."""
        if not len(codes):
            return cls.empty()
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
        sums = np.add.reduceat(counts[order], starts)
        keep = sums != 0
        return cls(codes[starts][keep], sums[keep])

    def merge(self, other: PairCounts) -> PairCounts:
        """Return the sum of both."""
        return self.from_entries(np.concatenate([self.codes, other.codes]), np.concatenate([self.counts, other.counts]))

    def subtract(self, other: PairCounts) -> PairCounts:
        """Return these counts without those of `other`."""
        return self.from_entries(
            np.concatenate([self.codes, other.codes]), np.concatenate([self.counts, -other.counts])
        )

    @property
    def kinds(self) -> NDArray[np.int64]:
        """`Kind` of each entry, int64 (m,)."""
        return self.codes >> KIND_SHIFT

    @property
    def n_models(self) -> int:
        """One more than the largest model index that occurs; 0 without entries."""
        if not len(self.codes):
            return 0
        return int(max(self._first().max(), self._second().max())) + 1

    def model_votes(self, n: int) -> NDArray[np.int64]:
        """Ballots that ranked something with the model shown, int64 (n,)."""
        return self._sum_kind(Kind.SHOWN, n)

    def all_bad(self, n: int) -> NDArray[np.int64]:
        """`all_bad` answers to matchups with the model, int64 (n,)."""
        return self._sum_kind(Kind.ALL_BAD, n)

    def skips(self, n: int) -> NDArray[np.int64]:
        """Skipped matchups with the model, int64 (n,)."""
        return self._sum_kind(Kind.SKIP, n)

    def pairs_won(self, n: int) -> NDArray[np.int64]:
        """Ordered pairs that the model won, int64 (n,)."""
        return self._sum_kind(Kind.WIN, n)

    def pairs_tied(self, n: int) -> NDArray[np.int64]:
        """Tied pairs of the model, int64 (n,)."""
        return self._sum_kind(Kind.TIE, n) + self._sum_kind(Kind.TIE, n, second=True)

    def comparisons(self, n: int) -> NDArray[np.int64]:
        """Ordered and tied pairs of each model, int64 (n,)."""
        return self.pairs_won(n) + self._sum_kind(Kind.WIN, n, second=True) + self.pairs_tied(n)

    def pairs(self, weight: Callable[[int, bool], float]) -> WeightedPairs:
        """Sum the ordered and tied pairs over ballot sizes, each weighted by ``weight(k, best)``.

        The terms of a pair are added in the order of (k, best), so that the sums do not depend on how models
        are numbered.
        """
        keep = self.kinds <= Kind.TIE
        codes, counts = self.codes[keep], self.counts[keep]
        strata = codes >> BEST_SHIFT & 31
        table = np.zeros(32, np.float64)
        for stratum in np.unique(strata).tolist():
            table[stratum] = weight(stratum >> 1, bool(stratum & 1))
        values = counts.astype(np.float64) * table[strata]
        i, j = codes >> MODEL_BITS & _MODEL_MASK, codes & _MODEL_MASK
        keys, where = np.unique(np.minimum(i, j) << MODEL_BITS | np.maximum(i, j), return_inverse=True)
        tie = codes >> KIND_SHIFT == Kind.TIE

        def add(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
            # bincount adds sequentially, in the order of the codes
            return np.bincount(where[mask], values[mask], len(keys)).astype(np.float64)

        return WeightedPairs(keys >> MODEL_BITS, keys & _MODEL_MASK, add(~tie & (i < j)), add(~tie & (i > j)), add(tie))

    def to_columns(self) -> dict[str, NDArray[np.generic]]:
        """Return one array a column, each (m,); ``pyarrow.table(counts.to_columns())`` is the stored form.

        Columns: kind int8, k int8, best bool, i int32, j int32, n int64.
        """
        return {
            "kind": self.kinds.astype(np.int8),
            "k": (self.codes >> K_SHIFT & 15).astype(np.int8),
            "best": (self.codes >> BEST_SHIFT & 1).astype(np.bool_),
            "i": self._first().astype(np.int32),
            "j": self._second().astype(np.int32),
            "n": self.counts,
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> PairCounts:
        """Read the columns of `to_columns`, arrays or a pyarrow table; rows in any order, equal keys are added."""
        kind, k, best, i, j, n = (
            np.asarray(columns[name]).astype(np.int64) for name in ("kind", "k", "best", "i", "j", "n")
        )
        codes = kind << KIND_SHIFT | k << K_SHIFT | best << BEST_SHIFT | i << MODEL_BITS | j
        return cls.from_entries(codes, n)

    def _first(self) -> NDArray[np.int64]:
        return self.codes >> MODEL_BITS & _MODEL_MASK

    def _second(self) -> NDArray[np.int64]:
        return self.codes & _MODEL_MASK

    def _sum_kind(self, kind: Kind, n: int, *, second: bool = False) -> NDArray[np.int64]:
        keep = self.kinds == kind
        index = (self._second() if second else self._first())[keep]
        # sums of float64 are exact below 2**53, and bincount is ten times as quick as np.add.at
        return np.bincount(index, self.counts[keep], n).astype(np.int64)


def pack_code(kind: Kind, k: int, best: bool, i: int, j: int) -> int:
    """Pack a key into its code."""
    return int(kind) << KIND_SHIFT | k << K_SHIFT | int(best) << BEST_SHIFT | i << MODEL_BITS | j


def count_ballots_naive(ballots: Ballots) -> PairCounts:
    """Count ballots in plain Python: the reference for `CountAccumulator`, and fine for a few votes."""
    totals: dict[int, int] = {}

    def bump(code: int) -> None:
        totals[code] = totals.get(code, 0) + 1

    for b in range(len(ballots)):
        span = slice(int(ballots.offsets[b]), int(ballots.offsets[b + 1]))
        models, groups = ballots.models[span].tolist(), ballots.groups[span].tolist()
        mode = Mode(int(ballots.modes[b]))
        if mode in (Mode.ALL_BAD, Mode.SKIP):
            kind = Kind.ALL_BAD if mode is Mode.ALL_BAD else Kind.SKIP
            for model in models:
                bump(pack_code(kind, 0, False, model, 0))
            continue
        for code in _ballot_codes(models, groups, mode is Mode.BEST):
            bump(code)
    return PairCounts.from_entries(np.array(list(totals.keys()), np.int64), np.array(list(totals.values()), np.int64))


def _ballot_codes(models: list[int], groups: list[int], best: bool) -> Iterable[int]:
    pairs: list[tuple[Kind, int, int]] = []
    for a, (model_a, group_a) in enumerate(zip(models, groups, strict=True)):
        for model_b, group_b in zip(models[a + 1 :], groups[a + 1 :], strict=True):
            if group_a < group_b:
                pairs.append((Kind.WIN, model_a, model_b))
            elif group_b < group_a:
                pairs.append((Kind.WIN, model_b, model_a))
            elif group_a != UNRANKED:
                pairs.append((Kind.TIE, min(model_a, model_b), max(model_a, model_b)))
    k = len({m for _, i, j in pairs for m in (i, j)})
    for kind, i, j in pairs:
        yield pack_code(kind, k, best, i, j)
    for model in models if k else ():
        yield pack_code(Kind.SHOWN, k, best, model, 0)
