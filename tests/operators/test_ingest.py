"""Ingest: batches of records to votes and rejects, in order, each where it belongs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.log import ARROW_STREAM, EMPTY_BATCH, LogBatch, Position, Span, TopicPartition
from pipeline.contracts.reasons import MAX_RECORD_BYTES, MAX_VOTE_BYTES, Reason
from pipeline.contracts.vote import DECODED_SCHEMA, REJECT_SCHEMA, Vote
from pipeline.contracts.vote_columns import BatchTooLargeError
from pipeline.operators.ingest import Decoded, ingest_batch
from tests.broken_records import APPENDED_AT, BROKEN_RECORDS, BrokenRecord, good_fields, good_record
from tests.decoding import facts_of, make_batch, reference_of


def good_votes(count: int, first: int = 0) -> list[Vote]:
    """Return valid votes."""
    return [
        Vote(**{**good_fields(number), "models": tuple(good_fields()["models"]), "ranks": (1, 2, 2, 4)})
        for number in range(first, first + count)
    ]


def places_of(decoded: Decoded) -> list[tuple[int, int]]:
    """Return (offset, index) of the votes."""
    return list(zip(decoded.votes["offset"].to_pylist(), decoded.votes["index"].to_pylist(), strict=True))


@pytest.mark.parametrize("record", BROKEN_RECORDS, ids=lambda record: record.name)
def test_a_broken_record_touches_no_other(record: BrokenRecord) -> None:
    decoded = ingest_batch(make_batch([good_record(1), record.payload, good_record(2)]))
    votes, rejects = facts_of(decoded)
    good = [votes[0], votes[-1]]
    assert [vote["offset"] for vote in good] == [0, 2]
    assert all(vote["fault"] == 0 and vote["ranks"] is not None for vote in good)
    if record.stage == "reject":
        assert [reject[:3] for reject in rejects] == [(1, 0, record.reason.value)]
        assert len(votes) == 2
        kept = decoded.rejects["payload"][0].as_py()
        assert kept == record.payload[: MAX_VOTE_BYTES if record.reason is Reason.TOO_LARGE else None]
    else:
        assert rejects == []
        assert votes[1]["payload"] == record.payload
        if record.stage == "fault":
            assert votes[1]["fault"] == record.reason.code


def test_rows_keep_the_order_of_records() -> None:
    values = [payload for record in BROKEN_RECORDS for payload in (good_record(1), record.payload)]
    votes, rejects = facts_of(ingest_batch(make_batch(values)))
    assert (votes, rejects) == reference_of(values)
    assert [vote["offset"] for vote in votes] == sorted(vote["offset"] for vote in votes)


def test_an_empty_batch_is_decoded() -> None:
    span = Span(TopicPartition("votes", 3), Position(7), Position(9))
    none = np.zeros(0, np.int64)
    for batch in (EMPTY_BATCH, LogBatch((span,), none.astype(np.int16), none, none, [], [])):
        decoded = ingest_batch(batch)
        assert decoded.spans == batch.spans
        assert decoded.votes.schema == DECODED_SCHEMA
        assert decoded.rejects.schema == REJECT_SCHEMA
        assert decoded.votes.num_rows == decoded.rejects.num_rows == 0
        assert Decoded.from_ipc(decoded.to_ipc()) == decoded


def test_a_batch_of_rejects_only_has_empty_votes() -> None:
    decoded = ingest_batch(make_batch([b"", b"x"]))
    assert decoded.votes.num_rows == 0
    assert decoded.rejects["offset"].to_pylist() == [0, 1]


def test_spans_and_positions_come_from_the_batch() -> None:
    spans = tuple(Span(TopicPartition("votes", p), Position(10 * p), Position(10 * p + 5)) for p in (4, 9))
    batch = LogBatch(
        spans,
        np.array([1, 0, 1, 0], np.int16),
        np.array([90, 40, 93, 44], np.int64),
        np.array([APPENDED_AT, 5, APPENDED_AT + 7, APPENDED_AT], np.int64),
        [good_record(1), b"{", good_record(2), good_record(3)],
    )
    decoded = ingest_batch(batch)
    assert decoded.spans == spans
    assert decoded.votes["span"].to_pylist() == [1, 1, 0]
    assert decoded.votes["offset"].to_pylist() == [90, 93, 44]
    assert decoded.votes["appended_at"].to_pylist() == [APPENDED_AT, APPENDED_AT + 7, APPENDED_AT]
    (reject,) = decoded.rejects.to_pylist()
    assert (reject["topic"], reject["partition"], reject["offset"], reject["appended_at"]) == ("votes", 4, 40, 5)


def test_decoded_survives_its_coder() -> None:
    values = [good_record(1), b"{", good_record(2, ranks=[1]), good_record(3, voter="ü")]
    decoded = ingest_batch(make_batch(values))
    assert Decoded.from_ipc(decoded.to_ipc()) == decoded
    assert facts_of(Decoded.from_ipc(decoded.to_ipc())) == reference_of(values)


def test_dictionaries_hold_what_votes_name_and_nothing_else() -> None:
    """Rate registers arenas and models from them: a rejected record must not leave any."""
    values = [good_record(1), good_record(2, arena="other", time=None), good_record(3, models=["x", "y"], prompt=" ")]
    votes = ingest_batch(make_batch(values)).votes
    assert votes["arena"].dictionary.to_pylist() == ["text-to-image"]
    assert votes["models"].values.dictionary.to_pylist() == good_fields()["models"]


def test_envelopes_and_json_share_a_batch() -> None:
    values = [good_record(1), encode_envelope(good_votes(3, 10)), b"?", b"??", encode_envelope([]), good_record(2)]
    kinds = [None, ARROW_STREAM, "application/json", ARROW_STREAM, f"{ARROW_STREAM}; v=1", "text/plain"]
    decoded = ingest_batch(make_batch(values, content_types=kinds))
    votes, rejects = facts_of(decoded)
    assert places_of(decoded) == [(0, 0), (1, 0), (1, 1), (1, 2), (5, 0)]
    assert [reject[:3] for reject in rejects] == [(2, 0, "not_json"), (3, 0, "not_json")]
    assert [vote["vote_id"] for vote in votes] == [f"{number:032x}" for number in (1, 10, 11, 12, 2)]
    assert [vote["payload"] is None for vote in votes] == [False, True, True, True, False]
    assert Decoded.from_ipc(decoded.to_ipc()) == decoded


def test_content_types_that_name_no_envelope_mean_json() -> None:
    decoded = ingest_batch(make_batch([good_record(1), good_record(2)], content_types=[None, "application/json"]))
    assert decoded.votes.num_rows == 2


def test_a_record_of_over_1_mib_is_too_large_unless_the_source_may() -> None:
    value = encode_envelope(good_votes(5_000))
    assert len(value) > MAX_RECORD_BYTES
    batch = make_batch([value], content_types=[ARROW_STREAM])
    (reject,) = ingest_batch(batch).rejects.to_pylist()
    assert (reject["reason"], reject["offset"], reject["index"]) == ("too_large", 0, 0)
    assert reject["payload"] == value[:MAX_VOTE_BYTES]
    assert ingest_batch(batch, max_record_bytes=None).votes.num_rows == 5_000


def test_tokens_are_judged_by_who_is_asked() -> None:
    batch = make_batch([good_record(1), good_record(2, token=None), good_record(3, token="forged")])

    def check(votes: pa.RecordBatch) -> pa.BooleanArray:
        return pa.array([None if token is None else token != "forged" for token in votes["token"].to_pylist()])

    assert ingest_batch(batch).votes["token_ok"].to_pylist() == [None, None, None]
    decoded = ingest_batch(batch, check_token=check)
    assert decoded.votes["token_ok"].to_pylist() == [True, None, False]
    assert decoded.votes.schema == DECODED_SCHEMA


def test_a_batch_of_over_2_gib_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.contracts.vote_columns._MAX_COLUMN_BYTES", 1_000)
    with pytest.raises(BatchTooLargeError, match="fewer"):
        ingest_batch(make_batch([good_record(number) for number in range(10)]))
