"""Time from append to published board: writer and reader are one process, the job is another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.path.world import make_log, make_world
from pipeline.contracts.log import VOTES, EventLog, LogWriter
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader

_RATE = 5_000
_LOOK_S = 0.02  # batches and looks at the board: also the error of a wait
_SETTLE_S = 5.0


def measure_freshness(log: EventLog, store: Path, rate: int, seconds: float) -> dict[str, int]:
    """Return waits in ms at `rate` votes a second, and the rate that the writer reached.

    `log` has the arena and no votes. The first seconds, in which the job starts, do not count.
    """
    command = ["pipeline", "run", "--from", log.url, "--store", str(store)]
    job = subprocess.Popen([sys.executable, "-m", "pipeline.cli.main", *command])
    try:
        appended, seen = _measure(log.writer(), StoreReaderWhenThere(store), rate, int(seconds * rate))
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    # Vote number v was seen when a board first counted more than v votes.
    times, counts = np.array([t for t, _ in seen]), np.array([n for _, n in seen])
    numbers = np.arange(int(_SETTLE_S * rate), len(appended))
    waits = (times[np.searchsorted(counts, numbers, side="right")] - appended[numbers]) * 1000
    return {
        "votes_per_s": round(len(numbers) / (appended[-1] - appended[numbers[0]])),
        "p50_ms": round(float(np.percentile(waits, 50))),
        "p99_ms": round(float(np.percentile(waits, 99))),
        "max_ms": round(float(waits.max())),
    }


def main(folder: Path, seconds: float) -> None:
    """Measure on SQLite at 5,000 votes a second and print one JSON object."""
    figures = measure_freshness(make_log(folder / "fresh.db"), folder / "fresh", _RATE, seconds)
    print(json.dumps({f"freshness_{name}": value for name, value in figures.items()}))


class StoreReaderWhenThere:
    """Counts the votes of the published board; 0 while there is none."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._reader: StoreReader | None = None

    def votes(self) -> int:
        """Votes of the newest board."""
        try:
            self._reader = self._reader or StoreReader(self._store)
            return self._reader.board("simulated").votes
        except ReaderError:
            return 0


def _measure(
    writer: LogWriter, reader: StoreReaderWhenThere, rate: int, votes: int
) -> tuple[np.ndarray, list[tuple[float, int]]]:
    """Append at the given rate; return when each vote was appended, and (time, votes) of each new board."""
    records = list(chain.from_iterable(batch.records() for batch in make_world().batches(votes, rate=rate)))
    appended = np.zeros(votes)
    seen: list[tuple[float, int]] = [(0.0, 0)]
    started = time.perf_counter()
    done = 0
    while seen[-1][1] < votes:
        now = time.perf_counter()
        due = min(int((now - started) * rate), votes)
        if due > done:
            writer.append(VOTES, records[done:due])
            appended[done:due] = time.perf_counter()
            done = due
        counted = reader.votes()
        if counted > seen[-1][1]:
            seen.append((time.perf_counter(), counted))
        if now - started > votes / rate + 120:
            raise TimeoutError(f"{counted} of {votes} votes on the board after {now - started:.0f} s")
        time.sleep(_LOOK_S)
    return appended, seen


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
