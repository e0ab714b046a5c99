"""Pair counts of an arena with many models: one open-addressing hash table of packed codes.

One row of the table is (code, pending, total, touched), 32 bytes, so that a bump costs one cache line.
`pending` is what came since the last `take_delta`, `total` what came before. A row that changes enters the
dirty list once, so that a delta costs what changed and not what exists. Rows are never removed: a count that
falls to zero keeps its row and is left out of `freeze`.

Only pairs that occur have a row (dense int64 counts of 2,000 models for 7 ballot sizes would take 448 MB).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import K_MAX, UNRANKED, Ballots, Mode
from pipeline.rating.pair_counts import BEST_SHIFT, K_SHIFT, KIND_SHIFT, MODEL_BITS, Kind, PairCounts

_EMPTY: Final = -1
_CODE, _PENDING, _TOTAL, _TOUCHED = 0, 1, 2, 3
_FIRST_BITS: Final = 16
# Linear probing stays below 1.5 probes a look-up up to this load; at 0.7 it is 2.2.
_MAX_LOAD: Final = 0.5
# A ballot of K_MAX models adds at most this many codes.
_BALLOT_CODES: Final = K_MAX * (K_MAX - 1) // 2 + K_MAX
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_TIE: Final = int(Kind.TIE) << KIND_SHIFT
_SHOWN: Final = int(Kind.SHOWN) << KIND_SHIFT
_ALL_BAD: Final = int(Kind.ALL_BAD) << KIND_SHIFT
_SKIP: Final = int(Kind.SKIP) << KIND_SHIFT
_MODE_BEST: Final = int(Mode.BEST)
_MODE_ALL_BAD: Final = int(Mode.ALL_BAD)
_MODE_SKIP: Final = int(Mode.SKIP)


class HashedCounts:
    """A hash table of counts; see `CountAccumulator` for what its methods promise."""

    def __init__(self) -> None:
        self._bits = _FIRST_BITS
        self._table = _new_table(_FIRST_BITS)
        self._dirty = np.empty(1 << _FIRST_BITS, np.int64)
        # used rows, dirty rows
        self._sizes = np.zeros(2, np.int64)

    @property
    def n_bytes(self) -> int:
        """Memory that the table holds, in bytes."""
        return self._table.nbytes + self._dirty.nbytes

    def add_ballots(self, ballots: Ballots) -> None:
        """Add ballots whose model indices are known to be valid."""
        done = 0
        while True:
            done = int(
                _add_ballots(
                    self._table,
                    self._dirty,
                    self._sizes,
                    self._bits,
                    self._limit,
                    ballots.offsets,
                    ballots.models,
                    ballots.groups,
                    ballots.modes,
                    done,
                )
            )
            if done == len(ballots):
                return
            self._double()

    def add_counts(self, counts: PairCounts, sign: int) -> None:
        """Add `counts` times `sign`."""
        while int(self._sizes[0]) + len(counts) > self._limit:
            self._double()
        _add_entries(self._table, self._dirty, self._sizes, self._bits, counts.codes, counts.counts, sign)

    def freeze(self) -> PairCounts:
        """Return all counts. Cost: the size of the table."""
        return PairCounts.from_entries(*_collect_all(self._table, int(self._sizes[0])))

    def take_delta(self) -> PairCounts:
        """Return what is pending and make it part of the total. Cost: the entries that changed."""
        return PairCounts.from_entries(*_collect_dirty(self._table, self._dirty, self._sizes))

    @property
    def _limit(self) -> int:
        return int((1 << self._bits) * _MAX_LOAD)

    def _double(self) -> None:
        bits = self._bits + 1
        table, dirty, sizes = _new_table(bits), np.empty(1 << bits, np.int64), np.zeros(2, np.int64)
        _rehash(self._table, table, dirty, sizes, bits)
        self._table, self._dirty, self._sizes, self._bits = table, dirty, sizes, bits


def _new_table(bits: int) -> NDArray[np.int64]:
    table = np.zeros((1 << bits, 4), np.int64)
    table[:, _CODE] = _EMPTY
    return table


@njit(nogil=True, cache=True)
def _first_row(code: int, bits: int) -> np.int64:
    """Row at which the search for `code` begins."""
    return np.int64((np.uint64(code) * _GOLDEN) >> np.uint64(64 - bits))


# The kernels below repeat four lines of probing: numba counts references of arrays that are handed to a helper,
# inlined or not, and that made a bump five times slower.


@njit(nogil=True, cache=True)
def _add_ballots(  # noqa: PLR0912 (see the comment above)
    table: NDArray[np.int64],
    dirty: NDArray[np.int64],
    sizes: NDArray[np.int64],
    bits: int,
    limit: int,
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    modes: NDArray[np.int8],
    begin: int,
) -> int:
    """Add ballots from `begin` on; return the first one for which the table may be too full."""
    codes = np.empty(_BALLOT_CODES, np.int64)
    mask = (1 << bits) - 1
    used, changed = sizes[0], sizes[1]
    b = begin
    while b < len(modes) and used + _BALLOT_CODES <= limit:
        low, high = offsets[b], offsets[b + 1]
        mode = modes[b]
        b += 1
        n_codes = 0
        if mode in (_MODE_ALL_BAD, _MODE_SKIP):
            kind = _ALL_BAD if mode == _MODE_ALL_BAD else _SKIP
            for a in range(low, high):
                codes[n_codes] = kind | np.int64(models[a]) << MODEL_BITS
                n_codes += 1
        else:
            stratum = (high - low) << K_SHIFT | np.int64(mode == _MODE_BEST) << BEST_SHIFT
            for a in range(low, high):
                model, group = np.int64(models[a]), groups[a]
                for c in range(a + 1, high):
                    other, other_group = np.int64(models[c]), groups[c]
                    if group != other_group:
                        # a select, not a branch: the order of a vote is not predictable
                        winner = model if group < other_group else other
                        codes[n_codes] = stratum | winner << MODEL_BITS | (model + other - winner)
                        n_codes += 1
                    elif group != UNRANKED:
                        codes[n_codes] = _TIE | stratum | min(model, other) << MODEL_BITS | max(model, other)
                        n_codes += 1
            if n_codes > 0:
                for a in range(low, high):
                    codes[n_codes] = _SHOWN | stratum | np.int64(models[a]) << MODEL_BITS
                    n_codes += 1
        for e in range(n_codes):
            code = codes[e]
            row = _first_row(code, bits)
            while table[row, _CODE] != code and table[row, _CODE] != _EMPTY:
                row = (row + 1) & mask
            if table[row, _TOUCHED] == 0:
                used += table[row, _CODE] == _EMPTY
                table[row, _CODE] = code
                table[row, _TOUCHED] = 1
                dirty[changed] = row
                changed += 1
            table[row, _PENDING] += 1
    sizes[0], sizes[1] = used, changed
    return b


@njit(nogil=True, cache=True)
def _add_entries(
    table: NDArray[np.int64],
    dirty: NDArray[np.int64],
    sizes: NDArray[np.int64],
    bits: int,
    codes: NDArray[np.int64],
    counts: NDArray[np.int64],
    sign: int,
) -> None:
    mask = (1 << bits) - 1
    for e in range(len(codes)):
        code = codes[e]
        row = _first_row(code, bits)
        while table[row, _CODE] != code and table[row, _CODE] != _EMPTY:
            row = (row + 1) & mask
        if table[row, _TOUCHED] == 0:
            sizes[0] += table[row, _CODE] == _EMPTY
            table[row, _CODE] = code
            table[row, _TOUCHED] = 1
            dirty[sizes[1]] = row
            sizes[1] += 1
        table[row, _PENDING] += sign * counts[e]


@njit(nogil=True, cache=True)
def _rehash(
    old: NDArray[np.int64], table: NDArray[np.int64], dirty: NDArray[np.int64], sizes: NDArray[np.int64], bits: int
) -> None:
    mask = (1 << bits) - 1
    for source in range(len(old)):
        code = old[source, _CODE]
        if code == _EMPTY:
            continue
        row = _first_row(code, bits)
        while table[row, _CODE] != _EMPTY:
            row = (row + 1) & mask
        for column in range(4):
            table[row, column] = old[source, column]
        sizes[0] += 1
        if table[row, _TOUCHED]:
            dirty[sizes[1]] = row
            sizes[1] += 1


@njit(nogil=True, cache=True)
def _collect_all(table: NDArray[np.int64], used: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    codes, counts = np.empty(used, np.int64), np.empty(used, np.int64)
    size = 0
    for row in range(len(table)):
        if table[row, _CODE] != _EMPTY:
            codes[size] = table[row, _CODE]
            counts[size] = table[row, _TOTAL] + table[row, _PENDING]
            size += 1
    return codes, counts


@njit(nogil=True, cache=True)
def _collect_dirty(
    table: NDArray[np.int64], dirty: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    codes, counts = np.empty(sizes[1], np.int64), np.empty(sizes[1], np.int64)
    for d in range(sizes[1]):
        row = dirty[d]
        codes[d] = table[row, _CODE]
        counts[d] = table[row, _PENDING]
        table[row, _TOTAL] += table[row, _PENDING]
        table[row, _PENDING] = 0
        table[row, _TOUCHED] = 0
    sizes[1] = 0
    return codes, counts
