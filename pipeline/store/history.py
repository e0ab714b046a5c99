"""Past boards of an arena, as rows in immutable Parquet segments by (method, model, commit), thinned with age.

Thinning: the newest board of every second is kept for an hour, of every minute for a day, of every hour for
ever. A board is kept if it is the newest by *log time* or by *publication time*. Each alone goes wrong: an
import passes years of log time in seconds, of which the log time would leave one board an hour at once; and
one record with a time far ahead stops the log time, after which it would leave one board in all. Either way
at most twice as much is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.contracts.snapshot import Board, Publication
from pipeline.store.files import sync_path
from pipeline.store.manifest import HistoryFile

HISTORY_SCHEMA: Final = pa.schema(
    [
        ("commit", pa.int64()),
        ("log_time", pa.int64()),
        ("published_at", pa.int64()),
        ("as_of", pa.int64()),
        ("arena_votes", pa.int64()),
        ("method", pa.string()),
        ("methodology", pa.string()),
        ("model", pa.string()),
        ("rank", pa.int32()),
        ("rank_low", pa.int32()),
        ("rank_high", pa.int32()),
        ("mean", pa.float64()),
        ("sd", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("score", pa.float64()),
        ("rating", pa.float64()),
        ("rating_low", pa.float64()),
        ("rating_high", pa.float64()),
        ("votes", pa.int64()),
        ("comparisons", pa.int64()),
        ("group", pa.int32()),
        ("p_best", pa.float64()),
    ]
)
"""One row a model of a board. `arena_votes` is the board's `votes`. Segments of old may lack the last columns."""

PRECISION_SCHEMA: Final = pa.schema(
    [
        ("commit", pa.int64()),
        ("log_time", pa.int64()),
        ("arena_votes", pa.int64()),
        ("models", pa.int32()),
        ("log_sd", pa.float64()),
    ]
)
"""One row a board: how many models have enough comparisons, and the sum of the logarithms of their sds."""

_OF_MODEL: Final = HISTORY_SCHEMA.names[HISTORY_SCHEMA.names.index("model") :]
_ORDER: Final = [("method", "ascending"), ("model", "ascending"), ("commit", "ascending")]
_HOUR: Final = 3_600_000
_STEPS: Final = (
    (_HOUR, 1_000),
    (24 * _HOUR, 60_000),
)  # up to this age (ms): one board per so many ms; else an hour

FAN_IN: Final = 8
"""So many segments of one level become one of the next. At two a second, the first thinning comes after an hour."""


def make_rows(publication: Publication, recorded: Mapping[str, int]) -> pa.Table:
    """Return the history rows of the boards that are newer than the commit `recorded` of their method."""
    columns: dict[str, list[Any]] = {name: [] for name in HISTORY_SCHEMA.names}
    for method, board in sorted(publication.boards.items()):
        if board.commit <= recorded.get(method, -1):
            continue
        count = len(board.models)
        columns["commit"] += [board.commit] * count
        columns["log_time"] += [log_time_of(board, publication)] * count
        columns["published_at"] += [publication.published_at] * count
        columns["as_of"] += [board.as_of] * count
        columns["arena_votes"] += [board.votes] * count
        columns["method"] += [method] * count
        columns["methodology"] += [board.methodology] * count
        for name in _OF_MODEL:
            columns[name] += [getattr(model, name) for model in board.models]
    return pa.table(columns, schema=HISTORY_SCHEMA).sort_by(_ORDER)


def log_time_of(board: Board, publication: Publication) -> int:
    """Return the log time of a board's commit; a board that does not tell has that of its publication."""
    return board.log_time or publication.log_time


def thin_rows(rows: pa.Table) -> pa.Table:
    """Leave out boards as described above; ages count from the newest board in `rows`. Keeps the order."""
    methods = rows["method"].combine_chunks().dictionary_encode().indices.to_numpy()
    commits = rows["commit"].to_numpy()
    boards, first, board_of_row = np.unique(
        np.stack([methods, commits], 1), axis=0, return_index=True, return_inverse=True
    )
    keep = np.zeros(len(boards), np.bool_)
    for name in ("log_time", "published_at"):
        keep |= _newest_of_each(boards[:, 0], rows[name].to_numpy()[first])
    return rows.filter(pa.array(keep[board_of_row.reshape(-1)]))


def _newest_of_each(methods: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the last board of each method and span of time; boards ascend by (method, commit)."""
    age = times.max() - times
    width = np.full(len(times), _HOUR)
    for limit, step in reversed(_STEPS):
        width[age < limit] = step
    spans = np.stack([methods, width, times // width], 1)
    _, last = np.unique(spans[::-1], axis=0, return_index=True)
    marked = np.zeros(len(times), np.bool_)
    marked[len(times) - 1 - last] = True
    return marked


def write_segment(folder: Path, name: str, rows: pa.Table, level: int) -> HistoryFile:
    """Write rows, at least one, in order, and flush them."""
    path = folder / name
    pq.write_table(rows, path, compression="zstd", row_group_size=100_000)
    sync_path(path)
    commits, times = pc.min_max(rows["commit"]), pc.min_max(rows["log_time"])
    return HistoryFile(
        file=name,
        level=level,
        rows=len(rows),
        first_commit=commits["min"].as_py(),
        last_commit=commits["max"].as_py(),
        first_log_time=times["min"].as_py(),
        last_log_time=times["max"].as_py(),
    )


def read_segment(path: Path) -> pa.Table:
    """Read one segment. Raises FileNotFoundError."""
    with pq.ParquetFile(path) as file:
        return complete_rows(file.read(use_threads=False))


def complete_rows(rows: pa.Table) -> pa.Table:
    """Return rows with all columns of `HISTORY_SCHEMA`; those that were not kept when they were written are null."""
    missing = {name: pa.nulls(len(rows)) for name in HISTORY_SCHEMA.names if name not in rows.column_names}
    for name, column in missing.items():
        rows = rows.append_column(name, column)
    return rows.select(HISTORY_SCHEMA.names).cast(HISTORY_SCHEMA)


def last_of_spans(times: NDArray[np.int64], spans: int) -> NDArray[np.bool_]:
    """Tell which of `times` (n,), in ms and ascending, is the last of one of `spans` (2 or more) spans as long."""
    if len(times) == 0:
        return np.zeros(0, np.bool_)
    span = (times - times[0]) * (spans - 1) // max(1, int(times[-1] - times[0]))
    return np.append(span[1:] != span[:-1], True)


def plan_segments(history: Sequence[HistoryFile]) -> tuple[HistoryFile, ...]:
    """Return the segments to merge next, oldest first; none if there is nothing to do."""
    for level in sorted({each.level for each in history}):
        same = [each for each in history if each.level == level]
        if len(same) >= FAN_IN:
            return tuple(same)
    return ()


def merge_segments(folder: Path, sources: Sequence[HistoryFile], name: str) -> HistoryFile:
    """Merge segments into one of the next level, thinned."""
    rows = pa.concat_tables([read_segment(folder / source.file) for source in sources])
    return write_segment(folder, name, thin_rows(rows).sort_by(_ORDER), 1 + max(each.level for each in sources))
