"""What a live job says of itself, published with every sign of life: the one status that everything reads.

The operator page, the Prometheus metrics and `kwise doctor` show the same numbers, because none of them counts by
itself. Totals are over the whole life of the store and survive a restart (they are part of its commits); what is said
to be of the *process* starts anew with it.
"""

from __future__ import annotations

from typing import Final

import msgspec

FRESHNESS_BOUNDS_MS: Final = (100, 250, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)
"""Upper bounds of the freshness histogram; 1,500 ms is what the project promises for 99 of 100 votes."""

RECENT_MS: Final = 60_000
"""What is said to be of the last minute looks back this far."""

FRESHNESS_TARGET_MS: Final = 1_500


class PartitionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One partition of the log: the next offset to be read, and the log's end when it was last asked.

    Offsets count records in SQLite and Kafka, bytes in JSON lines, rows in Parquet.
    """

    topic: str
    partition: int
    position: int
    end: int

    @property
    def lag(self) -> int:
        """How much waits. The end may be older than the position, and then nothing does."""
        return max(0, self.end - self.position)


class FreshnessStatus(msgspec.Struct, frozen=True, kw_only=True):
    """From append to published board, over accepted votes.

    `p50_ms` and `p99_ms` are of the `votes` published within the last minute, each up to 5 % too large; None without
    votes. `total`, `sum_ms` and `buckets` are of the process: `buckets[i]` votes took at most
    `FRESHNESS_BOUNDS_MS[i]`.
    """

    votes: int
    p50_ms: int | None
    p99_ms: int | None
    total: int
    sum_ms: int
    buckets: tuple[int, ...]


class WindowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The de-duplication window: votes in it, votes at which the oldest tenth goes, its horizon (ms), its memory."""

    votes: int
    limit: int
    horizon: int
    bytes: int


class ArenaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One arena. `accepted` ever; `votes` of them are not retracted."""

    accepted: int
    votes: int
    models: int
    open_matchups: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """State of a live job.

    Attributes
    ----------
    started : int
        When the process began, ms.
    commits, restarts : int
        Made by this process: commits, and starts from the last commit after a failure.
    last_error, last_error_at
        The process's last failure in one line, and when it was, ms.
    log_error : str or None
        Why the log is out of reach at present; None if it is not.
    accepted, duplicates : int
        Votes, over the life of the store.
    dead : dict of reason to int
        Dead letters, over the life of the store.
    votes_per_s : float or None
        Accepted over the last minute, or since the process began; None in its first moment.
    lag : tuple of PartitionStatus
        Partitions of votes and control, as of `lag_at` (ms); empty where the log knows no end.
    freshness : FreshnessStatus or None
        None where append times say nothing about now: logs made of files.
    counts_bytes : int
        Memory of all pair counts.
    """

    started: int
    commits: int
    restarts: int
    last_error: str | None = None
    last_error_at: int | None = None
    log_error: str | None = None
    accepted: int
    duplicates: int
    dead: dict[str, int]
    votes_per_s: float | None
    lag: tuple[PartitionStatus, ...] = ()
    lag_at: int | None = None
    freshness: FreshnessStatus | None = None
    window: WindowStatus
    arenas: dict[str, ArenaStatus]
    counts_bytes: int

    @property
    def total_lag(self) -> int | None:
        """What waits in all partitions; None where nobody knows."""
        return sum(each.lag for each in self.lag) if self.lag_at is not None and self.lag else None

    @property
    def total_dead(self) -> int:
        """Dead letters of all reasons."""
        return sum(self.dead.values())


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The figures of a status that are drawn over time. `dead` is of all reasons, `lag` of all partitions."""

    time: int
    accepted: int
    duplicates: int
    dead: int
    lag: int | None
    p50_ms: int | None
    p99_ms: int | None


def make_sample(time: int, status: Status) -> Sample:
    """Return what is kept of a status of `time` (ms)."""
    freshness = status.freshness
    return Sample(
        time,
        status.accepted,
        status.duplicates,
        status.total_dead,
        status.total_lag,
        None if freshness is None else freshness.p50_ms,
        None if freshness is None else freshness.p99_ms,
    )
