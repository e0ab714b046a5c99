"""Open matchups: found by the hash of the votes that answer them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.operators.hashing import hash_strings, seed_strings
from pipeline.operators.judge import judge_votes
from pipeline.operators.open_matchups import OpenMatchups
from pipeline.operators.registry import LiveRegistry
from pipeline.operators.window import DedupWindow
from tests.operators.feeding import Feed, make_vote


def keys_of(*matchups: tuple[str, str]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return the keys of accepted votes on (arena, matchup)."""
    votes = [make_vote(row, arena=arena, matchup_id=matchup) for row, (arena, matchup) in enumerate(matchups)]
    return judge_votes(Feed().votes(votes).votes, LiveRegistry(), DedupWindow(1000), accept_old=False).matchup_keys


def test_an_answer_finds_its_matchup_once() -> None:
    found = OpenMatchups()
    found.add("pictures", ["m1", "m2"])
    found.add("films", ["m1"])
    assert found.take_answered(keys_of(("pictures", "m2"), ("films", "m3"))) == [("pictures", "m2")]
    assert found.take_answered(keys_of(("pictures", "m2"), ("films", "m1"))) == [("films", "m1")]
    assert found.take_answered(keys_of(("films", "m1"))) == []


def test_what_was_removed_is_not_found() -> None:
    found = OpenMatchups()
    found.add("pictures", ["m1", "m2"])
    found.remove("pictures", ["m1", "never there"])
    found.remove("pictures", [])
    assert found.take_answered(keys_of(("pictures", "m1"), ("pictures", "m2"))) == [("pictures", "m2")]


@pytest.mark.parametrize("count", [1, 3000])
def test_each_of_many_is_found(count: int) -> None:
    found = OpenMatchups()
    matchups = [f"m{number}" for number in range(count)]
    found.add("pictures", matchups)
    assert found.take_answered(np.zeros(0, np.uint64)) == []
    others = keys_of(*(("films", matchup) for matchup in matchups[:500]))
    assert found.take_answered(others) == []
    _, keys = hash_strings(pa.array(matchups), np.repeat(seed_strings(["pictures"]), count))
    assert found.take_answered(keys[::-1].copy()) == [("pictures", matchup) for matchup in reversed(matchups)]
    assert found.take_answered(keys) == []
