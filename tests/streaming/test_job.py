"""The job on a log that fails: what is retried, what ends it, and that nothing is lost or counted twice."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.control import ControlEvent, encode_control
from pipeline.contracts.log import ARROW_STREAM, MATCHUPS, VOTES, LogError, LogUnavailable, Poll, Position
from pipeline.contracts.store import StoreError
from pipeline.operators.fence import GapError
from pipeline.operators.rate import Rate, RateSettings
from pipeline.rating.errors import FitError
from pipeline.store.duck_store import DuckStore, open_store
from pipeline.store.reader import StoreReader
from pipeline.streaming import owner as owner_module
from pipeline.streaming.elements import ingest_votes
from pipeline.streaming.job import TRIES, JobError
from pipeline.streaming.owner import Backoff, Owner, wall_clock
from pipeline.streaming.watch import Watch
from tests.broken_records import ARENA, good_record
from tests.conftest import wait_until
from tests.streaming.fakes import VOTES_0, Abort, FakeLog, FakeReader, good_votes, make_batch, make_haste, run_on

pytestmark = pytest.mark.timeout(60)

IDS = [f"{number:032x}" for number in range(40)]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    make_haste(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_finite_log_is_rated_to_its_end(folder: Path) -> None:
    run = run_on(FakeLog([*good_votes(20)]), folder)
    assert run.vote_ids() == IDS[:20]
    assert run.said == ["arena text-to-image: registered from votes: sd-3.5, flux-dev, pixart, kolors"]
    board = StoreReader(folder).board(ARENA)
    assert (board.votes, board.commit) == (20, run.store.load().commit)
    run.store.close()


def test_running_job_has_no_folder_that_a_kill_would_leave(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    log, seen = FakeLog([*good_votes(4)]), []
    log.on_poll = lambda _topic: seen.append(list(temporary.iterdir()))
    run_on(log, folder).store.close()
    assert seen
    assert not any(seen)


def test_log_out_of_reach_is_retried_and_announced_once(folder: Path) -> None:
    log = FakeLog([*good_votes(6), Abort(LogUnavailable("no route"), times=4), *good_votes(6, first=6)])
    run = run_on(log, folder)
    assert run.vote_ids() == IDS[:12]
    spoken = [line for line in run.said if "log" in line]
    assert spoken == ["the log is out of reach: no route; trying again until it is back", "the log is back"]
    # The reader that failed may be past records that were not handed on: each try opens one where rating stands.
    assert [at.get(VOTES_0, Position(0)).offset for at in log.opened_at] == [0, 6, 6, 6, 6]
    run.store.close()


def test_log_that_fails_between_votes_and_control_loses_nothing(folder: Path) -> None:
    log = FakeLog([*good_votes(8)])
    failures = [LogUnavailable("half way")] * 2

    def fail_on_control(topic: str) -> None:
        if topic != VOTES and failures:
            raise failures.pop()

    log.on_poll = fail_on_control
    run = run_on(log, folder)
    assert run.vote_ids() == IDS[:8]
    run.store.close()


def test_waiting_times_double_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    backoff = Backoff()
    waits = []
    for _ in range(8):
        backoff.failed()
        waits.append(backoff.wait_s)
        assert 0 < backoff.remaining() <= backoff.wait_s
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("where", ["poll", "open"])
def test_log_error_that_no_retry_helps_ends_the_job_with_it(folder: Path, where: str) -> None:
    error = LogError("votes/0 was truncated; start a new store")
    log = FakeLog(good_votes(4) + ([Abort(error)] if where == "poll" else []))
    log.open_errors = [error] if where == "open" else []
    with pytest.raises(LogError) as caught:
        run_on(log, folder)
    assert caught.value is error
    assert not [line for line in caught.value.said if "starts again" in line]  # type: ignore[attr-defined]


def test_log_out_of_reach_when_the_reader_is_opened_is_retried(folder: Path) -> None:
    log = FakeLog([*good_votes(4)], open_errors=[LogUnavailable("locked"), LogUnavailable("locked")])
    run = run_on(log, folder)
    assert run.vote_ids() == IDS[:4]
    run.store.close()


def fail_at(monkeypatch: pytest.MonkeyPatch, calls: set[int], error: Exception, *, after: bool = False) -> list[int]:
    """Let the calls of `Rate.process` with these numbers fail, before or after they did their work."""
    made: list[int] = []
    process = Rate.process

    def process_or_fail(self: Rate, *given: Any) -> None:
        made.append(1)
        if after:
            process(self, *given)
        if len(made) in calls:
            raise error
        if not after:
            process(self, *given)

    monkeypatch.setattr(Rate, "process", process_or_fail)
    return made


@pytest.mark.parametrize("after", [False, True], ids=["before its work", "after its work"])
@pytest.mark.parametrize("bundle_polls", [1, None], ids=["many commits", "one commit"])
def test_exception_in_a_dofn_restarts_from_the_last_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch, after: bool, bundle_polls: int | None
) -> None:
    fail_at(monkeypatch, {3, 7}, ZeroDivisionError("a bug"), after=after)
    log = FakeLog([*good_votes(30), *good_votes(5)])
    run = run_on(log, folder, bundle_polls=bundle_polls)
    assert run.vote_ids() == IDS[:30]
    restarts = [line for line in run.said if "starts again" in line]
    assert len(restarts) == 2
    found = re.fullmatch(
        r"the job failed \(ZeroDivisionError: a bug \(test_job.py, line \d+\)\); "
        r"it starts again from commit \d+ in 0.01 s",
        restarts[0],
    )
    assert found, restarts[0]
    board = StoreReader(folder).board(ARENA)
    assert board.votes == 30
    assert sum(model.comparisons for model in board.models) == 30 * 2 * 6
    run.store.close()


def test_job_gives_up_after_failures_without_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fail_at(monkeypatch, set(range(3, 100)), ZeroDivisionError("a bug"))
    with pytest.raises(JobError, match=r"the job failed 6 times at commit 2: ZeroDivisionError: a bug") as caught:
        run_on(FakeLog([*good_votes(30)]), folder, bundle_polls=1)
    assert len(made) == 2 + 6
    assert len([line for line in caught.value.said if "starts again" in line]) == 5  # type: ignore[attr-defined]
    with open_store(folder, holder="a test") as store:
        assert store.load().sequence == 8


def test_failures_with_progress_between_them_do_not_add_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, set(range(2, 200, 2)), ZeroDivisionError("a bug"))
    run = run_on(FakeLog([*good_votes(36)]), folder, bundle_polls=1)
    assert run.vote_ids() == IDS[:36]
    assert len([line for line in run.said if "starts again" in line]) > TRIES
    run.store.close()


def test_exception_in_ingest_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any, **_settings: Any) -> None:
        raise ZeroDivisionError("cannot decode")

    monkeypatch.setattr("pipeline.streaming.graph.ingest_votes", fail)
    with pytest.raises(JobError, match="cannot decode"):
        run_on(FakeLog([*good_votes(4)]), folder)


def test_gap_ends_the_job_and_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FakeLog([*good_votes(12)])
    skip = iter([0, 3])

    def open_further(self: FakeLog, positions: Any, *, live: bool) -> FakeReader:
        found = {source: type(at)(at.offset + next(skip, 0)) for source, at in positions.items()}
        return FakeReader(self, found, live=live)

    run_on(FakeLog([*good_votes(4)]), folder).store.close()
    next(skip)
    monkeypatch.setattr(FakeLog, "reader", open_further)
    with pytest.raises(JobError, match="records between them are missing") as caught:
        run_on(log, folder)
    assert isinstance(caught.value.__cause__, GapError)


def test_store_that_cannot_be_written_ends_the_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(DuckStore, "commit", refuse)
    with pytest.raises(StoreError, match="the disk is full"):
        run_on(FakeLog([*good_votes(4)]), folder)


def test_fit_that_fails_does_not_stop_the_votes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any) -> None:
        raise FitError("no convergence")

    monkeypatch.setattr("pipeline.operators.publish.make_publication", refuse)
    run = run_on(FakeLog([*good_votes(12)]), folder, bundle_polls=1)
    assert run.vote_ids() == IDS[:12]
    said = [line for line in run.said if "board" in line]
    assert said == [f"arena {ARENA} cannot be rated, and its board stays as it is: no convergence"]
    run.store.close()


def test_stop_ends_the_job_with_everything_committed_and_published(folder: Path) -> None:
    stop = threading.Event()
    log = FakeLog([*good_votes(20)])
    polls: list[str] = []

    def stop_after_three(topic: str) -> None:
        polls.append(topic)
        if polls.count(VOTES) == 3 and topic == VOTES:
            stop.set()

    log.on_poll = stop_after_three
    run = run_on(log, folder, stop, live=True)
    done = run.vote_ids()  # the poll in progress is finished; what was read ahead is left for the next time
    assert done in (IDS[:8], IDS[:12])
    assert StoreReader(folder).board(ARENA).votes == len(done)
    beat = StoreReader(folder).heartbeat()
    assert beat is not None
    assert beat.commit == run.store.load().commit
    run.store.close()
    log.on_poll = lambda _topic: None
    again = run_on(log, folder)
    assert again.vote_ids() == IDS[:20]
    again.store.close()


def test_stop_while_waiting_to_start_again_ends_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.streaming.owner._FIRST_BACKOFF_S", 50.0)
    monkeypatch.setattr("pipeline.streaming.owner._LONGEST_BACKOFF_S", 50.0)
    stop = threading.Event()
    monkeypatch.setattr(Rate, "process", lambda *_: stop.set() or 1 / 0)  # type: ignore[func-returns-value]
    run = run_on(FakeLog([*good_votes(4)]), folder, stop)
    assert run.vote_ids() == []
    assert "starts again from commit 0 in 50 s" in run.said[-1]
    run.store.close()


@pytest.fixture
def background() -> Iterator[Any]:
    """Run a live job in a thread; stop it and wait for it at the end."""
    threads: list[tuple[threading.Thread, threading.Event]] = []

    def start(log: FakeLog, folder: Path, stop: threading.Event) -> None:
        def run() -> None:
            run_on(log, folder, stop, live=True).store.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append((thread, stop))

    yield start
    for thread, stop in threads:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def test_quiet_log_ticks(folder: Path, background: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[Poll] = []
    process = Rate.process

    def note(self: Rate, now: int, control: Any, decoded: Any) -> None:
        if not (control.spans or decoded.spans):
            ticks.append(Poll(now))
        process(self, now, control, decoded)

    monkeypatch.setattr(Rate, "process", note)
    stop = threading.Event()
    background(FakeLog([]), folder, stop)
    wait_until(lambda: len(ticks) >= 3, 30)
    times = [tick.now for tick in ticks[:3]]
    assert times == sorted(times)
    beat = wait_until(StoreReader(folder).heartbeat, 10)
    assert beat is not None
    assert beat.commit == 0


def test_job_ticks_while_the_log_is_out_of_reach(folder: Path, background: Any) -> None:
    stop = threading.Event()
    log = FakeLog([*good_votes(4), Abort(LogUnavailable("gone"), times=1_000_000)])
    background(log, folder, stop)
    reader = StoreReader(folder)
    first = wait_until(lambda: (folder / "HEARTBEAT.json").exists() and reader.heartbeat(), 30)
    assert first
    later = wait_until(lambda: (beat := reader.heartbeat()) and beat.time > first.time and beat, 30)
    assert later
    assert reader.board(ARENA).votes == 4


def test_control_comes_before_the_votes_of_its_poll(folder: Path) -> None:
    """An event appended before a vote is in force for it, though it is read after it."""
    arena = ControlEvent(schema=1, event_id="e1", type="arena.upsert", time=1, arena="other")
    log = FakeLog([*good_votes(2)], control=[encode_control(arena)])
    run = run_on(log, folder)
    assert run.vote_ids() == []
    assert StoreReader(folder).dead_letters()["reason"].to_pylist() == ["unknown_arena"] * 2
    run.store.close()


@contextmanager
def open_owner(log: FakeLog, folder: Path) -> Iterator[Owner]:
    with open_store(folder, holder="a test") as store, closing(Watch(log, wall_clock)) as watch:
        stop, settings = threading.Event(), RateSettings(propose=False)
        with closing(Owner(log, store, settings, watch=watch, stop=stop, announce=print, live=False)) as owner:
            yield owner


def feed(owner: Owner) -> None:
    poll = owner.poll(0.0)
    owner.process(poll.now, poll.control, ingest_votes(poll.votes, row_times=False))


def test_large_envelopes_are_read_ahead_however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "POLL_RECORDS", 40_000)
    batch = make_batch(VOTES_0, 0, [bytes(3 << 20)] * 2)
    assert not owner_module.is_much(batch)
    assert owner_module.is_much(replace(batch, content_types=[ARROW_STREAM] * 2))
    assert not owner_module.is_much(replace(batch, values=[b"", b""], content_types=[ARROW_STREAM] * 2))


def test_bundle_that_failed_half_way_is_not_counted(folder: Path) -> None:
    """An engine that does a bundle again, in the same process, finds memory and reader at the last commit."""
    log = FakeLog([*good_votes(20)])
    with open_owner(log, folder) as owner:
        owner.begin_reading()
        owner.begin_bundle(None)
        feed(owner)
        owner.commit()
        owner.begin_reading()
        owner.begin_bundle(2)
        feed(owner)
        feed(owner)
        assert owner.rate.book.sequence == 12
        for _ in range(2):  # no commit: the bundle failed
            owner.begin_reading()
            assert owner.rate.book.sequence == 4
            owner.begin_bundle(2)
            feed(owner)
            assert owner.rate.book.sequence == 8
        owner.commit()
        assert owner.rate.store.load().sequence == 8
        assert owner.rate.book.arenas[ARENA].votes == 8


def test_memory_that_disagrees_with_the_engine_is_loaded_again(folder: Path) -> None:
    log = FakeLog([*good_votes(8)])
    with open_owner(log, folder) as owner:
        owner.begin_bundle(None)
        feed(owner)
        owner.commit()
        before = owner.rate
        owner.begin_bundle(1)
        assert owner.rate is before
        owner.commit()
        owner.begin_bundle(7)
        assert owner.rate is not before
        assert owner.rate.book.sequence == 4


def test_proposals_are_written_after_their_commit_and_kept_while_they_cannot_be(folder: Path) -> None:
    log = FakeLog([*good_votes(8)], append_errors=[LogUnavailable("busy")])
    run = run_on(log, folder, propose=True, seed=1, bundle_polls=1)
    proposals = [value for topic, value in log.written if topic == MATCHUPS]
    assert len(proposals) >= 16
    assert len(set(proposals)) == len(proposals)
    run.store.close()


def test_log_without_a_place_for_proposals_is_rated_all_the_same(folder: Path) -> None:
    log = FakeLog([*good_votes(8)], has_matchups=False)
    run = run_on(log, folder, propose=True, bundle_polls=1)
    assert run.vote_ids() == IDS[:8]
    assert [line for line in run.said if "matchups" in line] == [
        "fake:log has no topic matchups: proposals are on the published board only"
    ]
    assert len(StoreReader(folder).publication(ARENA).open_matchups) == 16
    run.store.close()


def test_good_record_is_what_these_tests_take_it_for() -> None:
    assert f'"vote_id":"{IDS[3]}"'.encode() in good_record(3)
