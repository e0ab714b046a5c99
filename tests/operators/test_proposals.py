"""Proposals: how many are kept open, and that they are a function of seed, commit and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.contracts.arena import Arena, ArenaSettings, Model, Prompt
from pipeline.contracts.matchup import Matchup
from pipeline.operators.arena_state import ArenaState
from pipeline.operators.proposals import (
    Proposer,
    count_wanted,
    expire_matchups,
    make_proposals,
    open_proposals,
    request_proposals,
)
from pipeline.operators.registry import LiveArena
from pipeline.rating.pair_counts import K_SHIFT, PairCounts
from tests.operators.feeding import MODELS, START


def make_arena(*, k: int = 4, prompts: int = 2, models: tuple[str, ...] = MODELS, **settings: Any) -> LiveArena:
    """Return an arena with models."""
    pool = tuple(Prompt(id=f"p{number}", text=f"text {number}", seed=number) for number in range(prompts))
    live = LiveArena(Arena(id="pictures", k=k, prompts=pool, settings=ArenaSettings(**settings)))
    for model in models:
        live.add(Model(id=model))
    return live


def make_state(live: LiveArena) -> ArenaState:
    """Return the state of an arena without votes."""
    state = ArenaState()
    state.grow(len(live.models))
    return state


def propose(
    live: LiveArena, state: ArenaState, *, now: int = START, commit: int = 1, seed: int | None = 5
) -> list[Matchup]:
    """Propose what is missing, and open it."""
    request = request_proposals(live, state, now=now, commit=commit, seed=seed)
    return [] if request is None else open_proposals(live, state, make_proposals(request))


def test_the_fewest_are_opened_where_nobody_votes() -> None:
    live = make_arena(open_min=16, matchup_ttl_seconds=60)
    state = make_state(live)
    made = propose(live, state, commit=3)
    assert len(made) == 16
    assert list(state.open_matchups.values()) == made
    assert state.changed
    assert len({matchup.matchup_id for matchup in made}) == 16
    for matchup in made:
        assert (matchup.arena, matchup.commit, matchup.policy) == ("pictures", 3, "gibbs")
        assert (matchup.created, matchup.expires) == (START, START + 60_000)
        assert len(set(matchup.models)) == 4
        assert set(matchup.models) <= set(MODELS)
        assert matchup.prompt is not None
        assert matchup.prompt.id in {"p0", "p1"}
    assert propose(live, state, commit=4) == []


@pytest.mark.parametrize(
    ("votes", "lead", "bounds", "wanted"),
    [
        (0, 30, (16, 512), 16),
        (120, 30, (16, 512), 60),
        (10_000, 30, (16, 512), 512),
        (1, 30, (0, 512), 1),
        (0, 30, (0, 0), 0),
        (999, 3600, (0, 1000), 1000),
        (120, 0, (3, 9), 3),
    ],
)
def test_between_fewest_and_most_there_are_enough_for_the_rate(
    votes: int, lead: float, bounds: tuple[int, int], wanted: int
) -> None:
    live = make_arena(open_min=bounds[0], open_max=bounds[1], lead_seconds=lead)
    state = make_state(live)
    state.recent_votes.note(START, votes)
    assert count_wanted(live, state, START) == wanted
    assert len(propose(live, state)) == wanted


def test_an_answer_is_replaced_at_the_lower_bound_and_a_quarter_waited_for_above_it() -> None:
    live = make_arena(open_min=4, open_max=100, lead_seconds=60)
    state = make_state(live)
    propose(live, state)
    state.close_matchup(next(iter(state.open_matchups)), START)
    assert len(propose(live, state)) == 1
    state.recent_votes.note(START, 40)
    assert len(propose(live, state)) == 36
    for _ in range(10):
        state.close_matchup(next(iter(state.open_matchups)), START)
    assert propose(live, state) == []
    state.close_matchup(next(iter(state.open_matchups)), START)
    assert len(propose(live, state)) == 11


def test_expired_matchups_go_and_are_replaced() -> None:
    live = make_arena(open_min=3, matchup_ttl_seconds=10)
    state = make_state(live)
    first = propose(live, state)
    state.recent_answers.note(START + 4_000, 100)
    assert expire_matchups(live, state, START + 4_999) == []
    state.changed = False
    assert expire_matchups(live, state, START + 10_000) == first
    assert state.changed
    again = propose(live, state, now=START + 10_000, commit=2)
    assert len(again) == 3
    assert not {matchup.matchup_id for matchup in first} & set(state.open_matchups)


def test_voters_who_leave_do_not_let_an_arena_run_dry() -> None:
    """Four of ten walk away, one comes every two seconds; what they were shown stays open for 15 minutes."""
    live = make_arena(policy="random")
    state = make_state(live)
    rng = np.random.default_rng(1)
    waiting: list[str] = []
    missed, most_open = 0, 0
    for second in range(0, 3_600, 2):
        now = START + 1_000 * second
        expire_matchups(live, state, now)
        waiting += [matchup.matchup_id for matchup in propose(live, state, now=now, commit=second + 1)]
        most_open = max(most_open, len(state.open_matchups))
        if not waiting:
            missed += 1
            continue
        shown = waiting.pop(0)
        if rng.random() < 0.6:
            state.recent_votes.note(now, 1)
            if shown in state.open_matchups:
                state.close_matchup(shown, now)
    assert missed < 18  # 1 % of those who come
    assert most_open < 100


def test_retired_models_are_not_proposed_until_they_come_back() -> None:
    live = make_arena(open_min=30)
    live.add(Model(id="alpha", retired=True))
    state = make_state(live)
    assert all("alpha" not in matchup.models for matchup in propose(live, state))
    live.add(Model(id="beta", retired=True))
    live.add(Model(id="gamma", retired=True))
    assert propose(live, make_state(live)) == []
    live.add(Model(id="alpha"))
    assert len(propose(live, make_state(live))) == 30


@pytest.mark.parametrize("policy", ["gibbs", "ksort", "random"])
def test_fewer_models_than_k_are_not_proposed(policy: str) -> None:
    live = make_arena(k=7, policy=policy)
    state = make_state(live)
    assert propose(live, state) == []
    assert not state.changed
    live.add(Model(id="eta"))
    state.grow(7)
    assert len(propose(live, state)) == 16
    assert propose(make_arena(models=()), ArenaState()) == []


def test_proposals_are_a_function_of_seed_commit_and_arena() -> None:
    live = make_arena()
    one = propose(live, make_state(live), commit=8)
    assert propose(live, make_state(live), commit=8) == one
    assert propose(live, make_state(live), commit=9) != one
    assert propose(live, make_state(live), commit=8, seed=6) != one
    unseeded = propose(live, make_state(live), commit=8, seed=None)
    assert unseeded != propose(live, make_state(live), commit=8, seed=None)
    other = LiveArena(Arena(id="films"), live.models, live.index)
    ids = {matchup.matchup_id for matchup in one}
    assert not ids & {matchup.matchup_id for matchup in propose(other, make_state(other), commit=8)}


def test_an_arena_without_prompts_proposes_without_one() -> None:
    live = make_arena(prompts=0)
    assert {matchup.prompt for matchup in propose(live, make_state(live))} == {None}


def test_open_matchups_with_another_k_do_not_disturb() -> None:
    live = make_arena(k=2, open_min=4)
    state = make_state(live)
    propose(live, state)
    live.arena = Arena(id="pictures", k=5, settings=ArenaSettings(open_min=8))
    assert [len(matchup.models) for matchup in propose(live, state)] == [5] * 4


def test_a_proposer_makes_what_the_owner_would_and_hands_it_over_once() -> None:
    live = make_arena(open_min=5)
    state = make_state(live)
    request = request_proposals(live, state, now=START, commit=3, seed=5)
    assert request is not None
    proposer = Proposer()
    assert proposer.is_free("pictures")
    assert proposer.take("pictures") == []
    proposer.ask(request)
    assert not proposer.is_free("pictures")
    with pytest.raises(RuntimeError, match="under way"):
        proposer.ask(request)
    proposer.close()
    assert proposer.take("films") == []
    assert proposer.take("pictures") == make_proposals(request)
    assert proposer.is_free("pictures")


def test_models_that_were_retired_meanwhile_are_not_opened() -> None:
    live = make_arena(open_min=30)
    state = make_state(live)
    request = request_proposals(live, state, now=START, commit=3, seed=5)
    assert request is not None
    made = make_proposals(request)
    live.add(Model(id="alpha", retired=True))
    opened = open_proposals(live, state, made)
    assert opened == [matchup for matchup in made if "alpha" not in matchup.models]
    assert 0 < len(opened) < 30
    assert list(state.open_matchups.values()) == opened


def test_an_arena_that_cannot_be_rated_is_proposed_at_random() -> None:
    live = make_arena(open_min=5)
    state = make_state(live)
    state.counts.subtract(PairCounts.from_entries(np.array([1 << K_SHIFT + 1]), np.array([1])))
    assert {matchup.policy for matchup in propose(live, state)} == {"random"}
