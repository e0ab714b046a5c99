"""The store as the operators see it: load, stage, commit, publish. `pipeline.store` implements it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.snapshot import Publication
from pipeline.contracts.status import Status
from pipeline.contracts.vote import RANKS_TYPE

_REPEATED = pa.dictionary(pa.int32(), pa.string())

ARCHIVE_SCHEMA: Final = pa.schema(
    [
        ("sequence", pa.int64()),
        ("commit", pa.int64()),
        ("topic", _REPEATED),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("index", pa.int32()),
        ("appended_at", pa.int64()),
        ("vote_id", pa.string()),
        ("matchup_id", pa.string()),
        ("arena", _REPEATED),
        ("time", pa.int64()),
        ("voter", pa.string()),
        ("mode", pa.int8()),
        ("models", pa.list_(_REPEATED)),
        ("ranks", RANKS_TYPE),
        ("prompt", _REPEATED),
        ("policy", _REPEATED),
        ("propensity", pa.float64()),
        ("duration_ms", pa.int64()),
        ("token", pa.string()),
        ("event", pa.binary()),
    ]
)
"""One row an accepted vote or control event, in the order of `sequence`, which is gapless over the whole store.

A row with `event` (the record as it came) is a control event: its vote fields are null.
"""

WINDOW_DTYPE: Final = np.dtype(
    [("vote_hi", "<u8"), ("vote_lo", "<u8"), ("matchup_hi", "<u8"), ("matchup_lo", "<u8"), ("time", "<i8")]
)
"""One accepted vote in the de-duplication window: 128-bit hashes of its vote and matchup, and its time."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one commit makes durable, in one transaction.

    Attributes
    ----------
    number : int
        One more than the store's last commit.
    log_time : int
        Running maximum of append times, ms.
    sequence : int
        Sequence number of the last archived row so far, 0 = none.
    positions : mapping
        Next position of every partition read so far.
    dead : Table of `REJECT_SCHEMA` or None
    window : array of `WINDOW_DTYPE`
        Votes that entered the de-duplication window in this commit.
    horizon : int
        Votes with an earlier time are too old; entries of the window before it are forgotten.
    state : mapping of str to bytes
        Blobs of operator state that changed, by key; empty bytes delete.
    counts : mapping of arena to Table
        Sparse count deltas: columns kind, k, best, i, j, n (`pipeline.rating.pair_counts`); summed on load.
    replaced_counts : mapping of arena to Table
        Whole count tables that replace what was there (a rebuild).
    outbox : sequence of Matchup
        New proposals, to be written to `matchups` after this commit.
    delivered : sequence of str
        matchup_ids of earlier proposals that have been written.
    """

    number: int
    log_time: int
    sequence: int
    positions: Mapping[TopicPartition, Position]
    dead: pa.Table | None = None
    window: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, WINDOW_DTYPE))
    horizon: int = 0
    state: Mapping[str, bytes] = field(default_factory=dict)
    counts: Mapping[str, pa.Table] = field(default_factory=dict)
    replaced_counts: Mapping[str, pa.Table] = field(default_factory=dict)
    outbox: Sequence[Matchup] = ()
    delivered: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the store holds at its last commit; of a new store: commit 0 and everything empty."""

    commit: int
    log_time: int
    sequence: int
    positions: dict[TopicPartition, Position]
    horizon: int
    state: dict[str, bytes]
    counts: dict[str, pa.Table]
    outbox: tuple[Matchup, ...]


class ArchiveSource(Protocol):
    """Reads archived rows: of this store while it writes, or of another store for a replay."""

    def read_archive(self, *, after_sequence: int = 0, batch_rows: int = 100_000) -> Iterator[pa.RecordBatch]:
        """Iterate over committed rows with ``sequence > after_sequence`` in order of sequence (`ARCHIVE_SCHEMA`)."""
        ...


class Store(ArchiveSource, Protocol):
    """One store, held by its one writer."""

    def load(self) -> StoreState:
        """Return the state at the last commit. Drops what was staged and not committed."""
        ...

    def load_window(self) -> Iterator[NDArray[np.void]]:
        """Iterate over the de-duplication window (`WINDOW_DTYPE`), entries before the horizon left out."""
        ...

    def stage_archive(self, rows: pa.RecordBatch) -> None:
        """Take archive rows of the commit to come; may write them in the background. Ascending in sequence."""
        ...

    def commit(self, commit: Commit) -> None:
        """Make `commit` and all staged rows durable in one step. Raises `StoreError`; then nothing of it holds."""
        ...

    def publish(self, publications: Sequence[tuple[Publication, pa.Table]]) -> None:
        """Publish arenas with their count tables. One with an older commit than what is published is left out.

        May be called from another thread than `commit`. Raises `PublishError` if an arena's files cannot be written.
        """
        ...

    def heartbeat(self, now: int, status: Status | None = None) -> None:
        """Note that the job lives: time, commit, positions, and what it says of itself (None: as before)."""
        ...

    def close(self) -> None:
        """Release the store and its lock. Idempotent."""
        ...


class StoreError(Exception):
    """The store cannot do what was asked. Says what was wrong, where, and what to do."""


class PublishError(StoreError):
    """One arena cannot be published; what was published of it stays. Commits and the other arenas go on."""
