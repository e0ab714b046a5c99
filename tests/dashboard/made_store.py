"""Stores with boards made up for these tests: published by the real writer, read by the real reader."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.contracts.arena import Arena, Model, Prompt, RegisteredArena, Registry
from pipeline.contracts.matchup import Matchup
from pipeline.contracts.snapshot import Board, ModelRating, Publication
from pipeline.contracts.store import ARCHIVE_SCHEMA, Commit
from pipeline.rating.pair_counts import Kind, PairCounts, pack_code
from pipeline.store.duck_store import DuckStore, open_store

POINTS_PER_LOGIT = 400 / math.log(10)
SCRIPT = "<script>window.hacked = 1</script>"

MODELS = tuple(
    Model(
        id=id_,
        name=name,
        organization=organization,
        license=license_,
        url=url,
        access="api" if license_ == "Proprietary" else "open",
        tags=("diffusion",) if license_ != "Proprietary" else (),
    )
    for id_, name, organization, license_, url in (
        ("flux-1.1-pro", "FLUX 1.1 Pro", "Black Forest Labs", "Proprietary", "https://example.org/flux"),
        ("ideogram-2", "Ideogram 2.0", "Ideogram", "Proprietary", None),
        ("recraft-3", "Recraft V3", "Recraft", "Proprietary", None),
        ("midjourney-6.1", "Midjourney 6.1", "Midjourney", "Proprietary", None),
        ("sd-3.5-large", "Stable Diffusion 3.5 Large", "Stability AI", "Stability Community", None),
        ("imagen-3", "Imagen 3", "Google", "Proprietary", None),
        ("flux-dev", "FLUX.1 [dev]", "Black Forest Labs", "FLUX-1 dev non-commercial", None),
        ("playground-2.5", "Playground v2.5", "Playground AI", "Playground 2.5 Community", None),
        ("kolors", "Kolors", "Kuaishou", "Apache-2.0", None),
        ("pixart-sigma", "PixArt-Σ", "Huawei Noah's Ark Lab", "OpenRAIL++", None),
        ("sdxl", "SDXL 1.0", "Stability AI", "OpenRAIL++", None),
        ("lcm", "LCM", "Tsinghua University", "MIT", None),
    )
)


PROMPTS = tuple(Prompt(id=f"p-{number}", text=f"A scene with {number} lanterns") for number in range(1, 7))


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def make_rating(model: Model, rank: int, count: int, *, theta: float, sd: float, votes: int) -> ModelRating:
    """One row in logits, with the interval and the rank interval that its sd suggests."""
    reach = 0 if votes == 0 else round(sd * 4)
    return ModelRating(
        rank=rank,
        rank_low=max(1, rank - reach) if votes else 1,
        rank_high=min(count, rank + reach) if votes else count,
        model=model.id,
        name=model.name,
        organization=model.organization,
        license=model.license,
        mean=theta,
        sd=sd,
        low=theta - 1.96 * sd,
        high=theta + 1.96 * sd,
        score=None,
        rating=1000 + POINTS_PER_LOGIT * theta,
        rating_low=1000 + POINTS_PER_LOGIT * (theta - 1.96 * sd),
        rating_high=1000 + POINTS_PER_LOGIT * (theta + 1.96 * sd),
        votes=votes,
        comparisons=3 * votes,
        group=1 + (rank - 1) // 3,
        p_best=2.0**-rank,
    )


def make_boards(arena: str, models: Sequence[Model], *, votes: int, commit: int, as_of: int | None) -> dict[str, Board]:
    """Boards by all methods; models are better the earlier they come, and uneven in how often they were played."""
    count = len(models)
    rows = []
    for place, model in enumerate(models):
        played = max(1, round(votes * 4 / count * (0.04 if place == count - 3 else 1 + 0.3 * math.sin(place))))
        theta = 1.1 - 2.2 * place / max(1, count - 1) + 0.1 * math.sin(5 * place + commit / 9)
        sd = 1.7 / math.sqrt(played) if votes else 1.5
        rows.append((model, theta if votes else 0.0, sd, played if votes else 0))
    rows.sort(key=lambda row: (-row[1], row[0].id))
    ratings = tuple(
        make_rating(model, rank, count, theta=theta, sd=sd, votes=played)
        for rank, (model, theta, sd, played) in enumerate(rows, start=1)
    )
    replace = msgspec.structs.replace
    bare: dict[str, Any] = {"rating": None, "rating_low": None, "rating_high": None}
    alone: dict[str, Any] = {"group": None, "p_best": None}
    by_method = {
        "posterior": ratings,
        "average": ratings,
        "ksort": tuple(replace(r, mean=_skill(r), score=_skill(r) - 12 * (r.sd or 0), **bare) for r in ratings),
        "elo": tuple(
            replace(r, mean=r.rating, sd=None, low=None, high=None, rating_low=None, rating_high=None,
                    rank_low=None, rank_high=None, **alone)
            for r in ratings
        ),
        "win_rate": tuple(
            replace(r, mean=_share(r.mean), sd=None, low=_share(r.low), high=_share(r.high), **bare, **alone)
            if r.votes else replace(r, mean=None, sd=None, low=None, high=None, **bare, **alone)
            for r in ratings
        ),
    }  # fmt: skip
    parameters = {"average": make_weights(votes)}
    return {
        method: Board(
            parameters=parameters.get(method, {}),
            arena=arena,
            method=method,
            methodology="1",
            as_of=as_of,
            votes=votes,
            commit=commit,
            log_time=as_of or 0,
            models=rows_,
        )
        for method, rows_ in by_method.items()
    }


def make_weights(votes: int) -> dict[str, Any]:
    """What a board by `average` says of its likelihoods."""
    likelihoods = [
        {"name": "davidson", "lapse": 0.0, "weight": 0.3, "loss": 104.2},
        {"name": "davidson-lapse", "lapse": 0.05, "weight": 0.7, "loss": 103.4},
    ]
    return {"likelihoods": likelihoods, "loss": 103.6, "blocks": 4 if votes else 0}


def make_counts(models: int, votes: int) -> PairCounts:
    """Counts of about `votes` votes of four models: the earlier ones win more often, and the last has a surprise."""
    each = max(1, votes * 6 // max(1, models * (models - 1) // 2)) if votes else 0
    codes: list[int] = []
    counts: list[int] = []

    def add(kind: Kind, i: int, j: int, count: int) -> None:
        if count:
            codes.append(pack_code(kind, 0 if kind > Kind.SHOWN else 4, False, i, j))
            counts.append(count)

    for i, j in itertools.combinations(range(models), 2):
        share = 1 / (1 + math.exp(2.2 * (i - j) / max(1, models - 1)))
        wins = round(each * (0.05 if (i, j) == (0, models - 1) and models > 2 else share))
        add(Kind.WIN, i, j, wins)
        add(Kind.WIN, j, i, each - wins)
    for i in range(models):
        add(Kind.SHOWN, i, 0, each * (models - 1) // 3)
        add(Kind.ALL_BAD, i, 0, each // 20)
        add(Kind.SKIP, i, 0, each // 30)
    return PairCounts.from_entries(np.array(codes, np.int64), np.array(counts, np.int64))


def make_matchups(arena: str, models: Sequence[Model], count: int) -> tuple[Matchup, ...]:
    """Open matchups of four models each."""
    now = wall_ms()
    sets = [[models[(3 * number + place) % len(models)].id for place in range(4)] for number in range(count)]
    return tuple(
        Matchup(
            matchup_id=f"m{number}",
            arena=arena,
            models=tuple(chosen),
            policy="gibbs",
            propensity=0.001 * (1 + number % 30),
            commit=1,
            created=now - 1_000 * number,
            expires=now + 600_000,
        )
        for number, chosen in enumerate(sets)
    )


def make_archive(arena: str, models: Sequence[Model], votes: int) -> pa.RecordBatch:
    """Archived votes of four models each; every twentieth is all bad."""
    now = wall_ms()
    rows = []
    for number in range(1, votes + 1):
        is_bad = number % 20 == 0
        chosen = [models[(5 * number + place) % len(models)].id for place in range(4)]
        order = [1, 2, 2, 4] if number % 3 else [4, None, 1, 2]
        rows.append({
            "sequence": number, "commit": 1, "topic": "votes", "partition": 0, "offset": number, "index": 0,
            "appended_at": now, "vote_id": f"{number:032x}", "matchup_id": f"{number:032x}", "arena": arena,
            "time": now, "voter": "v3.0", "mode": 2 if is_bad else 0, "models": chosen,
            "ranks": None if is_bad else order, "prompt": PROMPTS[number % 6].id if number % 7 else f"c-{number}",
            "policy": "gibbs" if number % 4 else None, "propensity": 0.002 * (1 + number % 9) if number % 4 else None,
        })  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=ARCHIVE_SCHEMA)


def make_publication(
    arena: str = "text-to-image",
    *,
    title: str | None = "Text to image",
    models: Sequence[Model] = MODELS,
    votes: int = 1_240,
    commit: int = 40,
    as_of: int | None = None,
    open_matchups: int = 0,
) -> Publication:
    """A publication as the job would make it; `as_of` is now if there are votes and it is not given."""
    now = wall_ms()
    as_of = (as_of or now) if votes else None
    return Publication(
        arena=arena,
        commit=commit,
        log_time=as_of or now,
        published_at=now,
        registered=RegisteredArena(arena=Arena(id=arena, title=title, prompts=PROMPTS), models=tuple(models)),
        boards=make_boards(arena, models, votes=votes, commit=commit, as_of=as_of),
        open_matchups=make_matchups(arena, models, open_matchups),
    )


def publish(store: DuckStore, *publications: Publication) -> None:
    """Publish, and show that the job lives."""
    store.publish([(publication, _counts_of(publication)) for publication in publications])
    store.heartbeat(wall_ms())


def _counts_of(publication: Publication) -> pa.Table:
    votes = max((board.votes for board in publication.boards.values()), default=0)
    return pa.table(make_counts(len(publication.registered.models), votes).to_columns())


def make_store(
    path: Path, *publications: Publication, archive: pa.RecordBatch | None = None, dead: pa.Table | None = None
) -> DuckStore:
    """Open a store, and publish in it; with archived votes and dead letters if they are given."""
    store = open_store(path, holder="tests")
    registry = Registry(closed=True, arenas={each.arena: each.registered for each in publications})
    state = {"registry": msgspec.json.encode(registry)}
    store.load()
    if archive is not None:
        store.stage_archive(archive)
    sequence = 0 if archive is None else len(archive)
    store.commit(Commit(number=1, log_time=wall_ms(), sequence=sequence, positions={}, state=state, dead=dead))
    publish(store, *publications)
    return store


def publish_history(store: DuckStore, commits: int = 40, minutes: int = 60, **settings: object) -> Publication:
    """Publish `commits` boards as of the last `minutes`, with more and more votes; return the last."""
    now = wall_ms()
    for commit in range(1, commits + 1):
        as_of = now - (commits - commit) * minutes * 60_000 // commits
        publication = make_publication(votes=31 * commit, commit=commit, as_of=as_of, **settings)  # type: ignore[arg-type]
        publish(store, publication)
    return publication


def _share(logit: float | None) -> float | None:
    return None if logit is None else 1 / (1 + math.exp(-logit))


def _skill(rating: ModelRating) -> float:
    return 25 + 4 * (rating.mean or 0)
