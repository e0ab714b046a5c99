"""A writer that is to be killed. What commit n holds is a function of n: so the parent knows what must be there."""

from __future__ import annotations

import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from pipeline.contracts.store import Commit
from pipeline.store.compaction import POLICIES, Policy
from pipeline.store.duck_store import open_store
from tests.store.factory import (
    HOUR,
    START,
    make_commit,
    make_counts,
    make_dead,
    make_matchup,
    make_publication,
    make_rows,
    make_window,
)

WINDOW_COMMITS = 40
"""So many commits' votes are in the de-duplication window."""
GRACE_MS = 1_000


def sizes_of(number: int) -> tuple[int, int]:
    """Return how many votes and dead letters commit `number` holds."""
    if number == 1:
        return 0, 0
    rng = random.Random(number)
    return rng.choice((0, 1, 7, 60)), rng.choice((0, 0, 1, 3))


def log_time_of(number: int) -> int:
    """Return the log time of commit `number`: an hour is over every 12 commits."""
    return START + number // 12 * HOUR + number


def horizon_of(number: int) -> int:
    """Return the horizon of commit `number`."""
    return START + number - WINDOW_COMMITS


def make_child_commit(number: int, sequence: int) -> Commit:
    """Return commit `number`, which ends at `sequence`."""
    votes, dead = sizes_of(number)
    return make_commit(
        number,
        sequence=sequence,
        log_time=log_time_of(number),
        dead=make_dead(dead, offset=number * 10),
        window=make_window([START + number] * votes),
        horizon=horizon_of(number),
        state={"number": str(number).encode()},
        counts={"text-to-image": make_counts(1)},
        outbox=[make_matchup(number)],
        delivered=[f"m{number - 1}"],
    )


def write_until_killed(path: Path, report: Connection) -> None:
    """Commit and publish without end, and report the number of each commit that is durable; 0 = has opened."""
    merge_often()
    with open_store(path, holder="crash child", grace_ms=GRACE_MS) as store:
        loaded = store.load()
        number, sequence = loaded.commit, loaded.sequence
        report.send(0)
        while True:
            number += 1
            votes, _ = sizes_of(number)
            for first, last in split_rows(sequence + 1, sequence + votes):
                store.stage_archive(make_rows(first, last, number))
            sequence += votes
            store.commit(make_child_commit(number, sequence))
            report.send(number)
            store.publish([make_publication(number)])
            store.heartbeat(number)


def split_rows(first: int, last: int) -> list[tuple[int, int]]:
    """Split rows into two stretches, to be staged one after the other."""
    half = (first + last) // 2
    return [(start, end) for start, end in ((first, half), (half + 1, last)) if start <= end]


def merge_often() -> Callable[[], None]:
    """Let three files be many; return what undoes it."""
    before = dict(POLICIES)
    POLICIES.update({kind: Policy(3, policy.most_rows) for kind, policy in before.items()})
    return lambda: POLICIES.update(before)
