"""What tests of decoding share: log batches, and what the reference decoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.contracts.ballot import MODE_NAMES
from pipeline.contracts.decode_reference import Rejected, decode_vote
from pipeline.contracts.log import VOTES, LogBatch, Position, Span, TopicPartition
from pipeline.contracts.vote_rows import NAMES, TEXTS
from pipeline.operators.ingest import Decoded
from tests.broken_records import APPENDED_AT


def make_batch(
    values: Sequence[bytes], *, content_types: Sequence[str | None] | None = None, appended_at: int = APPENDED_AT
) -> LogBatch:
    """Put records into a batch of one partition, at offsets 0, 1, 2 ..."""
    total = len(values)
    return LogBatch(
        (Span(TopicPartition(VOTES, 0), Position(0), Position(total)),),
        np.zeros(total, np.int16),
        np.arange(total, dtype=np.int64),
        np.full(total, appended_at, np.int64),
        list(values),
        None if content_types is None else list(content_types),
    )


def reference_of(values: Sequence[bytes], appended_at: int = APPENDED_AT) -> tuple[list[Any], list[Any]]:
    """Return what the reference makes of JSON records, as `facts_of` puts it."""
    votes, rejects = [], []
    for offset, value in enumerate(values):
        verdict = decode_vote(value, appended_at)
        if isinstance(verdict, Rejected):
            rejects.append((offset, 0, verdict.reason.value, verdict.arena, verdict.detail))
            continue
        vote = verdict.vote
        row: dict[str, Any] = {name: getattr(vote, name) for name in (*TEXTS, *NAMES) if name != "payload"}
        row |= {"offset": offset, "index": 0, "appended_at": appended_at, "time": vote.time, "payload": value}
        row |= {"mode": MODE_NAMES.index(vote.mode), "models": list(vote.models)}
        row |= {"ranks": None if vote.ranks is None else list(vote.ranks), "propensity": vote.propensity}
        row |= {"duration_ms": vote.duration_ms, "fault": verdict.fault.code if verdict.fault else 0}
        votes.append(row | {"span": 0, "token_ok": None})
    return votes, rejects


def facts_of(decoded: Decoded) -> tuple[list[Any], list[Any]]:
    """Return votes as dicts, and rejects as tuples of offset, index, reason, arena and detail."""
    decoded.votes.validate(full=True)
    decoded.rejects.validate(full=True)
    names = ("offset", "index", "reason", "arena", "detail")
    rejects = [tuple(reject[name] for name in names) for reject in decoded.rejects.to_pylist()]
    return decoded.votes.to_pylist(), rejects
