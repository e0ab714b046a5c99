"""The merged order, against a plain sort."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.log import Poll, Position, Record, TopicPartition
from pipeline.eventlog import merge
from pipeline.eventlog.file_log import FileLog
from pipeline.eventlog.sqlite_log import SqliteLog

from .conftest import Clock, check_spans, keep_all

Line = tuple[int, str, int, int]  # append time, topic, partition, offset


@dataclass(frozen=True)
class Written:
    """Times of the lines of each file, in the order of the lines."""

    votes: list[list[int]]
    control: list[list[int]]


def write_files(folder: Path, written: Written) -> None:
    for topic, files in (("votes", written.votes), ("control", written.control)):
        for number, times in enumerate(files):
            lines = [b'{"time": %d}\n' % time for time in times]
            (folder / f"{topic}-{number}.jsonl").write_bytes(b"".join(lines))


def sort_plainly(written: Written, until: int | None) -> list[Line]:
    lines = []
    for topic, files in (("votes", written.votes), ("control", written.control)):
        for partition, times in enumerate(files):
            latest, offset = -(10**18), 0
            for time in times:
                latest = max(latest, time)
                if until is None or time <= until:
                    lines.append((latest, (time, topic, partition, offset)))
                offset += len(b'{"time": %d}\n' % time)
    lines.sort(key=lambda item: (item[0], item[1][1] != "control", *item[1][1:]))
    return [line for _, line in lines]


def lines_of(polls: list[Poll]) -> list[Line]:
    found = []
    for poll in polls:
        for batch in (poll.control, poll.votes):
            for span, at, offset in zip(
                batch.span_of.tolist(), batch.appended_at.tolist(), batch.offsets.tolist(), strict=True
            ):
                source = batch.spans[span].source
                found.append((at, source.topic, source.partition, offset))
    return found


def check_polls(polls: list[Poll], max_records: int) -> None:
    check_spans([poll.votes for poll in polls if len(poll.votes)])
    check_spans([poll.control for poll in polls if len(poll.control)])
    assert all(len(poll.votes) <= max_records for poll in polls)
    assert all(len(poll.votes) for poll in polls[:-1])
    for poll, after in pairwise(polls):
        assert len(poll.votes) == max_records or len(after.control)


TIMES = st.lists(st.integers(0, 12), max_size=25)


@settings(max_examples=60)
@given(
    written=st.builds(Written, st.lists(TIMES, max_size=5), st.lists(TIMES, max_size=2)),
    max_records=st.integers(1, 30),
    first_fetch=st.integers(1, 8),
    until=st.none() | st.integers(0, 12),
)
def test_merge_agrees_with_a_plain_sort(
    written: Written, max_records: int, first_fetch: int, until: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "_FIRST_FETCH", first_fetch)
        write_files(Path(folder), written)
        polls = list(FileLog(folder).merged_reader({}, until=until).polls(max_records))
    assert lines_of(polls) == sort_plainly(written, until)
    check_polls(polls, max_records)


def test_a_control_event_comes_with_the_votes_after_it(tmp_path: Path) -> None:
    write_files(tmp_path, Written([[1, 2, 3, 4, 5]], [[3, 3, 5, 9]]))
    reader = FileLog(str(tmp_path), clock=Clock(77)).merged_reader({})
    polls = list(reader.polls(2))
    reader.close()
    reader.close()
    assert [(poll.control.appended_at.tolist(), poll.votes.appended_at.tolist()) for poll in polls] == [
        ([], [1, 2]),
        ([3, 3], [3, 4]),
        ([5], [5]),
        ([9], []),
    ]
    assert {poll.now for poll in polls} == {77}


def test_merge_goes_on_at_positions(tmp_path: Path) -> None:
    write_files(tmp_path, Written([[1, 3, 5], [2, 4, 6]], []))
    log = FileLog(str(tmp_path))
    whole = lines_of(list(log.merged_reader({}).polls(100)))
    first = next(iter(log.merged_reader({}).polls(3))).votes
    positions = {span.source: span.end for span in first.spans}
    rest = list(log.merged_reader(positions).polls(100))
    check_spans([rest[0].votes], positions)
    assert lines_of(rest) == whole[3:]


def test_merge_of_an_sqlite_log(make_log: Callable[..., SqliteLog], clock: Clock) -> None:
    log = make_log(3)
    writer = log.writer()
    for turn in range(40):
        clock.now = 1_000 + turn // 4
        if turn % 10 == 5:
            writer.append("control", keep_all([b"c%d" % turn]))
        writer.append("votes", [Record(b"%d.%d" % (turn, number), f"{number}") for number in range(7)])
    reader = log.merged_reader({})
    writer.append("votes", keep_all([b"too late"]))
    polls = list(reader.polls(50))
    check_polls(polls, 50)
    lines = lines_of(polls)
    assert len(lines) == 40 * 7 + 4
    assert lines == sorted(lines, key=lambda line: (line[0], line[1] != "control", *line[1:]))
    assert b"too late" not in [value for poll in polls for value in poll.votes.values]
    half = list(log.merged_reader({}, until=1_004).polls(1000))
    assert lines_of(half) == [line for line in lines if line[0] <= 1_004]


def test_merge_keeps_content_types(make_log: Callable[..., SqliteLog]) -> None:
    log = make_log()
    log.writer().append("votes", [Record(b"a"), Record(b"b", headers={"Content-Type": "x/y"})])
    (poll,) = log.merged_reader({TopicPartition("votes", 0): Position(0)}).polls(10)
    assert poll.votes.content_types == [None, "x/y"]
    assert poll.votes.values == [b"a", b"b"]
