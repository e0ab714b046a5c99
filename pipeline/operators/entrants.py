"""Entrants: which models of which arenas some votes name, each pair found once, in the order of first occurrence.

What has to be asked of the registry is asked once an entrant instead of once an element, and that order is the order
in which an open registry learns of models: it does not depend on how votes are cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import Ballots
from pipeline.operators.archive_rows import Repeated
from pipeline.operators.registry import LiveRegistry

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Entrants:
    """The distinct (arena, model) pairs of a batch.

    Attributes
    ----------
    pairs : list of (arena id, model id)
        In the order of first occurrence.
    numbers : int32 (elements,)
        Place in `pairs` of each element of the votes' models.
    """

    pairs: list[tuple[str, str]]
    numbers: NDArray[np.int32]

    def index_models(self, registry: LiveRegistry) -> NDArray[np.int32]:
        """Return the index in the registry of each pair, -1 for those that it does not know; int32 (pairs,)."""
        known = registry.arenas
        indices = ((known[arena].index.get(model, -1) if arena in known else -1) for arena, model in self.pairs)
        return np.fromiter(indices, np.int32, len(self.pairs))


def find_entrants(arena: Repeated, offsets: NDArray[np.int64], models: Repeated) -> Entrants:
    """Find the entrants of n votes: their arenas, and their models, bounded by `offsets` int64 (n + 1,)."""
    most = min(len(models.codes), len(arena.words) * len(models.words))
    table = np.full(1 << (2 * most + 1).bit_length(), -1, np.int32)
    found = np.empty(most, np.int64)
    numbers = np.empty(len(models.codes), np.int32)
    count = _number_pairs(arena.codes, offsets, models.codes, table, found, numbers)
    pairs = [(arena.words[pair >> 32], models.words[pair & 0xFFFFFFFF]) for pair in found[:count].tolist()]
    return Entrants(pairs, numbers)


@njit(cache=True, nogil=True)
def _number_pairs(
    arenas: NDArray[np.int32],
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    table: NDArray[np.int32],
    found: NDArray[np.int64],
    numbers: NDArray[np.int32],
) -> int:
    """Fill `found` with the distinct pairs (arena code << 32 | model code) and `numbers`; return how many there are."""
    count = 0
    mask = np.uint64(len(table) - 1)
    for row in range(len(arenas)):
        high = np.int64(arenas[row]) << 32
        for element in range(offsets[row], offsets[row + 1]):
            pair = high | np.int64(models[element])
            slot = (np.uint64(pair) * _MIX >> np.uint64(32)) & mask
            while table[slot] >= 0 and found[table[slot]] != pair:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] < 0:
                table[slot] = count
                found[count] = pair
                count += 1
            numbers[element] = table[slot]
    return count


def rows_by_word(column: Repeated) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Iterate over the words that occur in a column without nulls, with the rows of each in their order."""
    order = np.argsort(column.codes, kind="stable")
    bounds = np.searchsorted(column.codes[order], np.arange(len(column.words) + 1))
    for code in np.flatnonzero(np.diff(bounds)).tolist():
        yield column.words[code], order[bounds[code] : bounds[code + 1]]


def take_ballots(ballots: Ballots, rows: NDArray[np.int64]) -> Ballots:
    """Return the ballots `rows`, in that order."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(ballots.offsets[rows + 1] - ballots.offsets[rows], out=offsets[1:])
    models, groups = np.empty(int(offsets[-1]), np.int32), np.empty(int(offsets[-1]), np.int8)
    _take_elements(ballots.offsets, ballots.models, ballots.groups, rows, models, groups)
    return Ballots(offsets, models, groups, ballots.modes[rows])


@njit(cache=True, nogil=True)
def _take_elements(
    offsets: NDArray[np.int64],
    models: NDArray[np.int32],
    groups: NDArray[np.int8],
    rows: NDArray[np.int64],
    to_models: NDArray[np.int32],
    to_groups: NDArray[np.int8],
) -> None:
    place = 0
    for row in rows:
        for element in range(offsets[row], offsets[row + 1]):
            to_models[place], to_groups[place] = models[element], groups[element]
            place += 1
