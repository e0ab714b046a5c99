"""Proposals: how many matchups an arena keeps open, and which."""

from __future__ import annotations

import math

import numpy as np

from pipeline.contracts.matchup import Matchup
from pipeline.matchmaking.policies import POLICIES
from pipeline.matchmaking.propose import propose_matchups, view_arena
from pipeline.operators.arena_state import ArenaState
from pipeline.operators.registry import LiveArena

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


def top_up(live: LiveArena, state: ArenaState, *, now: int, commit: int, seed: int | None) -> list[Matchup]:
    """Propose matchups until the arena has as many open as it should, and open them.

    None while fewer models than k may be proposed, or if the arena was stored with a policy that this version lacks.

    Parameters
    ----------
    now
        Wall clock, ms: when they are created.
    commit
        The commit whose state they are made from.
    seed
        With it, proposals are a function of seed, arena and commit; None draws from the system's entropy.
    """
    wanted = count_wanted(live, state, now)
    # A quarter may be missing before more are made, or a busy arena would be asked at every commit.
    if len(state.open_matchups) >= max(live.arena.settings.open_min, math.ceil(wanted * 3 / 4)):
        return []
    missing = wanted - len(state.open_matchups)
    if sum(not model.retired for model in live.models) < live.arena.k or live.arena.settings.policy not in POLICIES:
        return []
    rng = np.random.default_rng(None if seed is None else [seed, commit, *live.arena.id.encode()])
    registered = live.freeze()
    view = view_arena(registered, state.counts.freeze(), state.ksort, state.open_matchups.values())
    made = propose_matchups(registered, view, missing, rng, now=now, commit=commit)
    state.open_matchups |= {matchup.matchup_id: matchup for matchup in made}
    state.changed |= bool(made)
    return made
