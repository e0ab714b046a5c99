"""Where reading starts in each partition, and whether the log still has what the store has not read yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.contracts.log import LogError, Position, TopicPartition
from pipeline.eventlog.blocks import START, check_positions
from pipeline.eventlog.kafka.client import Administrator
from pipeline.eventlog.kafka.settings import KafkaSettings


def find_starts(
    settings: KafkaSettings,
    administrator: Administrator,
    partitions: Sequence[TopicPartition],
    positions: Mapping[TopicPartition, Position],
) -> dict[TopicPartition, Position]:
    """Return where to start in each of `partitions`: at its position, without one at what it has first.

    Raises `LogError` if the log ends before a position (it was truncated or replaced), or begins behind one (records
    were deleted before they were read).
    """
    if not partitions:
        return {}
    topic = partitions[0].topic
    beginnings = administrator.beginnings(partitions)
    check_positions(settings.url, positions, administrator.ends(partitions), topic)
    starts: dict[TopicPartition, Position] = {}
    for source in partitions:
        beginning = Position(beginnings[source])
        position = positions.get(source, START)
        if START < position < beginning:
            raise LogError(
                f"{settings.url}, {topic}/{source.partition}: the store has read to offset {position.offset} but the "
                f"log begins at {beginning.offset}: records were deleted before they were read. See "
                f"`kwise topics check {settings.url}` for the retention; start a new store on what is left."
            )
        starts[source] = max(position, beginning)
    return starts


def wrong_timestamps(settings: KafkaSettings, topic: str) -> LogError:
    """Return the error for records that carry the producer's time instead of the log's."""
    return LogError(
        f"{settings.url}: records of {settings.topic_name(topic)} carry their producer's time. Set "
        f"message.timestamp.type=LogAppendTime on the topic; `kwise topics check {settings.url}` tells how."
    )
