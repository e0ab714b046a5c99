"""Use the dispatcher with 10,000 matchups in its queue: ``python -m benchmarks.dispatcher [--quick]``.

Everything that is promised to voters and workers is flushed to disk, as in life, unless said otherwise.

- *taking in*: proposals a second, in batches as they come from the log;
- *leases* and *finishes*: one worker alone, with as many matchups in the making as `IN_FLIGHT`;
- *shows*: one voter after the other, flushed and not; `VOTERS` in one call, as the gateway does it; and `VOTERS` at
  once from 32 threads, the time of each from the first one's asking to its answer;
- *peers*: a bare flush of one page by this disk, and `VOTERS` at once with a transaction and a flush for each, as it
  would be without group commit.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks.machine import describe_machine, describe_versions, hand_out, parse_options
from pipeline.contracts.matchup import Matchup, MatchupPrompt
from producers.artifacts.media import TEXT
from producers.artifacts.store import open_artifacts
from producers.dispatcher.dispatcher import Dispatcher
from producers.dispatcher.settings import DispatcherSettings
from producers.dispatcher.types import Showing

NOW = 1_764_000_000_000
HOUR_MS = 3_600_000
ARENA = "text-to-image"
K = 4
MODELS = tuple(f"model-{number:02d}" for number in range(50))
TAKEN_AT_ONCE = 50
IN_FLIGHT = 200
VOTERS = 500
THREADS = 32
TARGETS = {"show_unflushed_p50_ms": "at most 1", "show_500_in_one_call_ms": "at most 250"}


def make_matchups(count_: int, prompts: int, rng: random.Random) -> list[Matchup]:
    """Make matchups of random models over a pool of prompts."""
    return [
        Matchup(
            matchup_id=rng.randbytes(16).hex(),
            arena=ARENA,
            models=tuple(rng.sample(MODELS, K)),
            prompt=MatchupPrompt(id=f"p-{number % prompts}", text=f"prompt {number % prompts}", seed=number),
            policy="gibbs",
            propensity=0.001,
            commit=1,
            created=NOW,
            expires=NOW + HOUR_MS + number,
        )
        for number in range(count_)
    ]


def open_queue(folder: Path, ready: int, *, durable: bool = True) -> Dispatcher:
    """Open a new queue in `folder` that wants that many matchups ready."""
    folder.mkdir()
    artifacts = open_artifacts(folder / "artifacts", clock=lambda: NOW)
    settings = DispatcherSettings(ready_min=ready, ready_max=ready, durable=durable)
    return Dispatcher(folder / "queue.db", artifacts, settings, clock=lambda: NOW)


def timed(work: Callable[[], object]) -> float:
    """Return how long `work` takes, in ms."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def quantile(times: list[float], share: float) -> float:
    """Return a quantile, rounded."""
    return round(sorted(times)[min(int(share * len(times)), len(times) - 1)], 3)


def measure_intake(folder: Path, matchups: list[Matchup]) -> tuple[Dispatcher, dict[str, float]]:
    """Take all in; return the queue and the figures. It wants `IN_FLIGHT` matchups."""
    queue = open_queue(folder, IN_FLIGHT)
    batches = [matchups[start : start + TAKEN_AT_ONCE] for start in range(0, len(matchups), TAKEN_AT_ONCE)]
    times = [timed(lambda batch=batch: queue.take_proposals(batch, {})) for batch in batches]  # type: ignore[misc]
    return queue, {
        "taken_in_per_s": round(len(matchups) / sum(times) * 1000),
        "taken_in_50_p99_ms": quantile(times, 0.99),
    }


def measure_work(queue: Dispatcher) -> dict[str, float]:
    """Make what is wanted, one worker alone."""
    artifact = queue.artifacts.put(b"made", TEXT)
    leases, finishes = [], []
    while True:
        began = time.perf_counter()
        jobs = queue.lease_jobs("w", now=NOW)
        leases.append((time.perf_counter() - began) * 1000)
        if not jobs:
            break
        for job in jobs:
            finishes.append(timed(lambda job=job: queue.finish_job(job.job_id, job.fence, artifact, NOW)))  # type: ignore[misc]
    return {
        "lease_p50_ms": quantile(leases, 0.5),
        "lease_p99_ms": quantile(leases, 0.99),
        "finish_p50_ms": quantile(finishes, 0.5),
        "counts_ms": round(timed(lambda: queue.counts(NOW)), 2),
        "expire_ms": round(timed(lambda: queue.expire(NOW)), 2),
    }


