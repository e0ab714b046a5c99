"""Brings records into a Kafka topic, by librdkafka.

The producer is idempotent (``acks=all``): librdkafka's retries neither double nor reorder what one writer sends.
Keys are spread by murmur2, as by the embedded logs, Kafka's Java client and kafka-python.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.contracts.log import VOTES, LogError, LogUnavailable
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.kafka.settings import KafkaSettings
from producers.delivery.sender import Loss, OnLost, Parcel, SendSettings

_CONNECT_SECONDS: Final = 8.0
_ASK_SECONDS: Final = 1.0
_PARTITIONS_SECONDS: Final = 60.0
_ABANDON_SECONDS: Final = 5.0
_HOPELESS: Final = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED}

# librdkafka tells of every retry. What matters comes as an error, so it is for those who ask for it.
_LOG = logging.getLogger(__name__)
_LOG.addHandler(logging.NullHandler())


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
        self._url = settings.url
        self._topic = settings.topic_name(VOTES)
        self._on_lost = on_lost
        self._clock = clock
        self._trouble: KafkaError | None = None
        self._producer = Producer(_configure(settings, how) | {"error_cb": self._note_trouble}, logger=_LOG)
        try:
            self._partitions = self._find_topic()
        except BaseException:
            self._producer.close()
            raise
        self._counted = clock()

    def count_partitions(self) -> int:
        """Return the number of partitions, at most a minute old: they may become more while a writer lives."""
        if self._clock() - self._counted > _PARTITIONS_SECONDS:
            self._counted = self._clock()
            try:
                found = self._producer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
                self._partitions = max(self._partitions, len(found.partitions))
            except KafkaException:
                pass  # the broker is away: what was known of it holds
        return self._partitions

    def send(self, parcel: Parcel) -> bool:
        """Take a record unless the queue is full."""
        headers: dict[str, str | bytes | None] | None = None if parcel.headers is None else dict(parcel.headers)
        try:
            self._producer.produce(
                self._topic, parcel.value, parcel.key, on_delivery=self._reporter(parcel), headers=headers
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._report(parcel, self._explain(error.args[0]))
        return True

    def send_votes(self, values: Sequence[bytes], keys: Sequence[str | None]) -> int:
        """Take records until the queue is full. One callback for all: a closure for each would cost as much again."""
        produce, topic, report = self._producer.produce, self._topic, self._report_message
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

    def flush(self, timeout: float) -> int:
        """Wait until everything is delivered or lost."""
        return int(self._producer.flush(max(timeout, 0.0)))

    def abandon(self) -> None:
        """Drop what is queued or in flight; it is reported as lost."""
        self._producer.purge()
        self._producer.flush(_ABANDON_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._producer.close()

    def _find_topic(self) -> int:
        """Return the number of partitions of the topic. All topics are asked for: naming one might create it."""
        deadline = self._clock() + _CONNECT_SECONDS
        while True:
            try:
                topics = self._producer.list_topics(timeout=_ASK_SECONDS).topics
            except KafkaException as error:
                self._producer.poll(0)  # lets librdkafka say what is wrong
                trouble = self._trouble or error.args[0]
                if trouble.code() in _HOPELESS:
                    raise LogError(f"{self._url}: the login was refused: {trouble.str()}") from None
                if self._clock() > deadline:
                    raise LogUnavailable(f"{self._url}: no broker answers: {trouble.str()}. Is it running?") from None
                continue
            found = topics.get(self._topic)
            if found is None or found.error is not None:
                raise LogError(
                    f"{self._url}: there is no topic {self._topic}, or this login may not write to it: "
                    "make it by `kwise topics create`, or mend the permissions."
                )
            return len(found.partitions)

    def _reporter(self, parcel: Parcel) -> Callable[[KafkaError | None, Any], None]:
        on_done = parcel.on_done
        if on_done is None:
            return lambda error, _: None if error is None else self._on_lost(parcel, self._explain(error))
        return lambda error, _: on_done(None if error is None else self._explain(error))

    def _report_message(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            key = message.key()
            self._on_lost(Parcel(message.value(), None if key is None else key.decode()), self._explain(error))

    def _report(self, parcel: Parcel, loss: Loss) -> None:
        if parcel.on_done is None:
            self._on_lost(parcel, loss)
        else:
            parcel.on_done(loss)

    def _explain(self, error: KafkaError) -> Loss:
        reason = str(error.str())
        timed_out = error.code() in {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
        if timed_out and self._trouble is not None:
            reason += f" (the connection: {self._trouble.str()})"
        if error.fatal():
            reason += "; this writer cannot go on, open a new one"
        return Loss(reason, retriable=timed_out or bool(error.retriable()) or bool(error.fatal()))

    def _note_trouble(self, error: KafkaError) -> None:
        self._trouble = error


def _configure(settings: KafkaSettings, how: SendSettings) -> dict[str, Any]:
    return settings.confluent() | {
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": how.linger * 1000,
        "batch.size": 1_000_000,
        "message.max.bytes": MAX_RECORD_BYTES
        + 1024,  # with key and headers; what the pipeline takes is not refused here
        "queue.buffering.max.messages": how.max_pending,
        "queue.buffering.max.kbytes": 128 * 1024,
        "delivery.timeout.ms": round(how.delivery_timeout * 1000),
        "delivery.report.only.error": not how.report_all,
        "reconnect.backoff.max.ms": 1000,  # a restarted broker is found within a second; the default is ten
    }
