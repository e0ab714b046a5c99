"""Proposals: how many matchups an arena keeps open, and which."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pipeline.contracts.arena import RegisteredArena
from pipeline.contracts.matchup import Matchup
from pipeline.matchmaking.policies import POLICIES
from pipeline.matchmaking.propose import propose_matchups, view_arena
from pipeline.matchmaking.random_policy import NAME as RANDOM
from pipeline.operators.arena_state import ArenaState
from pipeline.operators.registry import LiveArena
from pipeline.rating.errors import RatingError
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.pair_counts import PairCounts

_MINUTE_S = 60.0


def expire_matchups(state: ArenaState, now: int) -> list[Matchup]:
    """Take the open matchups that expired by `now` (ms) off the arena and return them."""
    expired = [matchup for matchup in state.open_matchups.values() if matchup.expires <= now]
    for matchup in expired:
        del state.open_matchups[matchup.matchup_id]
        state.changed = True
    return expired


def count_wanted(live: LiveArena, state: ArenaState, now: int) -> int:
    """Return how many matchups the arena should have open: enough for `lead_seconds` at the last minute's rate."""
    settings = live.arena.settings
    needed = math.ceil(state.recent_votes(now) / _MINUTE_S * settings.lead_seconds)
    return min(max(needed, settings.open_min), settings.open_max)


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """What proposals of one arena are made from: a copy of its state, so that another thread may make them.

    Attributes
    ----------
    registered, counts, ksort, open_matchups
        The arena's state.
    count : int
        How many are missing.
    now : int
        Wall clock, ms: when they are created.
    commit : int
        The commit whose state it is.
    seed : int or None
        With it, proposals are a function of seed, arena and commit; None draws from the system's entropy.
    """

    registered: RegisteredArena
    counts: PairCounts
    ksort: KsortState
    open_matchups: tuple[Matchup, ...]
    count: int
    now: int
    commit: int
    seed: int | None


def request_proposals(
    live: LiveArena, state: ArenaState, *, now: int, commit: int, seed: int | None
) -> ProposalRequest | None:
    """Return what to propose so that the arena has as many matchups open as it should; None if that is nothing.

    It is nothing, too, while fewer models than k may be proposed, or if the arena was stored with a policy that this
    version lacks.
    """
    wanted = count_wanted(live, state, now)
    # A quarter may be missing before more are made, or a busy arena would be asked at every commit.
    if len(state.open_matchups) >= max(live.arena.settings.open_min, math.ceil(wanted * 3 / 4)):
        return None
    if sum(not model.retired for model in live.models) < live.arena.k or live.arena.settings.policy not in POLICIES:
        return None
    return ProposalRequest(
        registered=live.freeze(),
        counts=state.counts.freeze(),
        ksort=state.ksort,
        open_matchups=tuple(state.open_matchups.values()),
        count=wanted - len(state.open_matchups),
        now=now,
        commit=commit,
        seed=seed,
    )


def make_proposals(request: ProposalRequest) -> list[Matchup]:
    """Propose what is missing. An arena that cannot be rated is proposed at random, which its matchups say."""
    registered, entropy = request.registered, None
    if request.seed is not None:
        entropy = [request.seed, request.commit, *registered.arena.id.encode()]
    policy = registered.arena.settings.policy
    try:
        view = view_arena(registered, request.counts, request.ksort, request.open_matchups, policy=policy)
    except RatingError:  # the publisher says so
        policy = RANDOM
        view = view_arena(registered, request.counts, request.ksort, request.open_matchups, policy=policy)
    return propose_matchups(
        registered,
        view,
        request.count,
        np.random.default_rng(entropy),
        now=request.now,
        commit=request.commit,
        policy=policy,
    )


def open_proposals(live: LiveArena, state: ArenaState, made: Iterable[Matchup]) -> list[Matchup]:
    """Open `made` and return them, without those that show a model that was retired since they were asked for."""
    retired = {model.id for model in live.models if model.retired}
    opened = [matchup for matchup in made if retired.isdisjoint(matchup.models)]
    state.open_matchups |= {matchup.matchup_id: matchup for matchup in opened}
    state.changed |= bool(opened)
    return opened


class Proposer:
    """Makes proposals in a thread of its own: ingestion does not wait for fits.

    The owner's thread asks, and takes at a later commit what was made; an arena has one request under way at a time.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="propose")
        self._running: dict[str, Future[list[Matchup]]] = {}

    def is_free(self, arena_id: str) -> bool:
        """Whether nothing of an arena is under way, or waits to be taken."""
        return arena_id not in self._running

    def ask(self, request: ProposalRequest) -> None:
        """Begin to make proposals. Only if their arena is free."""
        arena_id = request.registered.arena.id
        if arena_id in self._running:
            raise RuntimeError(f"proposals for {arena_id} are under way; take them first")
        self._running[arena_id] = self._thread.submit(make_proposals, request)

    def take(self, arena_id: str) -> list[Matchup]:
        """Return what was made for an arena since it was asked; nothing while it is not ready."""
        if arena_id not in self._running or not self._running[arena_id].done():
            return []
        return self._running.pop(arena_id).result()

    def close(self) -> None:
        """End the thread, after the request under way."""
        self._thread.shutdown(wait=True, cancel_futures=True)
