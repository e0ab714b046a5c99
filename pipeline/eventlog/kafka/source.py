"""A finite look at topics of Kafka, partition by partition: what merging and reading to an end need.

One consumer reads all partitions. Kafka hands out what comes first, and the caller asks for one partition after the
other, so records of the others wait in buffers; a partition whose buffer is full is paused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.contracts.log import LogUnavailable, Position, TopicPartition
from pipeline.eventlog.blocks import Block, empty_block
from pipeline.eventlog.kafka.client import Administrator
from pipeline.eventlog.kafka.consumer import BatchConsumer
from pipeline.eventlog.kafka.positions import find_starts, wrong_timestamps
from pipeline.eventlog.kafka.records import RecordBatch, join_batches
from pipeline.eventlog.kafka.settings import KafkaSettings

_LANE_BYTES = 16 << 20  # a partition with more than this in its buffer is paused
_SILENCE_SECONDS = 10.0


class _Lane:
    """One partition: batches that came and were not asked for yet."""

    def __init__(self, end: int) -> None:
        self.batches: deque[RecordBatch] = deque()
        self.size = 0
        self.end = end
        self.paused = False

    def add(self, batch: RecordBatch) -> None:
        """Take what lies before the end."""
        inside = int(np.searchsorted(batch.offsets, self.end))
        if inside:
            self.batches.append(batch if inside == len(batch.offsets) else batch.part(0, inside))
            self.size += sum(map(len, self.batches[-1].values))

    def take(self, limit: int, max_bytes: int) -> list[RecordBatch]:
        """Remove and return up to `limit` records, and about `max_bytes` at most."""
        taken: list[RecordBatch] = []
        while self.batches and limit > 0 and max_bytes > 0:
            batch = self.batches.popleft()
            if len(batch.values) > limit:
                self.batches.appendleft(batch.part(limit, len(batch.values)))
                batch = batch.part(0, limit)
            taken.append(batch)
            size = sum(map(len, batch.values))
            limit, max_bytes, self.size = limit - len(batch.values), max_bytes - size, self.size - size
        return taken


class KafkaSource:
    """A `BlockSource` over `topics` of Kafka as they are now; reading starts at `positions`."""

    def __init__(
        self,
        settings: KafkaSettings,
        administrator: Administrator,
        topics: Sequence[str],
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        self._settings = settings
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._ends: dict[str, dict[TopicPartition, int]] = {}
        starts: dict[TopicPartition, int] = {}
        for topic in topics:
            partitions = administrator.partitions(topic)
            self._ends[topic] = administrator.ends(partitions)
            for source, start in find_starts(settings, administrator, partitions, positions).items():
                starts[source] = start.offset
                self._lanes[source] = _Lane(self._ends[topic][source])
        self._consumer = BatchConsumer(settings, starts)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return the end that each partition of `topic` had when this was opened."""
        return self._ends.get(topic, {})

    def read(
        self, source: TopicPartition, start: Position, end: int, limit: int, max_bytes: int, *, by_row: bool
    ) -> Block:
        """Return the next records of `source`; `start` is where the last call ended."""
        del by_row  # every record stands for itself
        lane = self._lanes[source]
        deadline = time.monotonic() + _SILENCE_SECONDS
        while not lane.batches and self._consumer.position(source) < end:
            if self._fetch(source):
                deadline = time.monotonic() + _SILENCE_SECONDS
            elif time.monotonic() > deadline:
                raise LogUnavailable(f"{self._settings.url}: {source.topic}/{source.partition} gives nothing more")
        taken = lane.take(limit, max_bytes)
        if not taken:
            return empty_block(source, max(start.offset, end))
        if any(batch.appended_at is None for batch in taken):
            raise wrong_timestamps(self._settings, source.topic)
        columns = join_batches(taken)
        is_last = not lane.batches and self._consumer.position(source) >= end
        return Block(
            source,
            columns.offsets,
            columns.offsets + 1,
            columns.appended_at,
            columns.values,
            columns.content_types,
            end if is_last else taken[-1].next_offset,
        )

    def complete(self) -> bool:
        """Whether `ends` are final."""
        return True

    def wait(self, timeout: float) -> None:
        """Return at once: nothing more will come."""

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._consumer.close()

    def _fetch(self, wanted: TopicPartition) -> bool:
        """Take what the consumer has into the buffers; return whether anything came."""
        if self._lanes[wanted].paused:
            self._consumer.resume([wanted])
            self._lanes[wanted].paused = False
        before = self._consumer.position(wanted)
        taken = self._consumer.take(0.2)
        for source, batch in taken:
            self._lanes[source].add(batch)
        for source, lane in self._lanes.items():
            if source != wanted and not lane.paused and lane.size > _LANE_BYTES:
                self._consumer.pause([source])
                lane.paused = True
        return bool(taken) or self._consumer.position(wanted) > before
