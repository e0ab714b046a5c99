"""Freshness: how long accepted votes take from their append to a published board.

Nothing is done vote by vote. Of the rows of a commit some are looked at, evenly spaced, each standing for its
neighbours; they wait until a board of their arena at that commit or a later one is published. Their ages then go into
two histograms: one of fixed bounds over the life of the process, for Prometheus, and a fine one over the last minute,
for percentiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.status import FRESHNESS_BOUNDS_MS, RECENT_MS, FreshnessStatus
from pipeline.operators.archive_rows import repeated_column

_LOOKED_AT: Final = 256
"""Rows looked at in a batch: of 40,000 votes read in one go every 157th."""
_MOST_WAITING: Final = 100_000
"""Looks that wait for a board. An arena that cannot be rated must not fill the memory: its oldest are forgotten."""

_RATIO: Final = 1.05
_FINE: Final = 480
"""Fine buckets, each 5 % wider than the one before: from 1 ms to 171 days."""
_SLOT_MS: Final = 5_000
_BOUNDS: Final = np.array(FRESHNESS_BOUNDS_MS)


class _Waiting(NamedTuple):
    """Looks of one arena and commit: append times (ms), and the votes that each stands for."""

    commit: int
    appended_at: NDArray[np.int64]
    weights: NDArray[np.int64]


class FreshnessMeter:
    """Measures one owner's freshness. Not thread-safe."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._n_waiting = 0
        self._total = 0
        self._sum_ms = 0
        self._counts = np.zeros(len(_BOUNDS) + 1, np.int64)
        self._slots: deque[tuple[int, NDArray[np.int64]]] = deque()

    def note_commit(self, commit: int, rows: Sequence[pa.RecordBatch]) -> None:
        """Note what commit `commit` archived (`ARCHIVE_SCHEMA`)."""
        for batch in rows:
            step = max(1, batch.num_rows // _LOOKED_AT)
            arena = repeated_column(batch["arena"])
            codes, appended_at = arena.codes[::step], batch["appended_at"].to_numpy()[::step]
            weights = np.full(len(codes), step, np.int64)
            weights[-1:] = batch.num_rows - step * (len(codes) - 1)
            for code in np.unique(codes[codes >= 0]).tolist():  # a control event has no arena
                mine = codes == code
                self._wait(arena.words[code], _Waiting(commit, appended_at[mine], weights[mine]))

    def _wait(self, arena: str, waiting: _Waiting) -> None:
        self._waiting.setdefault(arena, deque()).append(waiting)
        self._n_waiting += len(waiting.weights)
        while self._n_waiting > _MOST_WAITING:
            longest = max(self._waiting.values(), key=len)
            self._n_waiting -= len(longest.popleft().weights)

    def note_published(self, arena: str, commit: int, at: int) -> None:
        """Note that a board of `arena` as of `commit` could be read from `at` (ms) on."""
        waiting = self._waiting.get(arena, deque())
        while waiting and waiting[0].commit <= commit:
            _, appended_at, weights = waiting.popleft()
            self._n_waiting -= len(weights)
            self._count(np.maximum(at - appended_at, 0), weights, at)

    def _count(self, ages: NDArray[np.int64], weights: NDArray[np.int64], at: int) -> None:
        self._total += int(weights.sum())
        self._sum_ms += int((ages * weights).sum())
        places = np.searchsorted(_BOUNDS, ages)  # at most a bound belongs to it
        self._counts += np.bincount(places, weights, len(_BOUNDS) + 1).astype(np.int64)
        slot = at - at % _SLOT_MS
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, np.zeros(_FINE, np.int64)))
        fine = np.ceil(np.log(np.maximum(ages, 1)) / np.log(_RATIO)).astype(np.int64).clip(0, _FINE - 1)
        self._slots[-1][1][:] += np.bincount(fine, weights, _FINE).astype(np.int64)

    def freeze(self, now: int) -> FreshnessStatus:
        """Return the figures at `now` (ms)."""
        while self._slots and not now - RECENT_MS < self._slots[0][0] + _SLOT_MS <= now + RECENT_MS:
            self._slots.popleft()
        recent = sum((counts for _, counts in self._slots), start=np.zeros(_FINE, np.int64))
        return FreshnessStatus(
            votes=int(recent.sum()),
            p50_ms=_find_quantile(recent, 0.5),
            p99_ms=_find_quantile(recent, 0.99),
            total=self._total,
            sum_ms=self._sum_ms,
            buckets=tuple(np.cumsum(self._counts)[:-1].tolist()),
        )


def _find_quantile(counts: NDArray[np.int64], share: float) -> int | None:
    """Return the upper end of the bucket in which the quantile lies, ms; None if nothing was counted."""
    total = int(counts.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(counts), share * total))
    return round(_RATIO**place)
