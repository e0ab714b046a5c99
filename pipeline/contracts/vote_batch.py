"""Votes to Arrow rows, and rows to the bytes of one record: the writing side of envelopes."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pyarrow as pa

from pipeline.contracts.vote import VOTE_SCHEMA, Vote

assert VOTE_SCHEMA.names == [field.name for field in msgspec.structs.fields(Vote)], "columns are filled by place"


def tabulate_votes(votes: Iterable[Vote]) -> pa.RecordBatch:
    """Return `votes` as rows with the columns of `VOTE_SCHEMA`.

    Column by column: twice as fast as Arrow's own way from dictionaries.
    """
    rows = [msgspec.structs.astuple(vote) for vote in votes]
    columns = zip(*rows, strict=True) if rows else [()] * len(VOTE_SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, VOTE_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=VOTE_SCHEMA)


def encode_rows(rows: pa.RecordBatch | pa.Table) -> bytes:
    """Return `rows` as an Arrow IPC stream: the value of one record, whose content type is `log.ARROW_STREAM`."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write(rows)
    value: bytes = sink.getvalue().to_pybytes()
    return value
