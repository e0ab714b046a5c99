"""Brings records into a Kafka topic, by librdkafka.

The producer is idempotent (``acks=all``): librdkafka's retries neither double nor reorder what one writer sends.
Keys are spread by murmur2, as by the embedded logs, Kafka's Java client and kafka-python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.contracts.log import VOTES, LogError, TopicPartition
from pipeline.eventlog.kafka.client import Administrator, Complaints, explain
from pipeline.eventlog.kafka.settings import KafkaSettings
from pipeline.eventlog.kafka.writer import producer_options
from producers.delivery.sender import Delivered, Loss, OnLost, Parcel, SendSettings

_LOOK_SECONDS: Final = 60.0
_ABANDON_SECONDS: Final = 5.0


class KafkaSender:
    """A `Sender` to the votes of a Kafka log.

    Parameters
    ----------
    settings : brokers and login
    how : see `SendSettings`
    on_lost : told of losses of records without `on_done`
    clock : seconds, monotonic

    Raises
    ------
    LogError, LogUnavailable
        No such topic, a wrong login, no broker: within 10 seconds.
    """

    takes_envelopes = True

    def __init__(
        self,
        settings: KafkaSettings,
        how: SendSettings,
        on_lost: OnLost,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic_name(VOTES)
        self._on_lost = on_lost
        self._clock = clock
        self._administrator = Administrator(settings)
        self._partitions = len(self._administrator.partitions(VOTES))
        self._looked = clock()
        if not self._partitions:
            raise explain(settings, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), VOTES)
        self._complaints = Complaints()
        self._producer: Any = Producer(
            producer_options(settings, self._complaints, how.delivery_timeout)
            | {
                "linger.ms": how.linger * 1000,
                "delivery.report.only.error": not how.report_all,
                "queue.buffering.max.messages": how.max_pending,
            }
        )

    def count_partitions(self) -> int:
        """Return the number of partitions as it was a minute ago: they may become more while a writer lives."""
        return self._partitions

    def send(self, parcel: Parcel) -> bool:
        """Take a record unless the queue is full."""

        def report(error: KafkaError | None, message: Message | None) -> None:
            if error is not None:
                self._report_loss(parcel, self._explain(error))
            elif parcel.on_done is not None:
                assert message is not None
                parcel.on_done(Delivered(TopicPartition(VOTES, message.partition()), message.offset()))

        headers = None if parcel.headers is None else dict(parcel.headers)
        try:
            self._producer.produce(self._topic, parcel.value, parcel.key, headers=headers, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as error:
            report(error.args[0], None)
        return True

    def send_votes(self, values: Sequence[bytes], keys: Sequence[str | None]) -> int:
        """Take records until the queue is full. One callback for all: a closure for each would cost as much again."""
        produce, topic, report = self._producer.produce, self._topic, self._report_vote
        for place, (value, key) in enumerate(zip(values, keys, strict=True)):
            try:
                produce(topic, value, key, on_delivery=report)
            except BufferError:
                return place
            except KafkaException as error:
                self._on_lost(Parcel(value, key), self._explain(error.args[0]))
        return len(values)

    def work(self, timeout: float) -> None:
        """Serve reports of delivery; librdkafka sends by threads of its own."""
        self._producer.poll(timeout)
        if self._clock() - self._looked > _LOOK_SECONDS:
            self._looked = self._clock()
            with suppress(LogError):  # the brokers are away: what was known of them holds
                self._partitions = max(self._partitions, len(self._administrator.partitions(VOTES)))

    def flush(self, timeout: float) -> int:
        """Wait until everything is delivered or lost."""
        return int(self._producer.flush(max(timeout, 0.0)))

    def abandon(self) -> None:
        """Drop what is queued or in flight; it is reported as lost."""
        self._producer.purge()
        self._producer.flush(_ABANDON_SECONDS)

    def close(self) -> None:
        """Leave the brokers."""
        self._producer.close()

    def _report_loss(self, parcel: Parcel, loss: Loss) -> None:
        if parcel.on_done is not None:
            parcel.on_done(loss)
        else:
            self._on_lost(parcel, loss)

    def _report_vote(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._on_lost(Parcel(message.value(), None), self._explain(error))

    def _explain(self, error: KafkaError) -> Loss:
        if error.fatal():
            return Loss(
                f"{self._settings.url}: {error.str()}; this writer cannot go on: open a new one", retriable=True
            )
        explained = explain(self._settings, self._complaints.pick(error), VOTES)
        return Loss(str(explained), retriable=explained.retriable)
