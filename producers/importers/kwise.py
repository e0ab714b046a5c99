"""Votes in our own wire format: JSON lines, passed on byte for byte, or Parquet with the columns of a vote.

No arena is defined: such votes belong to arenas that `kwise arena apply` or an earlier import defined. With
an arena id, only votes for that arena are taken. Other columns of a Parquet file are ignored, `appended_at`
too: the log dates what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.contracts.log import Record
from pipeline.contracts.vote import VOTE_SCHEMA, Vote, encode_vote
from producers.batch_check import tabulate_records
from producers.importers.errors import ImportFault
from producers.importers.source import ImportedArena, ImportOptions, ImportSummary

_CHUNK: Final = 4096
_REQUIRED = ("schema", "vote_id", "matchup_id", "arena", "time", "models")


def read_arenas(path: Path, options: ImportOptions) -> list[ImportedArena]:  # noqa: ARG001 - every format's
    """Return no arenas."""
    return []


def read_votes(path: Path, options: ImportOptions, summary: ImportSummary) -> Iterator[Record]:
    """Iterate over the file's votes as records with their keys. Raises `ImportFault`."""
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_json_lines
    rest = read(path)
    while chunk := list(islice(rest, _CHUNK)):
        payloads = [payload for _, payload in chunk]
        checked = tabulate_records(payloads)
        matchup_ids, arenas = (checked.rows[name].to_pylist() for name in ("matchup_id", "arena"))
        for payload, matchup_id, arena in zip(payloads, matchup_ids, arenas, strict=False):
            if options.arena_id is not None and arena != options.arena_id:
                summary.skip(f"for another arena: {arena}")
                continue
            summary.take(arena)
            yield Record(payload, matchup_id)
        if (fault := checked.fault) is not None:
            raise ImportFault(path, chunk[len(matchup_ids)][0], f"{fault.reason}: {fault.detail}")


def _read_json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            for line, text in enumerate(file, start=1):
                if payload := text.strip():
                    yield line, payload
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None


def _read_parquet(path: Path) -> Iterator[tuple[int, bytes]]:
    """Iterate over (row from 1, wire record)."""
    try:
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            if missing := [name for name in _REQUIRED if name not in present]:
                raise ImportFault(path, None, f"has no column {', '.join(missing)}")
            row = 0
            for batch in file.iter_batches(columns=[name for name in VOTE_SCHEMA.names if name in present]):
                for fields in batch.to_pylist():
                    row += 1
                    yield row, _encode_row(path, row, fields)
    except OSError as error:
        raise ImportFault(path, None, error.strerror or str(error)) from None
    except pa.ArrowException as error:
        raise ImportFault(path, None, f"is not a Parquet file of votes: {error}") from None


def _encode_row(path: Path, row: int, fields: dict[str, object]) -> bytes:
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return encode_vote(msgspec.convert(given, Vote))
    except msgspec.ValidationError as error:
        raise ImportFault(path, row, f"is no vote: {error}") from None
