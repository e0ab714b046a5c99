"""The yardstick of this machine: one thread, no engine, no commits, no checks.

SQLite log -> DuckDB's `from_json` -> numpy -> a set of vote ids -> the paper's filter and counts -> Parquet. It does
what the job cannot do without, and nothing that makes the job safe; 353,000 votes/s where the targets were set.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.path.world import fill_log, make_log, make_world
from pipeline.contracts.ballot import Ballots
from pipeline.rating import ksort_filter
from pipeline.rating.count_accumulator import CountAccumulator

_FIELDS = {
    "schema": "INTEGER",
    "vote_id": "VARCHAR",
    "matchup_id": "VARCHAR",
    "arena": "VARCHAR",
    "time": "BIGINT",
    "voter": "VARCHAR",
    "mode": "VARCHAR",
    "models": ["VARCHAR"],
    "ranks": ["INTEGER"],
    "prompt": "VARCHAR",
}
_BATCH = 20_000
_FILE_ROWS = 200_000


def _rank_all(table: pa.Table, index: dict[str, int]) -> Ballots:
    """Make ballots of the votes that rank all of their models; the others are left out."""
    ranks = table["ranks"].combine_chunks()
    plain = np.array(table["mode"].to_pylist()) == "rank"
    table = table.filter(pa.array(plain))
    ranks, models = table["ranks"].combine_chunks(), table["models"].combine_chunks()
    words = models.flatten().dictionary_encode()
    look_up = np.array([index[word] for word in words.dictionary.to_pylist()], np.int32)
    sizes = np.diff(models.offsets.to_numpy())
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    groups = ranks.flatten().to_numpy().astype(np.int8)
    return Ballots(offsets, look_up[words.indices.to_numpy()], groups, np.zeros(len(sizes), np.int8))


def run_loop(log: Path, folder: Path) -> float:
    """Return votes a second over the whole log."""
    connection = sqlite3.connect(log)
    decode = duckdb.connect(config={"threads": "1"})
    shape = json.dumps(_FIELDS)
    index = {model: number for number, model in enumerate(make_world().model_ids)}
    counts, filtered = CountAccumulator(len(index)), ksort_filter.KsortState.initial(len(index))
    seen: set[bytes] = set()
    waiting: list[pa.Table] = []
    done, positions = 0, [0, 0, 0, 0]
    query = "SELECT value FROM log WHERE topic = 'votes' AND part = ? AND off >= ? ORDER BY off LIMIT ?"
    started = time.perf_counter()
    progressed = True
    while progressed:
        progressed = False
        for part in range(4):
            rows = connection.execute(query, (part, positions[part], _BATCH)).fetchall()
            if not rows:
                continue
            progressed = True
            positions[part] += len(rows)
            raw = pa.table({"v": pa.array([value for (value,) in rows], pa.binary())})  # noqa: F841 - named in SQL
            table = decode.sql(f"SELECT unnest(from_json(decode(v), '{shape}')) FROM raw").to_arrow_table()
            seen.update(map(hash, table["vote_id"].to_pylist()))  # type: ignore[arg-type]
            ballots = _rank_all(table.rename_columns(list(_FIELDS)), index)
            counts.add_ballots(ballots)
            filtered = ksort_filter.rate_ballots(filtered, ballots)
            waiting.append(table)
            done += len(rows)
            if sum(map(len, waiting)) >= _FILE_ROWS:
                pq.write_table(pa.concat_tables(waiting), folder / f"{done}.parquet", compression="zstd")
                waiting = []
    if waiting:
        pq.write_table(pa.concat_tables(waiting), folder / f"{done}.parquet", compression="zstd")
    return done / (time.perf_counter() - started)


def main(folder: Path, votes: int) -> None:
    """Measure and print one JSON object."""
    fill_log(make_log(folder / "small.db"), 20_000)
    run_loop(folder / "small.db", folder)
    if not (folder / "events.db").exists():
        fill_log(make_log(folder / "events.db"), votes)
    print(json.dumps({"bare_loop_votes_per_s": round(run_loop(folder / "events.db", folder))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
