"""Processes that append to a log until they are told to end: what they append is a function of their number."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import islice

from pipeline.contracts.log import VOTES
from pipeline.contracts.reasons import Reason
from pipeline.eventlog import open_log
from producers.simulate.faults import VoteBatch
from producers.simulate.world import SimulatedWorld
from tests.conftest import ROOT

RECORDS = 100
_ENDLESS = 1 << 30


def make_world(number: int) -> SimulatedWorld:
    """Return the arena as producer `number` votes in it."""
    return SimulatedWorld(models=8, k=4, seed=number, arena_id="pictures", duplicates=0.05, broken=0.02, doubles=0.02)


def make_batches(number: int) -> Iterator[VoteBatch]:
    """Return what producer `number` appends, without an end."""
    return make_world(number).batches(_ENDLESS, batch_size=RECORDS)


def list_produced(number: int, batches: int) -> tuple[list[bytes], list[tuple[bytes, Reason]]]:
    """Return the good votes of a producer, and its broken records with their reasons; duplicates are left out."""
    good: list[bytes] = []
    bad: list[tuple[bytes, Reason]] = []
    for batch in islice(make_batches(number), batches):
        for value, reason in zip(batch.values, batch.expected or (), strict=True):
            if reason is None:
                good.append(value)
            elif reason is not Reason.DUPLICATE:
                bad.append((value, reason))
    return good, bad


class Producer:
    """One producer as a process of its own, which appends `rate` records a second, and `least` batches in any case."""

    def __init__(self, number: int, url: str, rate: float, *, least: int = 0) -> None:
        self.number = number
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(number), url, str(rate), str(least)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(self, timeout: float = 60.0) -> int:
        """Let it end, and return how many batches it appended."""
        said, _ = self._process.communicate(timeout=timeout)
        assert self._process.returncode == 0
        return int(said)

    def end(self) -> None:
        """End it in any case."""
        if self._process.poll() is None:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(10)


def main() -> None:
    """Append until standard input ends; print the number of batches."""
    number, url, rate, least = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    told = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    writer = open_log(url).writer()
    appended = 0
    for batch in make_batches(number):
        writer.append(VOTES, batch.records())
        appended += 1
        if told.wait(len(batch) / rate) and appended >= least:
            break
    writer.close()
    sys.stdout.write(f"{appended}\n")


if __name__ == "__main__":
    main()