def fill(folder: Path, matchups: list[Matchup], *, durable: bool = True) -> Dispatcher:
    """Return a queue in which all `matchups` are ready."""
    queue = open_queue(folder, 1, durable=durable)
    artifact = queue.artifacts.put(b"made", TEXT)
    # All jobs are done before the matchups come: the quickest way to many that are ready.
    queue.take_proposals(matchups, {})
    queue._writer.run(
        lambda connection: connection.execute(
            "UPDATE jobs SET state = 2, sha256 = ?, media_type = ?", (artifact.sha256, artifact.media_type)
        )
    )
    queue._writer.run(
        lambda connection: connection.execute("UPDATE matchups SET state = 1, missing = 0, ready_at = ?", (NOW,))
    )
    return queue


def measure_shows(queue: Dispatcher, rounds: int, numbers: Iterator[int]) -> dict[str, float]:
    """Show one by one, then to many at once."""
    single = [timed(lambda: must_show(queue, next(numbers))) for _ in range(VOTERS)]
    together = [timed(lambda: show_all(queue, numbers)) for _ in range(rounds)]
    crowds = [show_at_once(lambda: must_show(queue, next(numbers))) for _ in range(rounds)]
    return {
        "show_p50_ms": quantile(single, 0.5),
        "show_p99_ms": quantile(single, 0.99),
        "show_500_in_one_call_ms": round(statistics.median(together), 1),
        "show_500_at_once_p50_ms": round(statistics.median(quantile(crowd, 0.5) for crowd in crowds), 1),
        "show_500_at_once_p99_ms": round(statistics.median(quantile(crowd, 0.99) for crowd in crowds), 1),
    }


def measure_flush(folder: Path) -> float:
    """Return the median time in ms that this disk takes to flush one page."""
    with (folder / "page").open("wb", buffering=0) as file:

        def flush() -> None:
            file.seek(0)
            file.write(random.randbytes(4096))
            os.fsync(file.fileno())

        return quantile([timed(flush) for _ in range(200)], 0.5)


def show_all(queue: Dispatcher, numbers: Iterator[int]) -> None:
    """Show to `VOTERS` in one call, as the gateway does with those who wait together."""
    shown = queue.show_all([(ARENA, f"voter-{next(numbers)}") for _ in range(VOTERS)], NOW)
    assert all(isinstance(each, Showing) for each in shown)


def measure_single_flushes(queue: Dispatcher, rounds: int, numbers: Iterator[int]) -> float:
    """Show to many at once, with a transaction for each; return the p99 in ms."""
    alone = threading.Lock()

    def show() -> None:
        with alone:  # so no two wait together
            must_show(queue, next(numbers))

    return round(statistics.median(quantile(show_at_once(show), 0.99) for _ in range(rounds)), 1)


def show_at_once(show: Callable[[], None]) -> list[float]:
    """Let `VOTERS` ask at once; return how long each waited for the answer, in ms."""
    with ThreadPoolExecutor(THREADS) as threads:
        began = time.perf_counter()

        def ask() -> float:
            show()
            return (time.perf_counter() - began) * 1000

        asked = [threads.submit(ask) for _ in range(VOTERS)]
        return [each.result() for each in asked]


def must_show(queue: Dispatcher, number: int) -> None:
    """Show a matchup to a new voter; there must be one."""
    assert isinstance(queue.show_next(ARENA, f"voter-{number}", NOW), Showing)


def run(folder: Path, queued: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Measure all parts; return figures and peers."""
    rng = random.Random(1)
    matchups = make_matchups(queued, 1_000, rng)
    queue, figures = measure_intake(folder / "work", matchups)
    with queue:
        figures |= measure_work(queue)
    numbers = count()
    with fill(folder / "unflushed", matchups, durable=False) as queue:
        times = [timed(lambda: must_show(queue, next(numbers))) for _ in range(VOTERS)]
        figures["show_unflushed_p50_ms"] = quantile(times, 0.5)
    with fill(folder / "shows", matchups) as queue:
        figures |= measure_shows(queue, rounds, numbers)
        peers = {"bare_flush_p50_ms": measure_flush(folder)}
        peers |= {"one_flush_a_voter_500_at_once_p99_ms": measure_single_flushes(queue, rounds, numbers)}
    return figures, peers


def main() -> None:
    """Run all parts and print one JSON object as the last line."""
    options = parse_options(__doc__, quick="one round, fewer matchups")
    queued, rounds = (4_000, 1) if options.quick else (10_000, 5)
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="kwise-bench-") as name:
        figures, peers = run(Path(name), queued, rounds)
    result = {
        "benchmark": "dispatcher",
        "figures": {"matchups": queued, "in_flight": IN_FLIGHT, "voters_at_once": VOTERS, **figures},
        "peers": peers,
        "targets": TARGETS,
        "versions": describe_versions("msgspec", "pyarrow"),
        "machine": machine,
    }
    hand_out(result, save=options.save)


if __name__ == "__main__":
    main()
