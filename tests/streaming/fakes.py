"""A log that lives in memory and fails when it is told to, and short ways to run a job on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts.log import (
    CONTROL,
    EMPTY_BATCH,
    MATCHUPS,
    VOTES,
    LogBatch,
    MergedReader,
    Position,
    Record,
    Span,
    TopicPartition,
)
from pipeline.operators.rate import RateSettings
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.streaming import owner
from pipeline.streaming.job import run_job
from tests.broken_records import APPENDED_AT, good_record

VOTES_0 = TopicPartition(VOTES, 0)
CONTROL_0 = TopicPartition(CONTROL, 0)


@dataclass(slots=True)
class Abort:
    """A sentinel between votes: polling it fails so many times, and then it is gone."""

    error: Exception
    times: int = 1


@dataclass
class FakeLog:
    """One partition a topic. `votes` holds records and sentinels; `per_poll` records are given at a time.

    `on_poll` is called with the topic before each poll. A live log whose records are all read waits like a real one.
    """

    votes: list[bytes | Abort]
    control: list[bytes] = field(default_factory=list)
    per_poll: int = 4
    on_poll: Callable[[str], None] = lambda _topic: None
    url: str = "fake:log"
    row_times: bool = False
    has_matchups: bool = True
    written: list[tuple[str, bytes]] = field(default_factory=list)
    opened_at: list[dict[TopicPartition, Position]] = field(default_factory=list)
    append_errors: list[Exception] = field(default_factory=list)
    open_errors: list[Exception] = field(default_factory=list)
    committed: list[dict[TopicPartition, Position]] = field(default_factory=list)

    def preflight(self, topics: Sequence[str]) -> None:
        assert set(topics) == {VOTES, CONTROL, MATCHUPS}

    def create_topics(self, partitions: Mapping[str, int]) -> None:  # noqa: ARG002 - the protocol's
        raise AssertionError("a job creates no topics")

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> FakeReader:
        if self.open_errors:
            raise self.open_errors.pop(0)
        self.opened_at.append(dict(positions))
        return FakeReader(self, dict(positions), live=live)

    def merged_reader(self, *_given: object, **_settings: object) -> MergedReader:
        raise AssertionError("a job does not merge")

    def writer(self, *, patience_s: float | None = None) -> FakeWriter:  # noqa: ARG002 - the protocol's
        return FakeWriter(self)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        if topic == MATCHUPS and not self.has_matchups:
            return {}
        return {TopicPartition(topic, 0): len(self.records(topic))}

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        return dict.fromkeys(partitions, self.url)

    def records(self, topic: str) -> list[bytes]:
        if topic == CONTROL:
            return list(self.control)
        return [item for item in self.votes if isinstance(item, bytes)] if topic == VOTES else []


class FakeReader:
    def __init__(self, log: FakeLog, positions: dict[TopicPartition, Position], *, live: bool) -> None:
        self._log = log
        self._positions = positions
        self._live = live
        self._in_use = threading.Lock()
        self.closed = False

    def poll(self, topic: str, max_records: int, timeout: float) -> LogBatch:
        assert self._in_use.acquire(blocking=False), "a reader is for one thread at a time"
        try:
            return self._poll(topic, max_records, timeout)
        finally:
            self._in_use.release()

    def _poll(self, topic: str, max_records: int, timeout: float) -> LogBatch:
        assert not self.closed
        self._log.on_poll(topic)
        source = TopicPartition(topic, 0)
        start = self._positions.get(source, Position(0)).offset
        end = start
        if topic == VOTES:
            for item in self._from(start):
                if isinstance(item, Abort):
                    if end > start:
                        break
                    self._count_down(item)
                    raise item.error
                end += 1
                if end - start == min(self._log.per_poll, max_records):
                    break
        else:
            end = len(self._log.records(topic))
        if end == start:
            if self._live and timeout:
                threading.Event().wait(timeout)
            return EMPTY_BATCH
        self._positions[source] = Position(end)
        values = self._log.records(topic)[start:end]
        return make_batch(source, start, values)

    def read_to_end(self, topic: str) -> LogBatch:
        return self.poll(topic, 1 << 30, 0.0)

    def note_committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        self._log.committed.append(dict(positions))

    def at_end(self) -> bool:
        if self._live or any(isinstance(item, Abort) for item in self._log.votes):
            return False
        ends = {VOTES_0: len(self._log.records(VOTES)), CONTROL_0: len(self._log.records(CONTROL))}
        return all(self._positions.get(source, Position(0)).offset >= end for source, end in ends.items())

    def close(self) -> None:
        assert not self._in_use.locked(), "a reader is closed while it reads"
        self.closed = True

    def _from(self, start: int) -> Iterator[bytes | Abort]:
        offset = 0
        for item in list(self._log.votes):
            if offset >= start:
                yield item
            offset += isinstance(item, bytes)

    def _count_down(self, sentinel: Abort) -> None:
        sentinel.times -= 1
        if not sentinel.times:
            self._log.votes.remove(sentinel)


class FakeWriter:
    def __init__(self, log: FakeLog) -> None:
        self._log = log

    def append(self, topic: str, records: Sequence[Record]) -> None:
        if self._log.append_errors:
            raise self._log.append_errors.pop(0)
        self._log.written.extend((topic, record.value) for record in records)

    def close(self) -> None:
        pass


def make_batch(source: TopicPartition, start: int, values: list[bytes], appended_at: int = APPENDED_AT) -> LogBatch:
    n = len(values)
    return LogBatch(
        (Span(source, Position(start), Position(start + n)),),
        np.zeros(n, np.int16),
        np.arange(start, start + n, dtype=np.int64),
        np.full(n, appended_at, np.int64),
        values,
    )


def good_votes(count: int, first: int = 0) -> list[bytes]:
    return [good_record(number) for number in range(first, first + count)]


@dataclass(slots=True)
class JobRun:
    """What a job that has ended left behind."""

    store: DuckStore
    said: list[str]

    @property
    def sequence(self) -> int:
        return self.store.load().sequence

    def vote_ids(self) -> list[str]:
        ids = [each for batch in self.store.read_archive() for each in batch["vote_id"].to_pylist()]
        return [each for each in ids if each is not None]


def run_on(log: FakeLog, folder: Path, stop: threading.Event | None = None, **settings: Any) -> JobRun:
    """Run a job on `log` until its end, or until `stop`; the store stays open."""
    said: list[str] = []
    store = open_store(folder, holder="a test")
    run = JobRun(store, said)
    rate = RateSettings(propose=settings.pop("propose", False), seed=settings.pop("seed", None))
    try:
        run_job(
            log,
            store,
            rate,
            owner_key=str(folder),
            stop=stop or threading.Event(),
            announce=said.append,
            live=settings.pop("live", False),
            **settings,
        )
    except BaseException as error:
        error.said = said  # type: ignore[attr-defined]
        store.close()
        raise
    return run


def make_haste(monkeypatch: Any) -> None:
    """Shorten the waits before another try; call a poll of `FakeLog` full, so that the next is read ahead."""
    monkeypatch.setattr(owner, "POLL_RECORDS", FakeLog.per_poll)
    monkeypatch.setattr(owner, "_FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(owner, "_LONGEST_BACKOFF_S", 0.05)
