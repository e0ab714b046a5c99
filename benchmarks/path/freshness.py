"""Time from append to published board at 5,000 votes a second: writer, job and reader are processes of their own."""

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
from pipeline.contracts.log import VOTES
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader

RATE = 5_000
_BATCH = 100
_SETTLE_S = 5.0


def main(folder: Path, seconds: float) -> None:
    """Measure and print one JSON object."""
    log = make_log(folder / "fresh.db")
    store = folder / "fresh"
    command = ["pipeline", "run", "--from", f"sqlite:{folder / 'fresh.db'}", "--store", str(store)]
    job = subprocess.Popen([sys.executable, "-m", "pipeline.cli.main", *command])
    try:
        appended, seen = _measure(log.writer(), StoreReaderWhenThere(store), int(seconds * RATE))
    finally:
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    # Vote number v was seen when a board first counted more than v votes.
    times, counts = np.array([t for t, _ in seen]), np.array([n for _, n in seen])
    first = int(_SETTLE_S * RATE)
    numbers = np.arange(first, len(appended))
    waits = (times[np.searchsorted(counts, numbers, side="right")] - appended[numbers]) * 1000
    print(
        json.dumps(
            {
                "freshness_votes_per_s": RATE,
                "freshness_p50_ms": round(float(np.percentile(waits, 50))),
                "freshness_p99_ms": round(float(np.percentile(waits, 99))),
                "freshness_max_ms": round(float(waits.max())),
            }
        )
    )


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


def _measure(writer: object, reader: StoreReaderWhenThere, votes: int) -> tuple[np.ndarray, list[tuple[float, int]]]:
    """Append at the given rate; return when each vote was appended, and (time, votes) of each new board."""
    batches = chain.from_iterable(
        batch.part(start, start + _BATCH).records()
        for batch in make_world().batches(votes, rate=RATE)
        for start in range(0, len(batch), _BATCH)
    )
    records = list(batches)
    appended = np.zeros(votes)
    seen: list[tuple[float, int]] = [(0.0, 0)]
    started = time.perf_counter()
    done = 0
    while seen[-1][1] < votes:
        now = time.perf_counter()
        due = min(int((now - started) * RATE), votes)
        if due - done >= _BATCH or due == votes > done:
            writer.append(VOTES, records[done:due])  # type: ignore[attr-defined]
            appended[done:due] = time.perf_counter()
            done = due
        counted = reader.votes()
        if counted > seen[-1][1]:
            seen.append((time.perf_counter(), counted))
        if now - started > votes / RATE + 120:
            raise TimeoutError(f"{counted} of {votes} votes on the board after {now - started:.0f} s")
        time.sleep(0.005)
    return appended, seen


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
