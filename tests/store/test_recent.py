"""What a store says with each sign of life: status, totals of its files, and the last hour of both."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pipeline.contracts.status import FreshnessStatus, PartitionStatus, Status, WindowStatus, make_sample
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.reader import StoreReader
from pipeline.store.recent import EVERY_MS, KEPT_MS, RECENT_NAME
from tests.store.factory import START, FakeClock, make_commit, make_dead, make_rows

STATUS = Status(
    started=START,
    commits=1,
    restarts=0,
    accepted=10,
    duplicates=2,
    dead={"not_json": 3, "schema": 4},
    votes_per_s=1.5,
    lag=tuple(PartitionStatus(topic="votes", partition=n, position=5, end=end) for n, end in enumerate((9, 5, 3))),
    lag_at=START,
    freshness=FreshnessStatus(votes=1, p50_ms=400, p99_ms=900, total=1, sum_ms=400, buckets=(0,) * 12),
    window=WindowStatus(votes=10, limit=100, horizon=0, bytes=4_096),
    arenas={},
    counts_bytes=0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[DuckStore]:
    with open_store(folder, holder="a test", clock=FakeClock()) as opened:
        yield opened


def times(folder: Path) -> list[int]:
    return [sample.time - START for sample in StoreReader(folder).recent()]


def test_status_is_told_and_stays_until_the_next(store: DuckStore, folder: Path) -> None:
    store.heartbeat(START, STATUS)
    store.heartbeat(START + 1)
    beat = StoreReader(folder).heartbeat()
    assert beat is not None
    assert (beat.time, beat.status, beat.stopped) == (START + 1, STATUS, False)
    store.close()
    beat = StoreReader(folder).heartbeat()
    assert beat is not None
    assert (beat.status, beat.stopped) == (STATUS, True)


def test_lag_is_what_lies_ahead_of_the_position_and_never_negative() -> None:
    assert [each.lag for each in STATUS.lag] == [4, 0, 0]
    assert STATUS.total_lag == 4
    assert msgspec.structs.replace(STATUS, lag=()).total_lag is None
    sample = make_sample(START, STATUS)
    assert (sample.accepted, sample.duplicates, sample.dead, sample.lag) == (10, 2, 7, 4)
    assert (sample.p50_ms, sample.p99_ms) == (400, 900)


def test_a_sample_is_kept_every_five_seconds_for_an_hour(store: DuckStore, folder: Path) -> None:
    assert times(folder) == []
    for moment in range(0, 2 * KEPT_MS, 700):
        store.heartbeat(START + moment, STATUS)
    kept = times(folder)
    assert all(EVERY_MS <= later - earlier < EVERY_MS + 700 for earlier, later in itertools.pairwise(kept))
    assert kept[-1] > 2 * KEPT_MS - 10_000
    assert KEPT_MS - 10_000 < kept[-1] - kept[0] < KEPT_MS
    store.heartbeat(START + 3 * KEPT_MS)  # without a status there is nothing to keep
    assert times(folder) == kept


def test_a_job_that_starts_again_goes_on_with_the_samples(store: DuckStore, folder: Path) -> None:
    store.heartbeat(START, STATUS)
    store.close()
    with open_store(folder, holder="a test", clock=FakeClock()) as again:
        again.heartbeat(START + 60_000, STATUS)
    assert times(folder) == [0, 60_000]


def test_a_damaged_file_is_begun_anew(store: DuckStore, folder: Path) -> None:
    store.close()
    (folder / RECENT_NAME).write_text("[[1,")
    assert times(folder) == []
    with open_store(folder, holder="a test", clock=FakeClock()) as again:
        again.heartbeat(START, STATUS)
    assert times(folder) == [0]


def test_a_clock_that_is_put_back_leaves_no_samples_of_the_future(store: DuckStore, folder: Path) -> None:
    for moment in (0, 10_000, 20_000, 12_000, 18_000):
        store.heartbeat(START + moment, STATUS)
    assert times(folder) == [0, 10_000, 18_000]


def test_totals_are_those_of_the_files_that_the_manifest_names(store: DuckStore, folder: Path) -> None:
    reader = StoreReader(folder)
    for number in range(1, 81):  # enough for merges of each kind
        store.stage_archive(make_rows(number, number, number))
        store.commit(make_commit(number, sequence=number, dead=make_dead(number % 3 + 1)))
        store.settle()
    store.heartbeat(START)
    store.close()
    beat, manifest = reader.heartbeat(), reader.manifest()
    assert beat is not None
    for kind, files in (("archive", manifest.archive), ("dead", manifest.dead), ("window", manifest.window)):
        told = beat.files[kind]  # type: ignore[index]
        assert told.files == len(files) < 80
        assert told.rows == sum(file.rows for file in files)
        assert told.bytes == sum(file.bytes for file in files)
    with open_store(folder, holder="a test", clock=FakeClock()):
        pass
    again = reader.heartbeat()
    assert again is not None
    assert again.files == beat.files
