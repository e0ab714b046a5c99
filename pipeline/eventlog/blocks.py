"""Blocks: what SQLite, files and streams hand to the readers, which do not know where records come from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.log import LogError, Position, TopicPartition

START = Position(0, 0)
MAX_POLL_BYTES = 64 << 20  # a poll of 20,000 records of 1 MiB must not need 20 GB


def wall_clock_ms() -> int:
    """Return the wall clock in ms since 1970 UTC; the default of every `clock` argument of this package."""
    return time.time_ns() // 1_000_000


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive records of one partition.

    Attributes
    ----------
    source : TopicPartition
    offsets, nexts, appended_at : int64 (n,)
        Offset, offset to read next after it, and append time in ms as the log has it (not yet
        non-decreasing).
    values : list of bytes, length n; empty when `rows` is there
    content_types : None, or a list of str or None, length n
    end : int
        Where to read on: behind the last record and the holes after it.
    rows : pyarrow.RecordBatch or None
        Parquet read row by row, for merging: n rows, each a vote with an offset of its own.
    envelopes : bool
        Whether the records are Parquet slices of many votes, so that `votes` is not the number of records.
    """

    source: TopicPartition
    offsets: NDArray[np.int64]
    nexts: NDArray[np.int64]
    appended_at: NDArray[np.int64]
    values: list[bytes]
    content_types: list[str | None] | None
    end: int
    rows: pa.RecordBatch | None = None
    envelopes: bool = False

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def votes(self) -> int:
        """How many votes it holds; an envelope that came through a log counts as one."""
        return int((self.nexts - self.offsets).sum()) if self.envelopes else len(self)


def empty_block(source: TopicPartition, end: int) -> Block:
    """Return a block without records: nothing there yet, or only holes up to `end`."""
    none = np.zeros(0, np.int64)
    return Block(source, none, none, none, [], None, end)


class BlockSource(Protocol):
    """Random access to the partitions of one log."""

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the end of each partition of `topic`: of a finite source as it was when opened."""
        ...

    def read(
        self, source: TopicPartition, start: Position, end: int, limit: int, max_bytes: int, *, by_row: bool
    ) -> Block:
        """Return the next records in ``[start, end)``: at least one, at most about `limit` votes.

        `by_row` asks for Parquet rows one by one (`Block.rows`); other records are the same either way.
        """
        ...

    def complete(self) -> bool:
        """Whether `ends` are final."""
        ...

    def wait(self, timeout: float) -> None:
        """Return when something may have been appended, after `timeout` seconds at the latest."""
        ...

    def close(self) -> None:
        """Release what is held. Idempotent."""
        ...


def check_positions(
    url: str, positions: Mapping[TopicPartition, Position], ends: Mapping[TopicPartition, int], topic: str
) -> None:
    """Raise `LogError` if a position of `topic` lies behind the end of its partition."""
    for source, position in positions.items():
        if source.topic != topic:
            continue
        if source not in ends:
            if position > START:
                raise LogError(_shrunk(url, source, "has no such partition", position))
        elif position > Position(ends[source], 0):
            raise LogError(_shrunk(url, source, f"ends at offset {ends[source]}", position))


def _shrunk(url: str, source: TopicPartition, state: str, position: Position) -> str:
    return (
        f"{url}, {source.topic}/{source.partition}: the log {state} but the store has read to "
        f"{position.offset}: the log was deleted, replaced or restored from an older copy. "
        "Put the right log back, or start a new store on this one."
    )


def list_sources(sources: Iterable[TopicPartition]) -> list[TopicPartition]:
    """Return the sources in order, refusing more than a batch can name."""
    listed = sorted(sources)
    if len(listed) > np.iinfo(np.int16).max:
        raise LogError(f"{len(listed)} partitions; a batch can name {np.iinfo(np.int16).max}: merge files.")
    return listed
