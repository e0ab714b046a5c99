"""Sparse count tables as blobs, and their sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.contracts.store import StoreError

KEYS: Final = ["kind", "k", "best", "i", "j"]
VALUE: Final = "n"

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


# Deltas of an arena are summed into the whole table when they have outgrown it (so that folding costs a
# constant factor), but not while it is this small, and into one delta when there are this many (so that
# loading stays quick).
FOLD_ROWS: Final = 4096
FOLD_BLOBS: Final = 256


@dataclass(frozen=True, slots=True)
class CountBlob:
    """An encoded count table of one arena.

    It is added to what is there, unless it is `whole` and replaces all of it, or `folded` and replaces what
    was added since the last whole one.
    """

    arena: str
    rows: int
    value: bytes
    whole: bool = False
    folded: bool = False


def encode_counts(table: pa.Table) -> bytes:
    """Write a count table as an Arrow IPC stream. Raises `StoreError` if a column is missing."""
    if missing := [name for name in (*KEYS, VALUE) if name not in table.column_names]:
        raise StoreError(f"a count table has no column {', '.join(missing)}; it needs {', '.join((*KEYS, VALUE))}")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    blob: bytes = sink.getvalue().to_pybytes()
    return blob


def decode_counts(blob: bytes) -> pa.Table:
    """Undo `encode_counts`."""
    return pa.ipc.open_stream(pa.py_buffer(blob)).read_all()


def sum_counts(tables: Sequence[pa.Table]) -> pa.Table:
    """Sum tables by key, in the order of the keys; keys whose sum is 0 are left out."""
    schema = tables[0].schema
    summed = (
        pa.concat_tables([table.select(schema.names).cast(schema) for table in tables])
        .group_by(KEYS, use_threads=False)
        .aggregate([(VALUE, "sum")])
        .rename_columns([*KEYS, VALUE])
        .select(schema.names)
        .cast(schema)
    )
    nonzero = summed.filter(pc.not_equal(summed[VALUE], 0))
    return nonzero.sort_by([(key, "ascending") for key in KEYS]).combine_chunks()


def fold_counts(
    arena: str,
    *,
    added: pa.Table | None,
    whole: pa.Table | None,
    sizes: Sequence[tuple[int, bool]],
    stored: Callable[..., Sequence[pa.Table]],
) -> CountBlob:
    """Return what a commit writes for one arena: the delta, or a fold of it with what is stored.

    Parameters
    ----------
    added, whole
        The commit's delta, and the table that replaces what is stored (the delta is then added to that one).
    sizes
        (rows, whole) of the blobs that are stored.
    stored
        `Ledger.count_tables`.
    """
    tables = [table for table in (whole, added) if table is not None]
    if whole is not None:
        return _encode_blob(arena, sum_counts(tables), whole=True)
    table = sum_counts(tables)
    deltas = [rows for rows, is_whole in sizes if not is_whole]
    if sum(deltas) + len(table) > max(FOLD_ROWS, *(rows for rows, is_whole in sizes if is_whole), 0):
        return _encode_blob(arena, sum_counts([*stored(arena), table]), whole=True)
    if len(deltas) >= FOLD_BLOBS:
        return _encode_blob(arena, sum_counts([*stored(arena, only_added=True), table]), folded=True)
    return _encode_blob(arena, table)


def _encode_blob(arena: str, table: pa.Table, *, whole: bool = False, folded: bool = False) -> CountBlob:
    return CountBlob(arena, len(table), encode_counts(table), whole=whole, folded=folded)
