"""Matchups drawn by the gateway itself, from the published state and by the arena's own policy.

For custom prompts, and where voters find nothing because the job's proposals are used up: it keeps as many open as it
sees votes for, and cannot see voters who look and leave. What is drawn goes to the log like the job's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.ids import random_id
from pipeline.contracts.matchup import CUSTOM_PROMPT, Matchup, MatchupPrompt
from pipeline.contracts.store import StoreError
from pipeline.store.reader import StoreReader
from producers.gateway.errors import GatewayError

if TYPE_CHECKING:
    from numpy.random import Generator

    from pipeline.matchmaking.view import ArenaView

CUSTOM_PRIORITY: Final = 1
"""Of matchups for custom prompts: a voter waits."""

_VIEW_MS: Final = 5_000
"""A posterior is fitted here this often at most, an arena; open matchups change more often than it."""


@dataclass(frozen=True, slots=True)
class _View:
    """An arena as it was published, and how its matchups are drawn."""

    registered: RegisteredArena
    view: ArenaView
    commit: int
    policy: str
    made: int


class MatchupDrawer:
    """Draws matchups. Threads may share it; one draws at a time.

    Parameters
    ----------
    reader : of the store
    rng : decides models, slots, ids and seeds
    clock : wall clock in ms
    """

    def __init__(self, reader: StoreReader, rng: Generator, clock: Callable[[], int]) -> None:
        self._reader = reader
        self._rng = rng
        self._clock = clock
        self._lock = threading.Lock()
        self._views: dict[str, _View] = {}

    def draw(self, arena_id: str, count: int) -> list[Matchup]:
        """Return new matchups with prompts of the arena's pool. Raises `GatewayError` 503."""
        # They load a compiler, which takes seconds: whoever opens a gateway does not wait for it.
        from pipeline.matchmaking.propose import propose_matchups  # noqa: PLC0415
        from pipeline.matchmaking.view import describe_shortage  # noqa: PLC0415

        with self._lock:
            known = self._view(arena_id)
            if shortage := describe_shortage(known.view):
                raise GatewayError(503, "too_few_models", f"arena {arena_id}: {shortage}", retry=True, retry_after=30.0)
            return propose_matchups(
                known.registered,
                known.view,
                count,
                self._rng,
                now=self._clock(),
                commit=known.commit,
                policy=known.policy,
            )

    def draw_for(self, arena_id: str, text: str) -> Matchup:
        """Return a new matchup with the prompt `text`. Raises `GatewayError` 503."""
        (matchup,) = self.draw(arena_id, 1)
        with self._lock:
            prompt = MatchupPrompt(
                id=CUSTOM_PROMPT + random_id(self._rng), text=text, seed=int(self._rng.integers(2**31))
            )
        return msgspec.structs.replace(matchup, prompt=prompt, priority=CUSTOM_PRIORITY)

    def _view(self, arena_id: str) -> _View:
        from pipeline.matchmaking.policies import POLICIES  # noqa: PLC0415 - see `draw`
        from pipeline.matchmaking.propose import view_publication  # noqa: PLC0415
        from pipeline.matchmaking.random_policy import NAME as RANDOM  # noqa: PLC0415
        from pipeline.rating.errors import RatingError  # noqa: PLC0415
        from pipeline.rating.pair_counts import PairCounts  # noqa: PLC0415

        now = self._clock()
        known = self._views.get(arena_id)
        if known is not None and 0 <= now - known.made < _VIEW_MS:
            return known
        try:
            publication = self._reader.publication(arena_id)
            counts = PairCounts.from_columns(self._reader.counts(arena_id))
        except StoreError as error:
            raise GatewayError(
                503, "not_published", f"arena {arena_id} is not published yet", retry=True, retry_after=2.0
            ) from error
        policy = publication.registered.arena.settings.policy
        if policy not in POLICIES:
            policy = RANDOM
        try:
            view = view_publication(publication, counts, policy=policy)
        except RatingError:  # as the job does: its matchups say so
            policy = RANDOM
            view = view_publication(publication, counts, policy=policy)
        self._views[arena_id] = _View(publication.registered, view, publication.commit, policy, now)
        return self._views[arena_id]
