"""A real broker takes records, is killed, comes back with them, and leaves no process behind."""

from __future__ import annotations

import os

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import KafkaBroker
from tests.conftest import wait_until


def create_topic(bootstrap: str, topic: str, copies: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, copies)])[topic].result(30)


def send(bootstrap: str, topic: str, *values: bytes) -> None:
    faults: list[str] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: faults.append(str(error)) if error else None)
    assert producer.flush(30) == 0
    assert faults == []


def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """Return the first `count` records of partition 0."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes | None] = []

    def have_all() -> bool:
        values.extend(message.value() for message in consumer.consume(count, 0.5) if not message.error())
        return len(values) >= count

    wait_until(have_all, 30)
    consumer.close()
    return values


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_shared_broker_takes_and_gives_records(kafka_broker: KafkaBroker, kafka_prefix: str) -> None:
    create_topic(kafka_broker.bootstrap, f"{kafka_prefix}votes")
    send(kafka_broker.bootstrap, f"{kafka_prefix}votes", b"first", b"second")
    assert read(kafka_broker.bootstrap, f"{kafka_prefix}votes", 2) == [b"first", b"second"]


def test_killed_broker_comes_back_with_what_it_acknowledged(fragile_broker: KafkaBroker) -> None:
    create_topic(fragile_broker.bootstrap, "votes")
    send(fragile_broker.bootstrap, "votes", b"before")
    killed = fragile_broker.pid
    assert killed is not None
    fragile_broker.kill()
    assert not fragile_broker.is_running
    assert not is_alive(killed)
    fragile_broker.restart()
    send(fragile_broker.bootstrap, "votes", b"after")
    assert read(fragile_broker.bootstrap, "votes", 2) == [b"before", b"after"]
