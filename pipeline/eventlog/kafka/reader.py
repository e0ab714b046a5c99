"""Reads topics of Kafka as they grow: one consumer a topic, assigned by hand, from the store's positions.

Consumer groups are used for nothing but showing the lag to other programs: what was read is what the store has
committed. Prefetched records are bounded by bytes; when the job is slower than the producers, they wait in Kafka.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import confluent_kafka
import numpy as np
from confluent_kafka import KafkaError, Message

from pipeline.contracts.log import EMPTY_BATCH, LogBatch, LogError, Position, Span, TopicPartition
from pipeline.eventlog.blocks import list_sources
from pipeline.eventlog.kafka.client import Administrator, Complaints, assign, explain, open_consumer
from pipeline.eventlog.kafka.messages import make_columns, take_messages
from pipeline.eventlog.kafka.positions import find_starts, wrong_timestamps
from pipeline.eventlog.kafka.settings import KafkaSettings

_BUFFER_MB = 64
_MAX_BATCH_BYTES = 16 << 20  # of envelopes; 8 bytes an id, so some 150,000 votes
_CHECK_SECONDS = 3.0  # between two looks for new partitions and for a topic that was deleted
_CATCH_UP_SECONDS = 5.0


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
        for topic, reader in self._topics.items():
            moved = {
                source: position
                for source, position in positions.items()
                if source.topic == topic and self._committed.get(source) != position
            }
            if moved:
                reader.show_positions(moved)
                self._committed |= moved

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
        self._complaints = Complaints()
        partitions = list_sources(administrator.partitions(topic))
        self._identity = administrator.topic_id(topic)
        self._next = find_starts(settings, administrator, partitions, positions)
        self._seen = {source: start.offset for source, start in self._next.items()}  # with the holes at the end
        self._consumer = open_consumer(settings, self._seen, self._complaints, buffer_mb=_BUFFER_MB)
        self._check_at = time.monotonic() + _CHECK_SECONDS

    def poll(self, max_records: int, timeout: float) -> LogBatch:
        """Return what is here, waiting for the first record."""
        self._check_topic()
        messages = take_messages(self._consumer, max_records, _MAX_BATCH_BYTES, timeout, self._take_error)
        if self._complaints.login is not None:
            raise explain(self._settings, self._complaints.login, self._topic)
        return self._make_batch(messages) if messages else EMPTY_BATCH

    def read_to_end(self) -> LogBatch:
        """Return everything up to the present end."""
        ends = self._administrator.ends(self._next)
        messages: list[Message] = []
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        while any(self._seen[source] < end for source, end in ends.items()):
            taken = take_messages(self._consumer, 1 << 30, _MAX_BATCH_BYTES, 0.1, self._take_error)
            for message in taken:
                self._seen[TopicPartition(self._topic, message.partition())] = message.offset() + 1
            messages += taken
            if not taken and time.monotonic() > deadline:
                raise explain(self._settings, self._complaints.pick(KafkaError(KafkaError._TIMED_OUT)), self._topic)
            if taken:
                deadline = time.monotonic() + _CATCH_UP_SECONDS
        return self._make_batch(messages) if messages else EMPTY_BATCH

    def show_positions(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit `positions` to the consumer group, without waiting."""
        name = self._settings.topic_name(self._topic)
        offsets = [
            confluent_kafka.TopicPartition(name, source.partition, position.offset)
            for source, position in positions.items()
        ]
        self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _make_batch(self, messages: list[Message]) -> LogBatch:
        columns = make_columns(messages)
        if not columns.append_time:
            raise wrong_timestamps(self._settings, self._topic)
        partitions = np.fromiter(map(Message.partition, messages), np.int64, len(messages))
        present, span_of = np.unique(partitions, return_inverse=True)
        ends = np.zeros(len(present), np.int64)
        np.maximum.at(ends, span_of, columns.offsets + 1)
        spans = []
        for partition, end in zip(present.tolist(), ends.tolist(), strict=True):
            source = TopicPartition(self._topic, partition)
            spans.append(Span(source, self._next[source], Position(end)))
            self._next[source] = Position(end)
            self._seen[source] = max(self._seen[source], end)
        return LogBatch(
            tuple(spans),
            span_of.astype(np.int16),
            columns.offsets,
            columns.times,
            columns.values,
            columns.content_types,
        )

    def _take_error(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            source = TopicPartition(self._topic, message.partition())
            self._seen[source] = max(self._seen[source], message.offset())
            return
        failure = explain(self._settings, error, self._topic)
        if not failure.retriable:  # else the client tries again by itself; `_check_topic` notices if that is in vain
            raise failure

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
            starts = find_starts(self._settings, self._administrator, new, {})
            self._next |= starts
            self._seen |= {source: start.offset for source, start in starts.items()}
            assign(self._consumer, self._settings, {source: start.offset for source, start in starts.items()})
        self._check_at = time.monotonic() + _CHECK_SECONDS
