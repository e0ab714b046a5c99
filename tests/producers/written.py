"""What a log holds after a writer: votes with their partitions, out of single records and of envelopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from pipeline.contracts.log import ARROW_STREAM, VOTES, LogBatch
from pipeline.contracts.vote import Vote
from pipeline.eventlog.partitioner import partitions_of_keys
from pipeline.eventlog.urls import open_log

PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Written:
    """One vote in a log; `record` is its place among the records read."""

    partition: int
    record: int
    vote: Vote


@dataclass(frozen=True, slots=True)
class Held:
    """All records of a log, in the order of offsets within each partition."""

    values: list[bytes]
    votes: list[Written]

    def ids(self) -> list[str]:
        return sorted(written.vote.vote_id for written in self.votes)


def make_topics(url: str) -> str:
    """Make the topics of the log at `url`, and return the URL."""
    open_log(url).create_topics({VOTES: PARTITIONS, "control": 1})
    return url


def read_log(url: str) -> Held:
    """Read the log at `url` to its present end."""
    held = Held([], [])
    for batch in _read_batches(url):
        types = batch.content_types or [None] * len(batch)
        for span, value, kind in zip(batch.span_of.tolist(), batch.values, types, strict=True):
            partition = batch.spans[span].source.partition
            record = len(held.values)
            held.values.append(value)
            held.votes.extend(Written(partition, record, vote) for vote in _decode(value, kind))
    return held


def read_values(url: str) -> list[bytes]:
    """Return the records of the log at `url` as they are."""
    return [value for batch in _read_batches(url) for value in batch.values]


def check_places(held: Held, votes: Sequence[Vote]) -> None:
    """Each of `votes` is there once, in the partition of its matchup, behind those written before it."""
    assert held.ids() == sorted(vote.vote_id for vote in votes)
    numbers = {vote.vote_id: number for number, vote in enumerate(votes)}
    expected = partitions_of_keys([vote.matchup_id for vote in votes], PARTITIONS, 0).tolist()
    last = [-1] * PARTITIONS
    for written in held.votes:
        number = numbers[written.vote.vote_id]
        assert written.vote == votes[number]
        assert written.partition == expected[number]
        assert number > last[written.partition]
        last[written.partition] = number


def _read_batches(url: str) -> Iterator[LogBatch]:
    reader = open_log(url).reader({}, live=False)
    try:
        while not reader.at_end():
            yield reader.poll(VOTES, 10_000, 0)
    finally:
        reader.close()


def _decode(value: bytes, kind: str | None) -> list[Vote]:
    if kind != ARROW_STREAM:
        return [msgspec.json.decode(value, type=Vote)]
    rows = pa.ipc.open_stream(value).read_all().to_pylist()
    return [msgspec.convert({k: v for k, v in row.items() if v is not None}, Vote) for row in rows]
