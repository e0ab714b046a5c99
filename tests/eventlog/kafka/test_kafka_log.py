"""The event log on a real broker: order, positions, ends, holes, and what is said when something is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from infra.kafka import KafkaBroker
from pipeline.contracts.log import (
    ARROW_STREAM,
    CONTENT_TYPE,
    CONTROL,
    VOTES,
    LogBatch,
    LogError,
    LogReader,
    LogUnavailable,
    Position,
    Record,
    TopicPartition,
)
from pipeline.eventlog.kafka import consumer as consumer_module
from pipeline.eventlog.kafka import reader as reader_module
from pipeline.eventlog.kafka import source as source_module
from pipeline.eventlog.kafka.log import KafkaLog
from pipeline.eventlog.kafka.settings import parse_kafka_url
from pipeline.eventlog.partitioner import partitions_of_keys
from tests.conftest import wait_until
from tests.eventlog.conftest import VOTES_0, check_spans, keep_all, read_all, values_of

pytestmark = pytest.mark.kafka

MakeLog = Callable[..., KafkaLog]


@pytest.fixture
def make_kafka_log(kafka_url: str) -> MakeLog:
    def make(partitions: int = 1) -> KafkaLog:
        log = KafkaLog(parse_kafka_url(kafka_url, {}))
        log.create_topics({VOTES: partitions, CONTROL: 1})
        return log

    return make


@pytest.fixture
def administrator(kafka_broker: KafkaBroker) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_broker.bootstrap})


def append(log: KafkaLog, values: list[bytes], topic: str = VOTES) -> None:
    writer = log.writer()
    writer.append(topic, keep_all(values))
    writer.close()


def read_live(reader: LogReader, count: int, topic: str = VOTES) -> list[LogBatch]:
    """Poll until `count` records came."""
    batches: list[LogBatch] = []

    def have() -> bool:
        batch = reader.poll(topic, 1000, 0.2)
        if len(batch):
            batches.append(batch)
        return sum(map(len, batches)) >= count

    wait_until(have, 20)
    return batches


@pytest.fixture
def open_reader() -> Iterator[Callable[..., LogReader]]:
    opened: list[LogReader] = []

    def open_at(log: KafkaLog, positions: dict[TopicPartition, Position] | None = None) -> LogReader:
        opened.append(log.reader(positions or {}, live=True))
        return opened[-1]

    yield open_at
    for reader in opened:
        reader.close()


OpenReader = Callable[..., LogReader]


def test_records_come_back_in_order_with_the_brokers_time(make_kafka_log: MakeLog, open_reader: OpenReader) -> None:
    log = make_kafka_log()
    before = time.time_ns() // 1_000_000
    append(log, [b"a", b"b", b"c"])
    after = time.time_ns() // 1_000_000
    batches = read_live(open_reader(log), 3)
    check_spans(batches)
    assert values_of(batches) == [b"a", b"b", b"c"]
    times = [time for batch in batches for time in batch.appended_at.tolist()]
    assert all(before <= each <= after for each in times)
    assert log.ends(VOTES) == {VOTES_0: 3}
    assert log.ends(CONTROL) == {TopicPartition(CONTROL, 0): 0}
    assert values_of(read_all(log.reader({}, live=False))) == [b"a", b"b", b"c"]


def test_keys_go_to_the_partitions_of_the_embedded_log(make_kafka_log: MakeLog) -> None:
    log = make_kafka_log(4)
    keys = [f"key-{number}" for number in range(200)]
    writer = log.writer()
    writer.append(VOTES, [Record(key.encode(), key) for key in keys])
    batches = read_all(log.reader({}, live=False), max_records=30)
    check_spans(batches)
    found = {
        value.decode(): batch.spans[span].source.partition
        for batch in batches
        for span, value in zip(batch.span_of.tolist(), batch.values, strict=True)
    }
    assert found == dict(zip(keys, partitions_of_keys(keys, 4, 0).tolist(), strict=True))


def test_content_types_come_from_headers(make_kafka_log: MakeLog, open_reader: OpenReader) -> None:
    log = make_kafka_log()
    writer = log.writer()
    writer.append(VOTES, [Record(b"a"), Record(b"b", headers={CONTENT_TYPE: ARROW_STREAM}), Record(b"c")])
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.content_types == [None, ARROW_STREAM, None]
    assert [kind for part in read_live(open_reader(log), 3) for kind in part.content_types or [None] * len(part)] == [
        None,
        ARROW_STREAM,
        None,
    ]


def test_a_tombstone_is_an_empty_record(make_kafka_log: MakeLog, kafka_broker: KafkaBroker, kafka_prefix: str) -> None:
    log = make_kafka_log()
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka_broker.bootstrap, "log_level": 0})
    producer.produce(f"{kafka_prefix}votes", None, key="gone")
    assert producer.flush(20) == 0
    assert values_of(read_all(log.reader({}, live=False))) == [b""]


def test_a_live_reader_goes_on_at_positions(make_kafka_log: MakeLog, open_reader: OpenReader) -> None:
    log = make_kafka_log()
    append(log, [b"a", b"b", b"c"])
    batches = read_live(open_reader(log, {VOTES_0: Position(1, 7)}), 2)
    check_spans(batches, {VOTES_0: (1, 7)})
    assert values_of(batches) == [b"b", b"c"]


def test_a_finite_reader_ends_where_the_log_ended_when_it_was_opened(make_kafka_log: MakeLog) -> None:
    log = make_kafka_log()
    append(log, [b"a", b"b"])
    reader = log.reader({}, live=False)
    append(log, [b"c"])
    assert values_of(read_all(reader)) == [b"a", b"b"]


def test_an_event_is_read_with_the_votes_that_came_after_it(make_kafka_log: MakeLog, open_reader: OpenReader) -> None:
    log = make_kafka_log()
    reader = open_reader(log)
    assert len(reader.read_to_end(CONTROL)) == 0
    for number in range(20):
        append(log, [b"event %d" % number], CONTROL)
        assert reader.read_to_end(CONTROL).values == [b"event %d" % number]


def test_committed_and_aborted_transactions(
    make_kafka_log: MakeLog, open_reader: OpenReader, kafka_broker: KafkaBroker, kafka_prefix: str
) -> None:
    log = make_kafka_log()
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": kafka_broker.bootstrap,
            "transactional.id": kafka_prefix,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)
    for topic in (VOTES, CONTROL):
        for value, commit in ((b"kept", True), (b"dropped", False), (b"kept too", True)):
            producer.begin_transaction()
            producer.produce(kafka_prefix + topic, value)
            if commit:
                producer.commit_transaction(30)
            else:
                producer.flush(30)
                producer.abort_transaction(30)
    reader = open_reader(log)
    batches = read_live(reader, 2)
    assert values_of(batches) == [b"kept", b"kept too"]
    check_spans(batches)
    assert reader.read_to_end(CONTROL).values == [b"kept", b"kept too"]
    assert len(reader.read_to_end(CONTROL)) == 0  # a marker lies behind the last record
    assert values_of(read_all(log.reader({}, live=False))) == [b"kept", b"kept too"]


def test_new_partitions_are_picked_up(
    make_kafka_log: MakeLog,
    open_reader: OpenReader,
    administrator: AdminClient,
    kafka_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_SECONDS", 0.2)
    log = make_kafka_log()
    reader = open_reader(log)
    append(log, [b"old"])
    assert values_of(read_live(reader, 1)) == [b"old"]
    for future in administrator.create_partitions([NewPartitions(f"{kafka_prefix}votes", 3)]).values():
        future.result(20)
    wait_until(lambda: len(log.ends(VOTES)) == 3)
    keys = [f"key-{number}" for number in range(30)]
    log.writer().append(VOTES, [Record(key.encode(), key) for key in keys])
    batches = read_live(reader, 30)
    assert sorted(values_of(batches)) == sorted(key.encode() for key in keys)
    assert {span.source.partition for batch in batches for span in batch.spans} == {0, 1, 2}


def test_partitions_with_full_buffers_wait(make_kafka_log: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_LANE_BYTES", 1000)
    log = make_kafka_log(3)
    values = [b"%06d" % number + b"." * 200 for number in range(3000)]
    log.writer().append(VOTES, [Record(value, value[:6].decode()) for value in values])
    batches = read_all(log.reader({}, live=False), max_records=100)
    check_spans(batches)
    assert sorted(values_of(batches)) == values


def test_a_partition_that_is_paused_among_its_batches_goes_on(
    make_kafka_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kafka-python puts the rest of a fetch aside when its partition is paused, and may not take it up again."""
    monkeypatch.setattr(source_module, "_LANE_BYTES", 1)
    monkeypatch.setattr(consumer_module, "_BATCHES", 4)
    log = make_kafka_log(3)
    writer = log.writer()
    values = [b"%06d" % number for number in range(240)]
    for start in range(0, len(values), 6):  # many small batches
        writer.append(VOTES, [Record(value, value.decode()) for value in values[start : start + 6]])
    batches = read_all(log.reader({}, live=False), max_records=5)
    assert sorted(values_of(batches)) == values


