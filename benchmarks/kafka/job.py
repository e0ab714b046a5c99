"""The job on a real broker, and the limit: the client's own drain and decode, with nothing else to do.

``python -m benchmarks.kafka.job limit|run FOLDER URL VOTES`` prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from pipeline.contracts.log import VOTES
from pipeline.eventlog import open_log
from pipeline.operators.ingest import ingest_batch
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import open_store
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from pipeline.streaming.job import run_job
from pipeline.streaming.owner import POLL_RECORDS


def drain(url: str, votes: int) -> dict[str, float]:
    """Read and decode all votes of the log; the reader is the job's own."""
    reader = open_log(url).reader({}, live=True)
    taken, started, cpu = 0, time.perf_counter(), time.process_time()
    while taken < votes:
        taken += ingest_batch(reader.poll(VOTES, POLL_RECORDS, 1.0)).votes.num_rows
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    reader.close()
    return figures


def run(url: str, folder: Path, votes: int) -> dict[str, float]:
    """Run the live job until its published board counts all votes."""
    stop = threading.Event()
    finished: list[float] = []

    def watch() -> None:
        while not stop.wait(0.01):
            try:
                if StoreReader(folder).board("simulated").votes == votes:
                    finished.append(time.perf_counter())
                    stop.set()
            except ReaderError:
                continue

    with open_store(folder, holder="benchmark") as store:
        watcher = threading.Thread(target=watch)
        started, cpu = time.perf_counter(), time.process_time()
        watcher.start()
        run_job(
            open_log(url),
            store,
            RateSettings(),
            owner_key=str(folder),
            stop=stop,
            announce=lambda line: print(line, file=sys.stderr),
        )
        watcher.join()
        return {"seconds": finished[0] - started, "cpu": time.process_time() - cpu}


def main(what: str, folder: Path, url: str, votes: int) -> None:
    """Compile everything on a small log first, then measure."""
    warm = f"{url.removesuffix(VOTES)}warm-{VOTES}"
    drain(warm, WARM_VOTES)
    if what == "run":
        run(warm, folder / "warm", WARM_VOTES)
    figures = drain(url, votes) if what == "limit" else run(url, folder / "store", votes)
    print(json.dumps(figures))


WARM_VOTES = 20_000

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
