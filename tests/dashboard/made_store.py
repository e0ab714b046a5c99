"""Stores with boards made up for these tests: published by the real writer, read by the real reader."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from pipeline.contracts.arena import Arena, Model, RegisteredArena, Registry
from pipeline.contracts.snapshot import Board, ModelRating, Publication
from pipeline.contracts.store import Commit
from pipeline.store.duck_store import DuckStore, open_store

POINTS_PER_LOGIT = 400 / math.log(10)
SCRIPT = "<script>window.hacked = 1</script>"

MODELS = tuple(
    Model(id=id_, name=name, organization=organization, license=license_, url=url)
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
    bare = {"rating": None, "rating_low": None, "rating_high": None}
    by_method = {
        "posterior": ratings,
        "average": ratings,
        "ksort": tuple(replace(r, mean=_skill(r), score=_skill(r) - 12 * (r.sd or 0), **bare) for r in ratings),
        "elo": tuple(
            replace(r, mean=r.rating, sd=None, low=None, high=None, rating_low=None, rating_high=None,
                    rank_low=None, rank_high=None)
            for r in ratings
        ),
        "win_rate": tuple(
            replace(r, mean=_share(r.mean), sd=None, low=_share(r.low), high=_share(r.high), **bare)
            if r.votes else replace(r, mean=None, sd=None, low=None, high=None, **bare)
            for r in ratings
        ),
    }  # fmt: skip
    return {
        method: Board(
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


def make_publication(
    arena: str = "text-to-image",
    *,
    title: str | None = "Text to image",
    models: Sequence[Model] = MODELS,
    votes: int = 1_240,
    commit: int = 40,
    as_of: int | None = None,
) -> Publication:
    """A publication as the job would make it; `as_of` is now if there are votes and it is not given."""
    now = wall_ms()
    as_of = (as_of or now) if votes else None
    return Publication(
        arena=arena,
        commit=commit,
        log_time=as_of or now,
        published_at=now,
        registered=RegisteredArena(arena=Arena(id=arena, title=title), models=tuple(models)),
        boards=make_boards(arena, models, votes=votes, commit=commit, as_of=as_of),
    )


def publish(store: DuckStore, *publications: Publication) -> None:
    """Publish, with empty counts, and show that the job lives."""
    store.publish([(publication, pa.table({"n": pa.array([], pa.int64())})) for publication in publications])
    store.heartbeat(wall_ms())


def make_store(path: Path, *publications: Publication) -> DuckStore:
    """Open a store, and publish in it."""
    store = open_store(path, holder="tests")
    registry = Registry(closed=True, arenas={each.arena: each.registered for each in publications})
    state = {"registry": msgspec.json.encode(registry)}
    store.load()
    store.commit(Commit(number=1, log_time=wall_ms(), sequence=0, positions={}, state=state))
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
