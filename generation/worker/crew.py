"""Several workers in one process: one a device, or several on the processor."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from generation.worker.worker import Worker

# The kernel may hand a signal to any thread, and Python's handler runs in the main one, which an endless wait would
# not leave for it.
_LOOK_S: Final = 0.2


def run_crew(workers: Sequence[Worker], stop: threading.Event) -> None:
    """Run all workers until `stop` is set or they have nothing to do; if one fails, the others stop too.

    Raises
    ------
    Exception
        What the first one that failed raised.
    """

    def run(worker: Worker) -> None:
        try:
            worker.run(stop)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(len(workers), thread_name_prefix="worker") as pool:
        running = [pool.submit(run, worker) for worker in workers]
        while wait(running, _LOOK_S).not_done:
            pass
    for each in running:
        each.result()
