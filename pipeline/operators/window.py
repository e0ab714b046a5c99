"""The de-duplication window: which votes, and votes on which matchups, were accepted lately.

The window holds accepted votes as two 128-bit hashes (of the vote_id; of arena and matchup_id) and the vote's time.
When it holds more than `capacity` votes, the oldest tenth by *event time* goes and the `too_old` horizon moves up to
the oldest time that stays: a vote that was forgotten is refused as too old, so it can never count twice. When that
happens depends on the sequence of accepted votes alone, never on how they were cut into batches, and so a replay of
the raw log comes to the same verdicts.

Votes that share the newest time of the window cannot be forgotten without refusing what comes next; if they fill
the window, it grows (`limit`, part of the stored state).

A vote from before the horizon that is accepted all the same (`accept_old`) is remembered as if it were as old as the
horizon: so no entry lies before the horizon, and entries, horizon and limit are the whole state.

Memory: 40 bytes a vote and 2 x 8 bytes / load in one open-addressing table (linear probing, deletion by backward
shift). A table slot holds 32 bits of the hash beside the entry's number, so a probe rarely touches an entry in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.reasons import Reason
from pipeline.contracts.store import WINDOW_DTYPE

DEFAULT_CAPACITY: Final = 20_000_000

_KEEP_SHARE = 0.9
_GROWTH = 1.1
_LOAD = 0.6  # of the table at its fullest
_FREE = np.iinfo(np.int64).min
_TOO_OLD = Reason.TOO_OLD.code
_DUPLICATE = Reason.DUPLICATE.code
_BAD_TOKEN = Reason.BAD_TOKEN.code
_ALREADY_VOTED = Reason.ALREADY_VOTED.code
_TAG_MASK = np.uint64(0xFFFFFFFF00000000)
_ENTRY_MASK = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True, inline="always")
def _slot_value(high: np.uint64, entry: int, which: int) -> np.uint64:
    # An entry number takes 31 bits with its kind; + 1 keeps 0 free for "empty".
    return (high & _TAG_MASK) | np.uint64(2 * entry + which + 1)


@njit(cache=True, nogil=True, inline="always")
def _hash_of(entries: NDArray[np.void], value: np.uint64) -> tuple[np.uint64, np.uint64]:
    number = np.int64(value & _ENTRY_MASK) - 1
    entry = entries[number >> 1]
    if number & 1:
        return entry.matchup_hi, entry.matchup_lo
    return entry.vote_hi, entry.vote_lo


@njit(cache=True, nogil=True)
def _find(
    table: NDArray[np.uint64], entries: NDArray[np.void], high: np.uint64, low: np.uint64, which: int
) -> np.int64:
    """Return the slot of a key, or -1 - slot of the place where it belongs."""
    mask = np.uint64(len(table) - 1)
    slot = low & mask
    while table[slot] != 0:
        value = table[slot]
        if (value & _TAG_MASK) == (high & _TAG_MASK) and ((np.int64(value & _ENTRY_MASK) - 1) & 1) == which:
            other_high, other_low = _hash_of(entries, value)
            if other_high == high and other_low == low:
                return np.int64(slot)
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1) - np.int64(slot)


@njit(cache=True, nogil=True)
def _delete(table: NDArray[np.uint64], entries: NDArray[np.void], slot: np.int64) -> None:
    mask = len(table) - 1
    hole = slot
    at = slot
    while True:
        at = (at + 1) & mask
        if table[at] == 0:
            break
        _, low = _hash_of(entries, table[at])
        home = np.int64(low & np.uint64(mask))
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = 0


@njit(cache=True, nogil=True)
def _insert_entries(table: NDArray[np.uint64], entries: NDArray[np.void], first: int, last: int) -> None:
    for number in range(first, last):
        entry = entries[number]
        if entry.time == _FREE:
            continue
        slot = _find(table, entries, entry.vote_hi, entry.vote_lo, 0)
        if slot < 0:
            table[-1 - slot] = _slot_value(entry.vote_hi, number, 0)
        slot = _find(table, entries, entry.matchup_hi, entry.matchup_lo, 1)
        if slot < 0:
            table[-1 - slot] = _slot_value(entry.matchup_hi, number, 1)


@njit(cache=True, nogil=True)
def _evict(
    table: NDArray[np.uint64], entries: NDArray[np.void], used: int, horizon: int, free: NDArray[np.int64]
) -> int:
    freed = 0
    for number in range(used):
        entry = entries[number]
        if entry.time == _FREE or entry.time >= horizon:
            continue
        slot = _find(table, entries, entry.vote_hi, entry.vote_lo, 0)
        if slot >= 0 and (np.int64(table[slot] & _ENTRY_MASK) - 1) >> 1 == number:
            _delete(table, entries, slot)
        slot = _find(table, entries, entry.matchup_hi, entry.matchup_lo, 1)
        if slot >= 0 and (np.int64(table[slot] & _ENTRY_MASK) - 1) >> 1 == number:
            _delete(table, entries, slot)
        entries[number].time = _FREE
        free[freed] = number
        freed += 1
    return freed


@njit(cache=True, nogil=True)
def _admit(
    table: NDArray[np.uint64],
    entries: NDArray[np.void],
    used: int,
    free: NDArray[np.int64],
    n_free: int,
    incoming: NDArray[np.void],
    bad_token: NDArray[np.bool_],
    first: int,
    horizon: int,
    oldest: int,
    room: int,
    verdicts: NDArray[np.int8],
) -> tuple[int, int, int, int]:
    """Judge rows from `first` on; stop after the row that takes the last of `room`.

    Votes before `horizon` are too old; accepted ones before `oldest` are taken in as if they were of that time.
    """
    admitted = 0
    for row in range(first, len(incoming)):
        if verdicts[row] != 0:
            continue
        vote = incoming[row]
        if vote.time < horizon:
            verdicts[row] = _TOO_OLD
            continue
        vote_slot = _find(table, entries, vote.vote_hi, vote.vote_lo, 0)
        if vote_slot >= 0:
            verdicts[row] = _DUPLICATE
            continue
        if bad_token[row]:
            verdicts[row] = _BAD_TOKEN
            continue
        matchup_slot = _find(table, entries, vote.matchup_hi, vote.matchup_lo, 1)
        if matchup_slot >= 0:
            verdicts[row] = _ALREADY_VOTED
            continue
        vote.time = max(vote.time, oldest)
        if n_free > 0:
            n_free -= 1
            number = free[n_free]
        else:
            number = used
            used += 1
        entries[number] = vote
        table[-1 - vote_slot] = _slot_value(vote.vote_hi, number, 0)
        if matchup_slot == vote_slot:  # both belonged into the same free slot, and the vote has taken it
            matchup_slot = _find(table, entries, vote.matchup_hi, vote.matchup_lo, 1)
        table[-1 - matchup_slot] = _slot_value(vote.matchup_hi, number, 1)
        admitted += 1
        if admitted == room:
            return row + 1, used, n_free, admitted
    return len(incoming), used, n_free, admitted


class DedupWindow:
    """The window of one owner. Not thread-safe.

    Parameters
    ----------
    capacity : int
        Votes it holds before the oldest tenth goes.
    horizon : int
        Votes with an earlier time are too old.
    limit : int or None
        Votes at which the next eviction is due; None = `capacity`.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY, *, horizon: int = 0, limit: int | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"the window needs a capacity of at least 1 vote, not {capacity}")
        self.capacity = capacity
        self.horizon = horizon
        self.limit = max(capacity, limit or 0)
        self._entries = np.zeros(1024, WINDOW_DTYPE)
        self._table = np.zeros(4096, np.uint64)
        self._used = 0
        self._free = np.zeros(1, np.int64)
        self._n_free = 0

    def __len__(self) -> int:
        return self._used - self._n_free

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._entries.nbytes + self._table.nbytes + self._free.nbytes

    def load(self, chunks: Iterable[NDArray[np.void]]) -> None:
        """Add stored entries (`WINDOW_DTYPE`); those before the horizon are left out."""
        for chunk in chunks:
            kept = chunk[chunk["time"] >= self.horizon]
            self._reserve(len(kept) + self._n_free)
            first = self._used
            self._entries[first : first + len(kept)] = kept
            self._used += len(kept)
            _insert_entries(self._table, self._entries, first, self._used)
        self.limit = max(self.limit, len(self))

    def admit(
        self,
        incoming: NDArray[np.void],
        bad_token: NDArray[np.bool_],
        verdicts: NDArray[np.int8],
        *,
        accept_old: bool = False,
    ) -> None:
        """Judge votes in order and take in those that are accepted.

        Parameters
        ----------
        incoming : `WINDOW_DTYPE` (n,), times changed in place
            Those that are accepted become what is to be stored of the window (`accept_old` changes times).
        bad_token : bool (n,)
            Whether the vote lacks the token that its arena requires.
        verdicts : int8 (n,), changed in place
            Rows that are not 0 are left alone; the others get 0 (accepted) or the code of TOO_OLD, DUPLICATE,
            BAD_TOKEN or ALREADY_VOTED.
        accept_old : bool
            Judge nothing by its age.
        """
        row = 0
        while row < len(incoming):
            self._reserve(len(incoming) - row)
            horizon = _FREE if accept_old else self.horizon
            room = self.limit + 1 - len(self)
            row, self._used, self._n_free, admitted = _admit(
                self._table,
                self._entries,
                self._used,
                self._free,
                self._n_free,
                incoming,
                bad_token,
                row,
                horizon,
                self.horizon,
                room,
                verdicts,
            )
            if admitted == room:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        times = self._entries["time"][: self._used]
        times = times[times != _FREE]
        surplus = len(times) - max(1, int(self.capacity * _KEEP_SHARE))
        horizon = int(np.partition(times, surplus)[surplus])
        if horizon == times.min():  # one time fills the surplus: all of it goes, unless it is the newest
            later = times[times > horizon]
            horizon = int(later.min()) if len(later) else horizon
        self.horizon = max(self.horizon, horizon)
        free = np.empty(self._used, np.int64)
        free[: self._n_free] = self._free[: self._n_free]
        freed = _evict(self._table, self._entries, self._used, self.horizon, free[self._n_free :])
        self._n_free += freed
        self._free = free[: max(self._n_free, 1)].copy()
        self.limit = max(self.capacity, int(len(self) * _GROWTH)) if len(self) > self.capacity else self.capacity

    def _reserve(self, more: int) -> None:
        needed = self._used + max(more - self._n_free, 0)
        if needed > len(self._entries):
            grown = np.zeros(max(needed, len(self._entries) * 3 // 2), WINDOW_DTYPE)
            grown[: self._used] = self._entries[: self._used]
            self._entries = grown
        slots = 1 << int(2 * (len(self) + more) / _LOAD).bit_length()  # two keys an entry
        if slots > len(self._table):
            self._table = np.zeros(slots, np.uint64)
            _insert_entries(self._table, self._entries, 0, self._used)
