"""Killing the job under load, watching what is published meanwhile, and counting everything afterwards."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.random import Generator

from pipeline.contracts.log import VOTES, EventLog
from pipeline.contracts.reasons import MAX_VOTE_BYTES, Reason
from pipeline.contracts.snapshot import METHODS
from pipeline.store.errors import ReaderError
from pipeline.store.reader import StoreReader
from tests.end_to_end.jobs import (
    Program,
    append,
    append_events,
    archived_votes,
    call,
    count_naively,
    dead_letters,
    is_caught_up,
    published_counts,
    wait_while_running,
)
from tests.end_to_end.producing import RECORDS, Producer, list_produced, make_batches, make_world

PRODUCERS = (1, 2, 3)


def start_job(url: str, folder: Path) -> Program:
    return Program("pipeline", "run", "--from", url, "--store", folder)


@dataclass
class Watcher:
    """Polls everything that is published, as a page would, and notes what must not be."""

    folder: Path
    faults: list[str] = field(default_factory=list)
    polls: int = 0
    _newest: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        reader = StoreReader(self.folder)
        try:
            publication = reader.publication("pictures")
        except ReaderError as error:
            if not error.retriable or self.polls:
                self.faults.append(str(error))
            return
        self.polls += 1
        self._rise("publication", publication.commit)
        if set(publication.boards) != set(METHODS):
            self.faults.append(f"boards by {set(publication.boards)}")
        if {board.commit for board in publication.boards.values()} != {publication.commit}:
            self.faults.append("boards of several commits")
        sums = {(board.votes, sum(row.comparisons for row in board.models)) for board in publication.boards.values()}
        if len(sums) != 1:
            self.faults.append(f"boards of several snapshots: {sums}")
        self._rise("votes", next(iter(sums))[0])
        manifest = reader.manifest()
        self._rise("commit", manifest.commit)
        self._rise("sequence", manifest.sequence)
        if self.polls % 10 == 0:
            self._rise("archived", len(archived_votes(self.folder)))
            self._rise("dead", len(reader.dead_letters()))
            self._rise("history", len(reader.history("pictures", "ksort", models=["model-01"])))
            reader.counts("pictures")

    def _rise(self, what: str, value: int) -> None:
        if value < self._newest.get(what, 0):
            self.faults.append(f"{what} went back from {self._newest[what]} to {value}")
        self._newest[what] = max(value, self._newest.get(what, 0))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again while the block runs."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(0.03):
                try:
                    self.look()
                except Exception as error:  # a reader must meet none
                    self.faults.append(f"{type(error).__name__}: {error}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(20)


def kill_under_load(url: str, folder: Path, kills: int, rng: Generator, disturb: Callable[[int], None]) -> None:
    """Start and kill the job again and again, each time at another moment; `disturb` gets the number of the kill."""
    pause = threading.Event()
    for number in range(kills):
        with start_job(url, folder) as job:
            if number % 3 == 2:
                pause.wait(rng.uniform(0.0, 3.0))  # perhaps while it starts
            else:
                before = commit_of(folder)
                wait_while_running(job, lambda before=before: commit_of(folder) > before)
                pause.wait(rng.uniform(0.0, 0.7))
            disturb(number)
            job.require_running()
            job.process.kill()
            assert job.wait() == -signal.SIGKILL


def commit_of(folder: Path) -> int:
    try:
        return StoreReader(folder).manifest().commit
    except ReaderError:
        return 0


def expect_everything_once(folder: Path, produced: dict[int, int]) -> None:
    """Compare the store with what was produced, counted independently."""
    good: list[bytes] = []
    bad: Counter[tuple[str, bytes]] = Counter()
    for number, batches in produced.items():
        accepted, refused = list_produced(number, batches)
        good += accepted
        bad.update((reason.value, value[:MAX_VOTE_BYTES]) for value, reason in refused)
    assert dead_letters(folder) - bad == Counter()
    assert bad - dead_letters(folder) == Counter()
    archived = archived_votes(folder)
    assert len(archived) == len(set(archived)) == len(good)
    assert published_counts(folder, "pictures") == count_naively(good)
    assert StoreReader(folder).board("pictures").votes == len(good)
    assert {reason for reason, _ in bad} >= {Reason.NOT_JSON, Reason.TOO_LARGE, Reason.UNKNOWN_MODEL}


def undisturbed(_number: int) -> None:
    """Leave the log in peace."""


def run_kill_test(
    log: EventLog,
    folder: Path,
    *,
    kills: int,
    rate: float,
    seed: int,
    votes: int = 0,
    disturb: Callable[[int], None] = undisturbed,
) -> None:
    """Kill the job on `log` while producers append, `votes` records at least; then count everything."""
    append_events(log, make_world(0).arena_events(0))
    watcher = Watcher(folder)
    least = -(-votes // (len(PRODUCERS) * RECORDS))
    with ExitStack() as stack:
        producers = [Producer(number, log.url, rate, least=least) for number in PRODUCERS]
        for producer in producers:
            stack.callback(producer.end)
        stack.enter_context(watcher.watching())
        kill_under_load(log.url, folder, kills, np.random.default_rng(seed), disturb)
        produced = {producer.number: producer.finish(60 + votes / 1000) for producer in producers}

        # SIGTERM: what is in the log is committed and published, and the exit code is 0.
        with start_job(log.url, folder) as job:
            wait_while_running(job, lambda: is_caught_up(log, folder))
            refused = call("pipeline", "run", "--from", log.url, "--store", folder, code=1)
            assert f"held by kwise pipeline run (process {job.process.pid}" in refused.stderr
            assert job.end(signal.SIGTERM) == 0, job.stderr
            assert job.stdout == ""
            assert job.stderr.splitlines()[-1] == f"stopped at commit {commit_of(folder)}"
        expect_everything_once(folder, produced)

        # SIGINT, right after more have come.
        with start_job(log.url, folder) as job:
            append(log, VOTES, next(make_batches(9)).records())
            wait_while_running(job, lambda: is_caught_up(log, folder))
            assert job.end(signal.SIGINT) == 0, job.stderr
        expect_everything_once(folder, produced | {9: 1})
    assert watcher.faults == []
    assert watcher.polls > 10 * kills
    assert StoreReader(folder).publication("pictures").commit == commit_of(folder)
