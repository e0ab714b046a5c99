"""Votes on standard input and output."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from pipeline.contracts.log import LogError, Position
from pipeline.contracts.reasons import MAX_RECORD_BYTES
from pipeline.eventlog.stdio_log import StdioLog

from .conftest import VOTES_0, check_spans, keep_all, read_all, values_of

Feed = Callable[[bytes], StdioLog]


@pytest.fixture
def feed() -> Iterator[Feed]:
    """Make a log whose input is given to it through a pipe, and then ends."""
    threads, ends = [], []

    def make(data: bytes) -> StdioLog:
        ours, theirs = os.pipe()
        ends.append(ours)

        def write() -> None:
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(data)

        thread = threading.Thread(target=write)
        thread.start()
        threads.append(thread)
        return StdioLog(stdin=ours)

    yield make
    for thread in threads:
        thread.join(10)
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("live", [True, False])
def test_lines_are_read_to_the_end_of_the_input(feed: Feed, live: bool) -> None:
    lines = [b"%d" % number for number in range(50_000)]
    batches = []
    reader = feed(b"\n".join(lines)).reader({}, live=live)
    while not reader.at_end():
        if len(batch := reader.poll("votes", 1000, 1)):
            batches.append(batch)
    check_spans(batches)
    assert values_of(batches) == lines


def test_other_topics_are_empty(feed: Feed) -> None:
    reader = feed(b"a\n").reader({}, live=False)
    assert len(reader.poll("control", 10, 0)) == 0


def test_a_stream_given_again_is_taken_up_where_it_was_left(feed: Feed) -> None:
    (batch,) = read_all(feed(b"one\ntwo\nthree\n").reader({VOTES_0: Position(4)}, live=False))
    assert batch.values == [b"two", b"three"]
    assert batch.offsets.tolist() == [4, 8]
    with pytest.raises(LogError, match="ends at offset 4 but the store has read to 8"):
        read_all(feed(b"one\n").reader({VOTES_0: Position(8)}, live=False))


@pytest.mark.parametrize("end", [b"", b"\n", b"\nafter\n"])
def test_a_huge_line_does_not_fill_the_memory(feed: Feed, end: bytes) -> None:
    size = 40_000_000
    batches = read_all(feed(b"before\n" + b"x" * size + end).reader({}, live=False))
    check_spans(batches)
    values = values_of(batches)
    assert [len(value) for value in values[:2]] == [6, MAX_RECORD_BYTES + 1]
    assert values[2:] == [line for line in end.split(b"\n") if line]
    assert batches[-1].spans[0].end.offset == size + 7 + len(end)


def test_a_stream_is_merged(feed: Feed) -> None:
    polls = list(feed(b'{"time": 2}\n{"time": 1}\n{"time": 5}\n{"time": 3}\n').merged_reader({}, until=4).polls(10))
    assert [poll.votes.appended_at.tolist() for poll in polls] == [[2, 1, 3]]


def test_votes_are_written_as_lines() -> None:
    ours, theirs = os.pipe()
    log = StdioLog(stdout=theirs)
    log.preflight(["votes"])
    log.create_topics({"votes": 1})
    writer = log.writer()
    writer.append("votes", keep_all([b"one", b"two"]))
    writer.close()
    assert os.read(ours, 100) == b"one\ntwo\n"
    assert log.ends("votes") == {}
    with pytest.raises(LogError, match="not control"):
        writer.append("control", keep_all([b"c"]))
    os.close(ours)
    with pytest.raises(LogError, match="cannot be written"):
        writer.append("votes", keep_all([b"three"]))
    os.close(theirs)
