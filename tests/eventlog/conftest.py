"""What the tests of the event log share: a clock, logs, and short ways to write and read them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.log import LogBatch, LogReader, Record, TopicPartition
from pipeline.eventlog import sqlite_file, sqlite_log
from pipeline.eventlog.sqlite_log import SqliteLog

VOTES_0 = TopicPartition("votes", 0)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: int = 1_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def make_vote(number: int, time: int = 1_764_000_000_000, **more: object) -> bytes:
    fields = {
        "schema": 1,
        "vote_id": f"v{number}",
        "matchup_id": f"m{number}",
        "arena": "t2i",
        "time": time,
        "models": ["a", "b"],
        "ranks": [1, 2],
    }
    return json.dumps(fields | more).encode()


def keep_all(values: Iterable[bytes]) -> list[Record]:
    return [Record(value) for value in values]


def read_all(reader: LogReader, topic: str = "votes", max_records: int = 1000) -> list[LogBatch]:
    """Poll a finite reader to its end and close it."""
    batches = []
    while not reader.at_end():
        batch = reader.poll(topic, max_records, 0)
        if len(batch):
            batches.append(batch)
    reader.close()
    return batches


def values_of(batches: Iterable[LogBatch]) -> list[bytes]:
    return [value for batch in batches for value in batch.values]


def check_spans(batches: Iterable[LogBatch], starts: Mapping[TopicPartition, tuple[int, int]] | None = None) -> None:
    """Spans chain, and every record lies in its span."""
    ends: dict[TopicPartition, tuple[int, int]] = dict(starts or {})
    for batch in batches:
        for number, span in enumerate(batch.spans):
            assert span.start == ends.get(span.source, (0, 0))
            assert span.end > span.start
            ends[span.source] = span.end
            offsets = batch.offsets[batch.span_of == number]
            assert len(offsets)
            assert span.start.offset <= offsets[0]
            assert offsets[-1] < span.end.offset
            assert (offsets[1:] > offsets[:-1]).all()


@pytest.fixture(autouse=True)
def _close_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open: newer Pythons warn of it."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite_file.connect

    def connect_noted(*args: Any, **settings: Any) -> sqlite3.Connection:
        opened.append(connect(*args, **settings))
        return opened[-1]

    monkeypatch.setattr(sqlite_log, "connect", connect_noted)
    yield
    for connection in opened:
        connection.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_log(tmp_path: Path, clock: Clock) -> Callable[..., SqliteLog]:
    def make(partitions: int = 1, name: str = "events.db", **settings: float) -> SqliteLog:
        log = SqliteLog(tmp_path / name, clock=clock, **settings)
        log.create_topics({"votes": partitions, "control": 1})
        return log

    return make
