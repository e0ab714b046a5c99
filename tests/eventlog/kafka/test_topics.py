"""Topics on a real broker: made right, left alone, mended, and what the check says about each mistake."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, ResourceType
from confluent_kafka.cimpl import NewTopic

from infra.kafka import KafkaBroker
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, LogUnavailable, Record
from pipeline.eventlog.kafka.settings import KafkaSettings, parse_kafka_url
from pipeline.eventlog.kafka.topics import SETTINGS, TopicFinding, apply_topics, check_topics, create_topics
from pipeline.eventlog.kafka.writer import KafkaWriter

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(kafka_url: str) -> KafkaSettings:
    return parse_kafka_url(kafka_url, {})


@pytest.fixture
def administrator(kafka_broker: KafkaBroker) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_broker.bootstrap})


@pytest.fixture
def make_topic(administrator: AdminClient, settings: KafkaSettings) -> Callable[..., None]:
    def make(topic: str, partitions: int = 1, **config: str) -> None:
        changed = {name.replace("_", "."): value for name, value in config.items()}
        name = settings.topic_name(topic)
        new = NewTopic(name, partitions, 1, config={**SETTINGS, **changed})
        administrator.create_topics([new])[name].result(30)

    return make


def count_partitions(administrator: AdminClient, settings: KafkaSettings, topic: str) -> int:
    name = settings.topic_name(topic)
    return len(administrator.list_topics(name, timeout=20).topics[name].partitions)


def read_setting(administrator: AdminClient, settings: KafkaSettings, topic: str, key: str) -> str | None:
    resource = ConfigResource(ResourceType.TOPIC, settings.topic_name(topic))
    value: str | None = administrator.describe_configs([resource])[resource].result(20)[key].value
    return value


def bad(findings: list[TopicFinding]) -> list[TopicFinding]:
    return [finding for finding in findings if finding.status == "bad"]


def test_topics_are_made_once_and_found_right(settings: KafkaSettings, administrator: AdminClient) -> None:
    assert create_topics(settings) == [VOTES, CONTROL, MATCHUPS]
    assert create_topics(settings) == []
    assert [(found.topic, found.status, found.detail) for found in check_topics(settings)] == [
        (settings.topic_name(VOTES), "ok", "8 partitions, 1 copy, kept for ever"),
        (settings.topic_name(CONTROL), "ok", "1 partition, 1 copy, kept for ever"),
        (settings.topic_name(MATCHUPS), "ok", "1 partition, 1 copy, kept for ever"),
    ]
    assert [read_setting(administrator, settings, VOTES, key) for key in SETTINGS] == list(SETTINGS.values())


def test_creating_leaves_existing_topics_alone(
    settings: KafkaSettings, administrator: AdminClient, make_topic: Callable[..., None]
) -> None:
    make_topic(VOTES, 2, retention_ms="1000")
    assert create_topics(settings) == [CONTROL, MATCHUPS]
    assert count_partitions(administrator, settings, VOTES) == 2
    assert read_setting(administrator, settings, VOTES, "retention.ms") == "1000"


def test_partitions_are_added_and_never_taken_away(settings: KafkaSettings, administrator: AdminClient) -> None:
    create_topics(settings, {VOTES: 2})
    (grown,) = apply_topics(settings, {VOTES: 3})
    assert grown.change == "partitions 2 -> 3"
    (left,) = apply_topics(settings, {VOTES: 2})
    assert left.change == "unchanged"
    assert count_partitions(administrator, settings, VOTES) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1073741824"),
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("max.message.bytes", "1000000"),
        ("unclean.leader.election.enable", "true"),
    ],
)
def test_a_wrong_setting_is_named_and_mended(
    settings: KafkaSettings, make_topic: Callable[..., None], key: str, value: str
) -> None:
    make_topic(VOTES, **{key: value})
    (found,) = check_topics(settings, {VOTES: 1})
    assert found.status == "bad"
    assert f"{key} is {value}" in found.detail
    assert found.advice == f"kwise topics create {settings.url}"
    (mended,) = apply_topics(settings, {VOTES: 1})
    assert mended.change == f"{key} {value} -> {SETTINGS[key]}"
    assert bad(check_topics(settings, {VOTES: 1})) == []


def test_a_missing_topic_is_named(settings: KafkaSettings) -> None:
    (found,) = check_topics(settings, {VOTES: 1})
    assert (found.topic, found.status, found.detail) == (
        settings.topic_name(VOTES),
        "bad",
        "there is no such topic",
    )


def test_control_events_on_several_partitions_are_refused(
    settings: KafkaSettings, make_topic: Callable[..., None], administrator: AdminClient
) -> None:
    make_topic(CONTROL)
    name = settings.topic_name(CONTROL)
    administrator.create_partitions([NewPartitions(name, 2)])[name].result(20)
    (found,) = check_topics(settings, {CONTROL: 1})
    assert "the order of control events is lost" in found.detail


def test_a_topic_that_others_made_meanwhile_is_no_fault(settings: KafkaSettings) -> None:
    create_topics(settings, {VOTES: 1})
    assert [change.change for change in apply_topics(settings, {VOTES: 1})] == ["unchanged"]


def test_largest_record_fits(settings: KafkaSettings) -> None:
    create_topics(settings, {VOTES: 1})
    writer = KafkaWriter(settings)
    writer.append(VOTES, [Record(b"\0" * (1 << 20))])
    writer.close()


def test_servers_that_are_not_there_are_named() -> None:
    with pytest.raises(LogUnavailable, match=r"kafka://127\.0\.0\.1:1/votes"):
        check_topics(parse_kafka_url("kafka://127.0.0.1:1/votes", {}))
