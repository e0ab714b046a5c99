"""The archive on disk: `ARCHIVE_SCHEMA` as Parquet that DuckDB and others read too.

Differences: hex ids lie in columns of 16 bytes beside the text ones, and dictionaries are Parquet's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts.store import ARCHIVE_SCHEMA, StoreError
from pipeline.store.hex_ids import RAW_TYPE, join_ids, split_ids
from pipeline.store.manifest import StoreFile

GROUP_ROWS: Final = 131_072
"""Rows of a row group: big enough for dictionaries to pay, small enough to skip by."""

_IDS: Final = ("vote_id", "matchup_id")
_MODELS_TYPE: Final = pa.list_(pa.field("element", pa.dictionary(pa.int32(), pa.string())))

DISK_SCHEMA: Final = pa.schema(
    [
        *(field.with_type(_MODELS_TYPE) if field.name == "models" else field for field in ARCHIVE_SCHEMA),
        *(pa.field(f"{name}_16", RAW_TYPE) for name in _IDS),
    ]
)

_DICTIONARIES: Final = [field.name for field in DISK_SCHEMA if pa.types.is_dictionary(field.type)]
_REPEATED: Final = [*_DICTIONARIES, "voter", "mode", "partition", "index", "commit"]
_RISING: Final = ["sequence", "offset", "time", "appended_at", "duration_ms"]
_NESTED: Final = ["models.list.element", "ranks.list.element"]
_FLAT: Final = [name for name in DISK_SCHEMA.names if name not in {"models", "ranks"}]

# Measured on 500,000 votes, one core: 2.1 to 2.4 M rows/s, 50 B a row; all defaults 1.1 M. Random ids do not
# compress, and nested dictionaries that are stored as such cannot be read back (pyarrow 25).
_OPTIONS: Final[dict[str, Any]] = {
    "compression": {
        **dict.fromkeys([*_FLAT, *_NESTED], "zstd"),
        **dict.fromkeys([f"{name}_16" for name in _IDS], "none"),
    },
    "use_dictionary": [*_REPEATED, *_NESTED],
    "column_encoding": dict.fromkeys(_RISING, "DELTA_BINARY_PACKED"),
    "write_statistics": ["sequence", "commit", "time", "appended_at"],
    "store_schema": False,
}


def open_writer(path: Path) -> pq.ParquetWriter:
    """Open a Parquet file for rows of `DISK_SCHEMA`."""
    return pq.ParquetWriter(path, DISK_SCHEMA, **_OPTIONS)


def open_file(path: Path) -> pq.ParquetFile:
    """Open an archive file for `read_group`. Raises FileNotFoundError, and `StoreError` for a damaged one."""
    with _naming(path):
        return pq.ParquetFile(path, read_dictionary=[*_DICTIONARIES, _NESTED[0]])


def read_group(file: pq.ParquetFile, group: int, path: Path) -> list[pa.RecordBatch]:
    """Read one row group of the file at `path` as `DISK_SCHEMA`. Raises `StoreError` if it is damaged.

    Several at once pyarrow 25 cannot, with nested dictionaries.
    """
    with _naming(path):
        table = file.read_row_group(group, use_threads=False).cast(DISK_SCHEMA)
    return [batch for batch in table.to_batches() if len(batch)]


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say which file is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        raise StoreError(
            f"the archive file {path} is damaged ({why}): put it back from a copy, or replay the log into a new store"
        ) from error


def pack_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Turn `ARCHIVE_SCHEMA` into `DISK_SCHEMA`."""
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    columns["models"] = columns["models"].cast(_MODELS_TYPE)
    for name in _IDS:
        columns[name], columns[f"{name}_16"] = split_ids(columns[name])
    return pa.RecordBatch.from_arrays([columns[name] for name in DISK_SCHEMA.names], schema=DISK_SCHEMA)


def unpack_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Undo `pack_rows`."""
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    for name in _IDS:
        columns[name] = join_ids(columns[name], columns[f"{name}_16"])
    arrays = [
        column if column.type == field.type else column.cast(field.type)
        for field, column in ((field, columns[field.name]) for field in ARCHIVE_SCHEMA)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ARCHIVE_SCHEMA)


class GroupWriter:
    """Gathers rows of `DISK_SCHEMA` into row groups of one file."""

    def __init__(self, path: Path) -> None:
        self._writer = open_writer(path)
        self._gathered: list[pa.RecordBatch] = []
        self._count = 0

    def write(self, rows: pa.RecordBatch) -> None:
        """Take rows; written once a row group is full."""
        self._gathered.append(rows)
        self._count += len(rows)
        if self._count >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write what is left and the footer."""
        try:
            if self._gathered:
                self._write_group()
        finally:
            self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, which is then no archive file."""
        self._gathered, self._count = [], 0
        with contextlib.suppress(OSError):
            self._writer.close()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._gathered, DISK_SCHEMA).unify_dictionaries()
        self._gathered, self._count = [], 0
        self._writer.write_table(table, row_group_size=2 * GROUP_ROWS)


def check_rows(rows: pa.RecordBatch) -> None:
    """Raise `StoreError` unless `rows` are of `ARCHIVE_SCHEMA` and ascend in sequence."""
    if not rows.schema.equals(ARCHIVE_SCHEMA):
        wrong = [
            field.name
            for field in ARCHIVE_SCHEMA
            if rows.schema.get_field_index(field.name) < 0 or not rows.schema.field(field.name).equals(field)
        ]
        raise StoreError(f"archive rows do not have ARCHIVE_SCHEMA: see {', '.join(wrong) or 'the order of columns'}")
    sequences = rows.column("sequence").to_numpy(zero_copy_only=False)
    if len(rows) > 1 and not (np.diff(sequences) > 0).all():
        raise StoreError("archive rows must ascend in sequence")


def read_rows(
    root: Path, list_files: Callable[[], Sequence[StoreFile]], *, after: int, until: int, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Iterate over archived rows with ``after < sequence <= until``, whatever compaction does meanwhile.

    `list_files` returns the files that are live now; it is asked again when one has vanished. Raises
    FileNotFoundError if the new list names the missing file too.
    """
    missing = ""
    while True:
        waiting = [file for file in list_files() if file.last_sequence > after and file.first_sequence <= until]
        for file in sorted(waiting, key=lambda each: each.first_sequence):
            try:
                opened = open_file(root / file.path)
            except FileNotFoundError:
                if missing == file.path:
                    raise
                missing = file.path
                break
            with opened:
                yield from _read_file(opened, root / file.path, after, until, batch_rows)
            after = file.last_sequence
        else:
            return


def _read_file(file: pq.ParquetFile, path: Path, after: int, until: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
    for group in range(file.num_row_groups):
        known = file.metadata.row_group(group).column(0).statistics
        if known.max <= after or known.min > until:
            continue
        for batch in read_group(file, group, path):
            start, end = np.searchsorted(batch.column(0).to_numpy(), [after, until], "right")
            rows = unpack_rows(batch.slice(start, end - start))
            for first in range(0, len(rows), batch_rows):
                yield rows.slice(first, batch_rows)
