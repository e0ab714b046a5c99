"""The de-duplication window, against a model in plain Python with lists and sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from pipeline.contracts.reasons import REASONS_BY_CODE, Reason
from pipeline.contracts.store import WINDOW_DTYPE
from pipeline.operators.window import DedupWindow

LOWEST_HASH, SPREAD = 0, 0x9E3779B97F4A7C15
"""Multipliers of numbers to hashes: with 0 all keys want the same slot of the table."""


@dataclass(frozen=True)
class Arrival:
    """A vote that comes: its number, its matchup's, its time, and whether its token is missing."""

    vote: int
    matchup: int
    time: int
    bad_token: bool = False


arrivals = st.builds(
    Arrival, st.integers(0, 40), st.integers(0, 40), st.integers(0, 12), st.sampled_from([False] * 5 + [True])
)
streams = st.lists(arrivals, max_size=120)


@dataclass
class NaiveWindow:
    """The rules, written down."""

    capacity: int
    accept_old: bool = False
    horizon: int = 0
    held: list[tuple[int, int, int]] = field(default_factory=list)
    limit: int = 0

    def judge(self, vote: Arrival) -> str:
        if vote.time < self.horizon and not self.accept_old:
            return "too_old"
        if any(vote.vote == held for held, _, _ in self.held):
            return "duplicate"
        if vote.bad_token:
            return "bad_token"
        if any(vote.matchup == held for _, held, _ in self.held):
            return "already_voted"
        self.held.append((vote.vote, vote.matchup, max(vote.time, self.horizon)))
        if len(self.held) > max(self.limit, self.capacity):
            self.evict()
        return "accepted"

    def evict(self) -> None:
        times = sorted(time for _, _, time in self.held)
        horizon = times[len(times) - max(1, int(self.capacity * 0.9))]
        if horizon == times[0]:
            horizon = min((time for time in times if time > horizon), default=horizon)
        self.horizon = horizon
        self.held = [held for held in self.held if held[2] >= horizon]
        self.limit = int(len(self.held) * 1.1) if len(self.held) > self.capacity else self.capacity


def make_entries(stream: list[Arrival], multiplier: int) -> NDArray[np.void]:
    """Return arrivals as window entries."""
    entries = np.zeros(len(stream), WINDOW_DTYPE)
    for row, arrival in enumerate(stream):
        for name, number in (("vote", arrival.vote), ("matchup", arrival.matchup + 1000)):
            entries[row][f"{name}_hi"] = number
            entries[row][f"{name}_lo"] = number * multiplier % 2**64
        entries[row]["time"] = arrival.time
    return entries


class Admission:
    """Feeds a window, and keeps what a store would."""

    def __init__(self, capacity: int, *, multiplier: int = SPREAD, accept_old: bool = False) -> None:
        self.window = DedupWindow(capacity)
        self.multiplier = multiplier
        self.accept_old = accept_old
        self.stored: list[NDArray[np.void]] = []

    def admit(self, stream: list[Arrival]) -> list[str]:
        entries = make_entries(stream, self.multiplier)
        bad_token = np.array([arrival.bad_token for arrival in stream], np.bool_)
        verdicts = np.zeros(len(stream), np.int8)
        self.window.admit(entries, bad_token, verdicts, accept_old=self.accept_old)
        self.stored.append(entries[verdicts == 0])
        return ["accepted" if code == 0 else REASONS_BY_CODE[code].value for code in verdicts.tolist()]

    def reload(self) -> None:
        """Go on with a window made of what was stored."""
        before = self.window
        kept = [chunk[chunk["time"] >= before.horizon] for chunk in self.stored]
        self.window = DedupWindow(before.capacity, horizon=before.horizon, limit=before.limit)
        self.window.load(kept)
        assert (len(self.window), self.window.limit) == (len(before), before.limit)


def cut(stream: list[Arrival], cuts: list[int]) -> list[list[Arrival]]:
    """Cut a stream into batches."""
    bounds = [0, *sorted({place % (len(stream) + 1) for place in cuts}), len(stream)]
    return [stream[first:last] for first, last in pairwise(bounds)]


@given(streams, st.integers(1, 12), st.booleans(), st.sampled_from([LOWEST_HASH, SPREAD]))
def test_verdicts_are_those_of_the_naive_model(
    stream: list[Arrival], capacity: int, accept_old: bool, multiplier: int
) -> None:
    naive = NaiveWindow(capacity, accept_old)
    admission = Admission(capacity, multiplier=multiplier, accept_old=accept_old)
    assert admission.admit(stream) == [naive.judge(arrival) for arrival in stream]
    assert admission.window.horizon == naive.horizon
    assert len(admission.window) == len(naive.held)


