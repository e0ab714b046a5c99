"""Reads partitions that are assigned by hand, batches of records at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import kafka
from kafka import errors

from pipeline.contracts.log import LogError, LogUnavailable, TopicPartition
from pipeline.eventlog.kafka.records import BatchRecords, RecordBatch
from pipeline.eventlog.kafka.settings import KafkaSettings

_BATCHES: Final = 64  # of a poll; a batch has up to a megabyte
_LOGGER = logging.getLogger("kafka")  # kafka-python's own lines; off unless somebody asks for them
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False


class BatchConsumer:
    """Reads the partitions of `starts` from these offsets on; records of aborted transactions are passed over.

    It is in no consumer group. Between two polls it fetches one answer a broker ahead, so memory is bounded by
    `fetch_mb` a broker.
    """

    def __init__(self, settings: KafkaSettings, starts: Mapping[TopicPartition, int], *, fetch_mb: int = 16) -> None:
        self._settings = settings
        self._partitions = {
            source: kafka.TopicPartition(settings.topic_name(source.topic), source.partition) for source in starts
        }
        self._sources = {partition: source for source, partition in self._partitions.items()}
        with self._explained():
            self._consumer: Any = kafka.KafkaConsumer(
                **settings.kafka_python(),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                fetch_max_bytes=fetch_mb << 20,
                max_partition_fetch_bytes=4 << 20,
                fetch_max_wait_ms=100,
                reconnect_backoff_max_ms=1000,
                metrics_enabled=False,
            )
        self._consumer._fetcher.PartitionRecords = BatchRecords
        self._consumer.assign(list(self._sources))
        for partition, source in self._sources.items():
            self._consumer.seek(partition, starts[source])

    def take(self, timeout: float) -> list[tuple[TopicPartition, RecordBatch]]:
        """Return some batches, waiting up to `timeout` seconds for the first.

        Raises
        ------
        LogError
            The log lost what was asked for, or this login may not read it.
        LogUnavailable
        """
        if not self._sources:
            return []
        fetcher = self._consumer._fetcher
        if not fetcher._next_partition_records:
            # kafka-python takes up what it put aside for a paused partition when nothing is in this place; but what it
            # is through with stays there, and a partition that was paused half-way would never go on.
            fetcher._next_partition_records = None
        with self._explained():
            taken = self._consumer.poll(round(timeout * 1000), max_records=_BATCHES)
        return [(self._sources[partition], batch) for partition, batches in taken.items() for batch in batches]

    def position(self, source: TopicPartition) -> int:
        """Return where the next batch of `source` begins; behind holes, and behind the marks of transactions."""
        with self._explained():
            return int(self._consumer.position(self._partitions[source]))

    def pause(self, sources: Iterable[TopicPartition]) -> None:
        """Fetch nothing of these partitions until they are resumed."""
        self._consumer.pause(*(self._partitions[source] for source in sources))

    def resume(self, sources: Iterable[TopicPartition]) -> None:
        """Fetch these partitions again."""
        self._consumer.resume(*(self._partitions[source] for source in sources))

    def close(self) -> None:
        """Leave the brokers. Idempotent."""
        self._consumer.close(autocommit=False)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what kafka-python's errors mean; it tries again by itself where that may help."""
        settings = self._settings
        try:
            yield
        except errors.OffsetOutOfRangeError as error:
            raise LogError(f"{settings.url}: the log lost records that were not read yet: {error}") from error
        except (errors.TopicAuthorizationFailedError, errors.ClusterAuthorizationFailedError) as error:
            who = settings.username or "a client without a login"
            raise LogError(f"{settings.url}: {who} may not read: {error}. Have an administrator grant it.") from error
        except errors.CorruptRecordError as error:
            raise LogError(f"{settings.url}: {error}. Restore the topic from a replica or a backup.") from error
        except (errors.KafkaError, OSError) as error:
            raise LogUnavailable(f"{settings.url}: {error or type(error).__name__}") from error
