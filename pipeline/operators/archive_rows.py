"""Archive rows as arrays: the one form in which accepted votes are rated, live and in a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.ballot import UNRANKED
from pipeline.contracts.store import ARCHIVE_SCHEMA
from pipeline.rating.average import next_block_end


@dataclass(frozen=True, slots=True)
class Repeated:
    """A dictionary-encoded column: `codes` int32 (n,) into `words`; -1 = null."""

    codes: NDArray[np.int32]
    words: list[str]


def repeated_column(column: pa.Array) -> Repeated:
    """Take apart a dictionary-encoded column of strings."""
    codes = column.indices
    if codes.null_count:
        codes = codes.fill_null(-1)
    return Repeated(codes.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), column.dictionary.to_pylist())


def list_bounds(column: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the offsets int64 (n + 1,), starting at 0, and the elements of a list column.

    A null list has no elements.
    """
    n = len(column)
    if not n:
        return np.zeros(1, np.int64), column.values.slice(0, 0)
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + n + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    return offsets.astype(np.int64) - first, column.values.slice(first, last - first)


@njit(cache=True, nogil=True)
def _fill_groups(
    offsets: NDArray[np.int64],
    rank_offsets: NDArray[np.int64],
    ranks: NDArray[np.int32],
    ranked: NDArray[np.bool_],
    groups: NDArray[np.int8],
) -> None:
    for row in range(len(offsets) - 1):
        first = rank_offsets[row]
        size = rank_offsets[row + 1] - first
        if size == 0:  # all_bad and skip have no ranks
            groups[offsets[row] : offsets[row + 1]] = UNRANKED
            continue
        for slot in range(size):
            if not ranked[first + slot]:
                groups[offsets[row] + slot] = UNRANKED
                continue
            level = 0  # distinct ranks that are better; each is counted where it comes first
            for other in range(size):
                if ranked[first + other] and ranks[first + other] < ranks[first + slot]:
                    seen = False
                    for earlier in range(other):
                        if ranked[first + earlier] and ranks[first + earlier] == ranks[first + other]:
                            seen = True
                    if not seen:
                        level += 1
            groups[offsets[row] + slot] = level


def read_groups(offsets: NDArray[np.int64], ranks: pa.Array) -> NDArray[np.int8]:
    """Turn the ranks of valid votes into the groups of `Ballots`.

    Parameters
    ----------
    offsets : int64 (n + 1,)
        Bounds of the votes' models.
    ranks : list<int32> Array (n,)
        Null, or as many elements as the vote has models; null elements are unranked.

    Returns
    -------
    int8 (offsets[-1],)
    """
    rank_offsets, elements = list_bounds(ranks)
    if elements.null_count:
        ranked = elements.is_valid().to_numpy(zero_copy_only=False)
        elements = elements.fill_null(0)
    else:
        ranked = np.ones(len(elements), np.bool_)
    groups = np.empty(int(offsets[-1]), np.int8)
    _fill_groups(offsets, rank_offsets, elements.to_numpy(zero_copy_only=False), ranked, groups)
    return groups


@dataclass(frozen=True, slots=True)
class VoteColumns:
    """The columns of accepted votes that rating needs.

    `models` has one code an element, bounded by `offsets`; the rest has one value a vote.
    """

    arena: Repeated
    models: Repeated
    offsets: NDArray[np.int64]
    groups: NDArray[np.int8]
    modes: NDArray[np.int8]
    appended_at: NDArray[np.int64]
    prompt: Repeated


def read_votes(rows: pa.RecordBatch) -> VoteColumns:
    """Read the rating columns of archive rows that are all votes."""
    offsets, models = list_bounds(rows["models"])
    return VoteColumns(
        arena=repeated_column(rows["arena"]),
        models=repeated_column(models),
        offsets=offsets,
        groups=read_groups(offsets, rows["ranks"]),
        modes=rows["mode"].to_numpy(),
        appended_at=rows["appended_at"].to_numpy(),
        prompt=repeated_column(rows["prompt"]),
    )


def split_events(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Cut archive rows at their control events: runs of votes, and events one by one."""
    events = rows["event"]
    start = 0
    if events.null_count < len(events):
        for place in np.flatnonzero(events.is_valid().to_numpy(zero_copy_only=False)).tolist():
            if place > start:
                yield "votes", rows.slice(start, place - start)
            yield "event", rows.slice(place, 1)
            start = place + 1
    if start < rows.num_rows:
        yield "votes", rows.slice(start)


def cut_blocks(rows: pa.RecordBatch, first: int) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Cut archive rows, numbered from `first` on, where blocks of `average` may end; True with pieces that end one."""
    done = 0
    while done < rows.num_rows:
        end = next_block_end(first + done - 1)
        size = min(end - (first + done) + 1, rows.num_rows - done)
        yield rows.slice(done, size), first + done + size - 1 == end
        done += size


def make_archive_rows(
    votes: pa.RecordBatch, sequence: int, commit: int, topics: list[str], partitions: NDArray[np.int32]
) -> pa.RecordBatch:
    """Make archive rows of accepted votes (`DECODED_SCHEMA`), numbered from `sequence` on.

    `topics` and `partitions` belong to the votes' spans.
    """
    n = votes.num_rows
    spans = votes["span"].to_numpy()
    words = sorted(set(topics))
    topic_of = np.array([words.index(topic) for topic in topics], np.int32)
    made = {
        "sequence": pa.array(np.arange(sequence, sequence + n, dtype=np.int64)),
        "commit": pa.array(np.full(n, commit, np.int64)),
        "topic": pa.DictionaryArray.from_arrays(pa.array(topic_of[spans]), pa.array(words, pa.string())),
        "partition": pa.array(partitions[spans]),
        "event": pa.nulls(n, pa.binary()),
    }
    columns = [made[name] if name in made else votes[name] for name in ARCHIVE_SCHEMA.names]
    return pa.RecordBatch.from_arrays(columns, schema=ARCHIVE_SCHEMA)
