"""The freshness meter against the ages of all votes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.contracts.status import FRESHNESS_BOUNDS_MS
from pipeline.contracts.store import ARCHIVE_SCHEMA
from pipeline.operators import freshness
from pipeline.operators.freshness import FreshnessMeter

NOW = 1_764_000_000_000


def make_rows(appended_at: list[int], arenas: list[str | None] | None = None) -> pa.RecordBatch:
    """Archive rows of which the meter reads nothing but arena and append time."""
    columns = {name: pa.nulls(len(appended_at), ARCHIVE_SCHEMA.field(name).type) for name in ARCHIVE_SCHEMA.names}
    columns["appended_at"] = pa.array(appended_at, pa.int64())
    names = arenas or ["pictures"] * len(appended_at)
    columns["arena"] = pa.array(names, pa.string()).dictionary_encode().cast(ARCHIVE_SCHEMA.field("arena").type)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=ARCHIVE_SCHEMA)


def measure(ages: list[int]) -> FreshnessMeter:
    meter = FreshnessMeter()
    meter.note_commit(1, [make_rows([NOW - age for age in ages])])
    meter.note_published("pictures", 1, NOW)
    return meter


def test_nothing_is_known_before_the_first_vote() -> None:
    found = FreshnessMeter().freeze(NOW)
    assert (found.votes, found.p50_ms, found.p99_ms, found.total) == (0, None, None, 0)


def test_few_votes_are_counted_each_in_its_bucket() -> None:
    ages = [0, 100, 101, 250, 1_500, 1_501, 300_000, 10**9]
    found = measure(ages).freeze(NOW)
    assert found.buckets == tuple(sum(age <= bound for age in ages) for bound in FRESHNESS_BOUNDS_MS)
    assert (found.total, found.sum_ms, found.votes) == (len(ages), sum(ages), len(ages))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 40_000])
def test_looks_stand_for_all_votes_and_percentiles_are_within_five_per_cent(count: int) -> None:
    ages = np.random.default_rng(count).lognormal(6, 0.8, count).astype(np.int64)
    found = measure(np.sort(ages).tolist()).freeze(NOW)
    assert found.total == count
    for share, value in ((0.5, found.p50_ms), (0.99, found.p99_ms)):
        assert value is not None
        exact = np.quantile(ages, share, method="inverted_cdf")
        spread = 1.06 if count <= 256 else 1.15  # of many votes some are looked at
        assert exact / spread <= value <= exact * spread + 1


def test_a_vote_counts_when_a_board_of_its_arena_has_its_commit() -> None:
    meter = FreshnessMeter()
    meter.note_commit(1, [make_rows([NOW, NOW, NOW], ["pictures", "films", None])])
    meter.note_commit(2, [make_rows([NOW + 100])])
    meter.note_published("films", 1, NOW + 500)
    assert meter.freeze(NOW).sum_ms == 500
    meter.note_published("pictures", 1, NOW + 600)
    assert (meter.freeze(NOW).total, meter.freeze(NOW).sum_ms) == (2, 1_100)
    meter.note_published("pictures", 1, NOW + 700)  # the same board once more
    assert meter.freeze(NOW).total == 2
    meter.note_published("pictures", 5, NOW + 900)  # a later one holds it, too
    assert meter.freeze(NOW).sum_ms == 1_100 + 800


def test_last_minute_slides_and_totals_stay() -> None:
    meter = measure([400] * 10)
    assert meter.freeze(NOW + 55_000).votes == 10
    later = meter.freeze(NOW + 70_000)
    assert (later.votes, later.p99_ms, later.total) == (0, None, 10)


def test_log_whose_clock_is_ahead_gives_no_negative_age() -> None:
    assert measure([-5_000]).freeze(NOW).sum_ms == 0


def test_arena_that_is_never_published_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "_MOST_WAITING", 50)
    meter = FreshnessMeter()
    for commit in range(1, 101):
        meter.note_commit(commit, [make_rows([NOW] * 3, ["stuck", "stuck", "fine"])])
        meter.note_published("fine", commit, NOW)
    meter.note_published("stuck", 100, NOW)
    assert 100 < meter.freeze(NOW).total <= 100 + 50
