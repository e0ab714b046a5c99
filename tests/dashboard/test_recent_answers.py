from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from dashboard.recent_answers import (
    RecentAnswers,
    choose_answers,
    compare_with_chance,
    record_policies,
    record_prompts,
    tabulate_policies,
    tabulate_prompts,
)
from pipeline.contracts.store import ARCHIVE_SCHEMA


def answers_of(*votes: dict[str, Any]) -> RecentAnswers:
    rows = [{"arena": "a", "mode": 0, "prompt": "p", **vote} for vote in votes]
    # two batches, as from two files: their dictionaries differ
    batches = [pa.RecordBatch.from_pylist([row], schema=ARCHIVE_SCHEMA) for row in rows]
    return choose_answers(pa.Table.from_batches(batches, ARCHIVE_SCHEMA), "a")


def test_only_votes_of_the_arena_are_taken_and_modes_counted() -> None:
    found = answers_of(
        {"models": ["x", "y"], "ranks": [1, 2]},
        {"models": ["x", "y"], "ranks": None, "mode": 2},
        {"models": ["y", "z"], "ranks": [1, 1], "arena": "b"},
    )
    assert len(found) == 2
    assert found.modes == {"rank": 1, "best": 0, "all_bad": 1, "skip": 0}
    assert found.models.tolist() == ["x", "y"]


def test_prompts_count_pairs_of_the_model_with_ties_and_unranked_ones() -> None:
    found = answers_of(
        {"models": ["x", "y", "z"], "ranks": [2, 1, 2]},
        {"models": ["y", "z", "x"], "ranks": [None, 1, None], "mode": 1},  # x lost to z, nothing known against y
        {"models": ["x", "y"], "ranks": [1, None], "mode": 1, "prompt": "c-1"},
        {"models": ["x", "y"], "ranks": [1, 2], "prompt": "c-2"},
        {"models": ["x", "y"], "ranks": None, "mode": 3},
        {"models": ["y", "z"], "ranks": [1, 2]},
    )
    typed, pool = sorted(record_prompts(found, "x"), key=lambda record: record.prompt is not None)
    assert (pool.prompt, pool.votes, pool.wins, pool.ties, pool.losses) == ("p", 2, 0, 1, 2)
    assert (typed.prompt, typed.votes, typed.wins, typed.share) == (None, 2, 2, 1.0)
    assert record_prompts(found, "nobody") == []
    written = tabulate_prompts([pool, typed], {"p": "a fox"})
    assert [list(row.values()) for row in written.to_pylist()] == [
        ["p", "a fox", 2, 0, 1, 2, pytest.approx(1 / 6)],
        [None, None, 2, 2, 0, 0, 1.0],
    ]


def test_policies_are_worth_as_many_uniform_votes() -> None:
    found = answers_of(
        *({"models": ["x", "y"], "ranks": [1, 2], "policy": "gibbs", "propensity": p} for p in (1 / 3, 1 / 3, 1 / 30)),
        {"models": ["x", "y"], "ranks": [1, 2]},
    )
    gibbs, unknown = record_policies(found, models=3)
    assert (gibbs.policy, gibbs.votes, gibbs.with_propensity) == ("gibbs", 3, 3)
    assert gibbs.effective == pytest.approx(12**2 / 102)
    assert (unknown.policy, unknown.with_propensity, unknown.effective) == (None, 0, 0.0)
    assert tabulate_policies([gibbs, unknown])["votes"].to_pylist() == [3, 1]


def test_likelihood_is_compared_with_chance() -> None:
    assert compare_with_chance([2, 2, 2, 9], [1 / 3, None, 0.0, 0.5], models=3) == [pytest.approx(1), None, None, None]


def test_no_votes_are_no_answers() -> None:
    assert len(answers_of()) == 0
    assert record_policies(answers_of(), 3) == []
    assert record_prompts(answers_of(), "x") == []
