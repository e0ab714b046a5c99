"""The event log on Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from pipeline.contracts.log import CONTROL, VOTES, LogError, LogReader, Position, TopicPartition
from pipeline.eventlog.blocks import wall_clock_ms
from pipeline.eventlog.kafka.client import Administrator
from pipeline.eventlog.kafka.reader import KafkaReader
from pipeline.eventlog.kafka.settings import KafkaSettings
from pipeline.eventlog.kafka.source import KafkaSource
from pipeline.eventlog.kafka.topics import create_topics
from pipeline.eventlog.kafka.writer import PATIENCE_SECONDS, KafkaWriter
from pipeline.eventlog.merge import BlockMerger
from pipeline.eventlog.reader import PartitionReader


class KafkaLog:
    """An `EventLog` on the brokers that `settings` name. Nothing is opened before it is used."""

    def __init__(self, settings: KafkaSettings, *, clock: Callable[[], int] = wall_clock_ms) -> None:
        self.url = settings.url
        self.row_times = False
        self._settings = settings
        self._clock = clock

    @cached_property
    def _administrator(self) -> Administrator:
        return Administrator(self._settings)

    def preflight(self, topics: Sequence[str]) -> None:
        """Log in, and check that the brokers have `topics`."""
        missing = [topic for topic in topics if not self._administrator.partitions(topic)]
        if missing:
            names = ", ".join(self._settings.topic_name(topic) for topic in missing)
            raise LogError(f"{self.url} has no topic {names}: wrong server? Else: kwise topics create {self.url}")

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create the topics that are missing, with the settings that a vote log needs."""
        create_topics(self._settings, partitions)

    def reader(self, positions: Mapping[TopicPartition, Position], *, live: bool) -> LogReader:
        """Open a reader at `positions`."""
        if live:
            return KafkaReader(self._settings, self._administrator, positions)
        return PartitionReader(self.url, self._finite(positions), positions)

    def merged_reader(self, positions: Mapping[TopicPartition, Position], *, until: int | None = None) -> BlockMerger:
        """Open a finite reader that merges votes and control by append time."""
        return BlockMerger(self.url, self._finite(positions), positions, until=until, clock=self._clock)

    def writer(self, *, patience_s: float | None = None) -> KafkaWriter:
        """Open a writer; its topics must be there."""
        return KafkaWriter(self._settings, PATIENCE_SECONDS if patience_s is None else patience_s)

    def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Next offset of each partition of `topic`."""
        return self._administrator.ends(self._administrator.partitions(topic))

    def identities(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, str]:
        """Tell the id that the brokers gave to the topic."""
        ids = {topic: self._administrator.topic_id(topic) for topic in {source.topic for source in partitions}}
        return {source: ids[source.topic] for source in partitions}

    def _finite(self, positions: Mapping[TopicPartition, Position]) -> KafkaSource:
        return KafkaSource(self._settings, self._administrator, (CONTROL, VOTES), positions)