def test_merge_is_by_append_time_and_control_goes_first(make_kafka_log: MakeLog) -> None:
    log = make_kafka_log(3)
    writer = log.writer()
    for number in range(12):
        writer.append(VOTES, [Record(b"vote %02d" % number, str(number))])
        if number == 5:
            writer.append(CONTROL, [Record(b"event")])
    plain = [
        (time, batch.spans[span].source.partition, value)
        for batch in read_all(log.reader({}, live=False))
        for time, span, value in zip(batch.appended_at.tolist(), batch.span_of.tolist(), batch.values, strict=True)
    ]
    (event,) = read_all(log.reader({}, live=False), CONTROL)
    polls = list(log.merged_reader({}).polls(100))
    assert [value for poll in polls for value in poll.votes.values] == [value for _, _, value in sorted(plain)]
    before = sum(time < event.appended_at[0] for time, _, _ in plain)
    assert [len(poll.control) for poll in polls] == ([0, 1] if before else [1])
    assert len(polls[-1].votes) == 12 - before


@pytest.mark.parametrize("live", [True, False])
def test_a_log_that_ends_before_the_position_is_refused(make_kafka_log: MakeLog, live: bool) -> None:
    log = make_kafka_log()
    append(log, [b"a"])
    with pytest.raises(LogError, match="ends at offset 1 but the store has read to 5"):
        log.reader({VOTES_0: Position(5)}, live=live).poll(VOTES, 10, 0)


