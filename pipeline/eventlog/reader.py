"""Reads a log partition by partition: live, or to the end that it had when it was opened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import chain

import numpy as np

from pipeline.contracts.log import EMPTY_BATCH, LogBatch, Position, Span, TopicPartition
from pipeline.eventlog.blocks import MAX_POLL_BYTES, START, Block, BlockSource, check_positions, list_sources

_ALL = 1 << 30


class PartitionReader:
    """A `LogReader` over a `BlockSource`. Not for use from several threads at once.

    A batch shares `max_records` fairly among the partitions that have data, and holds one span for each that
    gave records; holes (blank lines) belong to the span of the next record. `at_end` speaks of the topics
    polled so far.
    """

    def __init__(self, url: str, source: BlockSource, positions: Mapping[TopicPartition, Position]) -> None:
        self._url = url
        self._source = source
        self._starts: dict[TopicPartition, Position] = dict(positions)  # the end of each partition's last span
        self._next: dict[TopicPartition, Position] = dict(positions)  # the same, moved on over holes
        self._ends: dict[str, dict[TopicPartition, int]] = {}
        self._turn = 0

    def poll(self, topic: str, max_records: int, timeout: float) -> LogBatch:
        """Return the next records of `topic`, waiting up to `timeout` seconds for the first."""
        deadline = time.monotonic() + timeout
        while True:
            complete = self._source.complete()  # before reading: what is appended in between is read in the next round
            batch = self._read(topic, max_records)
            left = deadline - time.monotonic()
            if len(batch) or left <= 0 or (complete and not self._active(topic)):
                return batch
            if not complete:
                self._source.wait(left)

    def read_to_end(self, topic: str) -> LogBatch:
        """Return all records of `topic` up to its present end."""
        return self.poll(topic, _ALL, 0.0)

    def note_committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Nobody watches: `ends` and the store tell the lag."""

    def at_end(self) -> bool:
        """Whether the log is finite and all of the topics polled so far has been returned."""
        return bool(self._ends) and self._source.complete() and not any(self._active(topic) for topic in self._ends)

    def close(self) -> None:
        """Release what is held. Idempotent."""
        self._source.close()

    def _active(self, topic: str) -> list[tuple[int, TopicPartition]]:
        """Return the partitions with something left, and how much, smallest first."""
        ends = self._ends.get(topic, {})
        left = ((end - self._next.get(source, START).offset, source) for source, end in ends.items())
        return sorted((much, source) for much, source in left if much > 0)

    def _read(self, topic: str, max_records: int) -> LogBatch:
        ends = self._source.ends(topic)
        check_positions(self._url, self._next, ends, topic)
        list_sources(ends)
        self._ends[topic] = ends
        active = self._active(topic)
        if len(active) > max_records:
            # Too few to go round: each partition gets its turn.
            turn = self._turn % len(active)
            active = sorted(active, key=lambda item: item[1])
            active = (active + active)[turn : turn + max_records]
            self._turn += max_records
        blocks = []
        records, size = max_records, MAX_POLL_BYTES
        for place, (_, source) in enumerate(active):
            # The smallest come first, so what they leave of their share goes to the larger ones.
            sharers = len(active) - place
            start = self._next.get(source, START)
            block = self._source.read(
                source, start, ends[source], max(1, records // sharers), max(1, size // sharers), by_row=False
            )
            if block.end > start.offset:
                self._next[source] = Position(block.end)
            if len(block):
                blocks.append(block)
                records -= block.votes
                size -= sum(map(len, block.values))
            if records <= 0 or size <= 0:
                break
        return self._join(blocks)

    def _join(self, blocks: list[Block]) -> LogBatch:
        if not blocks:
            return EMPTY_BATCH
        blocks.sort(key=lambda block: block.source)
        spans = []
        for block in blocks:
            spans.append(Span(block.source, self._starts.get(block.source, START), Position(block.end)))
            self._starts[block.source] = Position(block.end)
        types: list[str | None] | None = None
        if any(block.content_types for block in blocks):
            types = list(chain.from_iterable(block.content_types or [None] * len(block) for block in blocks))
        return LogBatch(
            tuple(spans),
            np.repeat(np.arange(len(blocks), dtype=np.int16), [len(block) for block in blocks]),
            np.concatenate([block.offsets for block in blocks]),
            np.concatenate([block.appended_at for block in blocks]),
            blocks[0].values if len(blocks) == 1 else list(chain.from_iterable(block.values for block in blocks)),
            types,
        )
