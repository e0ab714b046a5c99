"""Event logs in files: JSON lines and folders of them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from pipeline.contracts.log import ARROW_STREAM, CONTENT_TYPE, LogBatch, LogError, Position, Record, TopicPartition
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.file_log import FileLog

from .conftest import VOTES_0, check_spans, keep_all, make_vote, read_all, values_of


def test_offsets_are_bytes_and_the_last_line_may_lack_its_break(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b'{"time": 7}\r\n\n{"appended_at": 9}\n\xff\x00garbage\nlast')
    log = FileLog(str(path))
    log.preflight(["votes", "control"])
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.values == [b'{"time": 7}', b'{"appended_at": 9}', b"\xff\x00garbage", b"last"]
    assert batch.offsets.tolist() == [0, 14, 33, 43]
    assert batch.appended_at.tolist() == [7, 9, 0, 0]
    assert [tuple(span) for span in batch.spans] == [(VOTES_0, (0, 0), (47, 0))]
    assert log.ends("votes") == {VOTES_0: 47}
    assert log.ends("control") == {}


def test_a_live_reader_leaves_an_incomplete_line_for_later(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"one\ntw")
    reader = FileLog(str(path)).reader({}, live=True)
    assert reader.poll("votes", 10, 0).values == [b"one"]
    assert len(reader.poll("votes", 10, 0)) == 0
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(reader.poll("votes", 10, 30).values))
    thread.start()
    with path.open("ab") as file:
        file.write(b"o\nthree")
    thread.join(30)
    assert found == [b"two"]
    assert not reader.at_end()


def test_small_polls_chain(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"\n\n".join(b"%d" % number for number in range(50)) + b"\n\n\n")
    log = FileLog(str(path))
    batches = read_all(log.reader({}, live=False), max_records=3)
    check_spans(batches)
    assert values_of(batches) == [b"%d" % number for number in range(50)]
    middle = batches[4].spans[0].end
    assert values_of(read_all(log.reader({VOTES_0: middle}, live=False))) == values_of(batches[5:])


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("size", [100_000, MAX_RECORD_BYTES + 1, 9_000_000])
def test_a_huge_line_is_one_record(tmp_path: Path, size: int, live: bool) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"a\n" + b"x" * size + b"\r\nb\n")
    reader = FileLog(str(path)).reader({}, live=live)
    batches: list[LogBatch] = []
    while not batches or batches[-1].values[-1] != b"b":
        batches.append(reader.poll("votes", 1, 10))
    check_spans(batches)
    assert [len(value) for value in values_of(batches)] == [1, min(size, MAX_RECORD_BYTES + 1), 1]
    assert batches[-1].spans[0].end.offset == size + 6


def test_a_huge_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"x" * 5_000_000)
    log = FileLog(str(path))
    assert len(log.reader({}, live=True).poll("votes", 1, 0)) == 0
    (batch,) = read_all(log.reader({}, live=False))
    assert [len(value) for value in batch.values] == [MAX_RECORD_BYTES + 1]


def test_files_of_a_folder_are_partitions_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"b\n")
    (tmp_path / "a.jsonl").write_bytes(b"a\n")
    (tmp_path / "control-1.jsonl").write_bytes(b"c\n")
    (tmp_path / "notes.txt").write_bytes(b"no\n")
    (tmp_path / ".hidden.jsonl").write_bytes(b"no\n")
    log = FileLog(str(tmp_path))
    (batch,) = read_all(log.reader({}, live=False))
    assert batch.values == [b"a", b"b"]
    assert [span.source for span in batch.spans] == [("votes", 0), ("votes", 1)]
    assert values_of(read_all(log.reader({}, live=False), "control")) == [b"c"]
    assert values_of(read_all(FileLog(str(tmp_path / "[ab].jsonl")).reader({}, live=False))) == [b"a", b"b"]


def test_a_new_file_is_picked_up_if_it_sorts_last(tmp_path: Path) -> None:
    (tmp_path / "2.jsonl").write_bytes(b"two\n")
    reader = FileLog(str(tmp_path)).reader({}, live=True)
    assert reader.poll("votes", 10, 0).values == [b"two"]
    (tmp_path / "3.jsonl").write_bytes(b"three\n")
    assert reader.poll("votes", 10, 0).values == [b"three"]
    (tmp_path / "1.jsonl").write_bytes(b"one\n")
    with pytest.raises(LogError, match="add files that sort last"):
        reader.poll("votes", 10, 0)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"one\ntwo\n")
    log = FileLog(str(path))
    with pytest.raises(LogError, match="ends at offset 8 but the store has read to 9"):
        log.reader({VOTES_0: Position(9)}, live=True).poll("votes", 10, 0)
    with pytest.raises(LogError, match="inside a line"):
        log.reader({VOTES_0: Position(5)}, live=True).poll("votes", 10, 0)
    reader = log.reader({}, live=True)
    assert len(reader.poll("votes", 10, 0)) == 2
    path.write_bytes(b"one\n")
    with pytest.raises(LogError, match="ends at offset 4"):
        reader.poll("votes", 10, 0)
    reader = log.reader({}, live=True)
    (tmp_path / "new").write_bytes(b"one\ntwo\nthree\n")
    (tmp_path / "new").rename(path)
    with pytest.raises(LogError, match="replaced"):
        reader.poll("votes", 10, 0)
    path.unlink()
    with pytest.raises(LogError, match="was deleted"):
        reader.poll("votes", 10, 0)


def test_a_file_cut_short_while_a_finite_reader_reads_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"one\n" * 10)
    reader = FileLog(str(path)).reader({}, live=False)
    assert len(reader.poll("votes", 5, 0)) == 5
    path.write_bytes(b"one\n" * 5)
    with pytest.raises(LogError, match="cut short"):
        reader.poll("votes", 5, 0)


def test_preflight_says_what_is_missing(tmp_path: Path) -> None:
    for url in (str(tmp_path), str(tmp_path / "none.jsonl"), str(tmp_path / "*.jsonl"), f"{tmp_path}/new/"):
        with pytest.raises(LogError, match=r"no \.jsonl or \.parquet file"):
            FileLog(url).preflight(["votes"])
    (tmp_path / "control.jsonl").touch()
    with pytest.raises(LogError, match=r"no votes, only control\.jsonl"):
        FileLog(str(tmp_path)).preflight(["votes"])


def test_a_file_is_written_and_read_again(tmp_path: Path) -> None:
    log = FileLog(str(tmp_path / "new" / "votes.jsonl"))
    log.create_topics({"votes": 4})
    writer = log.writer()
    records = [make_vote(number) for number in range(10)]
    writer.append("votes", keep_all(records))
    writer.append("votes", keep_all([b'{\n"time": 1}']))
    writer.append("votes", [])
    writer.close()
    assert values_of(read_all(log.reader({}, live=False))) == [*records, b'{ "time": 1}']
    with pytest.raises(LogError, match="no file for topic control"):
        writer.append("control", keep_all([b"{}"]))
    for record in (Record(b"no\njson"), Record(b""), Record(b"a", headers={CONTENT_TYPE: ARROW_STREAM})):
        with pytest.raises(LogError, match="does not fit"):
            writer.append("votes", [record])


def test_an_append_does_not_join_someones_incomplete_line(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(b"half")
    log = FileLog(str(path))
    log.writer().append("votes", keep_all([b"whole"]))
    assert values_of(read_all(log.reader({}, live=False))) == [b"half", b"whole"]


def test_a_folder_is_written_by_topic_and_key(tmp_path: Path) -> None:
    log = FileLog(f"{tmp_path}/log/")
    log.create_topics({"votes": 3, "control": 1, "matchups": 1})
    log.create_topics({"votes": 5})
    writer = log.writer()
    writer.append("votes", [Record(make_vote(number), str(number)) for number in range(30)])
    writer.append("control", keep_all([b'{"time": 1}']))
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == [
        "control-00000.jsonl",
        "matchups-00000.jsonl",
        "votes-00000.jsonl",
        "votes-00001.jsonl",
        "votes-00002.jsonl",
    ]
    (batch,) = read_all(log.reader({}, live=False))
    assert len(batch) == 30
    assert len(batch.spans) == 3
    assert {json.loads(value)["vote_id"] for value in batch.values} == {f"v{number}" for number in range(30)}
    assert log.ends("control") == {TopicPartition("control", 0): 12}
    with pytest.raises(LogError, match="not valid"):
        log.create_topics({"valid": 1})


def test_a_glob_cannot_be_written(tmp_path: Path) -> None:
    log = FileLog(f"{tmp_path}/*.jsonl")
    for use in (log.writer, lambda: log.create_topics({"votes": 1})):
        with pytest.raises(LogError, match="can be read, not written"):
            use()
