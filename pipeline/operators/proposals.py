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
_PATIENCES = 3
"""A matchup that was not answered in so many times the patience is taken off before it expires. It may still be voted
on, but there may be any number of such ones, and what is open is copied into each commit."""
_LONGEST_PATIENCE = 2.0
"""Times `lead_seconds`. Where nothing is answered, nobody may be there, or nothing be left to show: what is open is
renewed."""


def expire_matchups(live: LiveArena, state: ArenaState, now: int) -> list[Matchup]:
    """Take the open matchups that expired by `now` (ms), or are long overdue, off the arena and return them."""
    oldest = now - _PATIENCES * measure_patience(live, state, now)
    expired = [each for each in state.open_matchups.values() if each.expires <= now or each.created < oldest]
    for matchup in expired:
        del state.open_matchups[matchup.matchup_id]
        state.changed = True
    return expired


def count_wanted(live: LiveArena, state: ArenaState, now: int) -> int:
    """Return how many matchups the arena should have open: enough for `lead_seconds` at the last minute's rate."""
    settings = live.arena.settings
    needed = math.ceil(state.recent_votes.total(now) / _MINUTE_S * settings.lead_seconds)
    return min(max(needed, settings.open_min), settings.open_max)


def measure_patience(live: LiveArena, state: ArenaState, now: int) -> float:
    """Return in which time (ms) as many matchups are answered as should be open.

    One that is older was probably shown to somebody who left. It must not keep a new one from being proposed, or an
    arena whose voters often leave would run dry. Up to half of those shown may be left so.
    """
    longest = _LONGEST_PATIENCE * live.arena.settings.lead_seconds * 1000.0 or math.inf
    answers = state.recent_answers.total(now)
    if not answers:
        return longest
    return min(max(count_wanted(live, state, now), 1) / answers * _MINUTE_S * 1000.0, longest)


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
    oldest = now - measure_patience(live, state, now)
    awaited = sum(matchup.created >= oldest for matchup in state.open_matchups.values())
    # A quarter may be missing before more are made, or a busy arena would be asked at every commit.
    if awaited >= max(live.arena.settings.open_min, math.ceil(wanted * 3 / 4)):
        return None
    if sum(not model.retired for model in live.models) < live.arena.k or live.arena.settings.policy not in POLICIES:
        return None
    return ProposalRequest(
        registered=live.freeze(),
        counts=state.counts.freeze(),
        ksort=state.ksort,
        open_matchups=tuple(state.open_matchups.values()),
        count=wanted - awaited,
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
