"""The embedded log, in one process."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contracts.log import (
    ARROW_STREAM,
    CONTENT_TYPE,
    LogError,
    LogUnavailable,
    Position,
    Record,
    TopicPartition,
)
from pipeline.eventlog import reader as reader_module
from pipeline.eventlog import sqlite_log
from pipeline.eventlog.sqlite_log import SqliteLog

from .conftest import VOTES_0, Clock, check_spans, keep_all, read_all, values_of

MakeLog = Callable[..., SqliteLog]


def test_records_come_back_in_order_with_dense_offsets(make_log: MakeLog, clock: Clock) -> None:
    log = make_log()
    writer = log.writer()
    writer.append("votes", keep_all([b"a", b"b"]))
    clock.now = 2_000
    writer.append("votes", keep_all([b"c"]))
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.values == [b"a", b"b", b"c"]
    assert batch.offsets.tolist() == [0, 1, 2]
    assert batch.appended_at.tolist() == [1_000, 1_000, 2_000]
    assert batch.content_types is None
    assert [tuple(span) for span in batch.spans] == [(VOTES_0, (0, 0), (3, 0))]
    assert log.ends("votes") == {VOTES_0: 3}
    assert log.ends("control") == {TopicPartition("control", 0): 0}


def test_append_time_never_goes_back(make_log: MakeLog, clock: Clock) -> None:
    log = make_log()
    writer = log.writer()
    writer.append("votes", keep_all([b"a"]))
    clock.now = 500
    writer.append("votes", keep_all([b"b"]))
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.appended_at.tolist() == [1_000, 1_000]


def test_equal_keys_share_a_partition_and_keep_their_order(make_log: MakeLog) -> None:
    log = make_log(4)
    records = [Record(f"{number % 40}:{number:04d}".encode(), str(number % 40)) for number in range(400)]
    log.writer().append("votes", records)
    batches = read_all(log.reader({}, live=False), max_records=70)
    check_spans(batches)
    seen: dict[bytes, list[tuple[int, bytes]]] = {}
    for batch in batches:
        for span, value in zip(batch.span_of.tolist(), batch.values, strict=True):
            key = value.split(b":")[0]
            seen.setdefault(key, []).append((batch.spans[span].source.partition, value))
    assert len({partition for places in seen.values() for partition, _ in places}) == 4
    for places in seen.values():
        assert len({partition for partition, _ in places}) == 1
        assert [value for _, value in places] == sorted(value for _, value in places)


def test_keyless_records_go_to_the_shortest_partition(make_log: MakeLog) -> None:
    log = make_log(4)
    writer = log.writer()
    for number in range(8):
        writer.append("votes", keep_all([b"%d" % number]))
    assert set(log.ends("votes").values()) == {2}


def test_a_reader_resumes_at_positions(make_log: MakeLog) -> None:
    log = make_log(2)
    log.writer().append("votes", [Record(b"%d" % number, str(number)) for number in range(100)])
    first = log.reader({}, live=True)
    batches = [first.poll("votes", 30, 0)]
    positions = {span.source: span.end for span in batches[0].spans}
    rest = read_all(log.reader(positions, live=False), max_records=7)
    check_spans(batches + rest)
    assert sorted(values_of(batches + rest)) == sorted(b"%d" % number for number in range(100))


def test_a_position_inside_a_record_gives_that_record_again(make_log: MakeLog) -> None:
    log = make_log()
    log.writer().append("votes", keep_all([b"a", b"b"]))
    (batch,) = read_all(log.reader({VOTES_0: Position(1, 7)}, live=False))
    assert batch.values == [b"b"]
    assert batch.spans[0].start == Position(1, 7)


def test_a_poll_is_shared_among_partitions(make_log: MakeLog) -> None:
    log = make_log(3)
    keys = {0: "a", 1: "b", 2: "c"}
    by_partition: dict[int, str] = {}
    for number in range(50):
        log.writer().append("votes", [Record(b"", f"k{number}")])
        for source, end in log.ends("votes").items():
            if end and source.partition not in by_partition:
                by_partition[source.partition] = f"k{number}"
    keys = by_partition
    start = {source: Position(end) for source, end in log.ends("votes").items()}
    writer = log.writer()
    writer.append(
        "votes", [Record(b"x", keys[0])] * 1000 + [Record(b"x", keys[1])] * 5 + [Record(b"x", keys[2])] * 1000
    )
    reader = log.reader(start, live=True)
    batch = reader.poll("votes", 105, 0)
    assert [int((batch.span_of == number).sum()) for number in range(3)] == [50, 5, 50]
    few = [reader.poll("votes", 1, 0).spans[0].source.partition for _ in range(4)]
    assert sorted(few) == [0, 0, 2, 2]


def test_content_types_are_given_where_a_record_has_headers(make_log: MakeLog) -> None:
    log = make_log()
    headers = {CONTENT_TYPE: ARROW_STREAM}
    log.writer().append("votes", [Record(b"a"), Record(b"b", headers=headers), Record(b"c", headers={"x": "y"})])
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.content_types == [None, ARROW_STREAM, None]


@pytest.mark.parametrize("headers", ["nonsense", "[1]", '{"content-type": 5}', "[" * 100_000])
def test_odd_headers_of_other_programs_are_no_content_type(make_log: MakeLog, tmp_path: Path, headers: str) -> None:
    log = make_log()
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("INSERT INTO log VALUES ('votes', 0, 0, 5, NULL, x'41', ?)", (headers,))
    connection.close()
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.content_types == [None]


def test_holes_are_passed_over(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log()
    log.writer().append("votes", keep_all(b"%d" % number for number in range(10)))
    connection = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    connection.execute("DELETE FROM log WHERE off IN (0, 1, 2, 5)")
    connection.close()
    batches = read_all(log.reader({}, live=False), max_records=2)
    check_spans(batches)
    assert values_of(batches) == [b"3", b"4", b"6", b"7", b"8", b"9"]
    assert [offset for batch in batches for offset in batch.offsets.tolist()] == [3, 4, 6, 7, 8, 9]


def test_a_poll_of_large_records_is_bounded_by_bytes(make_log: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MAX_POLL_BYTES", 100_000)
    log = make_log()
    log.writer().append("votes", keep_all([bytes(1000)] * 1000))
    reader = log.reader({}, live=True)
    batches = [reader.poll("votes", 20_000, 0) for _ in range(4)]
    assert [len(batch) for batch in batches] == [256, 256, 256, 232]
    check_spans(batches)


def test_a_finite_reader_ends_where_the_log_ended_when_it_was_opened(make_log: MakeLog) -> None:
    log = make_log()
    writer = log.writer()
    writer.append("votes", keep_all([b"a"]))
    reader = log.reader({}, live=False)
    writer.append("votes", keep_all([b"b"]))
    assert not reader.at_end()
    assert reader.poll("votes", 10, 5.0).values == [b"a"]
    assert reader.at_end()
    assert len(reader.poll("votes", 10, 5.0)) == 0


def test_an_append_wakes_a_waiting_reader(make_log: MakeLog) -> None:
    log = make_log()
    reader = log.reader({}, live=True)
    found: list[bytes] = []
    started = threading.Event()

    def wait_for_vote() -> None:
        started.set()
        found.extend(reader.poll("votes", 10, 30.0).values)

    thread = threading.Thread(target=wait_for_vote)
    thread.start()
    started.wait(10)
    began = time.monotonic()
    log.writer().append("control", keep_all([b"other topic"]))
    log.writer().append("votes", keep_all([b"a"]))
    thread.join(30)
    assert found == [b"a"]
    assert time.monotonic() - began < 10
    assert not reader.at_end()


def test_waiting_costs_little_and_ends_with_the_time_limit(make_log: MakeLog) -> None:
    reader = make_log().reader({}, live=True)
    wall, cpu = time.monotonic(), time.thread_time()
    assert len(reader.poll("votes", 10, 0.5)) == 0
    wall, cpu = time.monotonic() - wall, time.thread_time() - cpu
    assert 0.5 <= wall < 5
    assert cpu < 0.1


def test_a_topic_that_is_created_later_is_picked_up(make_log: MakeLog) -> None:
    log = make_log()
    reader = log.reader({}, live=True)
    assert len(reader.poll("matchups", 10, 0)) == 0
    log.create_topics({"matchups": 1, "votes": 9})
    log.writer().append("matchups", keep_all([b"m"]))
    assert reader.poll("matchups", 10, 5.0).values == [b"m"]
    assert len(log.ends("votes")) == 1  # what is there is left as it is


def test_a_position_beyond_the_end_is_refused(make_log: MakeLog) -> None:
    log = make_log()
    log.writer().append("votes", keep_all([b"a"]))
    for beyond in (Position(2), Position(1, 1)):
        with pytest.raises(LogError, match="ends at offset 1 but the store has read to"):
            log.reader({VOTES_0: beyond}, live=True).poll("votes", 10, 0)
        with pytest.raises(LogError, match="start a new store"):
            log.merged_reader({VOTES_0: beyond})
    with pytest.raises(LogError, match="no such partition"):
        log.reader({TopicPartition("votes", 3): Position(1)}, live=True).poll("votes", 10, 0)
    assert len(log.reader({VOTES_0: Position(1)}, live=True).poll("votes", 10, 0)) == 0


@pytest.mark.parametrize("replace", [False, True])
def test_a_deleted_or_replaced_file_is_noticed(make_log: MakeLog, tmp_path: Path, replace: bool) -> None:
    log = make_log()
    reader, writer = log.reader({}, live=True), log.writer()
    writer.append("votes", keep_all([b"a"]))
    assert len(reader.poll("votes", 10, 0)) == 1
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / name).unlink()
    if replace:
        make_log()
    with pytest.raises(LogError, match="deleted or replaced"):
        reader.poll("votes", 10, 0)
    with pytest.raises(LogError, match="deleted or replaced"):
        writer.append("votes", keep_all([b"b"]))
    reader.close()
    reader.close()


def test_a_lock_that_is_held_too_long_is_worth_a_retry(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(busy_seconds=0.05)
    writer = log.writer()
    other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="locked by another process") as caught:
        writer.append("votes", keep_all([b"a"]))
    assert caught.value.retriable
    other.execute("ROLLBACK")
    other.close()
    writer.append("votes", keep_all([b"a"]))
    assert log.ends("votes") == {VOTES_0: 1}


def test_a_failed_append_leaves_nothing(make_log: MakeLog) -> None:
    log = make_log()
    writer = log.writer()
    bad = [Record(b"a"), Record("no bytes")]  # type: ignore[arg-type]
    with pytest.raises(LogError, match="SQLite failed"):
        writer.append("votes", bad)
    writer.append("votes", [])
    assert log.ends("votes") == {VOTES_0: 0}
    with pytest.raises(LogError, match="no topic matchups"):
        writer.append("matchups", keep_all([b"m"]))


def test_threads_may_share_a_writer(make_log: MakeLog) -> None:
    log = make_log(2)
    writer = log.writer()

    def write(who: int) -> None:
        for number in range(20):
            writer.append("votes", [Record(b"%d:%d" % (who, number), str(number))])

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(values_of(read_all(log.reader({}, live=False))))) == 80


def test_preflight_says_what_is_missing(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log()
    log.preflight(["votes", "control"])
    with pytest.raises(LogError, match="has no topic matchups"):
        log.preflight(["votes", "matchups"])
    with pytest.raises(LogError, match="does not exist"):
        SqliteLog(tmp_path / "none.db").preflight(["votes"])
    with pytest.raises(LogError, match="does not exist"):
        SqliteLog(tmp_path / "none.db").writer()
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(LogError, match="create it first"):
        SqliteLog(tmp_path / "nowhere" / "none.db").create_topics({"votes": 1})


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    with pytest.raises(LogError, match="no SQLite file"):
        SqliteLog(tmp_path / "text.db").preflight(["votes"])
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.close()
    log = SqliteLog(tmp_path / "other.db")
    with pytest.raises(LogError, match="no event log"):
        log.preflight([])
    with pytest.raises(LogError, match="no event log"):
        log.create_topics({"votes": 1})


def test_a_log_of_another_version_is_refused(make_log: MakeLog, tmp_path: Path) -> None:
    make_log()
    connection = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    connection.execute("UPDATE schema_version SET version = 2")
    connection.close()
    with pytest.raises(LogError, match="this version of kwise reads 1"):
        SqliteLog(tmp_path / "events.db").preflight(["votes"])


@pytest.mark.parametrize(("topic", "partitions"), [("bad name", 1), ("", 1), ("votes", 0), ("votes", 100_000)])
def test_impossible_topics_are_refused(tmp_path: Path, topic: str, partitions: int) -> None:
    with pytest.raises(LogError):
        SqliteLog(tmp_path / "events.db").create_topics({topic: partitions})


def test_appends_are_synced_to_the_disk(make_log: MakeLog) -> None:
    writer = make_log().writer()
    assert writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert sqlite_log.BUSY_SECONDS >= 5


def test_the_path_may_hold_any_characters(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c %41 ü.db"
    log = SqliteLog(path)
    log.create_topics({"votes": 1})
    log.writer().append("votes", keep_all([b"a"]))
    assert path.exists()
    assert values_of(read_all(log.reader({}, live=False))) == [b"a"]
    assert os.listdir(tmp_path)  # noqa: PTH208
