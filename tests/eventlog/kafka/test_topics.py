"""Topics on a real broker: made right, left alone, mended, and what the check says about each mistake."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, ResourceType
from confluent_kafka.cimpl import NewTopic

from infra.kafka import KafkaBroker, KafkaCluster
from infra.kafka.node import SHORT_LIVED
from pipeline.contracts.log import CONTROL, MATCHUPS, VOTES, LogError, LogUnavailable, Record
from pipeline.eventlog.kafka.log import KafkaLog
from pipeline.eventlog.kafka.settings import KafkaSettings, parse_kafka_url
from pipeline.eventlog.kafka.topics import SETTINGS, TopicFinding, apply_topics, check_topics, create_topics
from pipeline.eventlog.kafka.writer import KafkaWriter
from tests.conftest import wait_until

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


def test_looking_for_topics_makes_none_where_brokers_make_them(tmp_path: Path) -> None:
    properties = {"auto.create.topics.enable": "true"}
    with KafkaBroker(tmp_path, properties=properties, java_options=SHORT_LIVED) as broker:
        settings = parse_kafka_url(f"kafka://{broker.bootstrap}/votes", {})
        for _ in range(2):
            assert {found.detail for found in check_topics(settings)} == {"there is no such topic"}
            with pytest.raises(LogError, match="has no topic votes"):
                KafkaLog(settings).preflight([VOTES])
        assert AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=20).topics == {}


@pytest.mark.slow
def test_three_brokers_hold_three_copies_and_the_check_counts_them(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path, nodes=3, java_options=SHORT_LIVED) as cluster:
        settings = parse_kafka_url(f"kafka://{cluster.bootstrap}/votes", {})
        create_topics(settings, {VOTES: 2})
        (fine,) = check_topics(settings, {VOTES: 2})
        assert (fine.status, fine.detail) == ("ok", "2 partitions, 3 copies, kept for ever")

        administrator = AdminClient({"bootstrap.servers": cluster.bootstrap})
        poor = replace(settings, prefix="poor-")
        lone = NewTopic("poor-votes", 1, 1, config=SETTINGS)
        strict = NewTopic("poor-control", 1, 3, config={**SETTINGS, "min.insync.replicas": "3"})
        for future in administrator.create_topics([lone, strict]).values():
            future.result(30)

        def find(topic: str, detail: str) -> bool:  # brokers learn of new topics one after the other
            return detail in [found.detail for found in check_topics(poor, {topic: 1})]

        wait_until(lambda: find(VOTES, "1 copy on 3 brokers: votes are lost with a broker"), 30)
        strict_said = "min.insync.replicas is 3, not 2: nothing can be written while a broker is down"
        wait_until(lambda: find(CONTROL, strict_said), 30)
        assert [change.change for change in apply_topics(poor, {CONTROL: 1})] == ["min.insync.replicas 3 -> 2"]

        cluster.brokers[0].kill()

        def is_fine() -> bool:  # nobody answers while the others agree who leads
            with suppress(LogUnavailable):
                return not bad(check_topics(settings, {VOTES: 2}))
            return False

        wait_until(is_fine, 30)
        writer = KafkaWriter(settings)
        writer.append(VOTES, [Record(b"x")])
        writer.close()
