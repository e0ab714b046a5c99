"""A finite look at topics of Kafka, partition by partition: what merging and reading to an end need.

One consumer reads all partitions. Kafka hands out what comes first, and the caller asks for one partition after the
other, so records of the others wait in buffers; a partition whose buffer is full is paused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

from confluent_kafka import KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from pipeline.contracts.log import Position, TopicPartition
from pipeline.eventlog.blocks import Block, empty_block
from pipeline.eventlog.kafka.client import Administrator, Complaints, explain, open_consumer
from pipeline.eventlog.kafka.messages import make_columns, take_messages
from pipeline.eventlog.kafka.positions import find_starts, wrong_timestamps
from pipeline.eventlog.kafka.settings import KafkaSettings

_BUFFER_MB = 32
_LANE_BYTES = 16 << 20  # a partition with more than this in its buffer is paused
_SILENCE_SECONDS = 10.0


class _Lane:
    """One partition: messages that came and were not asked for yet, and how far the consumer is."""

    def __init__(self, start: int, end: int) -> None:
        self.messages: deque[Message] = deque()
        self.size = 0
        self.seen = start
        self.end = end
        self.paused = False


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
        self._complaints = Complaints()
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._ends: dict[str, dict[TopicPartition, int]] = {}
        for topic in topics:
            partitions = administrator.partitions(topic)
            self._ends[topic] = administrator.ends(partitions)
            for source, start in find_starts(settings, administrator, partitions, positions).items():
                self._lanes[source] = _Lane(start.offset, self._ends[topic][source])
        starts = {source: lane.seen for source, lane in self._lanes.items() if lane.seen < lane.end}
        self._consumer = open_consumer(settings, starts, self._complaints, buffer_mb=_BUFFER_MB)

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
        while not lane.messages and lane.seen < end:
            if self._fetch(source):
                deadline = time.monotonic() + _SILENCE_SECONDS
            elif time.monotonic() > deadline:
                raise explain(self._settings, self._complaints.pick(KafkaError(KafkaError._TIMED_OUT)), source.topic)
        if not lane.messages:
            return empty_block(source, max(start.offset, end))
        return self._take(source, lane, end, limit, max_bytes)

    def complete(self) -> bool:
        """Whether `ends` are final."""
        return True

    def wait(self, timeout: float) -> None:
        """Return at once: nothing more will come."""

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._consumer.close()

    def _take(self, source: TopicPartition, lane: _Lane, end: int, limit: int, max_bytes: int) -> Block:
        count = 0
        for message in lane.messages:
            if count == limit or max_bytes <= 0:
                break
            count += 1
            max_bytes -= len(message)
        messages = list(islice(lane.messages, count))
        for _ in range(count):
            lane.messages.popleft()
        lane.size -= sum(map(len, messages))
        columns = make_columns(messages)
        if not columns.append_time:
            raise wrong_timestamps(self._settings, source.topic)
        after = int(columns.offsets[-1]) + 1 if lane.messages or lane.seen < end else end
        return Block(
            source,
            columns.offsets,
            columns.offsets + 1,
            columns.times,
            columns.values,
            columns.content_types,
            after,
        )

    def _fetch(self, wanted: TopicPartition) -> bool:
        """Take what the consumer has into the buffers; return whether anything came."""
        self._resume(wanted)
        before = sum(lane.seen for lane in self._lanes.values())
        messages = take_messages(self._consumer, 100_000, _LANE_BYTES, 0.2, self._take_error)
        if self._complaints.login is not None:
            raise explain(self._settings, self._complaints.login)
        names = {self._settings.topic_name(topic): topic for topic in self._ends}
        for message in messages:
            lane = self._lanes[TopicPartition(names[message.topic()], message.partition())]
            lane.seen = message.offset() + 1
            if lane.seen <= lane.end:
                lane.messages.append(message)
                lane.size += len(message)
        self._pause_full(wanted)
        return sum(lane.seen for lane in self._lanes.values()) > before

    def _resume(self, wanted: TopicPartition) -> None:
        lane = self._lanes[wanted]
        if lane.paused:
            self._consumer.resume([self._kafka_partition(wanted)])
            lane.paused = False

    def _pause_full(self, wanted: TopicPartition) -> None:
        """Pause the partitions that nobody asks for and that have enough, or have given all."""
        for source, lane in self._lanes.items():
            if source != wanted and not lane.paused and lane.size > _LANE_BYTES:
                self._consumer.pause([self._kafka_partition(source)])
                lane.paused = True

    def _kafka_partition(self, source: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.topic_name(source.topic), source.partition)

    def _take_error(self, error: KafkaError, message: Message) -> None:
        name = message.topic()
        topic = name.removeprefix(self._settings.prefix) if name else None
        if error.code() == KafkaError._PARTITION_EOF and topic is not None:
            lane = self._lanes[TopicPartition(topic, message.partition())]
            lane.seen = max(lane.seen, message.offset())
            return
        failure = explain(self._settings, error, topic)
        if not failure.retriable:
            raise failure
