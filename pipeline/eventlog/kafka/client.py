"""Clients of confluent-kafka, and what their errors mean: whether a retry helps, and what to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pipeline.contracts.log import LogError, LogUnavailable, TopicPartition
from pipeline.eventlog.kafka.listener import examine_listener
from pipeline.eventlog.kafka.settings import KafkaSettings

try:
    import confluent_kafka
    from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription
except ImportError as error:
    raise LogError("Kafka needs packages that are not installed: pip install 'kwise-arena[kafka]'") from error

ANSWER_SECONDS = 5.0
"""How long a broker may take to answer before it counts as out of reach."""

_LOGGER = logging.getLogger("kwise.kafka")  # librdkafka's own lines; off unless somebody asks for them
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False

T = TypeVar("T")
_Error = confluent_kafka.KafkaError
_LOGIN = {_Error._AUTHENTICATION, _Error._SSL, _Error.SASL_AUTHENTICATION_FAILED}
_DENIED = {
    _Error.TOPIC_AUTHORIZATION_FAILED,
    _Error.GROUP_AUTHORIZATION_FAILED,
    _Error.CLUSTER_AUTHORIZATION_FAILED,
}
_NO_TOPIC = {_Error._UNKNOWN_TOPIC, _Error.UNKNOWN_TOPIC_OR_PART, _Error._UNKNOWN_PARTITION, _Error.UNKNOWN_TOPIC_ID}
_LOST = {_Error._AUTO_OFFSET_RESET, _Error.OFFSET_OUT_OF_RANGE}
_TOO_LARGE = {_Error.MSG_SIZE_TOO_LARGE, _Error.RECORD_LIST_TOO_LARGE}
_ELECTING = {_Error.LEADER_NOT_AVAILABLE, _Error.NOT_LEADER_FOR_PARTITION}
_FATAL = _LOGIN | _DENIED | _NO_TOPIC | _LOST | _TOO_LARGE


class LogDeniedError(LogError):
    """Logged in, but not allowed to do this."""


class Complaints:
    """Remembers the last thing that a client's background threads said: the reason behind a time-out."""

    def __init__(self) -> None:
        self.login: confluent_kafka.KafkaError | None = None
        self.last: confluent_kafka.KafkaError | None = None

    def __call__(self, error: confluent_kafka.KafkaError) -> None:
        """Take an error from `error_cb`."""
        if error.code() in _LOGIN:
            self.login = error
        elif error.code() != _Error._ALL_BROKERS_DOWN or self.last is None:
            self.last = error

    def pick(self, error: confluent_kafka.KafkaError) -> confluent_kafka.KafkaError:
        """Return what is behind `error`: a failed login if there was one, else what was said last before it."""
        if error.code() in _FATAL:
            return error
        return self.login or self.last or error


def explain(settings: KafkaSettings, error: confluent_kafka.KafkaError, topic: str | None = None) -> LogError:
    """Return what `error` means: `LogUnavailable` where a retry may help, else `LogError` that says what to do."""
    code, text = error.code(), error.str().rstrip(".")
    name = settings.topic_name(topic) if topic else "a topic"
    if code in _LOGIN:
        return LogError(
            f"{settings.url}: the login failed ({settings.describe().partition(', ')[2]}): {text}. "
            "Check KWISE_KAFKA_USERNAME, _PASSWORD, _MECHANISM, _TLS and _CA."
        )
    if code in _DENIED:
        who = settings.username or "a client without a login"
        what = f"use {name}" if topic else "do this"
        return LogDeniedError(f"{settings.url}: {who} may not {what}: {text}. Have an administrator grant it.")
    if code == _Error.SECURITY_DISABLED:
        return LogError(f"{settings.url}: the brokers have no authorizer, so that everybody may do everything already.")
    if code in _NO_TOPIC:
        return LogError(f"{settings.url} has no topic {name}: wrong server? Else: kwise topics create {settings.url}")
    if code in _TOO_LARGE:
        return LogError(f"{settings.url}: a record is larger than {name} takes: {text}. Send smaller envelopes.")
    if code in _LOST:
        return LogError(f"{settings.url}, {name}: {text}: the log lost records that were not read yet.")
    return examine_listener(settings) or LogUnavailable(f"{settings.url}: {text}")


