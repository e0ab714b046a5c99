"""Simulated votes: valid, repeatable, and as right or wrong as was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.contracts.ballot import Mode
from pipeline.contracts.control import decode_control, encode_control
from pipeline.contracts.decode_reference import DecodedVote, decode_vote
from pipeline.contracts.matchup import Matchup, MatchupPrompt
from pipeline.contracts.vote import Vote, encode_vote
from producers.simulate.errors import SimulationError
from producers.simulate.world import START_TIME, SimulatedWorld


def read_votes(world: SimulatedWorld, count: int, **options: Any) -> list[Vote]:
    return [msgspec.json.decode(value, type=Vote) for batch in world.votes(count, **options) for value in batch]


def ordered_pairs(vote: Vote) -> Iterator[tuple[str, str]]:
    """(better, worse) of each pair that the vote orders."""
    ranks = vote.ranks or (None,) * len(vote.models)
    shown = [(float("inf") if rank is None else rank, model) for rank, model in zip(ranks, vote.models, strict=True)]
    for (rank, model), (other_rank, other) in combinations(shown, 2):
        if rank != other_rank:
            yield (model, other) if rank < other_rank else (other, model)


def share_of_wrong_pairs(world: SimulatedWorld, votes: list[Vote]) -> float:
    place = {model: rank for rank, model in enumerate(world.truth)}
    pairs = [pair for vote in votes for pair in ordered_pairs(vote)]
    return sum(place[better] > place[worse] for better, worse in pairs) / len(pairs)


@pytest.mark.parametrize(
    "world",
    [
        SimulatedWorld(seed=1, tie_rate=0.3, best_share=0.2, all_bad_share=0.1, skip_share=0.1, bots=3),
        SimulatedWorld(seed=2, models=2, k=2, judgement="thurstone"),
        SimulatedWorld(seed=3, models=8, k=8, judgement="exact", tie_rate=0.9),
        SimulatedWorld(seed=4, models=300, k=6, prompts=0, bots=2, bot_favourite="model-007"),
    ],
    ids=["all-modes", "pairs", "everyone", "many"],
)
def test_votes_are_accepted_and_are_what_the_encoder_writes(world: SimulatedWorld) -> None:
    known = set(world.model_ids)
    ids = set()
    for batch in world.votes(2000):
        for value in batch:
            decoded = decode_vote(value, START_TIME + 2000 * 1000)
            assert isinstance(decoded, DecodedVote), value
            assert decoded.fault is None, value
            assert set(decoded.vote.models) <= known
            assert encode_vote(decoded.vote) == value
            ids.add(decoded.vote.vote_id)
    assert len(ids) == 2000


def test_votes_follow_the_seed_and_not_the_batches() -> None:
    world = SimulatedWorld(seed=5)
    whole = [value for batch in world.votes(20_000) for value in batch]
    again = [value for batch in SimulatedWorld(seed=5).votes(20_000, batch_size=999) for value in batch]
    assert whole == again
    parts = [value for first in (0, 8000) for batch in world.votes(8000, first=first) for value in batch]
    assert parts == whole[:16_000]
    other = [value for batch in SimulatedWorld(seed=6).votes(100) for value in batch]
    assert not set(other) & set(whole)


def test_votes_are_dated_by_start_time_and_rate() -> None:
    votes = read_votes(SimulatedWorld(), 5, start_time=1000, rate=3)
    assert [vote.time for vote in votes] == [1000, 1333, 1666, 2000, 2333]
    assert [vote.time for vote in read_votes(SimulatedWorld(), 2, start_time=1000, rate=3, first=3)] == [
        2000,
        2333,
    ]


def test_votes_without_noise_are_right_and_noise_makes_half_of_its_share_wrong() -> None:
    exact = SimulatedWorld(seed=1, judgement="exact", noise=0.0, bots=0)
    assert share_of_wrong_pairs(exact, read_votes(exact, 2000)) == 0.0
    noisy = SimulatedWorld(seed=1, judgement="exact", noise=0.2)
    assert share_of_wrong_pairs(noisy, read_votes(noisy, 20_000)) == pytest.approx(0.1, abs=0.006)


@pytest.mark.parametrize(("judgement", "expected"), [("gumbel", 0.7311), ("thurstone", 0.7602)])
def test_votes_have_the_pair_probability_of_their_judgement(judgement: Any, expected: float) -> None:
    # Two models one unit apart: logistic(1), and Phi(1 / sqrt 2).
    spread = 0.5 / 0.6744897501960817
    world = SimulatedWorld(seed=1, models=2, k=2, spread=spread, judgement=judgement, noise=0, tie_rate=0)
    assert 1 - share_of_wrong_pairs(world, read_votes(world, 40_000)) == pytest.approx(expected, abs=0.008)


def test_votes_have_the_shares_that_were_asked_for() -> None:
    world = SimulatedWorld(seed=1, tie_rate=0.25, best_share=0.3, all_bad_share=0.1, skip_share=0.05)
    votes = read_votes(world, 20_000)
    modes = Counter(vote.mode for vote in votes)
    for mode, share in {"rank": 0.55, "best": 0.3, "all_bad": 0.1, "skip": 0.05}.items():
        assert modes[mode] / len(votes) == pytest.approx(share, abs=0.012)
    ranked = [vote.ranks for vote in votes if vote.mode == "rank" and vote.ranks]
    ties = sum(4 - len(set(ranks)) for ranks in ranked) / (3 * len(ranked))
    assert ties == pytest.approx(0.25, abs=0.01)
    assert all(sorted(ranks).count(min(ranks)) >= 1 and min(ranks) == 1 for ranks in ranked)  # type: ignore[type-var]
    assert all(vote.ranks is None for vote in votes if vote.mode in {"all_bad", "skip"})
    assert all(
        sorted(map(str, vote.ranks or ())) == ["1", "None", "None", "None"] for vote in votes if vote.mode == "best"
    )


def test_votes_rank_ties_as_competitions_do() -> None:
    world = SimulatedWorld(seed=1, tie_rate=0.5, best_share=0, all_bad_share=0, skip_share=0)
    for vote in read_votes(world, 500):
        ranks = [rank for rank in vote.ranks or () if rank is not None]
        assert all(rank == 1 + sum(other < rank for other in ranks) for rank in ranks)


def test_votes_show_models_in_slots_and_matchups_uniformly() -> None:
    world = SimulatedWorld(seed=1, models=6, k=3)
    votes = read_votes(world, 12_000)
    shown = Counter(model for vote in votes for model in vote.models)
    first = Counter(vote.models[0] for vote in votes)
    assert all(count == pytest.approx(6000, rel=0.06) for count in shown.values())
    assert all(count == pytest.approx(2000, rel=0.1) for count in first.values())
    assert {(vote.policy, vote.propensity) for vote in votes} == {("random", 1 / 20)}


def test_bots_vote_often_and_for_their_favourite() -> None:
    world = SimulatedWorld(seed=1, voters=100, bots=5, bot_activity=20, bot_favourite="model-03", tie_rate=0)
    votes = read_votes(world, 20_000)
    by_bot = [vote for vote in votes if vote.voter in world.bot_ids]
    assert len(world.bot_ids) == 5
    assert len(by_bot) / len(votes) == pytest.approx(0.5, abs=0.02)
    decided = [vote for vote in by_bot if vote.ranks and "model-03" in vote.models]
    assert decided
    assert all(vote.ranks and vote.ranks[vote.models.index("model-03")] == 1 for vote in decided)


def test_bots_without_a_favourite_vote_at_random() -> None:
    world = SimulatedWorld(seed=1, judgement="exact", noise=0, voters=10, bots=10, bot_activity=1)
    votes = read_votes(world, 20_000)
    bots = set(world.bot_ids)
    assert share_of_wrong_pairs(world, [v for v in votes if v.voter in bots]) == pytest.approx(0.5, abs=0.015)
    assert share_of_wrong_pairs(world, [v for v in votes if v.voter not in bots]) == 0.0


def test_batches_carry_matchup_ids_as_keys() -> None:
    (batch,) = SimulatedWorld().batches(50)
    votes = [msgspec.json.decode(value, type=Vote) for value in batch.values]
    assert batch.keys == [vote.matchup_id for vote in votes]
    assert [(record.key, record.value) for record in batch.records()] == list(
        zip(batch.keys, batch.values, strict=True)
    )


def make_matchup(number: int, models: tuple[str, ...], arena: str = "simulated") -> Matchup:
    return Matchup(
        matchup_id=f"m{number}",
        arena=arena,
        models=models,
        prompt=MatchupPrompt(id=f"p-{number}") if number % 2 else None,
        policy="gibbs",
        propensity=0.125 if number % 3 else None,
        commit=7,
        created=0,
        expires=10,
    )


def test_answer_matchups_answers_each_in_order() -> None:
    world = SimulatedWorld(seed=1)
    rng = np.random.default_rng(1)
    matchups = [
        make_matchup(number, tuple(rng.permutation(world.model_ids)[: 2 + number % 4].tolist())) for number in range(50)
    ]
    batch = world.answer_matchups(matchups, np.random.default_rng(2), start_time=5000, rate=1000)
    assert batch.values == world.answer_matchups(matchups, np.random.default_rng(2), start_time=5000, rate=1000).values
    assert batch.keys == [matchup.matchup_id for matchup in matchups]
    for number, (matchup, value) in enumerate(zip(matchups, batch.values, strict=True)):
        decoded = decode_vote(value, 10_000)
        assert isinstance(decoded, DecodedVote)
        vote = decoded.vote
        assert decoded.fault is None
        assert (vote.matchup_id, vote.models, vote.time) == (
            matchup.matchup_id,
            matchup.models,
            5000 + number,
        )
        assert (vote.policy, vote.propensity) == (matchup.policy, matchup.propensity)
        assert vote.prompt == (matchup.prompt.id if matchup.prompt else None)
    assert world.answer_matchups([], rng).values == []


def test_answer_matchups_refuses_what_it_does_not_know() -> None:
    world, rng = SimulatedWorld(), np.random.default_rng(1)
    with pytest.raises(SimulationError, match="no model 'flux'"):
        world.answer_matchups([make_matchup(1, ("model-01", "flux"))], rng)
    with pytest.raises(SimulationError, match="cannot answer matchups of elsewhere"):
        world.answer_matchups([make_matchup(1, ("model-01", "model-02"), "elsewhere")], rng)


def test_arena_events_define_the_arena_and_all_models() -> None:
    world = SimulatedWorld(models=14, k=3, arena_id="demo", title="Demo")
    events = [decode_control(encode_control(event)) for event in world.arena_events(START_TIME)]
    assert [event.type for event in events] == ["arena.upsert"] + ["model.add"] * 14
    assert len({event.event_id for event in events}) == 15
    arena = events[0].to_arena()
    assert (arena.id, arena.title, arena.k, len(arena.prompts)) == ("demo", "Demo", 3, 24)
    assert set(arena.modes) == {mode.name.lower() for mode in Mode}
    assert [event.model for event in events[1:]] == list(world.catalogue)
    assert len({model.name for model in world.catalogue}) == 14
    assert all(model.organization and model.license for model in world.catalogue)
    assert events == world.arena_events(START_TIME)


def test_truth_is_the_order_of_the_skills_and_not_of_the_ids() -> None:
    world = SimulatedWorld(seed=1, models=30)
    by_id = dict(zip(world.model_ids, world.skills.tolist(), strict=True))
    assert world.truth == sorted(world.model_ids, key=lambda model: -by_id[model])
    assert world.truth != sorted(world.truth)
    assert world.truth != SimulatedWorld(seed=2, models=30).truth
    assert np.std(world.skills) == pytest.approx(1.5, rel=0.05)
    assert len(set(world.skills.tolist())) == 30


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 9}, "k = 9 must lie between 2 and 8"),
        ({"models": 3}, "3 models are too few for matchups of 4"),
        ({"noise": 1.5}, "noise = 1.5 must lie between 0 and 1"),
        ({"best_share": 0.6, "skip_share": 0.6}, "together must not exceed 1"),
        ({"bots": -1}, "bots = -1 must not be negative"),
        ({"voters": 0}, "at least one voter"),
        ({"bot_activity": 0}, "bot_activity = 0 must be positive"),
        ({"judgement": "fair"}, "unknown judgement 'fair'"),
        ({"arena_id": "no spaces"}, "not a valid arena id"),
        ({"bot_favourite": "flux"}, "favourite 'flux' is none of the models"),
    ],
)
def test_simulated_world_refuses_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        SimulatedWorld(**settings)
