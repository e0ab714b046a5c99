"""Statuses made up for these tests: published by the real writer, read by the real reader."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec

from pipeline.contracts.status import ArenaStatus, FreshnessStatus, PartitionStatus, Sample, Status, WindowStatus
from pipeline.store.recent import EVERY_MS, RECENT_NAME
from tests.dashboard.made_store import wall_ms

DEAD = {"not_json": 12, "unknown_model": 241, "already_voted": 1_031, "bad_time": 3}


def make_status(**changes: Any) -> Status:
    """The status of a job that has run for three hours and keeps up; `changes` replace fields."""
    now = wall_ms()
    ends = [52_310, 51_877, 53_004, 52_491]
    status = Status(
        started=now - 3 * 3_600_000,
        commits=20_904,
        restarts=0,
        accepted=208_213,
        duplicates=1_467,
        dead=DEAD,
        votes_per_s=58.3,
        lag=(
            PartitionStatus(topic="control", partition=0, position=31, end=31),
            *(
                PartitionStatus(topic="votes", partition=number, position=end, end=end)
                for number, end in enumerate(ends)
            ),
        ),
        lag_at=now - 1_200,
        freshness=FreshnessStatus(
            votes=3_498, p50_ms=412, p99_ms=905, total=208_213, sum_ms=90_000_000, buckets=(9, *(208_213,) * 11)
        ),
        window=WindowStatus(votes=208_213, limit=20_000_000, horizon=0, bytes=24_000_000),
        arenas={
            "text-to-image": ArenaStatus(accepted=190_013, votes=189_980, models=36, open_matchups=64),
            "text-to-video": ArenaStatus(accepted=18_200, votes=18_200, models=12, open_matchups=16),
        },
        counts_bytes=1_240_000,
    )
    return msgspec.structs.replace(status, **changes)


def write_recent(folder: Path, status: Status, minutes: int = 60) -> None:
    """Write the last `minutes` of a job that was away for five of them, up to now; before the store is opened."""
    now = wall_ms()
    samples = []
    accepted = status.accepted
    for back in range(minutes * 60_000 // EVERY_MS):
        phase = back / 40
        rate = 58 + 22 * math.sin(phase) + 8 * math.sin(7.3 * phase)
        late = 900 + 180 * math.sin(3 * phase) + (1_400 if 200 < back < 212 else 0)
        time = now - (back + 1) * EVERY_MS
        if not 330 < back < 390:
            lag = 900 - 70 * (212 - back) if 200 < back < 212 else max(0, round(20 * math.sin(5 * phase)))
            samples.append(Sample(time, accepted, 1_467, status.total_dead, lag, round(0.45 * late), round(late)))
        accepted -= round(rate * EVERY_MS / 1000)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECENT_NAME).write_bytes(msgspec.json.encode(samples[::-1]))
