"""Votes a second from the log to the published board, and back from archive and Parquet."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.path.world import NEVER, fill_log, make_log
from pipeline.eventlog import open_log
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import open_store
from pipeline.store.reader import StoreReader
from pipeline.streaming.job import run_job
from pipeline.streaming.replay import ReplayFilter, replay_archive, replay_log
from producers.export import export_votes

QUIET = RateSettings(propose=False)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _warm(folder: Path) -> None:
    """Compile and import everything once: a job's first seconds are not its throughput."""
    log = make_log(folder / "warm.db")
    fill_log(log, 20_000)
    _run(folder / "warm.db", folder / "warm")
    with open_store(folder / "warm2", holder="benchmark") as store:
        replay_archive(StoreReader(folder / "warm"), store, ReplayFilter(), announce=_say, progress=lambda _: None)


def _run(log: Path, store: Path) -> tuple[float, float]:
    """Return seconds and processor seconds of the job over a whole log."""
    with open_store(store, holder="benchmark") as opened:
        started, cpu = time.perf_counter(), time.process_time()
        run_job(
            open_log(f"sqlite:{log}"),
            opened,
            RateSettings(),
            owner_key=str(store),
            stop=NEVER,
            announce=_say,
            live=False,
        )
        return time.perf_counter() - started, time.process_time() - cpu


def main(folder: Path, votes: int) -> None:
    """Measure and print one JSON object."""
    _warm(folder)
    started = time.perf_counter()
    fill_log(make_log(folder / "events.db"), votes)
    appended = time.perf_counter() - started
    seconds, cpu = _run(folder / "events.db", folder / "store")
    reader = StoreReader(folder / "store")
    assert reader.board("simulated").votes == votes
    with open_store(folder / "again", holder="benchmark") as store:
        started = time.perf_counter()
        replay_archive(reader, store, ReplayFilter(), announce=_say, progress=lambda _: None)
        archive_seconds = time.perf_counter() - started
    assert StoreReader(folder / "again").board("simulated") == reader.board("simulated")
    export_votes(reader.read_archive(), folder / "votes.parquet", key=os.urandom(16))
    with open_store(folder / "raw", holder="benchmark") as store:
        started = time.perf_counter()
        replay_log(
            open_log(str(folder / "votes.parquet")),
            store,
            QUIET,
            ReplayFilter(),
            announce=_say,
            progress=lambda _: None,
        )
        raw_seconds = time.perf_counter() - started
    assert StoreReader(folder / "raw").board("simulated").votes == votes
    archive_bytes = sum(path.stat().st_size for path in (folder / "store" / "archive").rglob("*.parquet"))
    print(
        json.dumps(
            {
                "simulate_and_append_votes_per_s": round(votes / appended),
                "embedded_votes_per_s": round(votes / seconds),
                "embedded_cpu_us_per_vote": round(cpu / votes * 1e6, 2),
                "embedded_commits": reader.manifest().commit,
                "replay_archive_votes_per_s": round(votes / archive_seconds),
                "replay_raw_parquet_votes_per_s": round(votes / raw_seconds),
                "archive_bytes_per_vote": round(archive_bytes / votes, 1),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