@pytest.mark.parametrize("live", [True, False])
def test_deleted_records_are_noticed_and_a_new_store_starts_behind_them(
    make_kafka_log: MakeLog, administrator: AdminClient, kafka_prefix: str, live: bool
) -> None:
    log = make_kafka_log()
    append(log, [b"a", b"b", b"c", b"d"])
    cut = confluent_kafka.TopicPartition(f"{kafka_prefix}votes", 0, 3)
    administrator.delete_records([cut])[cut].result(20)
    with pytest.raises(LogError, match="read to offset 2 but the log begins at 3"):
        log.reader({VOTES_0: Position(2)}, live=live).poll(VOTES, 10, 0)
    reader = log.reader({}, live=live)
    batches = read_live(reader, 1) if live else [reader.poll(VOTES, 10, 5)]
    assert values_of(batches) == [b"d"]
    reader.close()


@pytest.mark.parametrize("recreated", [False, True])
def test_a_topic_that_is_deleted_while_it_is_read_ends_the_reading(
    make_kafka_log: MakeLog,
    open_reader: OpenReader,
    administrator: AdminClient,
    kafka_prefix: str,
    recreated: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_SECONDS", 0.2)
    log = make_kafka_log()
    append(log, [b"a"])
    reader = open_reader(log)
    read_live(reader, 1)
    before = log.identities([TopicPartition(VOTES, 0)])
    administrator.delete_topics([f"{kafka_prefix}votes"])[f"{kafka_prefix}votes"].result(20)

    def is_gone() -> bool:
        try:
            return not log.ends(VOTES)
        except LogError:
            return False  # it went between two of the questions

    wait_until(is_gone)
    if recreated:
        log.create_topics({VOTES: 1})
        wait_until(lambda: log.ends(VOTES))
        now = log.identities([TopicPartition(VOTES, 0)])
        assert now.keys() == before.keys()
        assert now != before

    def poll() -> str:
        try:
            reader.poll(VOTES, 10, 0.2)
        except LogError as error:
            return "" if error.retriable else str(error)
        return ""

    assert "was deleted" in (said := wait_until(poll, 10)) or "has no topic" in said


def test_producers_time_is_refused(
    make_kafka_log: MakeLog, kafka_broker: KafkaBroker, kafka_prefix: str, administrator: AdminClient
) -> None:
    log = make_kafka_log()
    name = f"{kafka_prefix}old-votes"
    topic = confluent_kafka.admin.NewTopic(name, 1, 1, config={"message.timestamp.type": "CreateTime"})
    administrator.create_topics([topic])[name].result(20)
    log = KafkaLog(parse_kafka_url(f"kafka://{kafka_broker.bootstrap}/{name}", {}))
    log.create_topics({CONTROL: 1})
    append(log, [b"a"])
    with pytest.raises(LogError, match=r"message\.timestamp\.type=LogAppendTime"):
        log.reader({}, live=False).poll(VOTES, 10, 5)


def test_preflight_names_missing_topics_and_the_command(kafka_url: str, kafka_prefix: str) -> None:
    log = KafkaLog(parse_kafka_url(kafka_url, {}))
    with pytest.raises(LogError, match=f"has no topic {kafka_prefix}votes.*kwise topics create {kafka_url}"):
        log.preflight([VOTES])
    log.create_topics({VOTES: 1})
    log.preflight([VOTES])


def test_servers_that_are_not_there_are_named() -> None:
    log = KafkaLog(parse_kafka_url("kafka://127.0.0.1:1/votes", {}))
    with pytest.raises(LogUnavailable, match=r"kafka://127\.0\.0\.1:1/votes: .*refused"):
        log.preflight([VOTES])


def test_a_record_that_is_too_large_is_refused(make_kafka_log: MakeLog) -> None:
    log = make_kafka_log()
    with pytest.raises(LogError, match="Send smaller envelopes"):
        append(log, [b"." * (3 << 20)])


def test_the_groups_offsets_show_what_the_store_has(
    make_kafka_log: MakeLog, open_reader: OpenReader, administrator: AdminClient, kafka_prefix: str
) -> None:
    log = make_kafka_log()
    append(log, [b"a", b"b"])
    reader = open_reader(log)
    read_live(reader, 2)

    def committed() -> int | None:
        """Offset of the group, -1 for none; None while a broker that was just started looks for its groups."""
        asked = confluent_kafka.ConsumerGroupTopicPartitions("kwise")
        (future,) = administrator.list_consumer_group_offsets([asked]).values()
        try:
            answer = future.result(20)
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() != confluent_kafka.KafkaError.COORDINATOR_LOAD_IN_PROGRESS:
                raise
            return None
        found = {(each.topic, each.partition): each.offset for each in answer.topic_partitions}
        return int(found.get((f"{kafka_prefix}votes", 0), -1))

    wait_until(lambda: committed() is not None, 20)
    reader.note_committed({VOTES_0: Position(2)})
    wait_until(lambda: committed() == 2, 20)


def test_a_broker_that_goes_away_is_worth_a_retry(
    fragile_broker: KafkaBroker, open_reader: OpenReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_SECONDS", 0.2)
    log = KafkaLog(parse_kafka_url(f"kafka://{fragile_broker.bootstrap}/votes", {}))
    log.create_topics({VOTES: 1, CONTROL: 1})
    append(log, [b"a"])
    reader = open_reader(log)
    read_live(reader, 1)
    fragile_broker.kill()

    def poll() -> bool:
        try:
            reader.poll(VOTES, 10, 0.1)
        except LogUnavailable:
            return True
        return False

    wait_until(poll, 15)
    fragile_broker.restart()
    append(log, [b"b"])
    again = open_reader(log, {VOTES_0: Position(1)})
    assert values_of(read_live(again, 1)) == [b"b"]