def client_options(settings: KafkaSettings, complaints: Complaints) -> dict[str, Any]:
    """Return what every client of confluent-kafka is made with."""
    return {
        **settings.confluent(),
        "error_cb": complaints,
        "logger": _LOGGER,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1000,
        "socket.timeout.ms": 10_000,
    }


class Administrator:
    """Asks the brokers about topics and ends. Threads may share it; the connection is kept."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._complaints = Complaints()
        self.client = AdminClient(client_options(settings, self._complaints))

    def describe_topic(self, topic: str) -> TopicDescription | None:
        """Return what the brokers know of `topic`; None if there is none.

        The request for metadata, which would do as well, makes a topic that is missing where brokers are set up so.
        """
        name = self._settings.topic_name(topic)

        def describe() -> TopicDescription | None:
            asked = confluent_kafka.TopicCollection([name])
            try:
                return self.client.describe_topics(asked, request_timeout=ANSWER_SECONDS)[name].result()
            except confluent_kafka.KafkaException as error:
                if error.args[0].code() in _NO_TOPIC:
                    return None
                raise

        return self.ask(topic, describe)

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of `topic`; none if there is no such topic."""
        found = self.describe_topic(topic)
        return [] if found is None else [TopicPartition(topic, part) for part in sorted(p.id for p in found.partitions)]

    def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        return self._offsets(partitions, OffsetSpec.earliest())

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the next offset of each partition, behind the last committed transaction."""
        return self._offsets(partitions, OffsetSpec.latest())

    def topic_id(self, topic: str) -> str:
        """Return the identity of `topic`: another one once it was deleted and created again."""
        found = self.describe_topic(topic)
        if found is None:
            raise explain(self._settings, _Error(_Error.UNKNOWN_TOPIC_OR_PART), topic)
        return str(found.topic_id)

    def change(self, topic: str | None, what: str, items: list[Any], already: int | None = None) -> bool:
        """Call the client's method `what` on `items`; False if the error `already` says that somebody else did it."""

        def call() -> bool:
            for future in getattr(self.client, what)(items, request_timeout=ANSWER_SECONDS).values():
                try:
                    future.result()
                except confluent_kafka.KafkaException as error:
                    if error.args[0].code() != already:
                        raise
                    return False
            return True

        return self.ask(topic, call)

    def show_positions(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit `offsets` to the consumer group, without waiting, and whether or not that works."""
        partitions = [
            confluent_kafka.TopicPartition(self._settings.topic_name(source.topic), source.partition, offset)
            for source, offset in offsets.items()
        ]
        group = confluent_kafka.ConsumerGroupTopicPartitions(self._settings.group, partitions)
        self.client.alter_consumer_group_offsets([group])

    def _offsets(self, partitions: Iterable[TopicPartition], which: OffsetSpec) -> dict[TopicPartition, int]:
        asked = {
            confluent_kafka.TopicPartition(self._settings.topic_name(item.topic), item.partition): item
            for item in partitions
        }
        if not asked:
            return {}

        def list_offsets() -> dict[TopicPartition, int]:
            futures = self.client.list_offsets(
                dict.fromkeys(asked, which),
                isolation_level=confluent_kafka.IsolationLevel.READ_COMMITTED,
                request_timeout=ANSWER_SECONDS,
            )
            return {asked[partition]: int(future.result().offset) for partition, future in futures.items()}

        return self.ask(next(iter(asked.values())).topic, list_offsets)

    def ask(self, topic: str | None, request: Callable[[], T], *, known: bool = False) -> T:
        """Make a request, again while the brokers elect a leader, which takes a moment after a topic was made.

        `known`: some broker knows the topic; others that do not yet are asked again, too.
        """
        again = _ELECTING | _NO_TOPIC if known else _ELECTING
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return request()
            except confluent_kafka.KafkaException as error:
                reason = error.args[0]
            if reason.code() not in again or time.monotonic() > deadline:
                self.client.poll(0)  # delivers what the background threads said
                raise explain(self._settings, self._complaints.pick(reason), topic)
            self.client.poll(0.1)
