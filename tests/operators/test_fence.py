"""The fence: what is new, by position; and what would leave a hole."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.log import Position, Span, TopicPartition
from pipeline.operators.fence import Fence, GapError

ZERO, ONE = TopicPartition("votes", 0), TopicPartition("votes", 1)


def passes(fence: Fence, spans: list[Span], rows: list[tuple[int, int, int]]) -> list[bool] | None:
    """Ask the fence about rows of (span, offset, index)."""
    table = np.array(rows, np.int64).reshape(-1, 3)
    fresh = fence.pass_spans(spans, table[:, 0].astype(np.int16), table[:, 1], table[:, 2].astype(np.int32))
    return None if fresh is None else fresh.tolist()


def test_a_partition_without_a_mark_starts_where_its_first_span_does() -> None:
    fence = Fence({})
    assert passes(fence, [Span(ZERO, Position(40), Position(42))], [(0, 40, 0), (0, 41, 0)]) is None
    assert fence.marks == {}
    assert fence.advance([Span(ZERO, Position(40), Position(42))])
    assert fence.marks == {ZERO: Position(42)}


def test_a_gap_is_refused_and_named() -> None:
    fence = Fence({ZERO: Position(5)})
    with pytest.raises(GapError, match=r"votes/0 continues at \(6, 0\) but the store has read to \(5, 0\)"):
        passes(fence, [Span(ZERO, Position(6), Position(9))], [(0, 6, 0)])
    with pytest.raises(GapError):
        passes(fence, [Span(ZERO, Position(5, 1), Position(9))], [(0, 5, 1)])
    assert fence.marks == {ZERO: Position(5)}


def test_a_repeat_is_dropped_whole() -> None:
    span = Span(ZERO, Position(2), Position(4))
    fence = Fence({ZERO: Position(4)})
    assert passes(fence, [span], [(0, 2, 0), (0, 3, 0)]) == [False, False]
    assert not fence.advance([span])
    assert fence.marks == {ZERO: Position(4)}


def test_an_overlap_is_cut_vote_by_vote_inside_a_record() -> None:
    fence = Fence({ZERO: Position(7, 2)})
    rows = [(0, 6, 9), (0, 7, 0), (0, 7, 1), (0, 7, 2), (0, 7, 3), (0, 8, 0), (0, 8, 1)]
    fresh = passes(fence, [Span(ZERO, Position(6), Position(9))], rows)
    assert fresh == [False, False, False, True, True, True, True]


def test_partitions_are_fenced_apart() -> None:
    fence = Fence({ZERO: Position(3), ONE: Position(1)})
    spans = [Span(ZERO, Position(2), Position(5)), Span(ONE, Position(1), Position(3))]
    rows = [(0, 2, 0), (1, 1, 0), (0, 3, 0), (1, 2, 0)]
    assert passes(fence, spans, rows) == [False, True, True, True]
    assert fence.advance(spans)
    assert fence.marks == {ZERO: Position(5), ONE: Position(3)}


def test_topics_with_the_same_partition_are_fenced_apart() -> None:
    fence = Fence({ZERO: Position(9)})
    assert passes(fence, [Span(TopicPartition("control", 0), Position(0), Position(1))], [(0, 0, 0)]) is None


def test_a_hole_lies_inside_a_span() -> None:
    # offsets 3 to 7 were compacted away: the next span starts where the last one ended all the same
    fence = Fence({ZERO: Position(3)})
    span = Span(ZERO, Position(3), Position(9))
    assert passes(fence, [span], [(0, 8, 0)]) is None
    assert fence.advance([span])
    empty = Span(ZERO, Position(9), Position(20))
    assert passes(fence, [empty], []) is None
    assert fence.advance([empty])
    assert fence.marks == {ZERO: Position(20)}


def test_marks_of_others_stay_as_they_were_given() -> None:
    given = {ZERO: Position(1)}
    Fence(given).advance([Span(ZERO, Position(1), Position(2))])
    assert given == {ZERO: Position(1)}