@given(streams, st.integers(1, 12), st.lists(st.integers(0, 500), max_size=8), st.booleans())
def test_batch_cuts_and_reloads_change_no_verdict(
    stream: list[Arrival], capacity: int, cuts: list[int], accept_old: bool
) -> None:
    whole = Admission(capacity, accept_old=accept_old)
    parts = Admission(capacity, accept_old=accept_old)
    verdicts = []
    for batch in cut(stream, cuts):
        verdicts += parts.admit(batch)
        parts.reload()
    assert verdicts == whole.admit(stream)
    assert (parts.window.horizon, parts.window.limit) == (whole.window.horizon, whole.window.limit)


@given(streams, st.integers(2, 12))
def test_after_evictions_every_entry_that_stays_is_found(stream: list[Arrival], capacity: int) -> None:
    admission = Admission(capacity, multiplier=LOWEST_HASH)
    verdicts = admission.admit(stream)
    horizon = admission.window.horizon
    kept = [vote for vote, what in zip(stream, verdicts, strict=True) if what == "accepted" and vote.time >= horizon]
    assert admission.admit(kept) == ["duplicate"] * len(kept)
    others = [Arrival(5000 + place, vote.matchup, vote.time) for place, vote in enumerate(kept)]
    assert admission.admit(others) == ["already_voted"] * len(kept)


def test_what_is_forgotten_is_too_old() -> None:
    admission = Admission(10)
    stream = [Arrival(number, number, number) for number in range(11)]
    assert admission.admit(stream) == ["accepted"] * 11
    assert (len(admission.window), admission.window.horizon) == (9, 2)
    assert admission.admit([stream[1], stream[2]]) == ["too_old", "duplicate"]


def test_the_oldest_by_event_time_go_whatever_came_first() -> None:
    admission = Admission(10)
    admission.admit([Arrival(number, number, 100 - number) for number in range(11)])
    assert admission.window.horizon == 92
    assert admission.admit([Arrival(0, 0, 100)]) == ["duplicate"]


def test_one_time_for_all_lets_the_window_grow() -> None:
    admission = Admission(10)
    assert admission.admit([Arrival(number, number, 7) for number in range(60)]) == ["accepted"] * 60
    assert (len(admission.window), admission.window.horizon) == (60, 7)
    assert admission.window.limit >= 60
    admission.reload()
    later = [Arrival(100 + number, 100 + number, 8) for number in range(20)]
    assert admission.admit(later) == ["accepted"] * 20
    assert (len(admission.window), admission.window.horizon) == (20, 8)
    assert admission.window.limit >= 20


def test_a_vote_accepted_for_all_its_age_is_remembered_after_a_reload() -> None:
    admission = Admission(10, accept_old=True)
    admission.admit([Arrival(number, number, 50 + number) for number in range(11)])
    assert admission.window.horizon == 52
    ancient = Arrival(99, 99, 1)
    assert admission.admit([ancient]) == ["accepted"]
    admission.reload()
    assert admission.admit([ancient]) == ["duplicate"]


def test_rows_with_a_verdict_are_left_alone_and_not_taken_in() -> None:
    window = DedupWindow(10)
    entries = make_entries([Arrival(1, 1, 5), Arrival(1, 1, 5)], SPREAD)
    verdicts = np.array([Reason.BAD_RANKS.code, 0], np.int8)
    window.admit(entries, np.zeros(2, np.bool_), verdicts)
    assert verdicts.tolist() == [Reason.BAD_RANKS.code, 0]
    assert len(window) == 1


def test_a_smaller_capacity_takes_what_was_stored() -> None:
    admission = Admission(40)
    admission.admit([Arrival(number, number, number) for number in range(30)])
    smaller = DedupWindow(10, horizon=0)
    smaller.load(admission.stored)
    assert (len(smaller), smaller.limit) == (30, 30)
    entries = make_entries([Arrival(99, 99, 99)], SPREAD)
    smaller.admit(entries, np.zeros(1, np.bool_), np.zeros(1, np.int8))
    assert (len(smaller), smaller.horizon, smaller.limit) == (9, 22, 10)


def test_memory_stays_what_it_was_however_many_votes_come() -> None:
    window = DedupWindow(5000)
    sizes = []
    for batch in range(60):
        entries = np.zeros(2000, WINDOW_DTYPE)
        numbers = np.arange(batch * 2000, (batch + 1) * 2000).astype(np.uint64)
        for name, offset in (("vote", 1), ("matchup", 10**9)):
            entries[f"{name}_hi"] = numbers + np.uint64(offset)
            entries[f"{name}_lo"] = (numbers + np.uint64(offset)) * np.uint64(SPREAD)
        entries["time"] = numbers
        verdicts = np.zeros(2000, np.int8)
        window.admit(entries, np.zeros(2000, np.bool_), verdicts)
        assert not verdicts.any()
        sizes.append(window.nbytes)
    assert len(window) <= 5000
    assert max(sizes[10:]) == max(sizes[:10])


def test_a_capacity_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 vote"):
        DedupWindow(0)
