"""Boards and snapshots: what is published of an arena at one commit."""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.matchup import Matchup

METHODS: tuple[str, ...] = ("posterior", "average", "ksort", "elo", "win_rate")
"""Rating methods; the first is the default."""


class ModelRating(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a board. Moments in the method's own units; absent values are None.

    `rating*` are on the published scale (1000 + 400 / ln 10 x logit). `rank_low` is the best credible rank.
    `votes` = ballots that ranked something with the model shown; `comparisons` = its ordered and tied pairs.
    Models that cannot be told apart share a `group` (from 1); `p_best` is the probability to be the best model.
    """

    rank: int
    rank_low: int | None
    rank_high: int | None
    model: str
    name: str | None
    organization: str | None
    license: str | None
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    score: float | None
    rating: float | None
    rating_low: float | None
    rating_high: float | None
    votes: int
    comparisons: int
    group: int | None = None
    p_best: float | None = None


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """All ratings of one arena by one method at one commit: `kwise board show --format json`.

    `as_of` is the largest append time (ms) among the arena's votes that are not retracted, None without votes.
    """

    arena: str
    method: str
    methodology: str
    as_of: int | None
    votes: int
    commit: int
    models: tuple[ModelRating, ...]
    log_time: int = 0
    rebuilding: bool = False
    parameters: dict[str, Any] = {}


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that readers learn of one arena, without its count table (a file of its own).

    `filters` holds the states of order-dependent methods by name, each a dict of lists in registry order.
    `tallies` holds by prompt id of the pool [votes, all_bad, skip].
    """

    arena: str
    commit: int
    log_time: int
    published_at: int
    registered: RegisteredArena
    boards: dict[str, Board]
    filters: dict[str, dict[str, list[float]]] = {}
    open_matchups: tuple[Matchup, ...] = ()
    tallies: dict[str, tuple[int, int, int]] = {}
