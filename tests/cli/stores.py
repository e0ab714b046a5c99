"""A small store, made by the real writer: what verbs that read a store are tested on."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa

from pipeline.contracts.arena import Arena, Model, Prompt, RegisteredArena, Registry
from pipeline.contracts.ballot import Mode, make_ballots
from pipeline.contracts.log import Position, TopicPartition
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.snapshot import Board, ModelRating, Publication
from pipeline.contracts.store import Commit
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.rating.pair_counts import count_ballots_naive
from pipeline.store.duck_store import open_store

TIME = 1_764_000_000_000
NAMES = {"alpha": "Alpha, the first", "beta": 'Beta "B"', "gamma": None, "delta": "Delta", "old": "Old"}


def make_store(folder: Path, *arenas: str, commits: int = 2, dead: tuple[str, ...] = ()) -> Path:
    """Write a store with `arenas`, each published at commits 1 to `commits`, a minute apart."""
    store = open_store(folder, holder="a test", clock=lambda: TIME)
    try:
        for number in range(1, commits + 1):
            registry = Registry(closed=True, arenas={arena: register(arena) for arena in arenas})
            store.commit(
                Commit(
                    number=number,
                    log_time=TIME + number * 60_000,
                    sequence=0,
                    positions={TopicPartition("votes", 0): Position(number * 10)},
                    state={"registry": encode_registry(registry)},
                    dead=make_dead_letters(dead) if dead and number == 1 else None,
                )
            )
            store.publish([make_publication(arena, number) for arena in arenas])
    finally:
        store.close()
    return folder


def encode_registry(registry: Registry) -> bytes:
    return msgspec.json.encode(registry)


def register(arena: str) -> RegisteredArena:
    return RegisteredArena(
        arena=Arena(id=arena, title=f"Title of {arena}", k=3, prompts=(Prompt(id="p1", text="a cat", seed=7),)),
        models=tuple(Model(id=each, name=name, retired=each == "old") for each, name in NAMES.items()),
    )


def make_publication(arena: str, number: int) -> tuple[Publication, pa.Table]:
    registered = register(arena)
    counts = count_ballots_naive(make_ballots([([0, 1, 2], [1, 2, 3], Mode.RANK)] * number))
    open_matchup = Matchup(
        matchup_id="open-1",
        arena=arena,
        models=("alpha", "beta", "gamma"),
        policy="ksort",
        commit=1,
        created=1,
        expires=2,
    )
    publication = Publication(
        arena=arena,
        commit=number,
        log_time=TIME + number * 60_000,
        published_at=TIME + number * 60_000 + 5,
        registered=registered,
        boards={method: make_board(arena, method, number) for method in ("posterior", "ksort")},
        # `old` became known after the last commit: the filter does not have it yet.
        filters={"ksort": {"mu": [30.0, 25.0, 20.0, 25.0], "s2": [4.0, 4.0, 4.0, 69.4]}},
        open_matchups=(open_matchup,),
    )
    return publication, pa.table(counts.to_columns())


def make_board(arena: str, method: str, number: int) -> Board:
    scaled = method == "posterior"
    models = tuple(
        ModelRating(
            rank=rank,
            rank_low=rank if scaled else None,
            rank_high=rank + 1 if scaled else None,
            model=model,
            name=name,
            organization=None,
            license="mit",
            mean=1 / 3 - rank,
            sd=0.1 + 0.2,
            low=-rank - 0.5,
            high=-rank + 0.5,
            score=None if scaled else -rank - 1.0,
            rating=1000.0 - 100 * rank if scaled else None,
            rating_low=950.0 - 100 * rank if scaled else None,
            rating_high=1050.0 - 100 * rank if scaled else None,
            votes=number,
            comparisons=2 * number,
            group=(rank + 1) // 2 if scaled else None,
            p_best=0.5**rank if scaled else None,
        )
        for rank, (model, name) in enumerate(NAMES.items(), start=1)
    )
    return Board(
        arena=arena,
        method=method,
        methodology=f"{method}-1",
        as_of=TIME + number * 60_000,
        votes=number,
        commit=number,
        models=models,
        log_time=TIME + number * 60_000,
    )


def make_dead_letters(reasons: tuple[str, ...]) -> pa.Table:
    rows = [
        {
            "topic": "votes",
            "partition": 0,
            "offset": offset,
            "index": 0,
            "appended_at": TIME,
            "reason": reason,
            "arena": None,
            "detail": "",
            "payload": b"{}",
        }
        for offset, reason in enumerate(reasons)
    ]
    return pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
