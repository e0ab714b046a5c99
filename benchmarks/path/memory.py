"""Resident memory of the job over many votes, with a de-duplication window that fills early."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from benchmarks.path.world import NEVER, fill_log, make_log
from pipeline.eventlog import open_log
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import open_store
from pipeline.streaming.job import run_job

_SAMPLE_S = 0.5


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(folder: Path, votes: int) -> None:
    """Measure and print one JSON object."""
    child = os.fork()  # the simulator's memory is not the job's
    if child == 0:
        fill_log(make_log(folder / "long.db"), votes)
        os._exit(0)
    os.waitpid(child, 0)
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(_resident_mb())

    sampler = threading.Thread(target=sample)
    sampler.start()
    window = votes // 10
    with open_store(folder / "long", holder="benchmark") as store:
        run_job(
            open_log(f"sqlite:{folder / 'long.db'}"),
            store,
            RateSettings(window_capacity=window),
            owner_key="memory",
            stop=NEVER,
            announce=lambda line: print(line, file=sys.stderr),
            live=False,
        )
    done.set()
    sampler.join()
    half = len(samples) // 2
    middle, last = samples[half : half + half // 2], samples[half + half // 2 :]
    print(
        json.dumps(
            {
                "memory_votes": votes,
                "memory_window": window,
                "memory_third_quarter_mb": round(sum(middle) / len(middle)),
                "memory_last_quarter_mb": round(sum(last) / len(last)),
                "memory_samples_mb": [round(value) for value in samples[:: max(1, len(samples) // 40)]],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
