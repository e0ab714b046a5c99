"""Decode votes: ``python -m benchmarks.decode [--quick] --json``.

The figure is votes per second of processor time on one core, the best of some rounds; wall clock would count what
other programs take from a shared machine. Peers get the same records in the same run:

- msgspec structs: `msgspec.json.decode` into `Vote`, nothing checked beyond types, no columns;
- DuckDB: ``from_json`` on an Arrow column, to Arrow, nothing checked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, VOTES, LogBatch, Position, Span, TopicPartition
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.ingest import ingest_batch

NOW = 1_764_000_000_000
TARGETS = {"json": 1_200_000, "envelopes": 4_000_000}


def make_votes(count: int, *, odd_share: float = 0.0) -> list[Vote]:
    """Make votes whose JSON has 260 bytes on average; odd ones have a voter outside ASCII."""
    rng = np.random.default_rng(1)
    models = [f"model-{number:02d}" for number in range(50)]
    votes = []
    for number in range(count):
        odd = rng.random() < odd_share
        votes.append(
            Vote(
                vote_id=rng.bytes(16).hex(),
                matchup_id=rng.bytes(16).hex(),
                arena="text-to-image",
                time=NOW + number,
                voter=f"{'ü' if odd else 'v'}3.{rng.bytes(4).hex()}",
                mode="rank",
                models=tuple(models[model] for model in rng.choice(50, 4, replace=False)),
                ranks=tuple(int(rank) for rank in rng.integers(1, 5, 4)),
            )
        )
    return votes


def make_batch(values: list[bytes], content_type: str | None = None) -> LogBatch:
    """Put records into a batch of one partition."""
    count = len(values)
    span = Span(TopicPartition(VOTES, 0), Position(0), Position(count))
    offsets = np.arange(count, dtype=np.int64)
    types: list[str | None] | None = None if content_type is None else [content_type] * count
    return LogBatch((span,), np.zeros(count, np.int16), offsets, np.full(count, NOW), values, types)


def measure(action: Callable[[], Any], votes: int, rounds: int) -> int:
    """Return votes per second of processor time, the best of `rounds`."""
    action()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        action()
        best = min(best, time.process_time() - start)
    return round(votes / best)


def decode_by_duckdb(connection: duckdb.DuckDBPyConnection, values: list[bytes]) -> pa.Table:
    """Decode by DuckDB, into columns of the same fields."""
    records = pa.table({"value": pa.array(values, pa.binary()).cast(pa.string())})  # noqa: F841 - named in the SQL
    shape = json.dumps({
        "schema": "INTEGER", "vote_id": "VARCHAR", "matchup_id": "VARCHAR", "arena": "VARCHAR", "time": "BIGINT",
        "voter": "VARCHAR", "mode": "VARCHAR", "models": ["VARCHAR"], "ranks": ["INTEGER"],
    })  # fmt: skip
    return connection.sql(f"SELECT UNNEST(from_json(value, '{shape}')) FROM records").to_arrow_table()


def run(*, quick: bool) -> dict[str, Any]:
    """Measure everything."""
    count, rounds = (10_000, 5) if quick else (20_000, 40)
    votes = make_votes(count)
    records = [encode_vote(vote) for vote in votes]
    odd_records = [encode_vote(vote) for vote in make_votes(count, odd_share=0.1)]
    decoder = msgspec.json.Decoder(Vote)
    connection = duckdb.connect(config={"threads": 1})

    def ingest(values: list[bytes], content_type: str | None = None) -> Callable[[], Any]:
        batch = make_batch(values, content_type)
        assert ingest_batch(batch).votes.num_rows == count
        return lambda: ingest_batch(batch)

    def in_envelopes(size: int) -> Callable[[], Any]:
        return ingest([encode_envelope(votes[at : at + size]) for at in range(0, count, size)], ARROW_STREAM)

    figures = {
        "json": measure(ingest(records), count, rounds),
        "json, 10 % odd": measure(ingest(odd_records), count, rounds),
        "envelopes of 500": measure(in_envelopes(500), count, rounds),
        "envelopes": measure(in_envelopes(2_000), count, rounds),
    }
    peers = {
        "msgspec structs": measure(lambda: [decoder.decode(value) for value in records], count, rounds),
        "duckdb from_json": measure(lambda: decode_by_duckdb(connection, records), count, rounds),
    }
    return {
        "benchmark": "decode",
        "bytes_per_vote": round(sum(map(len, records)) / count, 1),
        "votes": count,
        "figures": figures,
        "peers": peers,
        "ratio": {name: round(figures["json"] / speed, 2) for name, speed in peers.items()},
        "targets": TARGETS,
        "reached": {name: figures[name] >= target for name, target in TARGETS.items()},
        "machine": describe_machine(),
        "versions": describe_versions("duckdb", "msgspec", "numba", "numpy", "pyarrow"),
    }


def main() -> None:
    """Print one JSON object as the last line."""
    options = parse_options(__doc__, quick="fewer votes and rounds")
    hand_out(run(quick=options.quick), save=options.save)


if __name__ == "__main__":
    main()
