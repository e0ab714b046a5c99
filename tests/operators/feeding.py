"""What tests of the operators share: an imaginary log that is fed to `Rate`, and what to compare afterwards."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.contracts.log import (
    ARROW_STREAM,
    CONTROL,
    EMPTY_BATCH,
    VOTES,
    LogBatch,
    Position,
    Span,
    TopicPartition,
)
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.ingest import CheckToken, Decoded, ingest_batch
from pipeline.operators.rate import Rate, RateSettings
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.reader import StoreReader

START = 1_764_000_000_000
MODELS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
NO_PROPOSALS = RateSettings(propose=False)
NO_VOTES = ingest_batch(EMPTY_BATCH)


def make_vote(number: int, **changes: Any) -> Vote:
    """Return a valid vote that is a function of `number`; `changes` replace fields."""
    rng = np.random.default_rng(number)
    fields: dict[str, Any] = {
        "vote_id": f"{number:032x}",
        "matchup_id": f"{number * 7919 + 5:032x}",
        "arena": "pictures",
        "time": START + number,
        "voter": f"v{number % 5}",
        "models": tuple(MODELS[place] for place in rng.permutation(len(MODELS))[:4]),
        "ranks": tuple(int(rank) for rank in rng.integers(1, 5, 4)),
        "prompt": f"p{number % 3}",
    }
    return Vote(**(fields | changes))


class Feed:
    """A log to be: hands out each thing that is appended to it as the next poll's batch."""

    def __init__(self) -> None:
        self.ends: dict[TopicPartition, int] = {}

    def votes(
        self,
        votes: Sequence[Vote | bytes],
        *,
        partition: int = 0,
        appended_at: int | None = None,
        content_type: str | None = None,
        check_token: CheckToken | None = None,
    ) -> Decoded:
        """Append votes, one a record. Each is appended at its own time, or at `appended_at`."""
        values = [vote if isinstance(vote, bytes) else encode_vote(vote) for vote in votes]
        times = [vote.time if isinstance(vote, Vote) else START for vote in votes]
        batch = self._append(TopicPartition(VOTES, partition), values, times, appended_at)
        if content_type is not None:
            batch = _with_type(batch, content_type)
        return ingest_batch(batch, check_token=check_token)

    def envelope(self, value: bytes, *, appended_at: int = START) -> Decoded:
        """Append one record with many votes."""
        return self.votes([value], appended_at=appended_at, content_type=ARROW_STREAM)

    def control(self, *events: dict[str, Any] | bytes, appended_at: int = START) -> LogBatch:
        """Append control events; of a dict the fields that all have are filled in."""
        values = []
        for place, event in enumerate(events):
            common = {"schema": 1, "event_id": f"e{self.ends}{place}".translate(_NO_ID), "time": START}
            values.append(event if isinstance(event, bytes) else msgspec.json.encode(common | event))
        return self._append(TopicPartition(CONTROL, 0), values, [appended_at] * len(values), appended_at)

    def _append(
        self, source: TopicPartition, values: list[bytes], times: list[int], appended_at: int | None
    ) -> LogBatch:
        first = self.ends.get(source, 0)
        self.ends[source] = first + len(values)
        return LogBatch(
            (Span(source, Position(first), Position(first + len(values))),),
            np.zeros(len(values), np.int16),
            np.arange(first, first + len(values), dtype=np.int64),
            np.array(times if appended_at is None else [appended_at] * len(values), np.int64),
            values,
        )


_NO_ID = dict.fromkeys(map(ord, " {}()',=[]"))


def _with_type(batch: LogBatch, content_type: str) -> LogBatch:
    types: list[str | None] = [content_type] * len(batch)
    return LogBatch(batch.spans, batch.span_of, batch.offsets, batch.appended_at, batch.values, types)


def arena_events(
    arena: str = "pictures", models: Sequence[str] = MODELS, prompts: Sequence[str] = ("p0", "p1"), **fields: Any
) -> list[dict[str, Any]]:
    """Return the control events that make an arena."""
    listed = [{"id": prompt, "text": f"a {prompt}"} for prompt in prompts]
    upsert = {"type": "arena.upsert", "arena": arena, "prompts": listed} | fields
    return [upsert, *({"type": "model.add", "arena": arena, "model": {"id": model}} for model in models)]


@contextmanager
def opened(path: Path) -> Iterator[DuckStore]:
    """Open the store at `path`."""
    store = open_store(path, holder="a test")
    try:
        yield store
    finally:
        store.close()


def process_votes(rate: Rate, decoded: Decoded, now: int = START) -> None:
    """Process a poll of votes alone."""
    rate.process(now, EMPTY_BATCH, decoded)


def process_events(rate: Rate, batch: LogBatch, now: int = START) -> None:
    """Process a poll of control events alone."""
    rate.process(now, batch, NO_VOTES)


def state_of(rate: Rate, *, with_votes_only: bool = False) -> dict[str, Any]:
    """Return what a rating is made of, to be compared bit for bit; `with_votes_only` leaves out how it came about."""
    arenas = {}
    for arena_id, state in rate.book.arenas.items():
        stored, counts = state.freeze(), state.counts.freeze()
        arenas[arena_id] = (stored, counts.codes.tolist(), counts.counts.tolist())
    if with_votes_only:
        return arenas
    book = rate.book
    facts = {
        "arenas": arenas,
        "sequence": book.sequence,
        "log_time": book.log_time,
        "registry": book.registry.freeze(),
        "retractions": book.retractions,
        "marks": rate.fence.marks,
        "tally": rate.tally,
        "horizon": rate.window.horizon,
        "window": len(rate.window),
        "undelivered": rate.undelivered,
    }
    return copy.deepcopy(facts)


def dead_letters_of(store: DuckStore) -> list[dict[str, Any]]:
    """Return the committed dead letters, oldest first."""
    store.heartbeat(START)  # writes the manifest that is due
    letters: list[dict[str, Any]] = StoreReader(store.path).dead_letters().to_pylist()
    return letters


def archive_of(store: DuckStore) -> list[dict[str, Any]]:
    """Return the committed archive rows."""
    return [row for batch in store.read_archive() for row in batch.to_pylist()]
