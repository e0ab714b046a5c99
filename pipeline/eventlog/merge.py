"""Merges all partitions of a finite log into the one order that does not depend on how it was spread.

The order is (append time, control before votes, topic, partition, offset), in which the running maximum of a
partition stands for the append time, so that its records keep their order. That maximum decides the order and
nothing else: a batch states the append times that the log has, as a live reader does, and verdicts and the
archive are then the same.

Blocks are fetched from each partition and sorted together. What may go out is bounded by the partition whose
last fetched record comes first in the order: what it has yet to give comes after that record, and so after
everything before it. That partition is then empty and is fetched next, so each round makes progress. Work per
record is numpy's; Python loops over partitions, and over runs of rows from one Parquet file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.log import (
    ARROW_STREAM,
    CONTROL,
    EMPTY_BATCH,
    VOTES,
    LogBatch,
    Poll,
    Position,
    Span,
    TopicPartition,
)
from pipeline.contracts.vote_batch import encode_rows
from pipeline.eventlog.blocks import (
    MAX_POLL_BYTES,
    START,
    Block,
    BlockSource,
    check_positions,
    list_sources,
    wall_clock_ms,
)

_FIRST_FETCH = 256  # records; doubled each time, so that many files that do not overlap cost little memory
_WAIT_SECONDS = 0.2


class BlockMerger:
    """A `MergedReader` over a finite `BlockSource`.

    Parameters
    ----------
    url : for messages
    source : closed by `close`
    positions : where to start; partitions without one start at their beginning
    until : only records whose own append time is at most this, ms; the others are passed over like holes
    clock : for `Poll.now`, ms
    """

    def __init__(
        self,
        url: str,
        source: BlockSource,
        positions: Mapping[TopicPartition, Position],
        *,
        until: int | None = None,
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._source = source
        self._until = until
        self._clock = clock
        self._lanes: list[_Lane] = []
        for topic in (CONTROL, VOTES):
            ends = source.ends(topic)
            if source.complete():
                check_positions(url, positions, ends, topic)
            for partition in list_sources(ends):
                lane = _Lane(source, partition, positions.get(partition, START), len(self._lanes))
                self._lanes.append(lane)

    def polls(self, max_records: int) -> Iterator[Poll]:
        """Iterate over polls in merged order.

        A poll ends where a control event follows its votes. Control events behind the last vote come alone.
        """
        control, votes = _Pile(self._lanes), _Pile(self._lanes)
        for piece in self._pieces(max_records):
            for part in piece.split_by_topic(self._lanes):
                if self._lanes[part.lane_of[0]].partition.topic == CONTROL:
                    if len(votes):
                        yield self._poll(control, votes, max_records)
                    control.add(part)
                    continue
                votes.add(part)
                while len(votes) >= max_records:
                    yield self._poll(control, votes, max_records)
        if len(control) or len(votes):
            yield self._poll(control, votes, max_records)

    def close(self) -> None:
        """Release what is held. Idempotent."""
        self._source.close()

    def _poll(self, control: _Pile, votes: _Pile, max_records: int) -> Poll:
        taken = control.take(len(control)), votes.take(max_records)
        return Poll(self._clock(), *taken)

    def _pieces(self, max_records: int) -> Iterator[_Piece]:
        while True:
            for lane in self._lanes:
                lane.fill(max_records)
            filled = [lane for lane in self._lanes if lane.has_records()]
            if not filled:
                return
            bounds = [(lane.last_time(), lane.rank) for lane in filled if not lane.ended]
            bound = min(bounds) if bounds else None
            taken = [block for lane in filled if (block := lane.take_until(bound)) is not None]
            piece = _sort_blocks(taken)
            if self._until is not None:
                piece = piece.pick(np.flatnonzero(piece.times <= self._until))
            if len(piece):
                yield piece


@dataclass(frozen=True, slots=True)
class _Taken:
    """Records of one lane that may go out; `order` is the running maximum of their append times."""

    rank: int
    block: Block
    order: NDArray[np.int64]
    first: int
    after: int


class _Lane:
    """One partition on its way into the merge."""

    def __init__(self, source: BlockSource, partition: TopicPartition, start: Position, rank: int) -> None:
        self.partition = partition
        self.rank = rank
        self.ended = False
        self.span_start = start
        self._source = source
        self._next = start
        self._fetch = _FIRST_FETCH
        self._latest = np.iinfo(np.int64).min
        self._block: Block | None = None
        self._order = np.zeros(0, np.int64)
        self._first = 0

    def has_records(self) -> bool:
        return self._first < len(self._order)

    def last_time(self) -> int:
        return int(self._order[-1])

    def fill(self, max_records: int) -> None:
        """Fetch the next block if none is left, waiting for it if the source is a stream."""
        while not self.has_records() and not self.ended:
            complete = self._source.complete()
            end = self._source.ends(self.partition.topic)[self.partition]
            if self._next.offset >= end:
                self.ended = complete
                if not complete:
                    self._source.wait(_WAIT_SECONDS)
                continue
            block = self._source.read(
                self.partition, self._next, end, min(self._fetch, max_records), MAX_POLL_BYTES, by_row=True
            )
            self._fetch = min(2 * self._fetch, 1 << 20)
            if block.end > self._next.offset:
                self._next = Position(block.end)
            elif not complete:
                self._source.wait(_WAIT_SECONDS)
            else:
                self.ended = True
            self._hold(block)

    def take_until(self, bound: tuple[int, int] | None) -> _Taken | None:
        """Take the records that come no later than lane `bound[1]` at time `bound[0]`."""
        first, after = self._first, len(self._order)
        if bound is not None:
            side = "right" if self.rank <= bound[1] else "left"
            after = int(np.searchsorted(self._order, bound[0], side=side))  # type: ignore[call-overload]
        if after <= first or self._block is None:
            return None
        self._first = after
        return _Taken(self.rank, self._block, self._order, first, after)

    def _hold(self, block: Block) -> None:
        order = np.maximum.accumulate(np.maximum(block.appended_at, self._latest))
        if len(order):
            self._latest = int(order[-1])
        self._block, self._order, self._first = block, order, 0


@dataclass(frozen=True, slots=True)
class _Piece:
    """Records in merged order, one element each; rows of a Parquet file are elements of their own.

    `times` are append times as the log has them.
    `values` is None where `table_of` names the table in `tables` that has the record as row `row`.
    """

    lane_of: NDArray[np.int16]
    offsets: NDArray[np.int64]
    nexts: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.object_]
    types: NDArray[np.object_] | None
    tables: tuple[pa.RecordBatch, ...]
    table_of: NDArray[np.int32] | None
    row: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.offsets)

    def pick(self, which: slice | NDArray[np.int64]) -> _Piece:
        return _Piece(
            self.lane_of[which],
            self.offsets[which],
            self.nexts[which],
            self.times[which],
            self.values[which],
            None if self.types is None else self.types[which],
            self.tables,
            None if self.table_of is None else self.table_of[which],
            None if self.row is None else self.row[which],
        )

    def split_by_topic(self, lanes: Sequence[_Lane]) -> Iterator[_Piece]:
        """Cut where control follows votes or votes follow control."""
        is_control = np.array([lane.partition.topic == CONTROL for lane in lanes])[self.lane_of]
        cuts = np.flatnonzero(is_control[1:] != is_control[:-1]) + 1
        if not len(cuts):
            yield self
            return
        for first, after in zip([0, *cuts.tolist()], [*cuts.tolist(), len(self)], strict=True):
            yield self.pick(slice(first, after))


def _sort_blocks(taken: Sequence[_Taken]) -> _Piece:
    """Sort the records of `taken`, given in the order of ranks: a stable sort is then the merged order."""
    tables = tuple(item.block.rows for item in taken if item.block.rows is not None)
    table_numbers = iter(range(len(tables)))
    with_types = any(item.block.content_types for item in taken)
    columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in ("values", "types", "table_of", "row")}
    for item in taken:
        count = item.after - item.first
        here = slice(item.first, item.after)
        has_rows = item.block.rows is not None
        columns["values"].append(_objects(None if has_rows else item.block.values[here], count))
        if with_types:
            types = item.block.content_types
            columns["types"].append(_objects(None if types is None else types[here], count))
        if tables:
            columns["table_of"].append(np.full(count, next(table_numbers) if has_rows else -1, np.int32))
            columns["row"].append(np.arange(item.first, item.after, dtype=np.int64))
    piece = _Piece(
        np.repeat(np.array([item.rank for item in taken], np.int16), [item.after - item.first for item in taken]),
        np.concatenate([item.block.offsets[item.first : item.after] for item in taken]),
        np.concatenate([item.block.nexts[item.first : item.after] for item in taken]),
        np.concatenate([item.block.appended_at[item.first : item.after] for item in taken]),
        np.concatenate(columns["values"]),
        np.concatenate(columns["types"]) if with_types else None,
        tables,
        np.concatenate(columns["table_of"]) if tables else None,
        np.concatenate(columns["row"]) if tables else None,
    )
    if len(taken) == 1:
        return piece
    return piece.pick(
        np.argsort(np.concatenate([item.order[item.first : item.after] for item in taken]), kind="stable")
    )


def _objects(items: Sequence[bytes | str | None] | None, count: int) -> NDArray[np.object_]:
    column = np.empty(count, object)
    if items is not None:
        column[:] = items
    return column


class _Pile:
    """Pieces in order, waiting to be a batch."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        self._lanes = lanes
        self._pieces: list[_Piece] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        self._count += len(piece)

    def take(self, limit: int) -> LogBatch:
        """Remove the first `limit` records and return them as one batch."""
        taken: list[_Piece] = []
        wanted = min(limit, self._count)
        self._count -= wanted
        while wanted:
            piece = self._pieces[0]
            if len(piece) <= wanted:
                self._pieces.pop(0)
            else:
                self._pieces[0] = piece.pick(slice(wanted, None))
                piece = piece.pick(slice(wanted))
            wanted -= len(piece)
            taken.append(piece)
        return self._join(taken)

    def _join(self, pieces: list[_Piece]) -> LogBatch:
        if not pieces:
            return EMPTY_BATCH
        lane_of = np.concatenate([piece.lane_of for piece in pieces])
        lanes, span_of = np.unique(lane_of, return_inverse=True)
        ends = np.zeros(len(lanes), np.int64)
        np.maximum.at(ends, span_of, np.concatenate([piece.nexts for piece in pieces]))
        spans = []
        for number, end in zip(lanes.tolist(), ends.tolist(), strict=True):
            lane = self._lanes[number]
            spans.append(Span(lane.partition, lane.span_start, Position(end)))
            lane.span_start = Position(end)
        parts = [_fold_rows(piece) if piece.tables else piece for piece in pieces]
        if len(parts) > 1 or parts[0] is not pieces[0]:
            lane_of = np.concatenate([part.lane_of for part in parts])
            span_of = np.searchsorted(lanes, lane_of)
        types: list[str | None] | None = None
        if any(part.types is not None for part in parts):
            types = [kind for part in parts for kind in (part.types if part.types is not None else [None] * len(part))]
        return LogBatch(
            tuple(spans),
            span_of.astype(np.int16),
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]).tolist(),
            types,
        )


def _fold_rows(piece: _Piece) -> _Piece:
    """Make one record of each run of consecutive rows of one Parquet file."""
    assert piece.table_of is not None
    assert piece.row is not None
    table_of, row = piece.table_of, piece.row
    follows = (table_of[1:] >= 0) & (table_of[1:] == table_of[:-1]) & (row[1:] == row[:-1] + 1)
    firsts = np.flatnonzero(np.concatenate([[True], ~follows]))
    lasts = np.append(firsts[1:], len(piece)) - 1
    folded = piece.pick(firsts)
    values = folded.values
    types = _objects(None, len(firsts)) if folded.types is None else folded.types
    for number in np.flatnonzero(table_of[firsts] >= 0).tolist():
        first, last = int(firsts[number]), int(lasts[number])
        rows = piece.tables[table_of[first]].slice(int(row[first]), last - first + 1)
        values[number] = encode_rows(rows)
        types[number] = ARROW_STREAM
    times = np.maximum.reduceat(piece.times, firsts)  # of a record of many votes: the largest
    return _Piece(folded.lane_of, folded.offsets, piece.nexts[lasts], times, values, types, (), None, None)
