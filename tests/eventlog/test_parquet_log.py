"""Parquet files as an event log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contracts.log import ARROW_STREAM, MAX_APPEND_TIME, LogBatch, LogError, Position
from pipeline.eventlog import parquet_file
from pipeline.eventlog.file_log import FileLog

from .conftest import VOTES_0, check_spans, keep_all, make_vote, read_all


@pytest.fixture(autouse=True)
def _short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "SLICE_ROWS", 4)


def write_votes(path: Path, times: list[int], appended_at: list[int | None] | None = None, group: int = 10) -> None:
    rows = [json.loads(make_vote(number, time)) for number, time in enumerate(times)]
    table = pa.Table.from_pylist(rows)
    if appended_at is not None:
        table = table.append_column("appended_at", pa.array(appended_at, pa.int64()))
    pq.write_table(table, path, row_group_size=group)


def rows_of(batch: LogBatch) -> list[dict[str, Any]]:
    """Each vote with its offset, whatever record it is in."""
    found = []
    for offset, value in zip(batch.offsets.tolist(), batch.values, strict=True):
        rows = pa.ipc.open_stream(value).read_all().to_pylist()
        found += [{**row, "place": offset + index} for index, row in enumerate(rows)]
    return found


def test_records_are_slices_of_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, list(range(100, 123)))
    log = FileLog(str(path))
    log.preflight(["votes"])
    assert log.ends("votes") == {VOTES_0: 23}
    batches = read_all(log.reader({}, live=False), max_records=1)
    check_spans(batches)
    assert [batch.offsets.tolist() for batch in batches] == [[0], [4], [8], [10], [14], [18], [20]]
    assert [batch.spans[0].end.offset for batch in batches] == [4, 8, 10, 14, 18, 20, 23]
    assert batches[0].content_types == [ARROW_STREAM]
    assert batches[0].appended_at.tolist() == [103]
    rows = [row for batch in batches for row in rows_of(batch)]
    assert [(row["place"], row["time"], row["vote_id"]) for row in rows] == [
        (number, 100 + number, f"v{number}") for number in range(23)
    ]
    assert [row["appended_at"] for row in rows] == [row["time"] for row in rows]


def test_a_poll_counts_votes_not_records(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_votes(tmp_path / f"{name}.parquet", list(range(40)), group=40)
    reader = FileLog(str(tmp_path)).reader({}, live=True)
    batch = reader.poll("votes", 16, 0)
    assert [span.end.offset for span in batch.spans] == [8, 8]


def test_append_times_are_the_column_else_the_votes_own(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, [1, 2, 3, 4], [7, None, 9, None])
    (batch,) = read_all(FileLog(str(path)).reader({}, live=False))
    assert [row["appended_at"] for row in rows_of(batch)] == [7, 2, 9, 4]
    assert batch.appended_at.tolist() == [9]


def test_append_times_that_no_log_has_are_none(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, [1, 2, 3, 4], [9 * 10**18, -1, 9, MAX_APPEND_TIME + 1])
    (batch,) = read_all(FileLog(str(path)).reader({}, live=False))
    assert [row["appended_at"] for row in rows_of(batch)] == [1, 2, 9, 4]
    assert batch.appended_at.tolist() == [9]


@pytest.mark.parametrize("position", [Position(6), Position(4, 2)])
def test_reading_goes_on_inside_a_slice(tmp_path: Path, position: Position) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, list(range(20)))
    log = FileLog(str(path))
    batches = read_all(log.reader({VOTES_0: position}, live=False), max_records=1)
    check_spans(batches, {VOTES_0: position})
    assert [row["place"] for batch in batches for row in rows_of(batch)] == list(range(6, 20))
    polls = list(log.merged_reader({VOTES_0: position}).polls(5))
    check_spans([poll.votes for poll in polls], {VOTES_0: position})
    assert [row["place"] for poll in polls for row in rows_of(poll.votes)] == list(range(6, 20))


def test_reading_ends_at_a_position_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, list(range(8)))
    log = FileLog(str(path))
    for position in (Position(8), Position(4, 4)):
        assert read_all(log.reader({VOTES_0: position}, live=False)) == []
        assert list(log.merged_reader({VOTES_0: position}).polls(10)) == []


def test_columns_that_are_no_votes_are_left_out_and_missing_ones_stay_missing(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    pq.write_table(pa.table({"vote_id": ["a", "b"], "color": ["red", "blue"]}), path)
    (batch,) = read_all(FileLog(str(path)).reader({}, live=False))
    assert [sorted(row) for row in rows_of(batch)] == [["appended_at", "place", "vote_id"]] * 2
    assert batch.appended_at.tolist() == [0]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    write_votes(path, [1])
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert read_all(FileLog(str(path)).reader({}, live=False)) == []


def test_a_file_that_is_no_parquet_says_so(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(LogError, match="cannot be read as Parquet"):
        FileLog(str(path)).preflight(["votes"])
    write_votes(tmp_path / "control.parquet", [1])
    path.unlink()
    with pytest.raises(LogError, match="JSON lines"):
        FileLog(str(tmp_path)).reader({}, live=True)


def test_rows_of_several_files_are_merged_one_by_one(tmp_path: Path) -> None:
    write_votes(tmp_path / "a.parquet", [10, 20, 20, 50, 40, 65, 60, 70, 58])
    write_votes(tmp_path / "b.parquet", [5, 20, 30, 45, 70])
    (tmp_path / "c.jsonl").write_bytes(make_vote(0, 20) + b"\n" + make_vote(1, 55) + b"\n")
    (tmp_path / "control.jsonl").write_bytes(b'{"time": 20}\n{"time": 65}\n')
    log = FileLog(str(tmp_path))
    polls = list(log.merged_reader({}, until=60).polls(100))
    merged = []
    for poll in polls:
        merged += [("control", at) for at in poll.control.appended_at.tolist()]
        for span, at, value, kind in zip(
            poll.votes.span_of.tolist(),
            poll.votes.appended_at.tolist(),
            poll.votes.values,
            poll.votes.content_types or [None] * len(poll.votes),
            strict=True,
        ):
            name = "abc"[poll.votes.spans[span].source.partition]
            if kind == ARROW_STREAM:
                times = pa.ipc.open_stream(value).read_all()["appended_at"].to_pylist()
                assert at == max(times)
                merged += [(name, time) for time in times]
            else:
                merged.append((name, at))
    assert merged == [
        ("b", 5),
        ("a", 10),
        ("control", 20),
        ("a", 20),
        ("a", 20),
        ("b", 20),
        ("c", 20),
        ("b", 30),
        ("b", 45),
        ("a", 50),
        ("a", 40),
        ("c", 55),
        ("a", 60),
        ("a", 58),
    ]
    check_spans([poll.votes for poll in polls])


def test_votes_are_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "votes.parquet"
    log = FileLog(str(path))
    log.create_topics({"votes": 1})
    writer = log.writer()
    votes = [make_vote(number, 100 + number, propensity=0.5) for number in range(6)]
    votes[3] = make_vote(3, 103, mode="best", ranks=[1, None], appended_at=500)
    writer.append("votes", keep_all(votes))
    with pytest.raises(LogError, match="is no vote"):
        writer.append("votes", keep_all([make_vote(9), make_vote(10, ranks=[1.0, 2])]))
    with pytest.raises(LogError, match="holds votes"):
        writer.append("control", keep_all([b"{}"]))
    assert not path.exists()
    writer.close()
    writer.close()
    rows = [row for batch in read_all(log.reader({}, live=False)) for row in rows_of(batch)]
    assert [row["vote_id"] for row in rows] == [f"v{number}" for number in range(6)]
    assert rows[3]["ranks"] == [1, None]
    assert [row["appended_at"] for row in rows] == [100, 101, 102, 500, 104, 105]
    with pytest.raises(LogError, match="cannot be appended to"):
        log.writer()
