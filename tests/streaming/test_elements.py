from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, LogBatch, Poll, Position, Span, TopicPartition
from pipeline.contracts.reasons import Reason
from pipeline.contracts.vote import Vote
from pipeline.eventlog import open_log
from pipeline.streaming.elements import Ingested, IngestedCoder, PollCoder, ingest_votes
from tests.broken_records import APPENDED_AT, good_record
from tests.streaming.fakes import CONTROL_0, VOTES_0, make_batch


def make_votes_batch() -> LogBatch:
    """Two partitions, holes, an envelope, a broken record."""
    envelope = encode_envelope([make_vote("e1"), make_vote("e2")])
    return LogBatch(
        (
            Span(VOTES_0, Position(3), Position(9)),
            Span(TopicPartition("votes", 3), Position(0, 2), Position(1)),
        ),
        np.array([0, 0, 1], np.int16),
        np.array([4, 8, 0], np.int64),
        np.array([APPENDED_AT, APPENDED_AT + 1, APPENDED_AT], np.int64),
        [good_record(1), b"{broken", envelope],
        [None, None, ARROW_STREAM],
    )


def make_vote(vote_id: str, time: int = APPENDED_AT) -> Vote:
    return Vote(vote_id=vote_id, matchup_id=f"m-{vote_id}", arena="t2i", time=time, models=("a", "b"), ranks=(1, 2))


def assert_equal(one: Any, other: Any) -> None:
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other
        assert type(one) is type(other)


@pytest.mark.parametrize(
    "poll",
    [
        Poll(17),
        Poll(17, make_batch(CONTROL_0, 0, [b"{}"]), make_votes_batch()),
        Poll(17, votes=make_batch(VOTES_0, 1 << 40, [b"", b"\xff" * 10])),
    ],
    ids=["tick", "everything", "odd bytes"],
)
def test_poll_coder_round_trip(poll: Poll) -> None:
    coder = PollCoder()
    assert_equal(coder.decode(coder.encode(poll)), poll)
    assert coder.encode(coder.decode(coder.encode(poll))) == coder.encode(poll)
    assert coder.estimate_size(poll) > 0


def test_ingested_coder_round_trip() -> None:
    coder = IngestedCoder()
    ingested = Ingested(17, make_batch(CONTROL_0, 5, [b"{}"]), ingest_votes(make_votes_batch(), row_times=False))
    assert ingested.decoded.votes.num_rows == 3
    assert ingested.decoded.rejects["reason"].to_pylist() == [Reason.NOT_JSON]
    back = coder.decode(coder.encode(ingested))
    assert_equal(back.control, ingested.control)
    assert back.now == 17
    assert back.decoded.spans == ingested.decoded.spans
    assert back.decoded.votes.equals(ingested.decoded.votes)
    assert back.decoded.rejects.equals(ingested.decoded.rejects)


def test_append_times_in_an_envelope_hold_in_files_only() -> None:
    """Elsewhere a sender could move its votes in time, and with it the verdicts."""
    far_ahead = encode_envelope([make_vote("e1", time=APPENDED_AT * 2)])
    batch = dataclasses.replace(make_batch(VOTES_0, 0, [far_ahead]), content_types=[ARROW_STREAM])
    assert ingest_votes(batch, row_times=False).votes["fault"].to_pylist() == [Reason.BAD_TIME.code]
    assert ingest_votes(batch, row_times=True).votes["fault"].to_pylist() == [0]
    assert open_log("votes.parquet").row_times
    assert not open_log("sqlite:events.db").row_times
