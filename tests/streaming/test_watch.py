"""What a job says of itself: true while it runs, after it failed, and after it started again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.log import LogUnavailable, TopicPartition
from pipeline.contracts.status import Status
from pipeline.operators.rate import Rate
from pipeline.store.reader import StoreReader
from pipeline.streaming import watch
from pipeline.streaming.job import JobError
from pipeline.streaming.watch import LogEnds, Watch
from tests.broken_records import APPENDED_AT, ARENA, good_record
from tests.conftest import wait_until
from tests.streaming.fakes import Abort, FakeLog, good_votes, make_haste, run_on

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    make_haste(monkeypatch)
    monkeypatch.setattr(watch, "_ASK_S", 0.02)
    monkeypatch.setattr(watch, "_ASK_SHARE", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def read_status(folder: Path) -> Status:
    beat = StoreReader(folder).heartbeat()
    assert beat is not None
    assert beat.status is not None
    return beat.status


def run_live(log: FakeLog, folder: Path, until: Callable[[Status], Any]) -> Status:
    """Run a live job until its status answers something true, and return that status."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            run_on(log, folder, stop, live=True).store.close()
        except BaseException as error:
            failed.append(error)

    def look() -> Status | None:
        assert not failed, failed
        if not (folder / "HEARTBEAT.json").exists():
            return None
        beat = StoreReader(folder).heartbeat()
        return beat.status if beat is not None and beat.status is not None and until(beat.status) else None

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        found = wait_until(look, 40)
    finally:
        stop.set()
        thread.join(20)
    assert found is not None
    return found


def test_totals_are_of_the_life_of_the_store(folder: Path) -> None:
    odd = [b"{", good_record(1), good_record(90, ranks=[1])]
    run_on(FakeLog([*good_votes(8), *odd]), folder, bundle_polls=1).store.close()
    first = read_status(folder)
    assert (first.accepted, first.duplicates, first.dead) == (8, 1, {"not_json": 1, "bad_ranks": 1})
    assert first.commits == 3
    run_on(FakeLog([*good_votes(8), *odd, *good_votes(5, first=20), b"["]), folder, bundle_polls=1).store.close()
    again = read_status(folder)
    assert (again.accepted, again.duplicates, again.dead) == (13, 1, {"not_json": 2, "bad_ranks": 1})
    assert again.commits == 2
    assert again.arenas[ARENA].accepted == again.arenas[ARENA].votes == 13
    assert again.window.votes == 13
    assert again.window.bytes > 13 * 40
    assert again.counts_bytes > 0
    assert again.started >= first.started


def test_lag_is_what_the_log_has_beyond_the_commit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FakeLog([*good_votes(6)])
    monkeypatch.setattr(log, "ends", lambda topic: {TopicPartition(topic, 0): 50})
    found = run_live(log, folder, lambda status: status.lag and status.accepted == 6)
    rows = {(each.topic, each.partition): each.lag for each in found.lag}
    assert rows == {("control", 0): 50, ("votes", 0): 44}
    assert found.total_lag == 94
    assert found.lag_at is not None


def test_freshness_is_from_append_to_board(folder: Path) -> None:
    log = FakeLog([*good_votes(12)])
    late = 3_000
    run_on(log, folder, bundle_polls=1, clock=lambda: APPENDED_AT + late).store.close()
    found = read_status(folder).freshness
    assert found is not None
    assert (found.total, found.sum_ms) == (12, 12 * late)
    assert found.p50_ms is not None
    assert late <= found.p50_ms <= 1.05 * late + 1


def test_freshness_of_files_is_not_measured(folder: Path) -> None:
    log = FakeLog([*good_votes(4)], row_times=True)
    run_on(log, folder).store.close()
    assert read_status(folder).freshness is None


def test_speed_is_over_the_last_minute(folder: Path) -> None:
    now = APPENDED_AT

    def tick() -> int:
        nonlocal now
        now += 1
        return now

    run_on(FakeLog([*good_votes(20)]), folder, bundle_polls=1, clock=tick).store.close()
    found = read_status(folder)
    passed = now - found.started
    assert found.votes_per_s is not None
    assert 20_000 / passed <= found.votes_per_s <= 2 * 20_000 / passed


def test_log_out_of_reach_is_said_until_it_is_back(folder: Path) -> None:
    gone = FakeLog([*good_votes(4), Abort(LogUnavailable("no route"), times=1_000_000)])
    found = run_live(gone, folder, lambda status: status.log_error)
    assert found.log_error == "no route"
    log = FakeLog([*good_votes(4), Abort(LogUnavailable("no route"), times=2), *good_votes(4, first=4)])
    found = run_live(log, folder, lambda status: status.accepted == 8)
    assert found.log_error is None


def test_failures_and_restarts_are_counted_and_the_last_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    process = Rate.process

    def process_or_fail(self: Rate, *given: Any) -> None:
        made.append(1)
        if len(made) in {2, 4}:
            raise ZeroDivisionError("a bug")
        process(self, *given)

    monkeypatch.setattr(Rate, "process", process_or_fail)
    run_on(FakeLog([*good_votes(20)]), folder, bundle_polls=1).store.close()
    found = read_status(folder)
    assert found.restarts == 2
    assert found.last_error is not None
    assert found.last_error.startswith("ZeroDivisionError: a bug")
    assert found.last_error_at is not None
    assert found.accepted == 20


def test_job_that_gives_up_says_so_with_its_last_sign_of_life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Rate.process
    made: list[int] = []

    def fail_at_last(self: Rate, *given: Any) -> None:
        made.append(1)
        if len(made) > 2:
            raise ZeroDivisionError("a bug")
        process(self, *given)

    monkeypatch.setattr(Rate, "process", fail_at_last)
    with pytest.raises(JobError):
        run_on(FakeLog([*good_votes(20)]), folder, bundle_polls=1)
    found = read_status(folder)
    assert found.last_error is not None
    assert "the job failed 6 times" in found.last_error
    assert found.restarts == 5


def test_log_whose_ends_cannot_be_asked_for_disturbs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FakeLog([*good_votes(4)])
    asked: list[str] = []

    def fail(topic: str) -> dict[TopicPartition, int]:
        asked.append(topic)
        raise OSError("boom")

    monkeypatch.setattr(log, "ends", fail)
    found = run_live(log, folder, lambda status: status.log_error and status.accepted == 4)
    assert (found.log_error, found.lag, found.total_lag) == ("boom", (), None)
    assert len(asked) > 1


def test_ends_are_asked_for_in_a_thread_that_ends() -> None:
    log = FakeLog([*good_votes(3)])
    with closing(LogEnds(log, lambda: 7)) as ends:
        wait_until(lambda: ends.asked_at)
        assert ends.ends == {TopicPartition("votes", 0): 3, TopicPartition("control", 0): 0}
        assert ends.asked_at == 7
        log.votes.extend(good_votes(2, first=3))
        wait_until(lambda: ends.ends[TopicPartition("votes", 0)] == 5)
    assert not ends._thread.is_alive()


def test_watch_without_a_status_has_none_to_change() -> None:
    with closing(Watch(FakeLog([]), lambda: 1)) as made:
        assert made.note_failure("early", restarts=True) is None
