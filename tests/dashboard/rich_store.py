"""A store that has something for every page: history, counts, open matchups, an archive and dead letters."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pipeline.contracts.snapshot import Publication
from pipeline.contracts.vote import REJECT_SCHEMA
from pipeline.store.duck_store import DuckStore
from tests.dashboard.made_store import MODELS, SCRIPT, make_archive, make_publication, make_store, publish, wall_ms

ARENA = "text-to-image"
VOTES = 1_240


def make_letters() -> pa.Table:
    """Dead letters of two reasons; one tries to run a script, one is no UTF-8."""
    payloads = {"not_json": b"\xff{", "schema": f'{{"vote_id": "{SCRIPT}"}}'.encode()}
    rows = [
        {
            "topic": "votes", "partition": 0, "offset": place, "index": 0, "appended_at": wall_ms(),
            "reason": reason, "arena": ARENA, "detail": "at byte 0", "payload": payload,
        }
        for place, (reason, payload) in enumerate(payloads.items())
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)


def make_rich_publication(commit: int = 40, votes: int = VOTES, as_of: int | None = None) -> Publication:
    """A publication with open matchups."""
    return make_publication(ARENA, votes=votes, commit=commit, as_of=as_of, open_matchups=20)


def make_rich_store(folder: Path) -> DuckStore:
    """Open a store with ten boards of the last ten minutes, and everything else that pages show."""
    now = wall_ms()
    video = make_publication("text-to-video", title="Text to video", models=MODELS[:3], votes=0, commit=1)
    first = make_rich_publication(31, VOTES // 10, now - 600_000)
    store = make_store(folder, first, video, archive=make_archive(ARENA, MODELS, 420), dead=make_letters())
    for place in range(2, 11):
        publish(store, make_rich_publication(30 + place, VOTES * place // 10, now - 60_000 * (10 - place)))
    return store
