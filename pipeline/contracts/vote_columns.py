"""From `VoteRows` to Arrow: the columns of `DECODED_SCHEMA`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from pipeline.contracts.byte_strings import Bytes, gather_strings
from pipeline.contracts.string_book import Book, build_dictionary
from pipeline.contracts.vote import DECODED_SCHEMA
from pipeline.contracts.vote_rows import MATCHUP_ID, NAMES, PAYLOAD, TOKEN, VOTE_ID, VOTER, Slots, VoteRows

_MAX_COLUMN_BYTES: Final = 2**31 - 1


class BatchTooLargeError(ValueError):
    """A batch holds more than the 2 GiB that an Arrow column can. The reader must fetch fewer bytes at a time."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where n votes lie in the log: columns of the same names in `DECODED_SCHEMA`, each (n,)."""

    span: NDArray[np.int16]
    offset: NDArray[np.int64]
    index: NDArray[np.int32]
    appended_at: NDArray[np.int64]

    def take(self, kept: NDArray[np.int64]) -> Placed:
        """Return the rows `kept`."""
        return Placed(self.span[kept], self.offset[kept], self.index[kept], self.appended_at[kept])


def build_columns(
    pool: Bytes, rows: VoteRows, slots: Slots, book: Book, placed: Placed, kept: NDArray[np.int64] | None
) -> pa.RecordBatch:
    """Build a batch of `DECODED_SCHEMA` from the rows `kept`, in that order; None keeps all. `token_ok` is null."""
    if kept is not None:
        rows = rows.take(kept)
        placed = placed.take(kept)
    if not len(rows.odd):
        return pa.RecordBatch.from_pylist([], schema=DECODED_SCHEMA)
    total_models, total_ranks = int(rows.k.sum()), int(np.maximum(rows.rank_count, 0).sum())
    model_offsets, rank_offsets = np.empty(len(rows.k) + 1, np.int32), np.empty(len(rows.k) + 1, np.int32)
    packed = Slots.allocate(total_models, total_ranks)
    _pack_slots(rows.first_model, rows.k, rows.first_rank, rows.rank_count, slots, packed, model_offsets, rank_offsets)
    names = {name: _dictionary_array(book, rows.names[column]) for column, name in enumerate(NAMES)}
    columns = {
        "span": _array(pa.int16(), placed.span),
        "offset": _array(pa.int64(), placed.offset),
        "index": _array(pa.int32(), placed.index),
        "appended_at": _array(pa.int64(), placed.appended_at),
        "vote_id": _string_array(pool, rows, VOTE_ID),
        "matchup_id": _string_array(pool, rows, MATCHUP_ID),
        "arena": names["arena"],
        "time": _array(pa.int64(), rows.time),
        "voter": _string_array(pool, rows, VOTER),
        "mode": _array(pa.int8(), rows.mode),
        "models": _list_array(model_offsets, _dictionary_array(book, packed.models), None),
        "ranks": _list_array(rank_offsets, _array(pa.int32(), packed.ranks, packed.ranked), rows.rank_count >= 0),
        "prompt": names["prompt"],
        "policy": names["policy"],
        "propensity": _array(pa.float64(), rows.propensity, rows.has_propensity),
        "duration_ms": _array(pa.int64(), rows.duration, rows.has_duration),
        "token": _string_array(pool, rows, TOKEN),
        "fault": _array(pa.int8(), rows.fault),
        "token_ok": pa.nulls(len(rows.odd), pa.bool_()),
        "payload": _string_array(pool, rows, PAYLOAD, pa.binary()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in DECODED_SCHEMA.names], schema=DECODED_SCHEMA)


@njit(nogil=True, cache=True)
def _pack_slots(
    first_model: NDArray[np.int64],
    sizes: NDArray[np.int32],
    first_rank: NDArray[np.int64],
    rank_counts: NDArray[np.int32],
    slots: Slots,
    packed: Slots,
    model_offsets: NDArray[np.int32],
    rank_offsets: NDArray[np.int32],
) -> None:
    """Copy the slots of the rows one after the other."""
    all_models, ranks, ranked = slots
    to_models, to_ranks, to_ranked = packed
    models, given = 0, 0
    for row in range(len(sizes)):
        model_offsets[row], rank_offsets[row] = models, given
        source = first_model[row]
        for slot in range(sizes[row]):
            to_models[models + slot] = all_models[source + slot]
        models += sizes[row]
        source = first_rank[row]
        for slot in range(rank_counts[row]):
            to_ranks[given + slot] = ranks[source + slot]
            to_ranked[given + slot] = ranked[source + slot]
        given += max(rank_counts[row], 0)
    model_offsets[len(sizes)], rank_offsets[len(sizes)] = models, given


def _array(kind: pa.DataType, values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    bits, nulls = _bitmap(valid)
    return pa.Array.from_buffers(kind, len(values), [bits, pa.py_buffer(np.ascontiguousarray(values))], nulls)


def _bitmap(valid: NDArray[np.bool_] | None) -> tuple[pa.Buffer | None, int]:
    nulls = 0 if valid is None else len(valid) - int(np.count_nonzero(valid))
    return (pa.py_buffer(np.packbits(valid, bitorder="little")) if valid is not None and nulls else None), nulls


def _list_array(offsets: NDArray[np.int32], values: pa.Array, valid: NDArray[np.bool_] | None) -> pa.Array:
    bits, nulls = _bitmap(valid)
    kind = pa.list_(values.type)
    return pa.Array.from_buffers(kind, len(offsets) - 1, [bits, pa.py_buffer(offsets)], nulls, children=[values])


def _string_array(pool: Bytes, rows: VoteRows, column: int, kind: pa.DataType | None = None) -> pa.Array:
    starts, lengths = rows.starts[column], rows.lengths[column]
    kind = kind or pa.string()
    if not (valid := lengths >= 0).any():
        return pa.nulls(len(lengths), kind)
    bits, nulls = _bitmap(valid)
    if column == PAYLOAD and not nulls and np.array_equal(starts[1:], starts[:-1] + lengths[:-1]):
        # The payloads lie one after the other: the pool is the column, without a copy.
        offsets = np.append(starts, starts[-1] + lengths[-1])
        data = pa.py_buffer(pool)
    else:
        offsets = np.concatenate(([0], np.cumsum(np.maximum(lengths, 0), dtype=np.int64)))
        data = None
    if offsets[-1] > _MAX_COLUMN_BYTES:
        raise BatchTooLargeError(f"{len(lengths)} votes hold {offsets[-1]} bytes; read fewer at a time")
    narrow = offsets.astype(np.int32)
    if data is None:
        data = pa.py_buffer(gather_strings(pool, starts, lengths, narrow))
    return pa.Array.from_buffers(kind, len(lengths), [bits, pa.py_buffer(narrow), data], nulls)


def _dictionary_array(book: Book, numbers: NDArray[np.int32]) -> pa.DictionaryArray:
    codes, values = build_dictionary(book, numbers)
    return pa.DictionaryArray.from_arrays(_array(pa.int32(), codes, codes >= 0), values, safe=False)
