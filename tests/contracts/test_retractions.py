"""Retractions: which votes they take away, by scope; and that taking back restores everything."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from pipeline.contracts.control import ControlEvent
from pipeline.contracts.retractions import Retractions
from pipeline.operators.archive_rows import make_archive_rows
from tests.operators.feeding import Feed, make_vote

VOTES = [
    make_vote(1, voter="ann", arena="pictures", matchup_id="m1", time=10),
    make_vote(2, voter="ann", arena="films", matchup_id="m1", time=20),
    make_vote(3, voter="bob", arena="pictures", matchup_id="m2", time=30),
    make_vote(4, voter=None, arena="films", matchup_id="m3", time=40),
]
ROWS: pa.RecordBatch = make_archive_rows(Feed().votes(VOTES).votes, 1, 1, ["votes"], np.zeros(1, np.int32))


def event(kind: str, names: list[str], arena: str | None = None) -> ControlEvent:
    """Return an event about voters or matchups."""
    fields: dict[str, Any] = {kind.partition(".")[0]: tuple(names)}
    return ControlEvent(schema=1, event_id="e1", type=kind, time=1, arena=arena, **fields)  # type: ignore[arg-type]


def hit_by(retractions: Retractions) -> list[int]:
    """Return the numbers of the votes that are retracted."""
    return (np.flatnonzero(retractions.affect(ROWS)) + 1).tolist()


@pytest.mark.parametrize(
    ("kind", "names", "arena", "hit"),
    [
        ("voters.retract", ["ann"], None, [1, 2]),
        ("voters.retract", ["ann"], "films", [2]),
        ("voters.retract", ["ann", "bob"], "pictures", [1, 3]),
        ("voters.retract", ["nobody"], None, []),
        ("voters.retract", [""], None, []),
        ("matchups.retract", ["m1"], None, [1, 2]),
        ("matchups.retract", ["m1"], "pictures", [1]),
        ("matchups.retract", ["m3", "m2"], None, [3, 4]),
    ],
)
def test_a_retraction_hits_its_scope(kind: str, names: list[str], arena: str | None, hit: list[int]) -> None:
    retractions = Retractions()
    assert retractions.apply(event(kind, names, arena))
    assert hit_by(retractions) == hit
    assert not retractions.apply(event(kind, names, arena))
    assert retractions.apply(event(kind.replace("retract", "restore"), names, arena))
    assert retractions == Retractions()
    assert not retractions


def test_overlapping_retractions_are_taken_back_one_by_one() -> None:
    retractions = Retractions()
    for arena in (None, "films"):
        retractions.apply(event("voters.retract", ["ann"], arena))
    retractions.apply(event("matchups.retract", ["m1"], "films"))
    assert not retractions.apply(event("voters.restore", ["ann"], "pictures"))
    assert retractions.apply(event("voters.restore", ["ann"], "films"))
    assert hit_by(retractions) == [1, 2]  # still retracted everywhere
    assert retractions.apply(event("voters.restore", ["ann"]))
    assert hit_by(retractions) == [2]  # by its matchup


def test_a_restore_without_an_arena_takes_back_every_scope() -> None:
    retractions = Retractions()
    for arena in (None, "films", "pictures"):
        retractions.apply(event("voters.retract", ["ann", "bob"], arena))
    assert retractions.apply(event("voters.restore", ["ann"]))
    assert hit_by(retractions) == [3]


def test_events_that_name_nobody_leave_no_trace() -> None:
    retractions = Retractions()
    assert not retractions.apply(event("voters.retract", [], "films"))
    assert not retractions.apply(event("voters.restore", [], "films"))
    assert retractions == Retractions()


@pytest.mark.parametrize(
    ("bounds", "hit"),
    [((20, None), [1]), ((None, 20), [3, 4]), ((20, 30), [1, 4]), ((None, None), []), ((99, 1), [1, 2, 3, 4])],
)
def test_times_outside_the_stretch_are_left_out(bounds: tuple[int | None, int | None], hit: list[int]) -> None:
    retractions = Retractions(event_from=bounds[0], event_until=bounds[1])
    assert bool(retractions) == (bounds != (None, None))
    assert hit_by(retractions) == hit


def test_retractions_come_back_as_they_were_stored() -> None:
    retractions = Retractions(event_from=3, left_out={"bob"})
    retractions.apply(event("voters.retract", ["ann"], "films"))
    retractions.apply(event("matchups.retract", ["m2"]))
    stored = msgspec.msgpack.encode(retractions)
    assert msgspec.msgpack.decode(stored, type=Retractions) == retractions


kinds = st.sampled_from(["voters.retract", "voters.restore", "matchups.retract", "matchups.restore"])
names = st.lists(st.sampled_from(["ann", "bob", "m1", "m2"]), max_size=2)
events = st.builds(event, kinds, names, st.sampled_from([None, "films", "pictures"]))


@given(st.lists(events, max_size=12))
def test_any_events_hit_what_a_naive_model_says(stream: list[ControlEvent]) -> None:
    retractions, marks = Retractions(), set[tuple[str, str | None, str]]()
    for each in stream:
        kind, verb = each.type.split(".")
        named = {(kind, each.arena, name) for name in getattr(each, kind)}
        before = set(marks)
        if verb == "retract":
            marks |= named
        elif each.arena is None:
            marks = {mark for mark in marks if (mark[0], None, mark[2]) not in named}
        else:
            marks -= named
        assert retractions.apply(each) == (marks != before)
    expected = [
        number
        for number, vote in enumerate(VOTES, start=1)
        if any(
            scope in (None, vote.arena) and name == (vote.voter if kind == "voters" else vote.matchup_id)
            for kind, scope, name in marks
        )
    ]
    assert hit_by(retractions) == expected
    assert bool(retractions) == bool(marks)
