"""Appends records to Kafka and waits until the brokers have them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, Message

from pipeline.contracts.log import LogError, LogUnavailable, Record
from pipeline.eventlog.kafka.client import ANSWER_SECONDS, Complaints, client_options, explain
from pipeline.eventlog.kafka.settings import KafkaSettings

PATIENCE_SECONDS = 120.0
"""How long a writer waits for the brokers by default: longer than a restart on a busy machine takes."""


def producer_options(settings: KafkaSettings, complaints: Complaints, patience_s: float) -> dict[str, object]:
    """Return what every producer of this project is made with: acknowledged by all replicas, once, in order."""
    return {
        **client_options(settings, complaints),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "partitioner": "murmur2_random",  # the partition that Java clients, kafka-python and our other logs choose
        "linger.ms": 5,
        "batch.size": 1 << 20,
        "message.max.bytes": 2 << 20,  # above the largest record, so that the broker's limit speaks
        "delivery.timeout.ms": int(patience_s * 1000),
        "queue.buffering.max.kbytes": 128 << 10,
        "delivery.report.only.error": True,
    }


class KafkaWriter:
    """A `LogWriter` to Kafka; threads may share it."""

    def __init__(self, settings: KafkaSettings, patience_s: float = PATIENCE_SECONDS) -> None:
        self._settings = settings
        self._patience_s = patience_s
        self._complaints = Complaints()
        self._producer: Any = confluent_kafka.Producer(producer_options(settings, self._complaints, patience_s))
        self._lock = threading.Lock()

    def append(self, topic: str, records: Sequence[Record]) -> None:
        """Append all `records`; all replicas in sync have them when this returns.

        After an error some of them may be in the log: appended again, they are there twice, and are counted once.
        """
        failures: list[KafkaError] = []

        def note(error: KafkaError, _message: Message) -> None:
            failures.append(error)

        name = self._settings.topic_name(topic)
        with self._lock:
            for record in records:
                headers = dict(record.headers) if record.headers else None
                while not self._produce(name, record, headers, note, topic):
                    self._producer.poll(0.05)  # the queue is full: wait until some are delivered
            left = self._flush()
        if failures:
            raise self._explain(failures[0], topic)
        if left:
            raise LogUnavailable(f"{self._settings.url}: {left} records were not acknowledged in time")
        self._complaints.login = None

    def close(self) -> None:
        """Leave the brokers. Idempotent; `append` has flushed already."""
        self._producer = None

    def _flush(self) -> int:
        """Wait until everything is delivered or has failed; return how many records are left.

        For a login that fails it waits `ANSWER_SECONDS` only: brokers that just came up may not know their users yet.
        """
        begin = time.monotonic()
        while (left := self._producer.flush(0.5)) and (waited := time.monotonic() - begin) < self._patience_s + 5:
            if self._complaints.login is not None and waited > ANSWER_SECONDS:
                self._producer.purge()
                self._producer.flush(1)
                raise explain(self._settings, self._complaints.login)
        return int(left)

    def _produce(self, name: str, record: Record, headers: object, note: object, topic: str) -> bool:
        """Hand a record to the producer; return whether there was room."""
        try:
            self._producer.produce(name, record.value, key=record.key, headers=headers, on_delivery=note)
        except BufferError:
            return False
        except confluent_kafka.KafkaException as error:
            raise self._explain(error.args[0], topic) from None
        return True

    def _explain(self, error: KafkaError, topic: str) -> LogError:
        return explain(self._settings, self._complaints.pick(error), topic)
