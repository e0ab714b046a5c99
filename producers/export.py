"""Votes of a store as one Parquet file that can be given away.

The columns are those of a vote on the wire, and `appended_at`: the file can be replayed as a raw log. What
could tell who voted or what they typed is taken out:

- `voter` becomes a pseudonym: a hash under a key that is drawn for this export and forgotten, so that votes
  of one voter can be told within the file and nowhere else. Or it is dropped.
- `token` is dropped; it is a credential.
- `prompt` is dropped where it is a custom one (``c-...``), typed by a voter.

Control events have no place among votes, so retractions cannot travel with the file: retracted votes are left
out, unless asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.contracts.matchup import CUSTOM_PROMPT
from pipeline.contracts.vote import VOTE_SCHEMA
from pipeline.contracts.vote_batch import arrange_votes

EXPORT_SCHEMA: Final = VOTE_SCHEMA.append(pa.field("appended_at", pa.int64()))

ChooseRetracted = Callable[[pa.RecordBatch], NDArray[np.bool_]]
"""From archive rows to whether each is retracted, bool (n,)."""


class ExportError(Exception):
    """An export cannot be written. Says where and why; no retry helps."""

    retriable = False


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """How many votes were written, and how many left out because they are retracted."""

    votes: int
    retracted: int


def export_votes(
    archive: Iterable[pa.RecordBatch],
    path: Path,
    *,
    key: bytes | None,
    choose_retracted: ChooseRetracted | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> ExportSummary:
    """Write the votes among archive rows to a new Parquet file.

    Parameters
    ----------
    archive
        Batches of `ARCHIVE_SCHEMA`, in order.
    path
        The file: written under another name first, so that it is there whole or not at all.
    key
        Key of the voters' pseudonyms, drawn for this export, up to 64 bytes; None drops voters.
    choose_retracted
        Which votes to leave out; None keeps all.
    advance
        Told how many rows were read.

    Raises
    ------
    ExportError
        The file exists, or cannot be written.
    """
    votes = retracted = 0
    with _open_new_file(path) as file:
        for batch in archive:
            rows = batch.filter(batch["event"].is_null())
            if choose_retracted is not None and rows.num_rows:
                left_out = choose_retracted(rows)
                retracted += int(left_out.sum())
                rows = rows.filter(pa.array(~left_out))
            if rows.num_rows:
                file.write_table(clean_rows(rows, key))
            votes += rows.num_rows
            advance(batch.num_rows)
    return ExportSummary(votes, retracted)


def clean_rows(rows: pa.RecordBatch, key: bytes | None) -> pa.Table:
    """Turn archive rows that are votes into rows of `EXPORT_SCHEMA` without anything private."""
    count = rows.num_rows
    votes = arrange_votes(rows)
    custom = pc.fill_null(pc.starts_with(votes["prompt"], CUSTOM_PROMPT), False)
    columns = {
        "voter": pa.nulls(count, pa.string()) if key is None else _rename_voters(rows["voter"], key),
        "prompt": pc.if_else(custom, pa.scalar(None, pa.string()), votes["prompt"]),
        "token": pa.nulls(count, pa.string()),
    }
    arrays = [columns.get(field.name, votes[field.name]) for field in VOTE_SCHEMA]
    return pa.table([*arrays, rows["appended_at"]], schema=EXPORT_SCHEMA)


def _rename_voters(voters: pa.Array, key: bytes) -> pa.Array:
    encoded = voters.dictionary_encode()
    names = [
        "v0." + blake2b(voter.encode(), key=key, digest_size=16).hexdigest() for voter in encoded.dictionary.to_pylist()
    ]
    return pa.array(names, pa.string()).take(encoded.indices)


@contextmanager
def _open_new_file(path: Path) -> Iterator[pq.ParquetWriter]:
    if path.exists():
        raise ExportError(f"{path} exists: name a new file")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(partial, EXPORT_SCHEMA, compression="zstd") as file:
            yield file
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.rename(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
