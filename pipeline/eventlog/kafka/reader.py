"""Reads topics of Kafka as they grow: one consumer a topic, assigned by hand, from the store's positions.

Consumer groups are used for nothing but showing the lag to other programs: what was read is what the store has
committed. What is fetched ahead is bounded by bytes; when the job is slower than the producers, votes wait in Kafka.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import numpy as np

from pipeline.contracts.log import EMPTY_BATCH, LogBatch, LogError, LogUnavailable, Position, Span, TopicPartition
from pipeline.eventlog.blocks import list_sources
from pipeline.eventlog.kafka.client import Administrator
from pipeline.eventlog.kafka.consumer import BatchConsumer
from pipeline.eventlog.kafka.positions import find_starts, wrong_timestamps
from pipeline.eventlog.kafka.records import RecordBatch, join_batches
from pipeline.eventlog.kafka.settings import KafkaSettings

_MAX_BATCH_BYTES = 16 << 20  # of envelopes; 8 bytes an id, so some 150,000 votes
_CHECK_SECONDS = 3.0  # between two looks for new partitions and for a topic that was deleted
_CATCH_UP_SECONDS = 5.0
_ALL = 1 << 30


class KafkaReader:
    """A live `LogReader` over Kafka. A topic is opened at its first poll; topics may be polled by different threads."""

    def __init__(
        self, settings: KafkaSettings, administrator: Administrator, positions: Mapping[TopicPartition, Position]
    ) -> None:
        self._settings = settings
        self._administrator = administrator
        self._positions = dict(positions)
        self._topics: dict[str, _TopicReader] = {}
        self._committed: dict[TopicPartition, Position] = {}

    def poll(self, topic: str, max_records: int, timeout: float) -> LogBatch:
        """Return the next records of `topic`, waiting up to `timeout` seconds for the first."""
        return self._topic(topic).poll(max_records, timeout)

    def read_to_end(self, topic: str) -> LogBatch:
        """Return all records up to the end that `topic` has at this moment."""
        return self._topic(topic).read_to_end()

    def note_committed(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Show the store's positions to programs that watch the group's lag; a failure is of no consequence."""
        moved = {
            source: position.offset
            for source, position in positions.items()
            if source.topic in self._topics and self._committed.get(source) != position
        }
        if moved:
            self._administrator.show_positions(moved)
            self._committed |= positions

    def at_end(self) -> bool:
        """A live log is never at its end."""
        return False

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        while self._topics:
            self._topics.popitem()[1].close()

    def _topic(self, topic: str) -> _TopicReader:
        if topic not in self._topics:
            self._topics[topic] = _TopicReader(self._settings, self._administrator, topic, self._positions)
        return self._topics[topic]


class _TopicReader:
    """One topic's consumer, and where it is in each partition."""

    def __init__(
        self,
        settings: KafkaSettings,
        administrator: Administrator,
        topic: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        self._settings = settings
        self._administrator = administrator
        self._topic = topic
        partitions = list_sources(administrator.partitions(topic))
        self._identity = administrator.topic_id(topic)
        self._next = find_starts(settings, administrator, partitions, positions)
        self._waiting: deque[tuple[TopicPartition, RecordBatch]] = deque()
        self._consumer = self._open_consumer()
        self._check_at = time.monotonic() + _CHECK_SECONDS

    def poll(self, max_records: int, timeout: float) -> LogBatch:
        """Return what is here, waiting for the first record."""
        self._check_topic()
        return self._make_batch(self._take(max_records, timeout))

    def read_to_end(self) -> LogBatch:
        """Return everything up to the present end."""
        ends = self._administrator.ends(self._next)
        taken = self._take(_ALL, 0.0)
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while self._waiting or any(self._consumer.position(source) < end for source, end in ends.items()):
            more = self._take(_ALL, 0.1)
            if more:
                deadline = time.monotonic() + _CATCH_UP_SECONDS
            elif time.monotonic() > deadline:
                raise LogUnavailable(f"{self._settings.url}: {self._topic} was not read to its end in time")
            taken += more
        return self._make_batch(taken)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _open_consumer(self) -> BatchConsumer:
        return BatchConsumer(self._settings, {source: position.offset for source, position in self._next.items()})

    def _take(self, limit: int, timeout: float) -> list[tuple[TopicPartition, RecordBatch]]:
        """Take up to `limit` records and some bytes; wait up to `timeout` seconds for the first."""
        taken: list[tuple[TopicPartition, RecordBatch]] = []
        room = _MAX_BATCH_BYTES
        while limit > 0 and room > 0:
            if not self._waiting:
                self._waiting.extend(self._consumer.take(0.0 if taken else timeout))
                if not self._waiting:
                    break
            source, batch = self._waiting.popleft()
            if len(batch.values) > limit:
                self._waiting.appendleft((source, batch.part(limit, len(batch.values))))
                batch = batch.part(0, limit)
            taken.append((source, batch))
            limit -= len(batch.values)
            room -= sum(map(len, batch.values))
        return taken

    def _make_batch(self, taken: list[tuple[TopicPartition, RecordBatch]]) -> LogBatch:
        if not taken:
            return EMPTY_BATCH
        if any(batch.appended_at is None for _, batch in taken):
            raise wrong_timestamps(self._settings, self._topic)
        ends = {source: Position(batch.next_offset) for source, batch in taken}  # of the last batch of each
        places = {source: place for place, source in enumerate(sorted(ends))}
        spans = tuple(Span(source, self._next[source], ends[source]) for source in places)
        self._next |= ends
        numbers = np.array([places[source] for source, _ in taken], np.int16)
        columns = join_batches([batch for _, batch in taken])
        return LogBatch(spans, np.repeat(numbers, [len(batch.values) for _, batch in taken]), *columns)

    def _check_topic(self) -> None:
        """Now and then, look for new partitions, and whether this is still the topic that was opened."""
        if time.monotonic() < self._check_at:
            return
        partitions = self._administrator.partitions(self._topic)
        if not partitions or self._administrator.topic_id(self._topic) != self._identity:
            state = "and created again " if partitions else ""
            raise LogError(
                f"{self._settings.url}: the topic {self._settings.topic_name(self._topic)} was deleted {state}while "
                "it was read. Put the right log back, or start a new store on this one."
            )
        new = [source for source in list_sources(partitions) if source not in self._next]
        if new:
            self._next |= find_starts(self._settings, self._administrator, new, {})
            self._waiting.clear()  # fetched again
            self._consumer.close()
            self._consumer = self._open_consumer()
        self._check_at = time.monotonic() + _CHECK_SECONDS
