"""Judging: the precedence of faults, and what a dead letter says."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from pipeline.contracts.envelope import encode_envelope
from pipeline.contracts.reasons import REASONS_BY_CODE, Reason
from pipeline.contracts.vote import Vote, encode_vote
from pipeline.operators.ingest import Decoded
from pipeline.operators.judge import judge_votes, make_dead_letters
from pipeline.operators.rate import Rate, RateSettings
from pipeline.operators.registry import LiveRegistry
from pipeline.operators.window import DedupWindow
from tests.operators.feeding import (
    MODELS,
    NO_PROPOSALS,
    START,
    Feed,
    arena_events,
    dead_letters_of,
    make_vote,
    opened,
    process_events,
    process_votes,
)

HORIZON = START - 1000
BEFORE = make_vote(1)
"""Was accepted before, in the arena that asks for tokens as well."""

FAULTS: dict[Reason, dict[str, Any]] = {
    Reason.UNKNOWN_ARENA: {"arena": "nowhere"},
    Reason.UNKNOWN_MODEL: {"models": (*BEFORE.models[:3], "nobody")},
    Reason.BAD_RANKS: {"ranks": (1, 2, 3)},
    Reason.BAD_TIME: {"time": START + 10**9},
    Reason.TOO_OLD: {"time": HORIZON - 1},
    Reason.DUPLICATE: {"vote_id": BEFORE.vote_id},
    Reason.BAD_TOKEN: {"arena": "guarded", "token": None},
    Reason.ALREADY_VOTED: {"matchup_id": BEFORE.matchup_id},
}
IMPOSSIBLE = [
    {Reason.UNKNOWN_ARENA, Reason.BAD_TOKEN},  # a token is required by an arena that is known
    {Reason.BAD_TIME, Reason.TOO_OLD},
]
REFUSED_TOGETHER = [
    faults
    for size in (1, 2, 3)
    for faults in combinations(FAULTS, size)
    if not any(pair <= set(faults) for pair in IMPOSSIBLE)
]


def check_token(votes: pa.RecordBatch) -> pa.BooleanArray:
    """Say that tokens which begin with "good" are right."""
    tokens = votes["token"].to_pylist()
    return pa.array([None if token is None else token.startswith("good") for token in tokens], pa.bool_())


def make_registry(*, closed: bool = True) -> LiveRegistry:
    """Return a registry with two arenas, of which one asks for tokens."""
    registry = LiveRegistry()
    for arena in ("pictures", "guarded"):
        for model in MODELS:
            registry.admit(arena, model)
    guarded = registry.arenas["guarded"]
    guarded.arena = msgspec.structs.replace(guarded.arena, require_token=True)
    registry.closed = closed
    return registry


def decode(votes: list[Vote]) -> Decoded:
    """Decode votes that were all appended at `START`."""
    return Feed().votes(votes, appended_at=START, check_token=check_token)


def judge(registry: LiveRegistry, votes: list[Vote], window: DedupWindow | None = None) -> list[str]:
    """Return the verdicts by name."""
    judged = judge_votes(
        decode(votes).votes, registry, DedupWindow(100) if window is None else window, accept_old=False
    )
    return ["accepted" if code == 0 else REASONS_BY_CODE[code].value for code in judged.verdicts.tolist()]


@pytest.mark.parametrize("faults", REFUSED_TOGETHER, ids="+".join)
def test_the_first_fault_in_the_precedence_is_given(faults: tuple[Reason, ...]) -> None:
    registry, window = make_registry(), DedupWindow(100, horizon=HORIZON)
    guarded = msgspec.structs.replace(BEFORE, arena="guarded", token="good", vote_id="a" * 32, matchup_id="b" * 32)
    assert judge(registry, [BEFORE, guarded], window) == ["accepted"] * 2
    changes: dict[str, Any] = {}
    for fault in faults:
        changes |= FAULTS[fault]
    if changes.get("arena") == "guarded" and "matchup_id" in changes:
        changes["matchup_id"] = guarded.matchup_id  # matchups are looked up by arena
    assert judge(registry, [make_vote(2, **changes)], window) == [min(faults, key=lambda fault: fault.code).value]


def test_a_vote_without_fault_is_accepted_beside_those_with_one() -> None:
    votes = [make_vote(10), make_vote(11, arena="nowhere"), make_vote(12), make_vote(13, ranks=(1,)), make_vote(14)]
    assert judge(make_registry(), votes) == ["accepted", "unknown_arena", "accepted", "bad_ranks", "accepted"]


def test_a_refused_vote_uses_up_neither_its_id_nor_its_matchup() -> None:
    votes = [make_vote(3, ranks=(1,)), make_vote(3, arena="guarded"), make_vote(3), make_vote(3)]
    assert judge(make_registry(), votes) == ["bad_ranks", "bad_token", "accepted", "duplicate"]


def test_matchups_of_two_arenas_with_one_id_are_two() -> None:
    registry = make_registry()
    registry.admit("films", "alpha")
    for model in MODELS:
        registry.admit("films", model)
    votes = [make_vote(1), make_vote(2, matchup_id=BEFORE.matchup_id, arena="films")]
    assert judge(registry, votes) == ["accepted", "accepted"]


def test_an_open_registry_refuses_no_arena_and_no_model() -> None:
    votes = [make_vote(1, arena="new"), make_vote(2, models=("x", "y"), ranks=(1, 2))]
    registry = make_registry(closed=False)
    assert judge(registry, votes) == ["accepted", "accepted"]
    assert "new" not in registry.arenas  # it is the archived row that registers


@pytest.mark.parametrize(("token", "verdict"), [(None, "bad_token"), ("forged", "bad_token"), ("good", "accepted")])
def test_an_arena_that_requires_tokens_takes_right_ones_only(token: str | None, verdict: str) -> None:
    assert judge(make_registry(), [make_vote(1, arena="guarded", token=token)]) == [verdict]
    assert judge(make_registry(), [make_vote(1, token=token)]) == ["accepted"]


def test_without_a_check_every_token_is_missing() -> None:
    votes = Feed().votes([make_vote(1, arena="guarded", token="good")]).votes
    judged = judge_votes(votes, make_registry(), DedupWindow(10), accept_old=False)
    assert judged.verdicts.tolist() == [Reason.BAD_TOKEN.code]


def test_old_votes_are_taken_where_that_is_asked_for() -> None:
    window = DedupWindow(10, horizon=HORIZON)
    votes = decode([make_vote(1, time=5), make_vote(1, time=5)]).votes
    judged = judge_votes(votes, make_registry(), window, accept_old=True)
    assert judged.verdicts.tolist() == [0, Reason.DUPLICATE.code]
    assert judged.window["time"].tolist() == [HORIZON]


def refuse(decoded: Decoded, registry: LiveRegistry) -> list[dict[str, Any]]:
    """Return the dead letters of a batch."""
    judged = judge_votes(decoded.votes, registry, DedupWindow(100, horizon=HORIZON), accept_old=False)
    letters = make_dead_letters(decoded.votes, judged.verdicts, registry, ["votes"], np.array([3], np.int32))
    listed: list[dict[str, Any]] = [] if letters is None else letters.to_pylist()
    return listed


def test_dead_letters_of_json_carry_the_record_as_it_came() -> None:
    bodies = [
        b'{"extra": 1,  ' + encode_vote(make_vote(1, arena="nowhere"))[1:],
        encode_vote(make_vote(2)),
        b" " + encode_vote(make_vote(3, models=("alpha", "nobody", "noone", "nobody"), ranks=(1, 2, 2, 4))) + b"\n",
        encode_vote(make_vote(4, time=5)),
        encode_vote(make_vote(5, ranks=(1, 2))),
    ]
    letters = refuse(Feed().votes(bodies), make_registry())
    assert [letter["payload"] for letter in letters] == [bodies[0], bodies[2], bodies[3], bodies[4]]
    assert [letter["reason"] for letter in letters] == ["unknown_arena", "unknown_model", "too_old", "bad_ranks"]
    assert [letter["offset"] for letter in letters] == [0, 2, 3, 4]
    assert {(letter["topic"], letter["partition"], letter["index"]) for letter in letters} == {("votes", 3, 0)}
    assert {letter["appended_at"] for letter in letters} == {START}
    assert [letter["arena"] for letter in letters] == ["nowhere", "pictures", "pictures", "pictures"]
    details = [letter["detail"] for letter in letters]
    assert details[0] == "no arena nowhere; apply its arena file first"
    assert details[1] == "arena pictures has no model nobody, noone"
    assert details[2] == "time 5 lies before what the de-duplication window remembers"
    assert details[3] == "2 ranks for 4 models"


def test_dead_letters_of_envelopes_carry_the_row_as_json() -> None:
    votes = [make_vote(1), make_vote(2, arena="nowhere", propensity=0.5), make_vote(3, mode="skip", ranks=None, time=5)]
    letters = refuse(Feed().envelope(encode_envelope(votes)), make_registry())
    assert [(letter["offset"], letter["index"], letter["reason"]) for letter in letters] == [
        (0, 1, "unknown_arena"),
        (0, 2, "too_old"),
    ]
    assert [msgspec.json.decode(letter["payload"], type=Vote) for letter in letters] == votes[1:]


def test_a_duplicate_is_no_dead_letter() -> None:
    assert refuse(Feed().votes([make_vote(1), make_vote(1)]), make_registry()) == []


def test_tokens_and_second_votes_are_explained(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, RateSettings(propose=False))
        process_events(rate, feed.control(*arena_events("guarded", require_token=True)))
        votes = [
            make_vote(1, arena="guarded"),
            make_vote(2, arena="guarded", token="forged"),
            make_vote(3, arena="guarded", token="good"),
            make_vote(4, arena="guarded", token="good", matchup_id=make_vote(3).matchup_id),
        ]
        process_votes(rate, feed.votes(votes, check_token=check_token))
        rate.commit(START)
        assert [letter["detail"] for letter in dead_letters_of(store)] == [
            "arena guarded requires a token, and this is none",
            "arena guarded requires a token, and this is not a right one",
            f"another vote on matchup {make_vote(3).matchup_id} was accepted before",
        ]
        assert rate.tally.dead == {"bad_token": 2, "already_voted": 1}


def test_rejects_of_ingest_and_verdicts_of_rate_are_kept_together(tmp_path: Path) -> None:
    feed = Feed()
    with opened(tmp_path / "store") as store:
        rate = Rate(store, NO_PROPOSALS)
        process_events(rate, feed.control(*arena_events()))
        process_votes(rate, feed.votes([b"{", make_vote(1), make_vote(2, arena="nowhere"), b""]))
        rate.commit(START)
        found = {(letter["offset"], letter["reason"]) for letter in dead_letters_of(store)}
        assert found == {(0, "not_json"), (2, "unknown_arena"), (3, "not_json")}
        assert (rate.tally.accepted, rate.tally.dead) == (1, {"not_json": 2, "unknown_arena": 1})
