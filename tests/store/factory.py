"""Rows, windows and publications for tests of the store, as functions of a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.contracts.arena import Arena, Model, RegisteredArena
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.snapshot import Board, ModelRating, Publication
from pipeline.contracts.store import ARCHIVE_SCHEMA, WINDOW_DTYPE, Commit
from pipeline.contracts.vote import REJECT_SCHEMA

START = 1_764_000_000_000 // 3_600_000 * 3_600_000
"""The beginning of an hour."""
HOUR = 3_600_000
VOTES = TopicPartition("votes", 0)
MODELS = ("alpha", "beta", "gamma", "delta")


class FakeClock:
    """A clock that tests set."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def make_row(sequence: int, commit: int, **changes: Any) -> dict[str, Any]:
    """Return one archived vote; `changes` replace fields."""
    row = {
        "sequence": sequence,
        "commit": commit,
        "topic": "votes",
        "partition": 0,
        "offset": sequence,
        "index": 0,
        "appended_at": START + sequence,
        "vote_id": f"{sequence:032x}",
        "matchup_id": f"{sequence * 7:032x}",
        "arena": "text-to-image",
        "time": START + sequence - 5,
        "voter": f"v3.{sequence % 17}",
        "mode": 0,
        "models": list(MODELS),
        "ranks": [1, 2, 2, 4],
        "prompt": f"p-{sequence % 11}",
        "policy": "gibbs",
        "propensity": 0.25,
        "duration_ms": 100,
        "token": None,
        "event": None,
    }
    return row | changes


def make_event_row(sequence: int, commit: int, kind: str, **about: Any) -> dict[str, Any]:
    """Return one archived control event."""
    event = {"schema": 1, "event_id": f"e{sequence}", "type": kind, "time": START, **about}
    row = dict.fromkeys(make_row(sequence, commit)) | {"sequence": sequence, "commit": commit, "topic": "control"}
    row |= {"partition": 0, "offset": sequence, "index": 0, "appended_at": START + sequence}
    return row | {"event": msgspec.json.encode(event)}


def make_rows(first: int, last: int, commit: int) -> pa.RecordBatch:
    """Return the archived votes with sequences `first` to `last`."""
    return make_batch([make_row(sequence, commit) for sequence in range(first, last + 1)])


def make_batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return rows as a batch of `ARCHIVE_SCHEMA`."""
    return pa.RecordBatch.from_pylist(rows, schema=ARCHIVE_SCHEMA)


def make_dead(count: int, *, offset: int = 0, reason: str = "not_json") -> pa.Table:
    """Return dead letters at offsets `offset` and following."""
    rows = [
        {
            "topic": "votes",
            "partition": 0,
            "offset": offset + place,
            "index": 0,
            "appended_at": START + place,
            "reason": reason,
            "payload": b"{",
        }
        for place in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)


def make_window(times: list[int]) -> NDArray[np.void]:
    """Return window entries with these times, their hashes made of their place."""
    entries = np.zeros(len(times), WINDOW_DTYPE)
    entries["time"] = times
    entries["vote_lo"] = np.arange(len(times))
    return entries


def make_counts(n: int, *, i: int = 0) -> pa.Table:
    """Return a count table with one key."""
    columns = {"kind": [0], "k": [4], "best": [False], "i": [i], "j": [i + 1], "n": [n]}
    types = {"kind": pa.int8(), "k": pa.int8(), "best": pa.bool_(), "i": pa.int32(), "j": pa.int32(), "n": pa.int64()}
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})


def make_matchup(number: int) -> Matchup:
    """Return a proposal."""
    return Matchup(
        matchup_id=f"m{number}",
        arena="text-to-image",
        models=MODELS,
        policy="ksort",
        commit=number,
        created=START,
        expires=START + HOUR,
    )


def make_commit(number: int, *, sequence: int = 0, log_time: int | None = None, **fields: Any) -> Commit:
    """Return a commit that has read the log to offset `sequence`."""
    positions: Mapping[TopicPartition, Position] = fields.pop("positions", {VOTES: Position(sequence + 1)})
    return Commit(
        number=number,
        log_time=START + number if log_time is None else log_time,
        sequence=sequence,
        positions=positions,
        **fields,
    )


def make_board(commit: int, *, method: str = "posterior", log_time: int | None = None, **fields: Any) -> Board:
    """Return a board on which every mean is the commit, so that a mixture of two is seen."""
    ratings = tuple(
        ModelRating(
            rank=place + 1,
            rank_low=1,
            rank_high=len(MODELS),
            model=model,
            name=model.title(),
            organization=None,
            license=None,
            mean=float(commit),
            sd=1.0,
            low=None,
            high=None,
            score=float(commit) - 3.0,
            rating=1000.0 + commit,
            rating_low=None,
            rating_high=None,
            votes=commit,
            comparisons=commit,
            group=1,
            p_best=0.5,
        )
        for place, model in enumerate(MODELS)
    )
    return Board(
        arena=fields.pop("arena", "text-to-image"),
        method=method,
        methodology="1",
        as_of=START,
        votes=commit,
        commit=commit,
        models=ratings,
        log_time=START + commit if log_time is None else log_time,
        **fields,
    )


def make_publication(
    commit: int,
    *,
    arena: str = "text-to-image",
    log_time: int | None = None,
    published_at: int | None = None,
    boards: tuple[Board, ...] | None = None,
) -> tuple[Publication, pa.Table]:
    """Return a publication with its count table, whose only count is the commit."""
    log_time = START + commit if log_time is None else log_time
    boards = (make_board(commit, log_time=log_time, arena=arena),) if boards is None else boards
    models = tuple(Model(id=model, name=model.title()) for model in MODELS)
    publication = Publication(
        arena=arena,
        commit=commit,
        log_time=log_time,
        published_at=log_time if published_at is None else published_at,
        registered=RegisteredArena(arena=Arena(id=arena), models=models),
        boards={board.method: board for board in boards},
    )
    return publication, make_counts(commit)
