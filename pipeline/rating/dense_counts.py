"""Pair counts of an arena with few models: dense arrays, one block for each ballot size and mode that occurs.

A bump is one addition at a computed place, three times quicker than a look-up in a hash table. With room for
m = 2^bits models, the slots are: `all_bad` and `skip` of each model, then for each (k, best) that has occurred
a block of wins [i, j], ties [i, j] and appearances [i].

`pending` is what came since the last `take_delta`, `total` what came before; a slot that changes enters the
dirty list once, so that a delta costs what changed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import UNRANKED, Ballots, Mode
from pipeline.rating.pair_counts import BEST_SHIFT, KIND_SHIFT, MODEL_BITS, Kind, PairCounts

# Up to here a block, 1 MB, is smaller and three times quicker than a hash table of as many pairs.
DENSE_MODELS: Final = 256
_FIRST_BITS: Final = 4
# (k << 1 | best) with k below 16
_STRATA: Final = 32
_MODEL_MASK: Final = (1 << MODEL_BITS) - 1
_MODE_BEST: Final = int(Mode.BEST)
_MODE_ALL_BAD: Final = int(Mode.ALL_BAD)
_MODE_SKIP: Final = int(Mode.SKIP)
_KIND_SHOWN: Final = int(Kind.SHOWN)
_KIND_ALL_BAD: Final = int(Kind.ALL_BAD)


class DenseCounts:
    """Dense counts of up to 2^bits models; see `CountAccumulator` for what its methods promise.

    Parameters
    ----------
    n_models : int
        Number of models, up to `DENSE_MODELS`; there is room for the next power of two, and at least 16.
    """

    def __init__(self, n_models: int) -> None:
        self._bits = max(_FIRST_BITS, (n_models - 1).bit_length())
        room = 2 << self._bits
        # first slot of each stratum's block, -1 where none has occurred
        self._blocks = np.full(_STRATA, -1, np.int64)
        self._pending = np.zeros(room, np.int64)
        self._total = np.zeros(room, np.int64)
        self._touched = np.zeros(room, np.bool_)
        self._dirty = np.empty(room, np.int64)
        self._n_dirty = np.zeros(1, np.int64)

    @property
    def capacity(self) -> int:
        """Number of models that there is room for."""
        return 1 << self._bits

    @property
    def n_bytes(self) -> int:
        """Memory that the arrays hold, in bytes."""
        return self._pending.nbytes + self._total.nbytes + self._touched.nbytes + self._dirty.nbytes

    def add_ballots(self, ballots: Ballots) -> None:
        """Add ballots whose model indices are known to be valid."""
        done = 0
        while True:
            done = int(
                _add_ballots(
                    self._pending,
                    self._touched,
                    self._dirty,
                    self._n_dirty,
                    self._blocks,
                    self._bits,
                    ballots.offsets,
                    ballots.models,
                    ballots.groups,
                    ballots.modes,
                    done,
                )
            )
            if done == len(ballots):
                return
            k = int(ballots.offsets[done + 1] - ballots.offsets[done])
            self._add_block(k << 1 | int(ballots.modes[done] == Mode.BEST))

    def add_counts(self, counts: PairCounts, sign: int) -> None:
        """Add `counts` times `sign`."""
        strata = counts.codes[counts.kinds <= Kind.SHOWN] >> BEST_SHIFT & (_STRATA - 1)
        for stratum in np.unique(strata).tolist():
            if self._blocks[stratum] < 0:
                self._add_block(stratum)
        slots = self._find_slots(counts.codes)
        self._pending[slots] += sign * counts.counts
        new = slots[~self._touched[slots]]
        self._touched[new] = True
        begin = int(self._n_dirty[0])
        self._dirty[begin : begin + len(new)] = new
        self._n_dirty[0] += len(new)

    def freeze(self) -> PairCounts:
        """Return all counts. Cost: the size of the arrays."""
        counts = self._total + self._pending
        slots = np.flatnonzero(counts)
        return PairCounts.from_entries(self._find_codes(slots), counts[slots])

    def take_delta(self) -> PairCounts:
        """Return what is pending and make it part of the total. Cost: the entries that changed."""
        slots = self._dirty[: int(self._n_dirty[0])].copy()
        counts = self._pending[slots]
        self._total[slots] += counts
        self._pending[slots] = 0
        self._touched[slots] = False
        self._n_dirty[0] = 0
        return PairCounts.from_entries(self._find_codes(slots), counts)

    def _add_block(self, stratum: int) -> None:
        self._blocks[stratum] = len(self._pending)
        room = np.zeros(_block_size(self._bits), np.int64)
        self._pending = np.concatenate([self._pending, room])
        self._total = np.concatenate([self._total, room])
        self._touched = np.concatenate([self._touched, room.astype(np.bool_)])
        self._dirty = np.concatenate([self._dirty, room])

    def _find_slots(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot of each code, int64 (m,); the blocks are there."""
        bits, kind = self._bits, codes >> KIND_SHIFT
        block = self._blocks[codes >> BEST_SHIFT & (_STRATA - 1)]
        i, j = codes >> MODEL_BITS & _MODEL_MASK, codes & _MODEL_MASK
        pair = block + (kind << 2 * bits) + (i << bits) + j
        single = np.where(kind == _KIND_SHOWN, block + (2 << 2 * bits), (kind - _KIND_ALL_BAD) << bits) + i
        slots: NDArray[np.int64] = np.where(kind < _KIND_SHOWN, pair, single)
        return slots

    def _find_codes(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the code of each slot, int64 (m,)."""
        bits, first, size = self._bits, 2 << self._bits, _block_size(self._bits)
        # in the order of the blocks; one more, so that slots before the first block find something
        strata = np.zeros((len(self._pending) - first) // size + 1, np.int64)
        known = np.flatnonzero(self._blocks >= 0)
        strata[(self._blocks[known] - first) // size] = known
        inside = slots >= first
        block, place = np.divmod(np.where(inside, slots - first, 0), size)
        kind = np.where(inside, place >> 2 * bits, _KIND_ALL_BAD + (slots >> bits))
        pair = inside & (kind < _KIND_SHOWN)
        mask = (1 << bits) - 1
        low = np.where(inside, place, slots) & mask
        i = np.where(pair, place >> bits & mask, low)
        j = np.where(pair, low, 0)
        stratum = np.where(inside, strata[block], 0)
        codes: NDArray[np.int64] = kind << KIND_SHIFT | stratum << BEST_SHIFT | i << MODEL_BITS | j
        return codes


def _block_size(bits: int) -> int:
    """Number of slots of a block: wins, ties, appearances."""
    return (2 << 2 * bits) + (1 << bits)


@njit(nogil=True, cache=True)
def _add_ballots(  # noqa: PLR0912 (numba counts references of arrays handed to helpers: five times slower)
    pending: NDArray[np.int64],
    touched: NDArray[np.bool_],
    dirty: NDArray[np.int64],
    n_dirty: NDArray[np.int64],
    blocks: NDArray[np.int64],
    bits: int,
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    modes: NDArray[np.int8],
    begin: int,
) -> int:
    """Add ballots from `begin` on; return the first one whose block is missing, or their number."""
    changed = n_dirty[0]
    b = begin
    while b < len(modes):
        low, high = offsets[b], offsets[b + 1]
        mode = modes[b]
        if mode in (_MODE_ALL_BAD, _MODE_SKIP):
            first = 0 if mode == _MODE_ALL_BAD else 1 << bits
            shown = True
        else:
            block = blocks[(high - low) << 1 | np.int64(mode == _MODE_BEST)]
            if block < 0:
                break
            shown = False
            first = block + (2 << 2 * bits)
            for a in range(low, high):
                model, group = np.int64(models[a]), groups[a]
                for c in range(a + 1, high):
                    other, other_group = np.int64(models[c]), groups[c]
                    if group != other_group:
                        # a select, not a branch: the order of a vote is not predictable
                        winner = model if group < other_group else other
                        slot = block + (winner << bits) + (model + other - winner)
                    elif group != UNRANKED:
                        slot = block + (1 << 2 * bits) + (min(model, other) << bits) + max(model, other)
                    else:
                        continue
                    shown = True
                    pending[slot] += 1
                    if not touched[slot]:
                        touched[slot] = True
                        dirty[changed] = slot
                        changed += 1
        if shown:
            for a in range(low, high):
                slot = first + models[a]
                pending[slot] += 1
                if not touched[slot]:
                    touched[slot] = True
                    dirty[changed] = slot
                    changed += 1
        b += 1
    n_dirty[0] = changed
    return b
