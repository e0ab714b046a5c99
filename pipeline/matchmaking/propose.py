"""From an arena's state to matchups: what the job does live, and `kwise matchup suggest` with a published state."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from pipeline.contracts.arena import Arena, RegisteredArena
from pipeline.contracts.ids import random_id
from pipeline.contracts.matchup import Matchup, MatchupPrompt
from pipeline.contracts.snapshot import Publication
from pipeline.matchmaking.gibbs_policy import BELIEF_FIT
from pipeline.matchmaking.policies import needs_belief, propose_sets
from pipeline.matchmaking.view import ArenaView, Belief, sparse_pair_rows
from pipeline.rating.ksort_filter import KsortState
from pipeline.rating.pair_counts import PairCounts
from pipeline.rating.posterior import fit_posterior


def view_arena(
    registered: RegisteredArena,
    counts: PairCounts,
    ksort: KsortState,
    open_matchups: Iterable[Matchup],
    *,
    policy: str | None = None,
) -> ArenaView:
    """Return an arena as `policy` (None = the arena's own) sees it; `ksort` may know fewer models than are registered.

    Raises
    ------
    FitError
        The policy needs the posterior, and its fit does not converge.
    """
    models = registered.models
    n = len(models)
    places = {model.id: place for place, model in enumerate(models)}
    filtered = ksort.grow(n)
    pairs = counts.pairs(lambda _k, _best: 1.0)
    met = (pairs.wins + pairs.losses + pairs.ties).astype(np.int64)
    return ArenaView(
        k=registered.arena.k,
        active=np.array([not model.retired for model in models], np.bool_),
        mu=filtered.mu[:n],
        s2=filtered.s2[:n],
        comparisons=counts.comparisons(n),
        pair_row=sparse_pair_rows(n, pairs.first, pairs.second, met),
        open_sets=tuple(
            tuple(places[model] for model in matchup.models if model in places) for matchup in open_matchups
        ),
        belief=_fit_belief(registered, counts) if needs_belief(policy or registered.arena.settings.policy) else None,
    )


def view_publication(publication: Publication, counts: PairCounts, *, policy: str | None = None) -> ArenaView:
    """Return a published arena as `view_arena` does; `counts` are those published with it."""
    stored = publication.filters.get("ksort", {"mu": [], "s2": []})
    ksort = KsortState(np.array(stored["mu"], np.float64), np.array(stored["s2"], np.float64))
    return view_arena(publication.registered, counts, ksort, publication.open_matchups, policy=policy)


def _fit_belief(registered: RegisteredArena, counts: PairCounts) -> Belief:
    fit = fit_posterior(counts, [model.id for model in registered.models], settings=BELIEF_FIT)
    return Belief(fit.mean, fit.covariance)


def propose_matchups(
    registered: RegisteredArena,
    view: ArenaView,
    count: int,
    rng: Generator,
    *,
    now: int,
    commit: int,
    policy: str | None = None,
) -> list[Matchup]:
    """Propose `count` matchups, or none if too few models are active (`view.describe_shortage` says so).

    Parameters
    ----------
    registered, view
        The arena at one commit.
    rng
        Decides models, slots, prompts and matchup ids.
    now
        When they are created, ms; they expire after the arena's time to live.
    commit
        The commit whose state they are made from.
    policy
        Name of the policy; None = the arena's own.

    Raises
    ------
    MatchmakingError
        The policy is unknown.
    """
    arena = registered.arena
    return [
        Matchup(
            matchup_id=random_id(rng),
            arena=arena.id,
            models=tuple(registered.models[index].id for index in proposed.models),
            prompt=_draw_prompt(arena, rng),
            policy=proposed.policy,
            propensity=proposed.propensity,
            commit=commit,
            created=now,
            expires=now + round(arena.settings.matchup_ttl_seconds * 1000),
        )
        for proposed in propose_sets(policy or arena.settings.policy, view, count, rng)
    ]


def _draw_prompt(arena: Arena, rng: Generator) -> MatchupPrompt | None:
    if not arena.prompts:
        return None
    prompt = arena.prompts[int(rng.integers(len(arena.prompts)))]
    return MatchupPrompt(id=prompt.id, text=prompt.text, seed=prompt.seed, tags=prompt.tags)
