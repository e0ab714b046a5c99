"""A store goes on from the log that it has read, and from no other one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pipeline.contracts.log import CONTROL, VOTES, LogError, Record, TopicPartition
from pipeline.eventlog import open_log
from pipeline.store.duck_store import open_store
from tests.broken_records import good_record
from tests.end_to_end.jobs import append, append_events, archived_votes, call, make_event, make_log, run_to_end

NOT_READ = "not the log that the store has read"


def write_lines(file: Path, first: int, count: int) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("ab") as lines:
        lines.writelines(good_record(number) + b"\n" for number in range(first, first + count))


def records(count: int) -> list[Record]:
    return [Record(good_record(number)) for number in range(count)]


def test_a_file_that_takes_the_number_of_another_is_refused(tmp_path: Path) -> None:
    folder, store = tmp_path / "log", tmp_path / "store"
    write_lines(folder / "votes-b.jsonl", 0, 10)
    run_to_end(open_log(str(folder)), store)
    write_lines(folder / "votes-a.jsonl", 10, 30)
    with pytest.raises(LogError, match=f"{NOT_READ}: it was votes-b.jsonl .* is votes-a.jsonl"):
        run_to_end(open_log(str(folder)), store)
    (folder / "votes-a.jsonl").rename(folder / "votes-c.jsonl")
    write_lines(folder / "votes-b.jsonl", 40, 5)
    run_to_end(open_log(str(folder)), store)
    assert len(archived_votes(store)) == 45


def test_a_file_with_another_beginning_is_refused(tmp_path: Path) -> None:
    file, store = tmp_path / "votes.jsonl", tmp_path / "store"
    write_lines(file, 0, 10)
    run_to_end(open_log(str(file)), store)
    file.unlink()
    write_lines(file, 10, 20)
    with pytest.raises(LogError, match=NOT_READ):
        run_to_end(open_log(str(file)), store)


@pytest.mark.parametrize("way", ["live", "raw", "archive"])
def test_an_sqlite_log_made_anew_is_refused(tmp_path: Path, way: str) -> None:
    log, store = make_log(tmp_path, partitions=1), tmp_path / "store"
    append(log, VOTES, records(5))
    append_events(log, [make_event("voters.retract", voters=("nobody",))])
    run_to_end(log, store)
    if way != "live":
        source = log.url if way == "raw" else store / "archive"
        call("replay", "--from", source, "--store", tmp_path / way)
        store = tmp_path / way
    append(log, VOTES, records(9)[5:])
    run_to_end(log, store)
    assert len(archived_votes(store)) == 9
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    append(make_log(tmp_path, partitions=1), VOTES, records(20))
    with pytest.raises(LogError, match=NOT_READ):
        run_to_end(log, store)


def test_a_log_and_a_store_without_identities_go_on_and_get_them(tmp_path: Path) -> None:
    log, store = make_log(tmp_path, partitions=1), tmp_path / "store"
    append(log, VOTES, records(5))
    with sqlite3.connect(tmp_path / "events.db") as connection:
        connection.execute("DROP TABLE identity")
    run_to_end(log, store)
    partitions = [TopicPartition(VOTES, 0), TopicPartition(CONTROL, 0)]
    assert log.identities(partitions) == {}
    append(log, VOTES, records(7)[5:])
    assert len(set(log.identities(partitions).values())) == 1
    for _ in range(2):
        run_to_end(log, store)
        append(log, VOTES, records(9)[7:])
    with open_store(store, holder="a test") as opened:
        assert b'"votes",0,' in opened.load().state["log"]
