"""Votes in Parquet files, as Arrow IPC records.

A Parquet file is one partition; the offset of a vote is its row number. A record is a slice of a row group,
up to `SLICE_ROWS` rows counted from the row group's start, as an Arrow IPC stream (content type
`ARROW_STREAM`): its offset is the number of its first row, and the index of a vote is its row within the
record. Reading may start at any row; the first record is then shorter. A position (offset, index) is the row
``offset + index``.

Each record carries a column `appended_at` (int64, ms): the file's own where it has one, else `time`, else 0,
row by row, each where it is from 0 to `MAX_APPEND_TIME`. The record's append time is its largest. The decoder
takes the column where there is one, so that a verdict does not hang on how a file was sliced.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.contracts.log import ARROW_STREAM, MAX_APPEND_TIME, LogError, Position, TopicPartition
from pipeline.contracts.vote import VOTE_SCHEMA
from pipeline.contracts.vote_batch import encode_rows
from pipeline.eventlog.blocks import Block, empty_block

SLICE_ROWS = 20_000
APPENDED_AT = "appended_at"


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file; raise `LogError` if it is none."""
    with _open(path) as file:
        return int(file.metadata.num_rows)


class ParquetSlices:
    """Reads the slices of one file in order; going back or ahead costs the row group from its start."""

    def __init__(self, source: TopicPartition, path: Path) -> None:
        self._source = source
        self._path = path
        self._file = _open(path)
        meta = self._file.metadata
        self._firsts = np.cumsum([0] + [meta.row_group(i).num_rows for i in range(meta.num_row_groups)])
        names = set(self._file.schema_arrow.names)
        self._columns = [name for name in [*VOTE_SCHEMA.names, APPENDED_AT] if name in names]
        self._slices: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._held: tuple[int, pa.RecordBatch] | None = None

    def read(self, start: Position, end: int, limit: int, *, by_row: bool) -> Block:
        """Return a block of about `limit` rows: one slice by rows, or whole slices as IPC records."""
        row = start.offset + start.index
        if row >= end:
            return empty_block(self._source, end)
        if by_row:
            rows = self._slice_at(row).slice(0, limit)
            offsets = np.arange(row, row + len(rows), dtype=np.int64)
            times = _append_times(rows)
            return Block(self._source, offsets, offsets + 1, times, [], None, row + len(rows), rows)
        firsts: list[int] = []
        nexts: list[int] = []
        latest: list[int] = []
        values: list[bytes] = []
        while row < end and (not firsts or row - firsts[0] < limit):
            rows = self._slice_at(row)
            firsts.append(row)
            row += len(rows)
            nexts.append(row)
            latest.append(int(_append_times(rows).max()))
            values.append(encode_rows(rows))
        types: list[str | None] = [ARROW_STREAM] * len(values)
        return Block(
            self._source,
            np.array(firsts, np.int64),
            np.array(nexts, np.int64),
            np.array(latest, np.int64),
            values,
            types,
            row,
            envelopes=True,
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _slice_at(self, row: int) -> pa.RecordBatch:
        """Return the rows from `row` to the end of the slice that it lies in."""
        if self._held is None or not self._held[0] <= row < self._held[0] + len(self._held[1]):
            if self._held is None or row != self._held[0] + len(self._held[1]):
                self._slices = self._slices_from(row)
            self._held = self._next_with(row)
        first, rows = self._held
        return rows.slice(row - first)

    def _next_with(self, row: int) -> tuple[int, pa.RecordBatch]:
        try:
            for first, rows in self._slices:
                if row < first + len(rows):
                    return first, rows
        except (pa.ArrowException, OSError) as error:
            raise LogError(f"{self._path}: row {row} cannot be read ({error}): the file is damaged.") from error
        raise LogError(f"{self._path} ends before row {row}: it was replaced while it was read; start again.")

    def _slices_from(self, row: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        group = int(np.searchsorted(self._firsts, row, side="right")) - 1
        for number in range(group, len(self._firsts) - 1):
            first = int(self._firsts[number])
            batches = self._file.iter_batches(batch_size=SLICE_ROWS, row_groups=[number], columns=self._columns)
            for rows in batches:
                yield first, _with_append_times(rows)
                first += len(rows)


def _with_append_times(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Give `rows` an int64 column `appended_at` without nulls."""
    times = pa.array(np.zeros(len(rows), np.int64))
    for name in ("time", APPENDED_AT):
        place = rows.schema.get_field_index(name)
        if place >= 0 and pa.types.is_integer(rows.column(place).type):
            own = pc.cast(rows.column(place), pa.int64(), safe=False)
            fits = pc.and_(pc.greater_equal(own, 0), pc.less_equal(own, MAX_APPEND_TIME))
            times = pc.if_else(pc.fill_null(fits, False), own, times)
    place = rows.schema.get_field_index(APPENDED_AT)
    if place >= 0:
        return rows.set_column(place, APPENDED_AT, times)
    return rows.append_column(APPENDED_AT, times)


def _append_times(rows: pa.RecordBatch) -> NDArray[np.int64]:
    times: NDArray[np.int64] = rows.column(APPENDED_AT).to_numpy()
    return times


def _open(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise LogError(f"{path} is gone: it was deleted while it was read; start again.") from error
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path} cannot be read as Parquet: {error}") from error
